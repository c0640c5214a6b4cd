from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from monitor_builders import THRESHOLD, a_joint, a_schema, one_case, some_cases, take

from monitors.errors import MonitorError
from monitors.schema import JOINT_CLIP, JOINT_UNITS, NUMERIC_UNITS, TALLIES, IntArray
from monitors.summaries import (
    Cases,
    categorical_counts,
    joint_covariance,
    joint_means,
    joint_vector,
    numeric_counts,
    numeric_means,
    quantised_joint,
    score_bin,
    score_counts,
    second_moments,
    summarise,
    tallies,
)

SCHEMA = a_schema()


def the_row(cases: Cases) -> IntArray:
    return summarise(SCHEMA, cases, np.zeros(len(cases), dtype=np.int64), 1)[0]


# Merging -------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(0, 60),
    groups=st.integers(1, 7),
    order=st.randoms(use_true_random=False),
)
def test_rows_of_any_partition_add_to_the_row_of_the_whole_exactly(
    seed: int, n: int, groups: int, order: object
) -> None:
    cases = some_cases(n, seed=seed)
    group = np.random.default_rng(seed).integers(0, groups, n)
    shuffled = list(range(groups))
    order.shuffle(shuffled)  # type: ignore[attr-defined]

    parts = summarise(SCHEMA, cases, group, groups)

    assert parts[shuffled].sum(axis=0).tolist() == the_row(cases).tolist()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 60))
def test_the_order_of_cases_leaves_no_trace(seed: int, n: int) -> None:
    cases = some_cases(n, seed=seed)
    shuffled = np.random.default_rng(seed).permutation(n)

    assert the_row(take(cases, shuffled)).tolist() == the_row(cases).tolist()


def test_a_window_without_cases_is_a_row_of_zeros() -> None:
    row = the_row(some_cases(0))

    assert row.shape == (SCHEMA.width(SCHEMA.columns),)
    assert not row.any()


def test_rows_are_integers_of_64_bits() -> None:
    assert the_row(some_cases(5)).dtype == np.int64


# Scores and edges ----------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.floats(0.0, 1.0),
            st.sampled_from([THRESHOLD, np.nextafter(THRESHOLD, 0), np.nextafter(THRESHOLD, 1)]),
        ),
        min_size=1,
        max_size=30,
    )
)
def test_counting_from_a_threshold_bin_is_score_at_least_threshold(scores: list[float]) -> None:
    edges = SCHEMA.scores[0].edges
    n = len(scores)
    cases = some_cases(n)
    cases.scores[:, 0] = scores

    counts = score_counts(SCHEMA, the_row(cases))[0]

    for at, threshold in enumerate(edges[:-1]):
        assert counts[at:-1].sum() == sum(s >= threshold for s in scores)
    assert counts.sum() == n


@pytest.mark.parametrize(
    ("score", "bin_"), [(0.0, 0), (0.1, 1), (np.nextafter(0.1, 0), 0), (0.35, 3), (1.0, 5)]
)
def test_a_score_on_an_edge_belongs_to_the_bin_above(score: float, bin_: int) -> None:
    assert score_bin(SCHEMA, np.array([score])).tolist() == [bin_]


def test_a_missing_score_is_counted_as_missing_and_leaves_the_joint_vector_out() -> None:
    row = the_row(one_case(scores=(np.nan, 0.9)))

    assert score_counts(SCHEMA, row)[0].tolist() == [0, 0, 0, 0, 0, 0, 1]
    assert score_counts(SCHEMA, row)[1].tolist() == [0, 0, 0, 0, 0, 1, 0]
    assert joint_means(SCHEMA, row)[0] == 0


# Characteristics -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "place"),
    [
        (-1e-9, 0),
        (-np.inf, 0),
        (0.0, 1),
        (5.0, 2),
        (np.nextafter(5.0, 0), 1),
        (39.999, 8),
        (40.0, 8),
        (np.nextafter(40.0, 50), 9),
        (np.inf, 9),
        (np.nan, 10),
    ],
)
def test_a_value_is_under_in_a_bin_over_or_missing(value: float, place: int) -> None:
    counts = numeric_counts(SCHEMA, the_row(one_case(numeric=(value, 100.0))))

    assert counts[0].tolist() == np.eye(11, dtype=int)[place].tolist()
    assert counts[1].sum() == 1


def test_means_and_mean_squares_come_back_in_the_unit_of_the_characteristic() -> None:
    cases = some_cases(500)
    inside = np.clip(cases.numeric, [0.0, 60.0], [40.0, 140.0])
    step = np.array([40.0, 80.0]) / NUMERIC_UNITS

    n, mean, square = numeric_means(SCHEMA, the_row(cases))

    assert n.tolist() == [500, 500]
    assert np.all(np.abs(mean - inside.mean(axis=0)) < step)
    assert np.all(np.abs(square - (inside**2).mean(axis=0)) < 2 * step * [40.0, 140.0])


def test_missing_values_count_in_no_mean() -> None:
    cases = some_cases(4)
    cases.numeric[:, 0] = [10.0, np.nan, 20.0, np.nan]

    n, mean, _ = numeric_means(SCHEMA, the_row(cases))

    assert n.tolist() == [2, 4]
    assert mean[0] == pytest.approx(15.0, abs=1e-4)


def test_a_characteristic_never_seen_has_no_mean() -> None:
    n, mean, square = numeric_means(SCHEMA, the_row(one_case(numeric=(np.nan, 100.0))))

    assert n.tolist() == [0, 1]
    assert np.isnan(mean[0]) and np.isnan(square[0])


def test_a_category_is_approved_other_or_missing() -> None:
    cases = some_cases(4)
    cases.categorical[:] = [[0, 0], [1, 2], [2, 3], [-1, -1]]

    view, sex = categorical_counts(SCHEMA, the_row(cases))

    assert view.tolist() == [1, 1, 1, 1]
    assert sex.tolist() == [1, 0, 1, 1, 1]


def test_a_schema_without_categories_has_none_to_count() -> None:
    schema = a_schema(categorical=())
    cases = Cases(**{**fields(some_cases(3)), "categorical": np.zeros((3, 0), dtype=np.int64)})

    row = summarise(schema, cases, np.zeros(3, dtype=np.int64), 1)[0]

    assert categorical_counts(schema, row) == []


def test_a_schema_without_characteristics_counts_scores_and_embeddings_alone() -> None:
    plain = a_joint()
    at = plain.blocks
    kept = np.r_[at["score"], at["embedding"], at["fourier"]]
    joint = a_joint(acquisition=(), centre=plain.centre[kept], scale=plain.scale[kept])
    schema = a_schema(numeric=(), categorical=(), joint=joint)
    n = 9000  # more than one core's share
    some = fields(some_cases(n)) | {"numeric": np.zeros((n, 0))}
    cases = Cases(**{**some, "categorical": np.zeros((n, 0), dtype=np.int64)})

    row = summarise(schema, cases, np.zeros(n, dtype=np.int64), 1)[0]

    assert score_counts(schema, row).sum(axis=-1).tolist() == [n, n]
    assert joint_means(schema, row)[1] == pytest.approx(
        joint_means(SCHEMA, the_row(some_cases(n)))[1][kept], abs=1e-3
    )


def test_a_large_table_is_the_sum_of_its_parts_on_any_number_of_cores() -> None:
    cases = some_cases(20_000)
    parts = [take(cases, np.arange(i, 20_000, 5)) for i in range(5)]

    assert np.array_equal(the_row(cases), sum(the_row(part) for part in parts))


def test_the_largest_sums_are_exact() -> None:
    n = 20_001
    cases = some_cases(n)
    cases.numeric[:] = 1e9  # beyond every outer edge, where each counts most

    sums = the_row(cases)[SCHEMA.columns["numeric_sums"]].reshape(-1, 2)

    assert sums.tolist() == [[n * NUMERIC_UNITS, n * NUMERIC_UNITS**2]] * len(SCHEMA.numeric)


def fields(cases: Cases) -> dict[str, np.ndarray]:
    return {name: getattr(cases, name) for name in Cases.__dataclass_fields__}


# Outcomes ------------------------------------------------------------------------------------


def test_every_case_received_is_in_the_tallies_and_only_analysed_ones_elsewhere() -> None:
    cases = some_cases(6)
    cases.outcome[:] = range(6)

    row = the_row(cases)

    assert {name: int(count) for name, count in tallies(SCHEMA, row).items()} == {
        "analysed": 2,  # a flagged case was analysed too
        "flagged": 1,
        "abstained": 1,
        "quality_rejected": 1,
        "outside_limits": 1,
        "failed": 1,
    }
    assert score_counts(SCHEMA, row).sum() == 2 * 2
    assert joint_means(SCHEMA, row)[0] == 2


# The joint vector ----------------------------------------------------------------------------


def test_the_joint_vector_is_what_the_schema_says() -> None:
    joint = a_joint(centre=np.zeros(14), scale=np.ones(14))
    schema = a_schema(joint=joint)
    e = np.array([0.1, -0.2, 0.3])
    case = one_case(numeric=(1.5, 61.0), scores=(0.2, 0.9), embedding=e)

    phi = joint_vector(joint, schema, case)[0]

    logit = np.log(0.2 / 0.8)
    assert phi[:3] == pytest.approx([logit, 0.2, logit**2])
    assert phi[3:7] == pytest.approx([1.5, JOINT_CLIP, 1.5**2, JOINT_CLIP])  # clipped
    assert phi[7:10] == pytest.approx(e)
    assert phi[10:] == pytest.approx(np.cos(joint.omega @ e + joint.phase) * np.sqrt(2 / 4))


def test_a_score_of_exactly_zero_or_one_has_a_finite_logit() -> None:
    cases = some_cases(2)
    cases.scores[:, 0] = [0.0, 1.0]

    assert np.isfinite(joint_vector(SCHEMA.joint, SCHEMA, cases)).all()


@pytest.mark.parametrize("part", ["scores", "embedding"])
def test_an_incomplete_case_counts_in_no_joint_moment(part: str) -> None:
    cases = some_cases(10)
    getattr(cases, part)[3, 0] = np.nan

    n, mean = joint_means(SCHEMA, the_row(cases))
    kept = the_row(take(cases, np.delete(np.arange(10), 3)))

    assert n == 9
    assert mean.tolist() == joint_means(SCHEMA, kept)[1].tolist()


def test_a_missing_characteristic_counts_as_the_reference_mean_and_costs_nothing_else() -> None:
    cases = some_cases(10)
    cases.numeric[3, 0] = np.nan
    mean = SCHEMA.joint.blocks["acquisition"].start

    phi = joint_vector(SCHEMA.joint, SCHEMA, cases)
    whole = joint_vector(SCHEMA.joint, SCHEMA, some_cases(10))

    assert joint_means(SCHEMA, the_row(cases))[0] == 10
    assert phi[3, mean] == 0.0
    assert np.array_equal(np.delete(phi, 3, axis=0), np.delete(whole, 3, axis=0))


def test_products_of_a_characteristic_that_few_cases_have_do_not_leave() -> None:
    cases = some_cases(60)
    cases.numeric[1:, 0] = np.nan
    covariance = joint_covariance(SCHEMA, second_moments(SCHEMA, cases, np.zeros(60, dtype=int)))
    at = SCHEMA.joint.blocks["acquisition"].start

    assert not covariance[at].any()
    assert covariance[at + 1].any()


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_an_infinite_embedding_is_an_incomplete_case(value: float) -> None:
    cases = some_cases(10)
    cases.embedding[3, 0] = value

    assert joint_means(SCHEMA, the_row(cases))[0] == 9


def test_joint_means_are_exact_to_half_a_fixed_point_step() -> None:
    cases = some_cases(300)

    _, mean = joint_means(SCHEMA, the_row(cases))

    exact = joint_vector(SCHEMA.joint, SCHEMA, cases).mean(axis=0)
    assert np.abs(mean - exact).max() <= 0.5 / JOINT_UNITS


def test_no_case_moves_a_sum_by_more_than_the_clip() -> None:
    cases = some_cases(50)
    cases.numeric[0] = [1e300, -1e300]
    cases.embedding[0] = 1e12

    quantised, _ = quantised_joint(SCHEMA, cases)

    assert np.abs(quantised).max() <= JOINT_CLIP * JOINT_UNITS


# Second moments ------------------------------------------------------------------------------


def test_the_covariance_of_one_day_is_numpys() -> None:
    cases = some_cases(400)
    row = second_moments(SCHEMA, cases, np.zeros(400, dtype=np.int64))

    covariance = joint_covariance(SCHEMA, row)

    exact = np.cov(joint_vector(SCHEMA.joint, SCHEMA, cases).T)
    assert np.abs(covariance - exact).max() < 2.0 / JOINT_UNITS
    assert row[SCHEMA.moment_columns["n"]].tolist() == [400]
    assert row[SCHEMA.moment_columns["dof"]].tolist() == [399]


def test_a_shift_between_days_is_no_part_of_the_covariance_within_days() -> None:
    cases = some_cases(400)
    day = np.arange(400) % 4
    moved = some_cases(400)
    moved.embedding[:, 0] += day / 2

    at = SCHEMA.joint.blocks["embedding"].start
    still = joint_covariance(SCHEMA, second_moments(SCHEMA, cases, day))[at, at]
    shifted = joint_covariance(SCHEMA, second_moments(SCHEMA, moved, day))[at, at]

    assert shifted == pytest.approx(still, rel=1e-3)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_second_moments_of_days_add_exactly(seed: int) -> None:
    cases = some_cases(60, seed=seed)
    day = np.random.default_rng(seed).integers(0, 5, 60)

    parts = [
        second_moments(SCHEMA, take(cases, np.flatnonzero(day == d)), day[day == d])
        for d in range(5)
    ]

    assert np.sum(parts, axis=0).tolist() == second_moments(SCHEMA, cases, day).tolist()


def test_only_analysed_cases_have_second_moments() -> None:
    cases = some_cases(20)
    cases.outcome[:5] = TALLIES.index("quality_rejected")
    day = np.zeros(20, dtype=np.int64)

    assert (
        second_moments(SCHEMA, cases, day).tolist()
        == second_moments(SCHEMA, take(cases, np.arange(5, 20)), day[5:]).tolist()
    )


def test_a_single_case_a_day_has_no_covariance() -> None:
    row = second_moments(SCHEMA, some_cases(3), np.arange(3))

    with pytest.raises(MonitorError, match="need at least 2 cases on one day, got 0 dof"):
        joint_covariance(SCHEMA, row)


# Refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "value", "message"),
    [
        ("numeric", np.zeros((3, 1)), r"numeric: shape \(3, 2\) expected, got \(3, 1\)"),
        ("categorical", np.zeros((2, 2), int), r"categorical: shape \(3, 2\) expected"),
        ("embedding", np.zeros((3, 9)), r"embedding: shape \(3, 3\) expected, got \(3, 9\)"),
        ("scores", np.full((3, 2), 1.01), r"scores must lie in \[0, 1\]"),
        ("scores", np.full((3, 2), -0.01), r"scores must lie in \[0, 1\]"),
        ("scores", np.full((3, 2), np.inf), r"scores must lie in \[0, 1\]"),
        ("categorical", np.full((3, 2), 4), "codes must run from -1"),
        ("categorical", np.full((3, 2), -2), "codes must run from -1"),
        ("outcome", np.full(3, 6), "an index into 6 tallies expected"),
        ("outcome", np.full(3, -1), "an index into 6 tallies expected"),
    ],
)
def test_measurements_that_do_not_fit_the_schema_are_refused(
    part: str, value: np.ndarray, message: str
) -> None:
    cases = Cases(**{**fields(some_cases(3)), part: value})

    with pytest.raises(MonitorError, match=message):
        the_row(cases)


@pytest.mark.parametrize("group", [[0, 1], [0, 1, 2], [0, -1, 1]])
def test_a_group_that_does_not_exist_is_refused(group: list[int]) -> None:
    with pytest.raises(MonitorError, match=r"group: one of 0 \.\. 1 expected for each case"):
        summarise(SCHEMA, some_cases(3), np.array(group), 2)
