"""Error rates by simulation: what a monitor promises when nothing has changed.

Each tolerance is that of the simulation itself, three standard errors of a rate over its runs.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from monitors.agreement import cohen_kappa, gwet_ac1
from monitors.annotation import mantel_haenszel, recalibrate, sentinel_reads
from monitors.charts import (
    CusumDesign,
    EwmaDesign,
    cusum_run_length,
    cusum_trace,
    ewma_run_length,
    ewma_trace,
)
from monitors.dispersion import design_effect, intraclass_correlation
from monitors.multiplicity import benjamini_hochberg, e_benjamini_hochberg, lord_plus_plus
from monitors.performance import Audit, auc, post_stratified
from monitors.prevalence import Classes, bbse, label_shift_fit, mlls
from monitors.proportions import beta_binomial, beta_binomial_tails, unseen_category
from monitors.quadratic_forms import hotelling, kernel_mean_test
from monitors.recalibration import bin_for_sensitivity
from monitors.schema import FloatArray
from monitors.two_sample import (
    chi_square,
    cramer_von_mises,
    directed,
    kolmogorov_smirnov,
    pair,
    psi,
)

EVEN = np.full(10, 0.1)


def allowance(rate: float, runs: int) -> float:
    return float(3 * np.sqrt(rate * (1 - rate) / runs))


def size(p_values: FloatArray, level: float) -> float:
    return float(np.mean(p_values <= level))


def assert_size(p_values: FloatArray, level: float) -> None:
    found = size(p_values, level)
    assert abs(found - level) <= allowance(level, np.size(p_values)), found


def assert_coverage(low: FloatArray, high: FloatArray, truth: float, promised: float) -> None:
    found = float(np.mean((low <= truth) & (truth <= high)))
    assert abs(found - promised) <= allowance(promised, np.size(low)), found


def two_normals(bins: int = 12) -> tuple[FloatArray, FloatArray]:
    edges = 0.9 + 1.3 * stats.norm.ppf(np.linspace(0, 1, bins + 1))
    return np.diff(stats.norm.cdf(edges)), np.diff(stats.norm.cdf(edges - 1.8))


# Two samples ---------------------------------------------------------------------------------


def test_two_sample_tests_keep_their_size() -> None:
    rng = np.random.default_rng(1)
    runs = 4000
    of = pair(rng.multinomial(5000, EVEN, runs), rng.multinomial(500, EVEN, runs))

    assert_size(chi_square(of).p_value, 0.05)
    assert_size(chi_square(of).p_value, 0.01)
    assert_size(cramer_von_mises(of).p_value, 0.05)
    assert_size(2 * stats.norm.sf(np.abs(directed(of).z_shift)), 0.05)
    assert_size(2 * stats.norm.sf(np.abs(directed(of).z_spread)), 0.05)
    assert size(kolmogorov_smirnov(of).p_value, 0.05) < 0.05  # ten bins see part of the path


@pytest.mark.parametrize(
    ("n", "over_a_tenth", "mean"), [(50, 0.776, 0.166), (100, 0.329, 0.088), (500, 0.0, 0.020)]
)
def test_a_fixed_limit_on_psi_signals_by_window_size_alone(
    n: int, over_a_tenth: float, mean: float
) -> None:
    # statistics.md A1: PSI with nothing changed, reference of 5000, ten bins.
    rng = np.random.default_rng(2)
    runs = 8000
    value = psi(pair(rng.multinomial(5000, EVEN, runs), rng.multinomial(n, EVEN, runs))).value

    found = float(np.mean(value > 0.1))

    assert abs(found - over_a_tenth) <= 2 * allowance(max(over_a_tenth, 0.001), runs)
    assert value.mean() == pytest.approx(mean, abs=0.002)


def days(rng: np.random.Generator, runs: int, count: int, n: int) -> FloatArray:
    """Binned cases of days whose case mix varies: intra-window correlation 0.005."""
    mixes = rng.dirichlet(EVEN * (1 / 0.005 - 1), size=(count, runs))
    return rng.multinomial(n, mixes)


def test_day_effects_ruin_a_plain_chi_square_and_not_a_corrected_one() -> None:
    rng = np.random.default_rng(3)
    runs = 2000
    reference, today = days(rng, runs, 60, 200), days(rng, runs, 1, 200)[0]
    pooled = reference.sum(axis=0)
    icc = intraclass_correlation(reference)

    plain = chi_square(pair(pooled, today)).p_value
    corrected = chi_square(
        pair(
            pooled,
            today,
            reference_effect=design_effect(np.full((60, 1), 200), icc),
            current_effect=design_effect([[200]], icc),
        )
    ).p_value

    assert size(plain, 0.01) > 0.12
    assert abs(size(corrected, 0.05) - 0.05) < allowance(0.05, runs) + 0.005


# Quadratic forms -----------------------------------------------------------------------------


def test_the_kernel_mean_test_keeps_its_size() -> None:
    rng = np.random.default_rng(4)
    weights = np.geomspace(1, 1e-3, 24)
    root = rng.standard_normal((24, 24))
    basis = np.linalg.qr(root)[0]
    covariance = basis @ np.diag(weights) @ basis.T

    x = rng.standard_normal((6000, 24)) * np.sqrt(weights) @ basis.T
    p = kernel_mean_test(x, covariance).p_value

    for level in (0.05, 0.01):
        assert_size(p, level)


def test_t2_with_an_estimated_covariance_keeps_its_size() -> None:
    rng = np.random.default_rng(5)
    runs, dof, p = 4000, 30, 5
    noise = rng.standard_normal((runs, dof, p))

    result = hotelling(
        rng.standard_normal((runs, p)), np.einsum("rdi,rdj->rij", noise, noise) / dof, dof
    )

    assert_size(result.p_value, 0.05)
    assert size(stats.chi2.sf(result.statistic, p), 0.05) > 0.1  # as if it were known


# Prevalence ----------------------------------------------------------------------------------


def test_prevalence_intervals_cover_with_a_small_reference() -> None:
    rng = np.random.default_rng(6)
    runs, (q0, q1) = 4000, two_normals()
    classes = Classes(rng.multinomial(1000, q0, runs), rng.multinomial(150, q1, runs))
    current = rng.multinomial(800, 0.85 * q0 + 0.15 * q1, runs)

    likelihood, flags = mlls(classes, current), bbse(classes, current, 8)

    assert_coverage(likelihood.low, likelihood.high, 0.15, 0.95)
    assert_coverage(flags.low, flags.high, 0.15, 0.95)
    assert likelihood.value.std() < flags.value.std()


def test_a_pure_change_of_mixture_is_accepted_as_often_as_promised() -> None:
    rng = np.random.default_rng(7)
    runs, (q0, q1) = 4000, two_normals()
    classes = Classes(rng.multinomial(4000, q0, runs), rng.multinomial(1000, q1, runs))
    current = rng.multinomial(2000, 0.7 * q0 + 0.3 * q1, runs)

    fit = label_shift_fit(classes, current)

    assert_size(fit.p_value, 0.05)
    assert_size(fit.p_value, 0.01)


def test_missed_positives_pass_for_a_lower_prevalence() -> None:
    # The identifiability limit (statistics.md decision 6): not a fault to be fixed.
    rng = np.random.default_rng(8)
    runs, (q0, q1) = 1000, two_normals()
    edges = 0.9 + 1.3 * stats.norm.ppf(np.linspace(0, 1, 13))
    missed = np.diff(stats.norm.cdf(edges - 1.4))
    classes = Classes(rng.multinomial(1000, q0, runs), rng.multinomial(150, q1, runs))
    current = rng.multinomial(8000, 0.88 * q0 + 0.12 * missed, runs)

    fit = label_shift_fit(classes, current)

    assert size(fit.p_value, 0.01) < 0.2
    assert np.mean(fit.prevalence) < 0.11


# Labels --------------------------------------------------------------------------------------


def test_label_comparisons_keep_their_size() -> None:
    rng = np.random.default_rng(9)
    runs = 3000
    rates = np.array([0.05, 0.15, 0.4, 0.7, 0.9])
    n = np.array([60, 50, 40, 40, 30])
    first, second = rng.binomial(n, rates, (runs, 5)), rng.binomial(n, rates, (runs, 5))

    cmh = mantel_haenszel((n, first), (n, second))
    fit = recalibrate((4 * n, rng.binomial(4 * n, rates, (runs, 5))), np.log(rates / (1 - rates)))

    assert_size(cmh.p_value, 0.05)
    assert_coverage(cmh.low, cmh.high, 1.0, 0.95)
    assert_size(fit.intercept_p, 0.05)
    assert_size(fit.slope_p, 0.05)
    assert_size(fit.joint_p, 0.05)


def test_a_sparse_comparison_never_exceeds_its_size() -> None:
    rng = np.random.default_rng(10)
    n = np.array([6, 5, 4])
    first, second = (rng.binomial(n, 0.3, (4000, 3)) for _ in range(2))
    used = (first + second).sum(axis=1) % n.sum() != 0
    used &= ((first + second > 0) & (first + second < 2 * n)).any(axis=1)

    p = mantel_haenszel((n, first[used]), (n, second[used])).p_value

    assert size(p, 0.05) <= 0.05


def test_rereads_of_fixed_images_keep_their_size() -> None:
    rng = np.random.default_rng(11)
    runs = 3000
    rates = np.repeat([0.05, 0.5, 0.95], 67)
    before, now = rng.binomial(6, rates, (runs, 201)), rng.binomial(1, rates, (runs, 201))

    result = sentinel_reads((6, before), (1, now))

    assert abs(size(result.net.p_value, 0.05) - 0.05) < allowance(0.05, runs) + 0.005
    gain = result.disagreement.value
    assert abs(gain.mean()) < 3 * gain.std() / np.sqrt(runs)
    assert abs(float(np.mean(result.disagreement.z))) < 0.2  # a plug-in gave -2 to -4


def test_agreement_has_the_error_it_states() -> None:
    rng = np.random.default_rng(12)
    table = rng.multinomial(300, [0.70, 0.05, 0.07, 0.18], 4000).reshape(-1, 2, 2)

    for measure in (cohen_kappa, gwet_ac1):
        found = measure(table)
        assert found.standard_error.mean() == pytest.approx(float(found.value.std()), rel=0.05)


# Rates ---------------------------------------------------------------------------------------


def test_sparse_counts_of_varying_days_have_the_tail_they_state() -> None:
    rng = np.random.default_rng(13)
    null = beta_binomial(0.02, 0.02)
    x = rng.binomial(60, rng.beta(null.a, null.b, 20_000))

    p = beta_binomial_tails(x, 60, null).upper

    assert float(p.mean()) == pytest.approx(0.5, abs=0.01)
    assert size(p, 0.01) <= 0.02  # a mid-p value of a lattice can exceed, never by much


def test_a_new_category_within_its_bound_is_rarely_called_new() -> None:
    rng = np.random.default_rng(14)
    rate = 0.0008
    unseen = rng.binomial(5000, rate, 40_000) == 0
    p = unseen_category(rng.binomial(100, rate, 40_000)[unseen], 100, 5000)

    assert size(p, 0.05) <= 0.05


# Performance and thresholds ------------------------------------------------------------------


def test_selected_labels_give_honest_intervals_of_sensitivity() -> None:
    rng = np.random.default_rng(15)
    runs, (q0, q1) = 3000, two_normals()
    mix, rate = 0.8 * q0 + 0.2 * q1, 0.2 * q1 / (0.8 * q0 + 0.2 * q1)
    cases = rng.multinomial(5000, mix, runs)
    share = np.where(np.arange(12) >= 7, 0.5, 0.1)  # flagged cases are labelled more
    labelled = np.maximum(rng.binomial(cases, share), np.minimum(cases, 1))
    positive = rng.binomial(cases, rate)
    found = rng.hypergeometric(positive, cases - positive, labelled)
    truth = positive[:, 7:].sum(axis=1) / positive.sum(axis=1)

    result = post_stratified(Audit(cases, labelled, found), 7).sensitivity

    covered = np.mean((result.low <= truth) & (truth <= result.high))
    assert 0.93 <= covered <= 0.985, covered


def test_the_error_of_the_area_is_its_spread() -> None:
    rng = np.random.default_rng(16)
    q0, q1 = two_normals()

    result = auc(Classes(rng.multinomial(300, q0, 3000), rng.multinomial(60, q1, 3000)))

    assert result.standard_error.mean() == pytest.approx(float(result.value.std()), rel=0.04)


def test_a_chosen_threshold_keeps_its_guarantee_on_new_cases() -> None:
    rng = np.random.default_rng(17)
    runs, (q0, q1) = 4000, two_normals(bins=60)
    classes = Classes(np.broadcast_to(q0 * 100, (runs, 60)), rng.multinomial(150, q1, runs))

    at = bin_for_sensitivity(classes, 0.90)

    truth = q1[::-1].cumsum()[::-1][at]
    assert np.mean(truth >= 0.90) >= 0.95 - allowance(0.95, runs)


# Multiplicity --------------------------------------------------------------------------------


def test_false_discoveries_stay_below_their_rate() -> None:
    rng = np.random.default_rng(18)
    runs, null = 2000, np.arange(20) < 15
    z = rng.standard_normal((runs, 20)) + np.where(null, 0.0, 3.0)
    p = stats.norm.sf(z)
    e = np.exp(3 * z - 4.5)

    for rejected in (benjamini_hochberg(p) <= 0.1, e_benjamini_hochberg(e, 0.1)):
        share = (rejected & null).sum(axis=1) / np.maximum(rejected.sum(axis=1), 1)
        assert share.mean() <= 0.1
        assert rejected[:, ~null].mean() > 0.3


@pytest.mark.slow
def test_online_false_discoveries_stay_below_their_rate() -> None:
    rng = np.random.default_rng(19)
    shares = []
    for _ in range(400):
        null = rng.random(200) < 0.8
        p = stats.norm.sf(rng.standard_normal(200) + np.where(null, 0.0, 3.0))
        _, rejected = lord_plus_plus(p, alpha=0.1)
        shares.append((rejected & null).sum() / max(rejected.sum(), 1))

    assert np.mean(shares) <= 0.1


# Run lengths ---------------------------------------------------------------------------------


def first_signal(signals: np.ndarray) -> FloatArray:
    assert signals.any(axis=0).all()
    return np.asarray(signals.argmax(axis=0) + 1.0)


@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_charts_signal_as_late_as_they_state(shift: float) -> None:
    rng = np.random.default_rng(20)
    runs, length = 2000, 3000 if shift == 0 else 100
    xs = rng.standard_normal((length, runs)) + shift
    cusum, ewma = CusumDesign(h=4), EwmaDesign(width=2.4)

    delay = first_signal(cusum_trace(cusum, xs).signals)
    steady = ewma_trace(ewma, xs)
    late = first_signal(np.abs(steady.average) > 2.4 * np.sqrt(0.1 / 1.9))

    for found, promised in (
        (delay, cusum_run_length(cusum, shift)),
        (late, ewma_run_length(ewma, shift)),
    ):
        assert found.mean() == pytest.approx(promised, abs=3 * found.std() / np.sqrt(runs))
