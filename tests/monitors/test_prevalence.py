from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from monitors.errors import MonitorError, NotAssessable
from monitors.prevalence import (
    Classes,
    bbse,
    bbse_classes,
    consequences,
    em_prevalence,
    gold_label_worth,
    label_shift_fit,
    mlls,
    prior_corrected,
)
from monitors.schema import FloatArray

THRESHOLD_BIN = 12


def binormal(auc: float, bins: int = 20) -> tuple[FloatArray, FloatArray]:
    """Bin probabilities of negatives and positives, unit normals d' apart."""
    distance = np.sqrt(2) * stats.norm.ppf(auc)
    edges = distance / 2 + 1.3 * stats.norm.ppf(np.linspace(0, 1, bins + 1))
    return np.diff(stats.norm.cdf(edges)), np.diff(stats.norm.cdf(edges - distance))


def a_reference(auc: float = 0.9, n0: float = 8e8, n1: float = 2e8) -> Classes:
    q0, q1 = binormal(auc)
    return Classes(n0 * q0, n1 * q1)


def a_mixture(prevalence: float, n: float = 1e6, auc: float = 0.9) -> FloatArray:
    q0, q1 = binormal(auc)
    return np.asarray(n * ((1 - prevalence) * q0 + prevalence * q1))


counts = st.lists(st.integers(1, 500), min_size=8, max_size=8).map(np.array)


# Published numbers ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("auc", "worth"), [(0.75, 0.11), (0.80, 0.17), (0.85, 0.25), (0.90, 0.37), (0.95, 0.54)]
)
def test_an_unlabelled_case_is_worth_this_much_of_a_labelled_one(auc: float, worth: float) -> None:
    # Hill (1963), JASA 58, 918-932: information about a mixing proportion, at 12 per cent.
    q0, q1 = binormal(auc, bins=400)

    assert gold_label_worth(Classes(1e9 * q0, 1e9 * q1), 0.12) == pytest.approx(worth, abs=0.006)


def test_a_changed_prior_moves_a_probability_as_saerens_says() -> None:
    # Saerens et al. (2002), equation 2.4, by hand: odds 1 become 0.25/0.75 over 1.
    assert prior_corrected(0.5, 0.5, 0.25) == pytest.approx(0.25)
    assert prior_corrected(0.8, 0.5, 0.2) == pytest.approx(0.5)
    assert prior_corrected([0.0, 1.0], 0.5, 0.2).tolist() == [0.0, 1.0]


def test_the_flag_rate_is_corrected_as_rogan_and_gladen_did() -> None:
    # Rogan and Gladen (1978): (0.20 + 0.90 - 1) / (0.80 + 0.90 - 1) = 0.1429.
    classes = Classes([900, 100], [200, 800])

    result = bbse(classes, [800, 200], 1)

    assert result.value == pytest.approx(0.1 / 0.7)
    variance = 0.2 * 0.8 / 1000 + (1 / 49) * 0.8 * 0.2 / 1000 + (36 / 49) * 0.1 * 0.9 / 1000
    assert result.standard_error == pytest.approx(variance**0.5 / 0.7)


def test_ppv_falls_with_prevalence_as_bayes_says() -> None:
    result = consequences([0.30, 0.05], 0.809, 0.870)

    assert result.ppv == pytest.approx([0.7273, 0.2467], abs=5e-4)
    assert result.alert_rate == pytest.approx([0.3337, 0.16395], abs=5e-5)
    assert result.missed_rate == pytest.approx([0.0573, 0.00955], abs=5e-5)
    assert result.npv == pytest.approx(1 - result.missed_rate / (1 - result.alert_rate))


# The estimate --------------------------------------------------------------------------------


@pytest.mark.parametrize("prevalence", [0.01, 0.12, 0.5, 0.97])
def test_the_mixing_proportion_is_recovered(prevalence: float) -> None:
    current = a_mixture(prevalence)

    assert mlls(a_reference(), current).value == pytest.approx(prevalence, abs=1e-6)
    assert em_prevalence(a_reference(), current) == pytest.approx(prevalence, abs=1e-6)
    assert bbse(a_reference(), current, THRESHOLD_BIN).value == pytest.approx(prevalence, abs=1e-6)


@settings(max_examples=25, deadline=None)
@given(counts, counts, counts)
def test_bracketing_and_em_find_the_same_maximum(
    negative: FloatArray, positive: FloatArray, current: FloatArray
) -> None:
    classes = Classes(negative, positive)
    assume(np.abs(classes.q1 - classes.q0).max() > 0.15)  # EM creeps along a flat likelihood

    value = float(mlls(classes, current).value)

    def likelihood(pi: float) -> float:
        return float((current * np.log((1 - pi) * classes.q0 + pi * classes.q1)).sum())

    best = optimize.minimize_scalar(lambda pi: -likelihood(pi), bounds=(0, 1), method="bounded")
    assert likelihood(value) >= -best.fun - 1e-9
    assert likelihood(float(em_prevalence(classes, current))) == pytest.approx(
        likelihood(value), abs=1e-3
    )


def test_the_ends_of_the_interval_lie_at_the_quantile_of_the_likelihood_ratio() -> None:
    classes, current = a_reference(n0=8e12, n1=2e12), a_mixture(0.12, n=500)
    result = mlls(classes, current)

    def likelihood(pi: float) -> float:
        return float((current * np.log((1 - pi) * classes.q0 + pi * classes.q1)).sum())

    top = likelihood(float(result.value))
    for end in (result.low, result.high):
        assert 2 * (top - likelihood(float(end))) == pytest.approx(3.8415, rel=1e-3)
    half = 1.96 * float(result.standard_error)
    assert float(result.high - result.low) == pytest.approx(2 * half, rel=0.05)


def test_with_two_bins_likelihood_and_flag_rate_are_the_same_estimate() -> None:
    classes, current = Classes([9000, 1000], [400, 1600]), [7800, 2200]

    likelihood, flags = mlls(classes, current), bbse(classes, current, 1)

    assert likelihood.value == pytest.approx(float(flags.value), rel=1e-3)
    assert likelihood.standard_error == pytest.approx(float(flags.standard_error), rel=1e-3)
    assert likelihood.low == pytest.approx(float(flags.low), rel=0.01)


def test_a_smaller_reference_and_a_day_effect_widen_the_interval() -> None:
    current = a_mixture(0.12, n=1000)

    known = mlls(a_reference(), current)
    small = mlls(a_reference(n0=850, n1=150), current)
    dispersed = mlls(a_reference(), current, design_effect=2.0)

    assert small.standard_error > known.standard_error
    assert dispersed.standard_error == pytest.approx(known.standard_error * 2**0.5, rel=1e-3)
    assert dispersed.low < known.low < known.high < dispersed.high


@pytest.mark.parametrize(("prevalence", "end"), [(0.0, 0.0), (1.0, 1.0)])
def test_a_class_that_is_absent_is_estimated_at_the_boundary(prevalence: float, end: float) -> None:
    q = binormal(0.9)[int(prevalence)]
    tilt = np.linspace(1.2, 0.8, 20) if prevalence == 0 else np.linspace(0.8, 1.2, 20)

    result = mlls(a_reference(), 400 * q * tilt)

    assert result.value == end
    assert 0 <= result.low <= result.value <= result.high <= 1
    assert result.high - result.low > 0.001


@settings(max_examples=30, deadline=None)
@given(counts, counts, counts, st.permutations(range(8)))
def test_neither_the_order_of_bins_nor_the_names_of_the_classes_matter(
    negative: FloatArray, positive: FloatArray, current: FloatArray, order: list[int]
) -> None:
    classes = Classes(negative, positive)
    assume(np.abs(classes.q1 - classes.q0).max() > 0.05)

    plain = mlls(classes, current)
    permuted = mlls(Classes(negative[order], positive[order]), current[order])
    exchanged = mlls(Classes(positive, negative), current)

    assert permuted.value == pytest.approx(float(plain.value), abs=1e-9)
    assert exchanged.value == pytest.approx(1 - float(plain.value), abs=1e-9)
    assert exchanged.low == pytest.approx(1 - float(plain.high), abs=1e-8)


def test_strata_are_estimated_as_if_alone() -> None:
    rng = np.random.default_rng(8)
    classes = Classes(rng.integers(5, 90, (3, 1, 10)), rng.integers(5, 90, (3, 1, 10)))
    current = rng.integers(5, 90, (3, 4, 10))

    together, fit = mlls(classes, current), label_shift_fit(classes, current)
    alone = Classes(classes.negative[1, 0], classes.positive[1, 0])

    assert together.value.shape == (3, 4)
    assert together.high[1, 2] == pytest.approx(float(mlls(alone, current[1, 2]).high), abs=1e-9)
    assert fit.statistic[1, 2] == pytest.approx(
        float(label_shift_fit(alone, current[1, 2]).statistic), abs=1e-5
    )


def test_a_bin_that_no_reference_case_reached_does_not_break_the_estimate() -> None:
    classes = Classes([80, 15, 5, 0], [5, 15, 80, 0])

    result = mlls(classes, [40, 15, 44, 1])

    assert 0.4 < result.value < 0.6


# Only the mixture? ---------------------------------------------------------------------------


def test_a_changed_mixture_fits_and_leaves_no_residual() -> None:
    fit = label_shift_fit(a_reference(n0=2000, n1=500), a_mixture(0.3, n=5000))

    assert fit.statistic == pytest.approx(0.0, abs=1e-4)
    assert fit.df == 18
    assert fit.prevalence == pytest.approx(0.3, abs=1e-4)
    assert fit.p_value > 0.999


def test_a_bump_that_no_mixture_makes_does_not_fit() -> None:
    current = a_mixture(0.12, n=5000)
    current[5] += 600

    fit = label_shift_fit(a_reference(n0=2000, n1=500), current)

    assert fit.p_value < 1e-6
    assert 0 < fit.residual_low < fit.residual_high


@pytest.mark.parametrize("seed", range(4))
def test_the_refit_is_the_joint_maximum_of_all_three_samples(seed: int) -> None:
    rng = np.random.default_rng(seed)
    r0, r1, c = (rng.integers(5, 60, 4).astype(float) for _ in range(3))
    if seed == 3:
        r0[2] = r1[2] = 0.01  # all but a bin of current cases alone
    fit = label_shift_fit(Classes(r0, r1), c)

    def minus_log_likelihood(theta: FloatArray) -> float:
        q0, q1 = (np.exp(t - np.logaddexp.reduce(t)) for t in (theta[:4], theta[4:8]))
        pi = 1 / (1 + np.exp(-theta[8]))
        mix = (1 - pi) * q0 + pi * q1
        return -float((r0 * np.log(q0)).sum() + (r1 * np.log(q1)).sum() + (c * np.log(mix)).sum())

    best = min(optimize.minimize(minus_log_likelihood, rng.normal(size=9)).fun for _ in range(5))
    saturated = sum(float((x * np.log(x / x.sum())).sum()) for x in (r0, r1, c))
    assert fit.statistic == pytest.approx(2 * (saturated + best), abs=1e-4)


def test_a_design_effect_divides_the_lack_of_fit() -> None:
    current = a_mixture(0.12, n=5000)
    current[5] += 600
    classes = a_reference(n0=2000, n1=500)

    plain = label_shift_fit(classes, current)
    dispersed = label_shift_fit(classes, current, design_effect=4.0)

    assert dispersed.statistic == pytest.approx(plain.statistic / 4)


# Several classes -----------------------------------------------------------------------------


def test_the_confusion_matrix_is_inverted() -> None:
    confusion = np.array([[0.8, 0.1, 0.1], [0.1, 0.7, 0.2], [0.1, 0.2, 0.7]])
    true = np.array([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]])

    assert bbse_classes(confusion, true @ confusion.T) == pytest.approx(true)


def test_a_negative_solution_is_set_to_zero() -> None:
    assert bbse_classes([[0.9, 0.2], [0.1, 0.8]], [0.95, 0.05]) == pytest.approx([1.0, 0.0])


# Refusals ------------------------------------------------------------------------------------


def test_outputs_that_do_not_tell_classes_apart_are_refused() -> None:
    with pytest.raises(NotAssessable, match=r"condition number below 30 needed, got 50\.0"):
        bbse_classes([[0.51, 0.49], [0.49, 0.51]], [0.5, 0.5])
    with pytest.raises(MonitorError, match=r"confusion: \(3, 3\) expected, got \(2, 2\)"):
        bbse_classes(np.eye(2), [0.2, 0.3, 0.5])
    with pytest.raises(NotAssessable, match="positives must be flagged more often than negatives"):
        bbse(Classes([5, 5], [5, 5]), [5, 5], 1)
    with pytest.raises(NotAssessable, match="positives and negatives have the same score"):
        mlls(Classes([5, 5], [5, 5]), [5, 5])


def test_counts_that_are_none_are_refused() -> None:
    with pytest.raises(NotAssessable, match="positive: no case in 1 of 1 rows"):
        Classes([1, 2], [0, 0])
    with pytest.raises(NotAssessable, match="current: no case in 1 of 2 rows"):
        mlls(Classes([1, 2], [2, 1]), [[0, 0], [1, 1]])
    with pytest.raises(MonitorError, match="negative: counts must be finite and not negative"):
        Classes([1, -2], [1, 1])
    with pytest.raises(MonitorError, match="bins: 2 expected for positives, got 3"):
        Classes([1, 2], [1, 1, 1])
    with pytest.raises(MonitorError, match=r"negative: at least 2 score bins expected, got shape"):
        Classes([1], [1])


def test_operating_points_that_are_none_are_refused() -> None:
    with pytest.raises(MonitorError, match="threshold_bin: 1 to 19 expected, got 20"):
        bbse(a_reference(), a_mixture(0.1), 20)
    with pytest.raises(MonitorError, match=r"specificity must lie in \[0, 1\]"):
        consequences(0.1, 0.9, 1.1)
    with pytest.raises(NotAssessable, match="PPV and NPV need some cases flagged and some not"):
        consequences(0.0, 0.9, 1.0)
    with pytest.raises(MonitorError, match=r"new prevalence must lie in \(0, 1\)"):
        prior_corrected(0.5, 0.5, 1.0)


def test_two_bins_cannot_tell_a_mixture_from_anything_else() -> None:
    with pytest.raises(NotAssessable, match="at least 3 occupied score bins expected"):
        label_shift_fit(Classes([8, 2], [2, 8]), [5, 5])
