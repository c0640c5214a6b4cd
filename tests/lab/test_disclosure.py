"""Disclosure: every row is accounted for, and nothing leaves below a limit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.contracts.disclosure import (
    DEFAULT,
    POOLED,
    UNLISTED,
    Cut,
    Limits,
    Waiting,
    cut_cases,
    cut_labels,
    cut_moments,
    cut_subgroups,
    rounded_count,
    withhold_small,
)
from app.errors import ContractError
from monitors.schema import Categorical, Joint, Margin, Numeric, Schema, Score

DAY = 739_000


def a_schema(privacy: str = "technical") -> Schema:
    return Schema(
        numeric=(Numeric("noise", "1", np.array([0.0, 1.0, 2.0, 3.0]), privacy),),
        categorical=(Categorical("view", ("pa", "ap"), privacy),),
        scores=(Score("score", np.array([0.0, 0.25, 0.5, 0.75, 1.0])),),
        joint=Joint(("noise",), 0, np.zeros((0, 0)), np.zeros(0), np.zeros(5), np.ones(5)),
        label_bins=(0, 1, 2, 3),
        margins=(Margin("sex", ("f", "m", "o")),),
    )


SCHEMA = a_schema()


def a_case_row(n: int, schema: Schema = SCHEMA, complete: int | None = None) -> np.ndarray:
    """A row of n analysed cases of which `complete` gave joint moments."""
    row = np.zeros(schema.width(schema.columns), dtype=np.int64)
    row[schema.columns["tallies"].start] = n
    row[schema.columns["joint_n"]] = n if complete is None else complete
    row[schema.columns["joint_sum"]] = 7
    row[schema.columns["numeric_counts"]] = [0, n, 0, 0, 0, 0]
    row[schema.columns["numeric_sums"]] = 5
    row[schema.columns["categorical_counts"]] = [n, 0, 0, 0]
    row[schema.columns["score_counts"]] = [n, 0, 0, 0, 0]
    return row


def a_label_row(counts: list[int]) -> np.ndarray:
    row = np.zeros(SCHEMA.width(SCHEMA.label_columns), dtype=np.int64)
    row[SCHEMA.label_columns["labelled"]] = counts
    return row


def key(scanner: str) -> tuple[str, ...]:
    return (scanner, "", "", "", "")


days = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, 45), st.integers(0, 40)), max_size=40
)


@given(days, st.integers(46, 80))
@settings(max_examples=150, deadline=None)
def test_every_case_row_leaves_waits_or_is_held_back_and_no_count_is_lost(
    given_days: list[tuple[str, int, int]], as_of: int
) -> None:
    waiting = [Waiting(key(s), DAY + d, DAY + d + 1, a_case_row(n)) for s, d, n in given_days]

    cut = cut_cases(SCHEMA, waiting, DAY + as_of)

    places = sorted([i for r in cut.released for i in r.members] + [*cut.kept, *cut.held_back])
    assert places == list(range(len(waiting)))
    at = SCHEMA.columns["tallies"].start
    for release in cut.released:
        assert release.row[at] == sum(waiting[i].row[at] for i in release.members)


@given(days, st.integers(46, 80))
@settings(max_examples=150, deadline=None)
def test_no_case_row_leaves_too_small_or_too_long_or_under_another_name(
    given_days: list[tuple[str, int, int]], as_of: int
) -> None:
    waiting = [Waiting(key(s), DAY + d, DAY + d + 1, a_case_row(n)) for s, d, n in given_days]

    cut = cut_cases(SCHEMA, waiting, DAY + as_of)

    for release in cut.released:
        assert release.row[SCHEMA.columns["tallies"].start] >= DEFAULT.minimum_n
        assert release.end - release.start <= DEFAULT.longest_days
        names = {waiting[i].key for i in release.members}
        assert names == {release.key} or release.key[0] == POOLED


@given(days, st.permutations(range(40)))
@settings(max_examples=60, deadline=None)
def test_the_cut_does_not_depend_on_the_order_in_which_rows_wait(
    given_days: list[tuple[str, int, int]], order: list[int]
) -> None:
    distinct = {(s, d): n for s, d, n in given_days}
    waiting = [
        Waiting(key(s), DAY + d, DAY + d + 1, a_case_row(n)) for (s, d), n in distinct.items()
    ]
    shuffled = [waiting[i] for i in order if i < len(waiting)]

    one, other = (_leaving(cut_cases(SCHEMA, w, DAY + 60)) for w in (waiting, shuffled))

    assert one == other


def _leaving(cut: Cut) -> list[tuple[tuple[str, ...], int, int, bytes]]:
    return sorted((r.key, r.start, r.end, r.row.tobytes()) for r in cut.released)


def test_days_too_small_wait_for_each_other() -> None:
    waiting = [Waiting(key("a"), DAY + d, DAY + d + 1, a_case_row(8)) for d in range(4)]

    cut = cut_cases(SCHEMA, waiting, DAY + 4)

    [release] = cut.released
    assert (release.start, release.end, release.members) == (DAY, DAY + 3, (0, 1, 2))
    assert cut.kept == (3,)


def test_a_stratum_too_small_for_a_fortnight_is_pooled_with_the_sites_others() -> None:
    waiting = [Waiting(key(s), DAY, DAY + 1, a_case_row(12)) for s in ("a", "b")]

    early = cut_cases(SCHEMA, waiting, DAY + 13)
    late = cut_cases(SCHEMA, waiting, DAY + 14)

    assert early.kept == (0, 1)
    [release] = late.released
    assert release.key[0] == POOLED
    assert set(release.members) == {0, 1}


def test_what_stays_too_small_in_the_pool_is_held_back() -> None:
    waiting = [Waiting(key("a"), DAY, DAY + 1, a_case_row(19))]

    assert cut_cases(SCHEMA, waiting, DAY + 27).kept == (0,)
    assert cut_cases(SCHEMA, waiting, DAY + 28).held_back == (0,)


def test_a_day_that_is_not_closed_is_refused() -> None:
    waiting = [Waiting(key("a"), DAY, DAY + 1, a_case_row(30))]

    with pytest.raises(ContractError, match=f"closed days before {DAY} expected"):
        cut_cases(SCHEMA, waiting, DAY)


def test_sums_over_few_cases_are_left_out_of_a_row_that_leaves() -> None:
    row = a_case_row(30, complete=3)

    safe = withhold_small(SCHEMA, row)

    assert not safe[SCHEMA.columns["joint_n"]].any()
    assert not safe[SCHEMA.columns["joint_sum"]].any()
    assert safe[SCHEMA.columns["numeric_sums"]].any()


def test_a_characteristic_measured_on_few_cases_is_left_out_as_a_whole() -> None:
    row = a_case_row(30)
    row[SCHEMA.columns["numeric_counts"]] = [0, 2, 0, 0, 0, 28]

    safe = withhold_small(SCHEMA, row)

    assert not safe[SCHEMA.columns["numeric_counts"]].any()
    assert not safe[SCHEMA.columns["numeric_sums"]].any()


def test_a_quasi_identifying_characteristic_with_a_small_cell_does_not_leave() -> None:
    schema = a_schema("quasi_identifying")
    row = a_case_row(40, schema)
    row[schema.columns["categorical_counts"]] = [35, 5, 0, 0]

    safe = withhold_small(schema, row)

    assert not safe[schema.columns["categorical_counts"]].any()
    assert safe[schema.columns["numeric_counts"]].any()
    row[schema.columns["categorical_counts"]] = [25, 15, 0, 0]
    assert withhold_small(schema, row)[schema.columns["categorical_counts"]].any()


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 130)), max_size=20))
@settings(max_examples=80, deadline=None)
def test_second_moments_leave_from_a_hundred_cases_over_at_most_four_weeks(
    weeks: list[tuple[int, int]],
) -> None:
    n = SCHEMA.moment_columns["n"].start
    waiting = []
    for week, cases in weeks:
        row = np.zeros(SCHEMA.width(SCHEMA.moment_columns), dtype=np.int64)
        row[n] = cases
        waiting.append(Waiting(key("a"), DAY + 7 * week, DAY + 7 * week + 7, row))

    cut = cut_moments(SCHEMA, waiting, DAY + 100)

    for release in cut.released:
        assert release.row[n] >= 100
        assert release.end - release.start <= 28
    left = sum(int(r.row[n]) for r in cut.released)
    rest = sum(int(waiting[i].row[n]) for i in (*cut.kept, *cut.held_back))
    assert left + rest == sum(cases for _, cases in weeks)


@given(
    st.lists(
        st.tuples(st.integers(0, 12), st.lists(st.integers(0, 9), min_size=4, max_size=4)),
        max_size=15,
    )
)
@settings(max_examples=80, deadline=None)
def test_label_tables_leave_whole_with_thirty_labels_in_three_bins(
    weeks: list[tuple[int, list[int]]],
) -> None:
    waiting = [
        Waiting(("random_audit", "A", ""), DAY + 7 * w, DAY + 7 * w + 7, a_label_row(counts))
        for w, counts in weeks
    ]

    cut = cut_labels(SCHEMA, waiting, DAY + 200)

    for release in cut.released:
        labelled = release.row[SCHEMA.label_columns["labelled"]]
        assert labelled.sum() >= 30
        assert (labelled > 0).sum() >= 3
    assert not cut.held_back
    total = sum(r.row for r in cut.released) + sum(waiting[i].row for i in cut.kept)
    assert np.array_equal(total, sum(w.row for w in waiting) if waiting else 0)


def a_margin_row(analysed: int, flagged: int, labelled: int = 0) -> np.ndarray:
    row = np.zeros(SCHEMA.width(SCHEMA.margin_columns), dtype=np.int64)
    row[0], row[1] = analysed, flagged
    row[SCHEMA.margin_columns["labelled"]] = labelled
    return row


def test_a_small_sub_group_takes_a_second_one_with_it() -> None:
    rows = {
        ("sex", "f"): a_margin_row(200, 40),
        ("sex", "m"): a_margin_row(150, 30),
        ("sex", "o"): a_margin_row(5, 0),
    }

    safe = cut_subgroups(SCHEMA, rows)

    assert set(safe) == {("sex", "f")}


def test_sub_groups_that_are_all_large_leave_all() -> None:
    rows = {("sex", "f"): a_margin_row(200, 40), ("sex", "m"): a_margin_row(150, 30)}

    assert set(cut_subgroups(SCHEMA, rows)) == set(rows)


def test_cases_of_no_listed_level_are_not_given_away_by_the_others() -> None:
    # 200 cases, 60 flagged in all: both sexes together leave two cases, one of them flagged.
    rows = {
        ("sex", "f"): a_margin_row(100, 30),
        ("sex", "m"): a_margin_row(98, 29),
        ("sex", UNLISTED): a_margin_row(2, 1),
    }

    assert set(cut_subgroups(SCHEMA, rows)) == {("sex", "f")}


def test_many_cases_of_no_listed_level_are_not_shown_and_take_nobody_with_them() -> None:
    rows = {
        ("sex", "f"): a_margin_row(200, 40),
        ("sex", "m"): a_margin_row(150, 30),
        ("sex", UNLISTED): a_margin_row(60, 20),
    }

    assert set(cut_subgroups(SCHEMA, rows)) == {("sex", "f"), ("sex", "m")}


def test_few_labels_of_a_sub_group_leave_its_case_counts_alone() -> None:
    rows = {
        ("sex", "f"): a_margin_row(200, 40, labelled=20),
        ("sex", "m"): a_margin_row(150, 30, labelled=4),
    }

    safe = cut_subgroups(SCHEMA, rows)

    assert [safe["sex", level][0] for level in "fm"] == [200, 150]
    assert not any(safe["sex", level][SCHEMA.margin_columns["labelled"]].any() for level in "fm")


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), min_size=1, max_size=6))
@settings(max_examples=200, deadline=None)
def test_no_small_cell_can_be_read_or_subtracted_from_sub_groups(
    cells: list[tuple[int, int]],
) -> None:
    rows = {
        ("age", str(i)): a_margin_row(flagged + other, flagged)
        for i, (flagged, other) in enumerate(cells)
    }

    safe = cut_subgroups(SCHEMA, rows)

    def cells_of(row: np.ndarray) -> np.ndarray:
        return np.array([row[0], row[1], row[0] - row[1]])

    total = sum(cells_of(row) for row in rows.values())
    hidden = total - sum((cells_of(row) for row in safe.values()), np.zeros(3, dtype=np.int64))
    for shown in [*(cells_of(row) for row in safe.values()), hidden]:
        assert not ((shown > 0) & (shown < DEFAULT.k)).any() or not safe


def test_small_daily_counts_are_rounded_and_large_ones_exact() -> None:
    assert [rounded_count(n) for n in (0, 4, 5, 14, 19, 20, 37)] == [0, 0, 10, 10, 20, 20, 37]


def test_a_limit_below_one_is_refused() -> None:
    with pytest.raises(ContractError, match="k: at least 1 expected"):
        Limits(k=0)


def test_joint_sums_of_a_characteristic_that_few_cases_have_do_not_leave() -> None:
    row = np.full(SCHEMA.width(SCHEMA.columns), 100, dtype=np.int64)
    row[SCHEMA.columns["numeric_counts"]] = [0, 1, 0, 0, 0, 99]  # one value, the others missing

    sums = withhold_small(SCHEMA, row)[SCHEMA.columns["joint_sum"]]

    assert sums.tolist() == [100, 100, 100, 0, 0]
