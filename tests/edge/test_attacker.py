"""Someone who keeps every window that ever left, and subtracts."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pytest

from app.contracts.disclosure import DEFAULT
from app.contracts.window import Window
from app.edge.journal import Journal
from tests.edge.builders import SCANNER, TODAY, put_cases
from tests.edge.test_windows import SCHEMA, close, opened, produced

__all__ = ["opened"]
RARE = ("scanner-rare", *SCANNER[1:])
Row = tuple[str, date, date, int, np.ndarray]


def weeks_of_traffic(journal: Journal, seed: int) -> int:
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
        close(journal, day + timedelta(days=1), 1)
    return cases


def rows_of(windows: list[Window]) -> list[Row]:
    return [
        (key[2], date.fromisoformat(key[0]), date.fromisoformat(key[1]), w.header.sequence, values)
        for w in windows
        for key, values in zip(w.tables["strata"].keys, w.tables["strata"].values, strict=True)
    ]


@pytest.mark.parametrize("seed", range(2))
def test_no_sum_or_difference_of_windows_shows_a_few_cases(opened: Journal, seed: int) -> None:
    cases = weeks_of_traffic(opened, seed)
    rows = rows_of(produced(opened, "cases"))
    size = {id(row): int(row[4][SCHEMA.columns["tallies"]].sum()) for row in rows}

    assert len(rows) > 2
    assert min(size.values()) >= DEFAULT.minimum_n
    # Every case is in one row at most, so that rows are disjoint and no difference of two is
    # a set of cases: the smallest set that any sums and differences give is a single row.
    counted = opened.do(
        lambda db: db.execute(
            "SELECT cases_window, count(*) FROM cases WHERE cases_window > 0 GROUP BY cases_window"
        ).fetchall()
    )
    by_window: dict[int, int] = {}
    for row in rows:
        by_window[row[3]] = by_window.get(row[3], 0) + size[id(row)]
    assert dict(counted) == {window: n for window, n in by_window.items() if n}
    assert sum(size.values()) <= cases


@pytest.mark.parametrize("seed", range(2))
def test_a_rare_scanner_has_no_row_of_its_own_until_it_is_large_enough(
    opened: Journal, seed: int
) -> None:
    weeks_of_traffic(opened, seed)

    alone = [row for row in rows_of(produced(opened, "cases")) if row[0] == RARE[0]]

    assert all(int(r[4][SCHEMA.columns["tallies"]].sum()) >= DEFAULT.minimum_n for r in alone)
    assert all((r[2] - r[1]).days > 1 for r in alone)
