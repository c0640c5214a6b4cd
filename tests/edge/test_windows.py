from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from app.contracts.disclosure import DEFAULT
from app.contracts.window import BALANCE, Window, decode
from app.device.result import CaseResult, Outcome
from app.edge.cases import balance
from app.edge.journal import Journal, meta
from app.edge.measure import pack, unpack
from app.edge.sealing import Closing
from app.edge.windows import announce_lock, close_due
from monitors.schema import Schema
from monitors.summaries import numeric_counts, score_counts, tallies
from tests.contracts.examples import KEY, a_schema
from tests.edge.builders import SCANNER, TODAY, a_device, at, put_cases

BERLIN = ZoneInfo("Europe/Berlin")
SCHEMA: Schema = a_schema()
OTHER = ("scanner-2", *SCANNER[1:])


def closing(day: date, hour: int = 12, **changes: object) -> Closing:
    base = Closing(
        now=at(day, hour),
        zone=BERLIN,
        watermark=timedelta(hours=24),
        limits=DEFAULT,
        key=KEY,
        edge_id="edge-7",
        epoch=1,
        lock_state="holds",
        deviation=0.0,
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def close(journal: Journal, day: date, hour: int = 12, **changes: object) -> int:
    return journal.do(lambda db: close_due(db, closing(day, hour, **changes)))


def produced(journal: Journal, stream: str = "") -> list[Window]:
    rows = journal.do(lambda db: db.execute("SELECT raw FROM windows ORDER BY sequence").fetchall())
    every = [decode(bytes(raw), KEY.public) for (raw,) in rows]
    return [w for w in every if stream in ("", w.header.stream)]


def days(n: int, first: date = TODAY) -> list[date]:
    return [first + timedelta(days=i) for i in range(n)]


def balance_of(window: Window) -> dict[str, int]:
    return dict(zip(BALANCE, window.tables["balance"].values[0].tolist(), strict=True))


@pytest.fixture
def opened(journal: Journal) -> Journal:
    """A journal whose first round was on the evening before TODAY."""
    close(journal, TODAY, 1)
    return journal


def test_a_day_closes_when_the_watermark_has_passed_since_its_local_end(opened: Journal) -> None:
    put_cases(opened, [TODAY] * 25)

    # TODAY ends at 23:00 UTC in Berlin's winter time; one day later it is closed.
    assert close(opened, TODAY + timedelta(days=1), 22) <= 1
    assert all(not w.tables["strata"].keys for w in produced(opened, "cases"))
    assert close(opened, TODAY + timedelta(days=1), 23) == 1

    window = produced(opened, "cases")[-1]
    assert [key[:3] for key in window.tables["strata"].keys] == [
        ("2026-03-10", "2026-03-11", "scanner-1")
    ]
    assert window.header.end == datetime(2026, 3, 10, 23, tzinfo=UTC)
    assert tallies(SCHEMA, window.tables["strata"].values)["analysed"].tolist() == [25]
    assert balance_of(window)["window_cases"] == 25


def test_midnight_follows_the_clock_change(opened: Journal) -> None:
    change = date(2026, 3, 29)  # 23 hours long in Berlin, ends at 22:00 UTC
    put_cases(opened, [TODAY] * 3)
    close(opened, change, 23)
    put_cases(opened, [change] * 25, seed=1)

    assert close(opened, change + timedelta(days=1), 21) == 0
    assert close(opened, change + timedelta(days=1), 22) > 0

    header = produced(opened, "cases")[-1].header
    assert header.end - header.start == timedelta(hours=23)


def test_windows_are_chained_and_numbered_without_a_gap(opened: Journal) -> None:
    put_cases(opened, [day for day in days(9) for _ in range(25)])

    for day in days(12):
        close(opened, day)

    headers = [w.header for w in produced(opened)]
    digests = [w.digest for w in produced(opened)]
    assert [h.sequence for h in headers] == list(range(1, len(headers) + 1))
    assert headers[0].previous == "0" * 64
    assert all(
        after.previous == digest
        for (_, after), digest in zip(pairwise(headers), digests[:-1], strict=True)
    )


def test_closing_twice_makes_nothing_new(opened: Journal) -> None:
    put_cases(opened, [TODAY] * 25)
    close(opened, TODAY + timedelta(days=2))

    assert close(opened, TODAY + timedelta(days=2)) == 0


def test_a_clock_that_goes_back_closes_nothing_and_repeats_nothing(opened: Journal) -> None:
    put_cases(opened, [day for day in days(3) for _ in range(25)])
    close(opened, TODAY + timedelta(days=3))
    before = len(produced(opened))

    assert close(opened, TODAY - timedelta(days=365)) == 0
    close(opened, TODAY + timedelta(days=4))

    counted = sum(balance_of(w)["window_cases"] for w in produced(opened, "cases"))
    assert len(produced(opened)) == before + 1
    assert counted == 75


def test_an_empty_day_still_says_that_the_edge_is_alive(opened: Journal) -> None:
    put_cases(opened, [TODAY] * 25)
    for day in days(5):
        close(opened, day)

    window = produced(opened, "cases")[-1]
    assert window.tables["strata"].keys == ()
    assert balance_of(window)["received"] == 25


def test_a_small_day_waits_for_the_next_and_no_cell_below_the_minimum_leaves(
    opened: Journal,
) -> None:
    put_cases(opened, [day for day in days(6) for _ in range(7)])

    for day in days(9):
        close(opened, day)

    rows = np.concatenate([w.tables["strata"].values for w in produced(opened, "cases")])
    analysed = tallies(SCHEMA, rows)["analysed"]
    assert analysed.tolist() == [21, 21]
    keys = [k[:2] for w in produced(opened, "cases") for k in w.tables["strata"].keys]
    assert keys == [("2026-03-10", "2026-03-13"), ("2026-03-13", "2026-03-16")]


def test_what_is_never_enough_is_held_back_and_counted(opened: Journal) -> None:
    put_cases(opened, [TODAY] * 5)

    for day in days(40):
        close(opened, day)

    assert not any(w.tables["strata"].keys for w in produced(opened, "cases"))
    assert opened.do(balance)["cases_held_back"] == 5
    assert balance_of(produced(opened, "cases")[-1])["cases_held_back"] == 5


def test_scanners_too_small_alone_leave_pooled(opened: Journal) -> None:
    put_cases(opened, [TODAY] * 12)
    put_cases(opened, [TODAY] * 12, stratum=OTHER, seed=1)

    for day in days(20):
        close(opened, day)

    keys = [k for w in produced(opened, "cases") for k in w.tables["strata"].keys]
    assert [key[2] for key in keys] == ["pooled"]


def test_late_cases_make_a_revision_and_cut_nothing_again(opened: Journal) -> None:
    put_cases(opened, [TODAY] * 25)
    close(opened, TODAY + timedelta(days=1))
    close(opened, TODAY + timedelta(days=2))
    first = produced(opened, "cases")[-1]
    put_cases(opened, [TODAY] * 22, seed=5)

    close(opened, TODAY + timedelta(days=3))

    late = [w for w in produced(opened, "cases") if w.header.revision]
    assert [w.header.revision for w in late] == [1]
    assert late[0].header.start == first.header.start
    assert tallies(SCHEMA, late[0].tables["strata"].values)["analysed"].tolist() == [22]
    assert produced(opened, "cases")[1].raw == first.raw


def test_a_few_late_cases_are_not_shown_as_a_difference(opened: Journal) -> None:
    put_cases(opened, [TODAY] * 25)
    close(opened, TODAY + timedelta(days=2))
    put_cases(opened, [TODAY] * 3, seed=5)

    for day in days(40, TODAY + timedelta(days=3)):
        close(opened, day)

    analysed = [
        n
        for w in produced(opened, "cases")
        for n in tallies(SCHEMA, w.tables["strata"].values)["analysed"].tolist()
    ]
    assert analysed == [25]
    assert opened.do(balance)["cases_held_back"] == 3


def test_every_case_is_in_one_row_or_waits_or_is_held_back(opened: Journal) -> None:
    rng = np.random.default_rng(3)
    for n, day in enumerate(days(30)):
        close(opened, day)
        behind = [day - timedelta(days=int(d)) for d in rng.geometric(0.3, 12) - 1]
        put_cases(opened, behind, seed=n, stratum=SCANNER if n % 3 else OTHER)
    for day in days(40, TODAY + timedelta(days=30)):
        close(opened, day)

    left = sum(
        int(tallies(SCHEMA, w.tables["strata"].values)["analysed"].sum())
        for w in produced(opened, "cases")
    )
    assert left + opened.do(balance)["cases_held_back"] == 360


def test_moments_leave_weekly_from_a_hundred_cases(opened: Journal) -> None:
    put_cases(opened, [day for day in days(14, date(2026, 3, 16)) for _ in range(10)])

    for day in days(28):
        close(opened, day)

    windows = produced(opened, "moments")
    n = [int(v) for w in windows for v in w.tables["moments"].values[:, 0]]
    assert n == [140]
    assert windows[0].tables["moments"].keys[0][:2] == ("2026-03-16", "2026-03-30")


def test_margins_leave_monthly_and_only_from_k(opened: Journal) -> None:
    put_cases(opened, [day for day in days(20) for _ in range(20)])
    put_cases(opened, [TODAY] * 4, seed=9, categorical={"sex": "F"}, stratum=OTHER)

    for day in days(30):
        close(opened, day)

    [window] = produced(opened, "subgroups")
    table = window.tables["subgroups"]
    assert list(table.keys) == [("sex", "F"), ("sex", "M")]
    assert table.values[:, 0].sum() == 404
    assert np.all((table.values == 0) | (table.values >= 11))


def test_cases_without_a_listed_sex_cannot_be_subtracted_out_of_the_others(opened: Journal) -> None:
    put_cases(opened, [day for day in days(20) for _ in range(20)])
    put_cases(opened, [TODAY] * 2, seed=9, categorical={"sex": "O"}, stratum=OTHER)

    for day in days(30):
        close(opened, day)

    [window] = produced(opened, "subgroups")
    assert len(window.tables["subgroups"].keys) == 1


def test_a_change_of_the_lock_is_told_at_once(opened: Journal) -> None:
    put_cases(opened, [TODAY] * 3)

    now = closing(TODAY, lock_state="broken")
    opened.do(lambda db: announce_lock(db, now, a_device()))

    header = produced(opened)[-1].header
    assert (header.stream, header.lock_state) == ("sentinel", "broken")


def test_two_device_versions_never_share_a_window(opened: Journal) -> None:
    newer = a_device(version="1.1.0", release_counter=2)
    put_cases(opened, [TODAY] * 25)
    put_cases(opened, [TODAY] * 30, seed=4, manifest=newer)

    close(opened, TODAY + timedelta(days=2))

    found = {
        w.header.lock_digest: tallies(SCHEMA, w.tables["strata"].values)["analysed"].tolist()
        for w in produced(opened, "cases")
    }
    assert found == {a_device().lock_digest: [25], newer.lock_digest: [30]}


def test_values_that_are_not_finite_count_as_missing(opened: Journal) -> None:
    odd = {"noise": math.nan, "kvp": math.inf}
    put_cases(opened, [TODAY] * 25, numeric=odd, embedding=(math.nan, 0.0))

    close(opened, TODAY + timedelta(days=2))

    rows = produced(opened, "cases")[-1].tables["strata"].values
    assert np.all(numeric_counts(SCHEMA, rows) == 0)  # withheld: nothing was measured
    assert rows[0, SCHEMA.columns["joint_n"]] == 0
    assert score_counts(SCHEMA, rows).sum() == 25


def test_a_measured_row_comes_back_as_it_went_in() -> None:
    result = CaseResult(
        Outcome.FLAGGED,
        scores={"classifier": 0.75, "unknown_stage": 0.5},
        numeric={"noise": 1.5, "kvp": -math.inf},
        categorical={"view": "OTHER", "sex": "M"},
        embedding=(0.5, -0.5),
    )

    cases, levels = unpack(SCHEMA, [pack(SCHEMA, result)], ["flagged"])

    assert cases.numeric[0, 0] == 1.5 and np.isnan(cases.numeric[0, 1])
    assert cases.categorical.tolist() == [[2]]
    assert cases.scores.tolist() == [[0.75]]
    assert cases.embedding.tolist() == [[0.5, -0.5]]
    assert (cases.outcome.tolist(), levels.tolist()) == ([1], [[1]])


def test_no_window_is_made_before_a_device_has_run(journal: Journal) -> None:
    close(journal, TODAY)

    assert close(journal, TODAY + timedelta(days=5)) == 0
    assert journal.do(lambda db: meta(db, "closed_through")) == TODAY.toordinal() - 1
