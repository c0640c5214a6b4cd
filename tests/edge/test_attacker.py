"""Someone who keeps every window that ever left, and subtracts."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pytest

from app.contracts.disclosure import DEFAULT
from app.contracts.window import Window
from app.edge.journal import Journal
from monitors.summaries import tallies
from tests.edge.builders import SCANNER, TODAY, put_cases
from tests.edge.test_windows import SCHEMA, close, opened, produced

__all__ = ["opened"]
RARE = ("scanner-rare", *SCANNER[1:])
Row = tuple[str, date, date, int, np.ndarray]


def weeks_of_traffic(journal: Journal, seed: int, **changes: object) -> int:
    """Busy and quiet days, a rare scanner, and late cases in ones and twos; how many cases."""
    rng, cases = np.random.default_rng(seed), 0
    for i in range(14):
        day = TODAY + timedelta(days=i)
        for stratum, mean in ((SCANNER, 18), (RARE, 2)):
            n = int(rng.poisson(mean))
            late = int(rng.integers(0, 3)) if i > 3 else 0
            when = [day] * n + [day - timedelta(days=int(rng.integers(2, 8)))] * late
            put_cases(journal, when, stratum=stratum, seed=seed, first=cases)
            cases += len(when)
        close(journal, day + timedelta(days=1), 1, **changes)
    return cases


def rows_of(windows: list[Window]) -> list[Row]:
    return [
        (key[2], date.fromisoformat(key[0]), date.fromisoformat(key[1]), w.header.sequence, values)
        for w in windows
        for key, values in zip(w.tables["strata"].keys, w.tables["strata"].values, strict=True)
    ]


def analysed(row: Row) -> int:
    """The cases that the numbers of a row rest on."""
    return int(tallies(SCHEMA, row[4])["analysed"])


def counted_by(rows: list[Row]) -> dict[int, int]:
    """Cases of every outcome by window. A flagged case is an analysed case: it counts once."""
    found: dict[int, int] = {}
    for row in rows:
        by_outcome = tallies(SCHEMA, row[4])
        every = sum(int(n) for name, n in by_outcome.items() if name != "flagged")
        found[row[3]] = found.get(row[3], 0) + every
    return found


@pytest.mark.parametrize("epsilon", [None, 8.0])
@pytest.mark.parametrize("seed", range(2))
def test_no_sum_or_difference_of_windows_shows_a_few_cases(
    opened: Journal, seed: int, epsilon: float | None
) -> None:
    cases = weeks_of_traffic(opened, seed, noise_epsilon=epsilon)
    rows = rows_of(produced(opened, "cases"))

    assert len(rows) > 2
    assert min(map(analysed, rows)) >= DEFAULT.minimum_n
    # Every case is in one row at most, so that rows are disjoint and no difference of two is
    # a set of cases: the smallest set that any sums and differences give is a single row.
    journal = opened.do(
        lambda db: db.execute(
            "SELECT cases_window, count(*) FROM cases WHERE cases_window > 0 GROUP BY cases_window"
        ).fetchall()
    )
    assert dict(journal) == counted_by(rows)
    assert sum(counted_by(rows).values()) <= cases


@pytest.mark.parametrize("seed", range(2))
def test_a_rare_scanner_has_no_row_of_its_own_until_it_is_large_enough(
    opened: Journal, seed: int
) -> None:
    weeks_of_traffic(opened, seed)

    alone = [row for row in rows_of(produced(opened, "cases")) if row[0] == RARE[0]]

    assert alone
    assert all(analysed(r) >= DEFAULT.minimum_n for r in alone)
    assert all((r[2] - r[1]).days > 1 for r in alone)
