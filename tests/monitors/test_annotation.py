from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats
from scipy.special import expit, logit

from monitors.annotation import (
    double_difference,
    mantel_haenszel,
    mcnemar,
    recalibrate,
    sentinel_reads,
)
from monitors.errors import MonitorError, NotAssessable
from monitors.schema import FloatArray

# Bickel, Hammel and O'Connell (1975), Science 187, 398-404: admitted and rejected by department.
MEN = np.array([[512, 313], [353, 207], [120, 205], [138, 279], [53, 138], [22, 351]])
WOMEN = np.array([[89, 19], [17, 8], [202, 391], [131, 244], [94, 299], [24, 317]])
# Mantel (1963), JASA 58, 690-700, penicillin and rabbits: cured, died; at once and delayed.
AT_ONCE = np.array([[0, 6], [3, 3], [6, 0], [5, 1], [2, 0]])
DELAYED = np.array([[0, 5], [0, 6], [2, 4], [6, 0], [5, 0]])
# Bliss (1935), in Dobson, table 7.2: log10 dose, beetles exposed, beetles killed.
DOSE = np.array([1.6907, 1.7242, 1.7552, 1.7842, 1.8113, 1.8369, 1.8610, 1.8839])
EXPOSED = np.array([59, 60, 62, 56, 63, 59, 62, 60])
KILLED = np.array([6, 13, 18, 28, 52, 53, 61, 60])

LOGITS = np.array([-4.0, -2.0, -0.5, 1.0])


def labelled(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return table.sum(axis=-1), table[..., 0]


tables = hnp.arrays(np.int64, (2, 4, 2), elements=st.integers(1, 60))


# Published numbers ---------------------------------------------------------------------------


def test_admissions_to_berkeley_have_the_odds_ratio_r_prints() -> None:
    # R's mantelhaen.test(UCBAdmissions, correct = FALSE) and vcd::woolf_test.
    result = mantel_haenszel(labelled(WOMEN), labelled(MEN))

    assert result.odds_ratio == pytest.approx(0.9046968, abs=5e-8)
    assert (result.low, result.high) == pytest.approx((0.7719074, 1.0603298), abs=5e-7)
    assert result.statistic == pytest.approx(1.5246, abs=5e-5)
    assert result.homogeneity == pytest.approx(0.003072, abs=5e-7)


def test_few_rabbits_are_compared_exactly() -> None:
    # R's mantelhaen.test(Rabbits): exact conditional p = 0.03994; odds ratio 7, 1.026713 to
    # 47.725133; X2 without correction 5.6571.
    result = mantel_haenszel(labelled(DELAYED), labelled(AT_ONCE))

    assert result.p_value == pytest.approx(0.03994, abs=5e-6)
    assert result.odds_ratio == pytest.approx(7.0)
    assert (result.low, result.high) == pytest.approx((1.026713, 47.725133), abs=5e-6)
    assert result.statistic == pytest.approx(5.6571, abs=5e-5)


def test_the_logistic_fit_is_dobsons() -> None:
    # Dobson, An Introduction to Generalized Linear Models, table 7.4: slope 34.27 (2.91).
    result = recalibrate((EXPOSED, KILLED), DOSE)

    assert result.slope == pytest.approx(34.270, abs=0.001)
    assert result.slope_error == pytest.approx(2.912, abs=0.001)


@pytest.mark.parametrize(
    ("gained", "lost", "p"), [(5, 1, 0.21875), (10, 0, 0.001953125), (3, 3, 1)]
)
def test_paired_reads_are_compared_by_the_binomial(gained: int, lost: int, p: float) -> None:
    assert mcnemar(gained, lost) == pytest.approx(p)


# Other routes to the same number -------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9), st.integers(1, 9))
def test_one_small_stratum_is_fishers_exact_test(a: int, b: int, c: int, d: int) -> None:
    assume(min(a + b, c + d, a + c, b + d) < 10)
    spread = (a + b) * (a + c) / (a + b + c + d)
    assume(spread - max(0, a - d) < 5)

    result = mantel_haenszel(([c + d], [c]), ([a + b], [a]))

    assert result.p_value == pytest.approx(stats.fisher_exact([[a, b], [c, d]]).pvalue, rel=1e-6)


def test_labels_shifted_on_the_logit_are_measured_as_shifted() -> None:
    n = np.full(4, 1e6)

    result = recalibrate((n, n * expit(0.3 + LOGITS)), LOGITS)

    assert result.intercept == pytest.approx(0.3, abs=1e-6)
    assert result.slope == pytest.approx(1.0, abs=1e-6)
    assert result.slope_p == pytest.approx(1.0, abs=1e-3)
    assert result.intercept_p < 1e-12


def test_noisier_labels_flatten_the_slope() -> None:
    n, p = np.full(4, 5000.0), expit(LOGITS)

    result = recalibrate((n, n * (0.9 * p + 0.1 * (1 - p))), LOGITS)

    assert result.slope < 0.7
    assert result.slope_p < 1e-6 and result.joint_p < 1e-6


# Invariances ---------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(tables, st.permutations(range(4)))
def test_neither_the_order_of_strata_nor_the_names_of_groups_matter(
    counts: np.ndarray, order: list[int]
) -> None:
    plain = mantel_haenszel(labelled(counts[0]), labelled(counts[1]))
    permuted = mantel_haenszel(labelled(counts[0][order]), labelled(counts[1][order]))
    exchanged = mantel_haenszel(labelled(counts[1]), labelled(counts[0]))

    assert permuted.p_value == pytest.approx(float(plain.p_value))
    assert permuted.odds_ratio == pytest.approx(float(plain.odds_ratio))
    assert exchanged.p_value == pytest.approx(float(plain.p_value), rel=1e-6)
    assert exchanged.odds_ratio == pytest.approx(1 / float(plain.odds_ratio))
    assert exchanged.low == pytest.approx(1 / float(plain.high))


@settings(max_examples=20, deadline=None)
@given(tables)
def test_several_comparisons_at_once_are_each_alone(counts: np.ndarray) -> None:
    first = np.stack([counts[0], counts[1]])
    second = np.stack([counts[1], counts[1]])

    together = mantel_haenszel(labelled(first), labelled(second))

    alone = mantel_haenszel(labelled(counts[0]), labelled(counts[1]))
    assert together.p_value.shape == (2,)
    assert together.p_value[0] == pytest.approx(float(alone.p_value))
    assert together.odds_ratio[1] == pytest.approx(1.0)


def test_a_stratum_without_one_of_the_groups_changes_nothing() -> None:
    women, men = np.vstack([WOMEN, [[30, 40]]]), np.vstack([MEN, [[0, 0]]])

    plain = mantel_haenszel(labelled(WOMEN), labelled(MEN))
    with_empty = mantel_haenszel(labelled(women), labelled(men))

    assert with_empty.p_value == pytest.approx(float(plain.p_value))
    assert with_empty.homogeneity == pytest.approx(float(plain.homogeneity))


# Behaviour -----------------------------------------------------------------------------------


def test_labels_that_cluster_by_reader_count_for_less() -> None:
    plain = mantel_haenszel(labelled(WOMEN), labelled(MEN))
    clustered = mantel_haenszel(labelled(WOMEN), labelled(MEN), design_effect=2.0)
    rough = recalibrate((EXPOSED, KILLED), DOSE, design_effect=4.0)

    assert clustered.statistic == pytest.approx(plain.statistic / 2)
    assert clustered.low < plain.low < plain.high < clustered.high
    assert rough.slope_error == pytest.approx(2 * 2.912, abs=0.002)


def test_clustering_never_makes_a_sparse_comparison_more_certain() -> None:
    plain = mantel_haenszel(labelled(DELAYED), labelled(AT_ONCE))
    clustered = mantel_haenszel(labelled(DELAYED), labelled(AT_ONCE), design_effect=3.0)

    assert clustered.p_value > plain.p_value


@pytest.mark.parametrize(("second", "ratio"), [([[5, 0], [4, 0]], np.inf), ([[0, 5], [0, 4]], 0.0)])
def test_an_odds_ratio_without_discordance_is_unbounded(
    second: list[list[int]], ratio: float
) -> None:
    first = np.array([[3, 4], [2, 5]])

    result = mantel_haenszel(labelled(first), labelled(np.array(second)))

    assert result.odds_ratio == ratio
    assert 0 < result.p_value < 0.2


def test_a_changed_prevalence_explains_its_own_part_of_the_labels() -> None:
    explained = double_difference(0.5, 0.1, 0.5, 0.1)
    unexplained = double_difference(0.5, 0.1, 0.0, 0.0)

    assert explained.z == pytest.approx(0.0)
    assert explained.standard_error == pytest.approx(0.02**0.5)
    assert unexplained.z == pytest.approx(5.0)
    assert unexplained.p_value == pytest.approx(2 * stats.norm.sf(5))


# Fixed images --------------------------------------------------------------------------------


def some_reads(rates: FloatArray, reads: int, seed: int) -> tuple[FloatArray, FloatArray]:
    rng = np.random.default_rng(seed)
    return np.full(rates.shape, float(reads)), rng.binomial(reads, rates).astype(float)


def test_readers_who_call_more_images_positive_have_shifted() -> None:
    rates = np.repeat([0.05, 0.5, 0.95], 67)
    reference = some_reads(rates, 6, seed=1)

    same = sentinel_reads(reference, some_reads(rates, 1, seed=2))
    over = sentinel_reads(reference, some_reads(np.minimum(rates + 0.25, 1), 1, seed=2))

    assert abs(same.net.z) < 2.6
    assert over.net.z > 3.5
    assert over.images == 201


def test_the_net_shift_is_its_formula() -> None:
    n, k = np.array([4.0, 2.0, 5.0]), np.array([1.0, 1.0, 5.0])
    y = np.array([1.0, 0.0, 1.0])

    result = sentinel_reads((n, k), (np.ones(3), y))

    spread = k * (n - k) / (n * (n - 1))
    z = (y - k / n).sum() / np.sqrt((spread * (1 + 1 / n)).sum())
    assert result.net.z == pytest.approx(z)
    assert result.net.value == pytest.approx((y - k / n).mean())
    disagreement = y * (1 - k / n) + (1 - y) * k / n - 2 * spread
    assert result.disagreement.value == pytest.approx(disagreement.mean())
    assert result.disagreement.z == pytest.approx(
        disagreement.mean() / (disagreement.std(ddof=1) / 3**0.5)
    )


def test_images_not_read_now_or_only_once_before_are_left_out() -> None:
    n, k = np.array([4.0, 2.0, 5.0]), np.array([1.0, 1.0, 5.0])
    y = np.array([1.0, 0.0, 1.0])

    plain = sentinel_reads((n, k), (np.ones(3), y))
    padded = sentinel_reads(
        (np.append(n, [1.0, 6.0]), np.append(k, [1.0, 3.0])),
        (np.append(np.ones(3), [1.0, 0.0]), np.append(y, [0.0, 0.0])),
    )

    assert padded.images == 3
    assert padded.net.z == pytest.approx(float(plain.net.z))
    assert padded.disagreement.z == pytest.approx(float(plain.disagreement.z))


# Refusals ------------------------------------------------------------------------------------


def test_labels_that_compare_nothing_are_refused() -> None:
    with pytest.raises(NotAssessable, match="CMH: labels of both kinds and of both groups needed"):
        mantel_haenszel(([5], [5]), ([7], [7]))
    with pytest.raises(MonitorError, match="second group: 0 <= positive <= labelled expected"):
        mantel_haenszel(([5], [5]), ([7], [8]))
    with pytest.raises(MonitorError, match="first group: 0 <= positive <= labelled expected"):
        mantel_haenszel(([5], [-1]), ([7], [1]))


@pytest.mark.parametrize(
    ("n", "y"), [([10, 10], [0, 0]), ([10, 10], [10, 10]), ([10, 0], [5, 0]), ([9, 9], [0, 9])]
)
def test_labels_that_fit_any_slope_are_refused(n: list[int], y: list[int]) -> None:
    with pytest.raises(NotAssessable, match="recalibration: labels of both kinds at 2 or more"):
        recalibrate((n, y), [-1.0, 1.0])


def test_logits_and_errors_that_are_none_are_refused() -> None:
    with pytest.raises(MonitorError, match="expected_logit must be finite"):
        recalibrate(([5, 5], [1, 2]), logit([0.0, 0.5]))
    with pytest.raises(MonitorError, match="intercept > 0 and prior shift >= 0 expected"):
        double_difference(0.1, 0.0, 0.1, 0.1)
    with pytest.raises(MonitorError, match="paired reads: counts must not be negative"):
        mcnemar(-1, 2)


def test_sentinels_nobody_read_or_disagreed_on_are_not_assessable() -> None:
    with pytest.raises(NotAssessable, match="at least 2 images read now and twice before needed"):
        sentinel_reads(([4, 4], [1, 2]), ([1, 0], [1, 0]))
    with pytest.raises(NotAssessable, match="no image on which the reads ever differed"):
        sentinel_reads(([4, 4], [4, 0]), ([1, 1], [1, 0]))
    with pytest.raises(MonitorError, match="current reads: 0 <= positive <= labelled expected"):
        sentinel_reads(([4, 4], [4, 0]), ([1, 1], [2, 0]))
