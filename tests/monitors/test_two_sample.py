from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from monitors.dispersion import design_effect, intraclass_correlation
from monitors.errors import MonitorError, NotAssessable
from monitors.two_sample import (
    chi_square,
    cramer_von_mises,
    cramers_v,
    directed,
    g_test,
    jensen_shannon,
    kolmogorov_smirnov,
    kolmogorov_tail,
    merge_counts,
    merge_sparse,
    noncentrality,
    pair,
    psi,
    psi_critical,
    psi_relevance,
    residuals,
    wasserstein,
)

# Full rows: every bin occupied in both samples.
tables = hnp.arrays(np.int64, (2, 6), elements=st.integers(1, 400))


# Published numbers ---------------------------------------------------------------------------


def test_the_chi_square_is_that_of_agrestis_table() -> None:
    # Agresti, An Introduction to Categorical Data Analysis, 2nd ed., table 2.5: party by gender.
    test = chi_square(pair([762, 327, 468], [484, 239, 477]))

    assert test.statistic == pytest.approx(30.07, abs=0.005)
    assert test.df == 2
    assert test.p_value < 1e-6
    assert g_test(pair([762, 327, 468], [484, 239, 477])).statistic == pytest.approx(
        30.02, abs=0.005
    )


def test_residuals_are_those_of_agrestis_table() -> None:
    # The same table 2.5, standardised residuals of the second row.
    assert residuals(pair([762, 327, 468], [484, 239, 477])) == pytest.approx(
        [-4.50, -0.70, 5.32], abs=0.005
    )


@pytest.mark.parametrize(
    ("n", "critical"), [(50, 0.563), (100, 0.284), (500, 0.061), (2000, 0.020), (20_000, 0.007)]
)
def test_the_critical_psi_depends_on_the_window(n: int, critical: float) -> None:
    # Yurdakul (2018): chi2_9 (1/n + 1/m) at 0.1 per cent, m = 5000: never 0.1 or 0.25.
    of = pair(np.full(10, 500.0), np.full(10, n / 10))

    assert psi_critical(of, 0.001) == pytest.approx(critical, abs=0.0006)


def test_kolmogorovs_distance_has_his_critical_value() -> None:
    # Smirnov (1948): 1.3581 sqrt(1/m + 1/n) at five per cent.
    noise = 1 / 5000 + 1 / 5000
    shift = 1.3581 * noise**0.5
    of = pair([2500.0, 2500.0], [5000 * (0.5 - shift), 5000 * (0.5 + shift)])

    assert kolmogorov_smirnov(of).p_value == pytest.approx(0.05, abs=1e-4)


def test_fine_bins_have_the_cramer_von_mises_limit() -> None:
    # Anderson and Darling (1952): 0.46136 at five per cent. A row whose statistic is that value:
    # the first Fourier mode of the bridge, sqrt(2) sin(pi t), has mean square one.
    bins, n = 1000, 1e7
    edges = np.linspace(0, 1, bins + 1)
    mode = np.diff(np.sqrt(2) * np.sin(np.pi * edges)) * np.sqrt(0.46136 * 2 / n)
    of = pair(np.full(bins, n / bins), n / bins + n * mode)

    result = cramer_von_mises(of)

    assert result.statistic == pytest.approx(0.46136, rel=1e-3)
    assert result.p_value == pytest.approx(0.05, rel=1e-2)


# Other routes to the same number -------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(tables)
def test_without_day_effects_the_tests_are_scipys(table: np.ndarray) -> None:
    of = pair(table[0], table[1])

    for ours, name in ((chi_square, "pearson"), (g_test, "log-likelihood")):
        theirs = stats.chi2_contingency(table, correction=False, lambda_=name)
        assert ours(of).statistic == pytest.approx(theirs.statistic, rel=1e-9, abs=1e-9)
        assert ours(of).p_value == pytest.approx(theirs.pvalue, rel=1e-9)


def test_the_binned_distances_bracket_those_of_the_cases() -> None:
    rng = np.random.default_rng(11)
    x, y = rng.normal(0, 1, 3000), rng.normal(0.3, 1.2, 2000)
    edges = np.linspace(-6, 6, 25)
    of = pair(np.histogram(x, edges)[0], np.histogram(y, edges)[0])

    ks, w1 = kolmogorov_smirnov(of), wasserstein(of, edges)

    assert ks.low <= stats.ks_2samp(x, y).statistic <= ks.high
    assert w1.low <= stats.wasserstein_distance(x, y) <= w1.high
    assert w1.value == pytest.approx(stats.wasserstein_distance(x, y), rel=0.05)


def test_the_limits_of_a_noncentrality_invert_the_distribution() -> None:
    x = np.array([3.0, 20.0, 1e4])

    for probability in (0.025, 0.975):
        found = noncentrality(x, 9, probability)
        inside = found > 0
        assert stats.ncx2.cdf(x, 9, found)[inside] == pytest.approx(probability, rel=1e-6)
    assert noncentrality([1.0], 9, 0.025).tolist() == [0.0]


def test_the_simulated_kolmogorov_tail_has_the_covariance_it_is_given() -> None:
    # One cut: the cumulated difference is a single normal, so the tail is known.
    covariance = 0.04 * np.array([[1.0, -1.0], [-1.0, 1.0]])

    tail = kolmogorov_tail([0.2, 0.4], covariance)

    expected = 2 * stats.norm.sf([1, 2])
    assert np.all(np.abs(tail - expected) < 3 * np.sqrt(expected * (1 - expected) / 20_000) + 1e-4)


def test_psi_is_its_definition_with_half_a_case_in_each_bin() -> None:
    p, q = np.array([10.5, 20.5]) / 31, np.array([15.5, 5.5]) / 21

    assert psi(pair([10, 20], [15, 5])).value == pytest.approx(((q - p) * np.log(q / p)).sum())


def test_the_normal_scores_see_a_shift_in_units_of_the_reference() -> None:
    edges = stats.norm.ppf(np.linspace(0, 1, 41))
    p, q = np.diff(stats.norm.cdf(edges)), np.diff(stats.norm.cdf(edges - 0.05))

    result = directed(pair(p * 1e6, q * 1e6))

    assert result.shift == pytest.approx(0.05, rel=0.03)
    assert result.z_shift == pytest.approx(0.05 / np.sqrt(2e-6), rel=0.03)
    assert abs(result.z_spread) < 0.05 * result.z_shift


def test_the_normal_scores_see_a_spread_that_no_mean_shows() -> None:
    edges = stats.norm.ppf(np.linspace(0, 1, 41))
    p, q = np.diff(stats.norm.cdf(edges)), np.diff(stats.norm.cdf(edges / 1.05))

    result = directed(pair(p * 1e6, q * 1e6))

    assert result.spread == pytest.approx(1.05**2 - 1, rel=0.2)
    assert abs(result.z_shift) < 1e-6 * result.z_spread
    assert result.z_spread == pytest.approx((1.05**2 - 1) / np.sqrt(2 * 2e-6), rel=0.1)


# Invariances ---------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(tables, st.permutations(range(6)))
def test_the_order_of_unordered_bins_does_not_matter(table: np.ndarray, order: list[int]) -> None:
    plain, other = pair(table[0], table[1]), pair(table[0][order], table[1][order])

    for measure in (
        lambda of: chi_square(of).statistic,
        lambda of: g_test(of).statistic,
        lambda of: psi(of).value,
        cramers_v,
        jensen_shannon,
    ):
        assert measure(other) == pytest.approx(measure(plain), rel=1e-9, abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(tables)
def test_turning_the_axis_turns_the_directed_test_and_no_distance(table: np.ndarray) -> None:
    plain, turned = pair(table[0], table[1]), pair(table[0][::-1], table[1][::-1])
    edges = np.linspace(0, 3, 7)

    assert directed(turned).z_shift == pytest.approx(-directed(plain).z_shift, abs=1e-7)
    assert directed(turned).z_spread == pytest.approx(directed(plain).z_spread, abs=1e-7)
    assert kolmogorov_smirnov(turned).low == pytest.approx(kolmogorov_smirnov(plain).low)
    assert wasserstein(turned, edges).value == pytest.approx(wasserstein(plain, edges).value)


@settings(max_examples=40, deadline=None)
@given(tables, st.floats(0.01, 100), st.floats(-50, 50))
def test_the_wasserstein_distance_carries_the_unit_of_its_edges(
    table: np.ndarray, scale: float, origin: float
) -> None:
    of, edges = pair(table[0], table[1]), np.array([0.0, 1, 2, 4, 5, 9, 11])

    plain, other = wasserstein(of, edges), wasserstein(of, origin + scale * edges)

    assert other.value == pytest.approx(scale * plain.value, rel=1e-6, abs=1e-9)
    assert other.high == pytest.approx(scale * plain.high, rel=1e-6)


def test_strata_and_characteristics_are_tested_as_if_alone() -> None:
    rng = np.random.default_rng(2)
    r, c = rng.integers(5, 90, (3, 1, 8)), rng.integers(5, 90, (3, 4, 8))

    together = chi_square(pair(r, c)), directed(pair(r, c)), psi(pair(r, c))
    alone = pair(r[2, 0], c[2, 3])

    assert together[0].p_value.shape == (3, 4)
    assert together[0].p_value[2, 3] == chi_square(alone).p_value
    assert together[1].z_spread[2, 3] == pytest.approx(float(directed(alone).z_spread), rel=1e-12)
    assert together[2].high[2, 3] == pytest.approx(float(psi(alone).high))


# Behaviour -----------------------------------------------------------------------------------


def test_a_design_effect_divides_the_statistic() -> None:
    r, c = [100, 200, 300], [30, 50, 90]

    plain = chi_square(pair(r, c))
    dispersed = chi_square(pair(r, c, reference_effect=3.0, current_effect=3.0))

    assert dispersed.statistic == pytest.approx(plain.statistic / 3)
    assert dispersed.p_value > plain.p_value


def test_nothing_changed_is_no_distance_at_all() -> None:
    of = pair([10, 20, 30, 40], [1, 2, 3, 4])

    assert chi_square(of).p_value == pytest.approx(1.0)
    assert kolmogorov_smirnov(of).low == pytest.approx(0.0, abs=1e-15)
    assert wasserstein(of, np.arange(5.0)).value == pytest.approx(0.0, abs=1e-15)
    assert jensen_shannon(of) == pytest.approx(0.0, abs=1e-7)
    assert cramers_v(of) == pytest.approx(0.0, abs=1e-7)


def test_samples_without_a_common_bin_are_as_far_apart_as_can_be() -> None:
    of = pair([50, 0, 0], [0, 0, 50])

    assert jensen_shannon(of) == pytest.approx(1.0)
    assert cramers_v(of) == pytest.approx(1.0)
    assert kolmogorov_smirnov(of).low == pytest.approx(1.0)
    assert chi_square(of).df == 1  # the empty bin is no degree of freedom


def test_moving_every_case_by_one_bin_costs_the_width_of_a_bin() -> None:
    result = wasserstein(pair([0, 10, 0], [0, 0, 10]), [0.0, 5.0, 10.0, 15.0])

    assert result.value == pytest.approx(5.0)
    assert (result.low, result.high) == pytest.approx((0.0, 10.0))


def test_distribution_functions_that_cross_inside_a_bin_are_integrated_exactly() -> None:
    # By hand: differences 0, 1/4, -1/4, 0 at the edges; areas 1/8 + 1/8 + 1/8.
    result = wasserstein(pair([2, 4, 2], [4, 0, 4]), [0.0, 1.0, 2.0, 3.0])

    assert result.value == pytest.approx(0.375)


def test_cases_under_and_over_stand_at_the_outer_edges() -> None:
    result = wasserstein(pair([10, 0, 0, 0], [0, 0, 0, 10]), [0.0, 2.0, 7.0])

    assert (result.low, result.value, result.high) == pytest.approx((7.0, 7.0, 7.0))


def test_the_population_is_unchanged_within_the_interval_of_psi_unless_the_test_rejects() -> None:
    quiet = psi(pair([500, 500, 500], [52, 48, 50]))
    loud = psi(pair([500, 500, 500], [100, 30, 20]))

    assert quiet.low == 0.0 and quiet.value < 3 * quiet.expected
    assert 0 < loud.low < loud.estimate < loud.high
    assert loud.p_value < 1e-6


def test_a_large_sample_makes_a_trifle_significant_but_not_relevant() -> None:
    of = pair(np.full(5, 1e6), 1e5 * np.array([2.02, 1.98, 2.0, 2.0, 2.0]))

    assert chi_square(of).p_value < 0.001
    assert psi_relevance(of, 0.01) > 0.99
    assert psi_relevance(of, 0.0) == pytest.approx(float(chi_square(of).p_value), rel=1e-6)


# Sparse bins ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reference", "n", "groups"),
    [
        ([1, 1, 1, 50, 1, 40, 1, 5], 100, [0, 0, 0, 0, 1, 1, 2, 2]),
        ([1, 1, 1, 50, 1, 40, 1, 1], 100, [0, 0, 0, 0, 1, 1, 1, 1]),
        ([25, 25, 25, 25], 20, [0, 1, 2, 3]),
        ([25, 25, 25, 25], 10, [0, 0, 1, 1]),
        ([25, 25, 25, 25], 4, [0, 0, 0, 0]),
        ([50, 50, 0, 0], 100, [0, 1, 1, 1]),
    ],
)
def test_neighbouring_bins_merge_until_enough_cases_are_expected(
    reference: list[int], n: int, groups: list[int]
) -> None:
    assert merge_sparse(reference, n).tolist() == groups


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(np.int64, (3, 9), elements=st.integers(1, 100)), st.integers(10, 2000))
def test_merged_bins_expect_enough_and_lose_no_case(counts: np.ndarray, n: int) -> None:
    merged = merge_counts(counts, merge_sparse(counts, np.full(3, n)))

    expected = merged / counts.sum(axis=1, keepdims=True) * n
    assert merged.sum(axis=1).tolist() == counts.sum(axis=1).tolist()
    assert np.all((expected == 0) | (expected >= 5 - 1e-9))


# Over-dispersion -----------------------------------------------------------------------------


def test_independent_cases_have_no_intra_window_correlation() -> None:
    counts = np.random.default_rng(4).multinomial(100, [0.2, 0.3, 0.5], size=(400, 6))

    assert intraclass_correlation(counts) == pytest.approx(0.0, abs=0.003)


def test_the_intra_window_correlation_of_beta_binomial_days_is_found() -> None:
    rng = np.random.default_rng(4)
    a, b = 2.0, 18.0  # correlation 1 / (a + b + 1)
    positive = rng.binomial(200, rng.beta(a, b, size=(3000, 2)))

    found = intraclass_correlation(np.stack([positive, 200 - positive], axis=-1))

    assert found == pytest.approx(1 / 21, rel=0.1)


def test_the_intra_window_correlation_of_two_small_windows_is_its_formula() -> None:
    # By hand: mean squares 1 between and 1/2 within, 4 cases each: (1 - 1/2) / (1 + 3/2).
    assert intraclass_correlation([[3, 1], [1, 3]]) == pytest.approx(0.2)
    assert intraclass_correlation([[4, 0], [0, 4]]) == pytest.approx(1.0)


def test_windows_that_agree_on_one_bin_have_no_correlation() -> None:
    assert intraclass_correlation([[10, 0], [12, 0], [0, 0]]) == 0.0


def test_days_pooled_have_the_effect_of_kish() -> None:
    assert design_effect([200], 0.005) == pytest.approx(1 + 199 * 0.005)
    assert design_effect([100, 100], 0.01) == pytest.approx(1.99)
    assert design_effect([1, 1, 1], 0.5) == pytest.approx(1.0)


# Refusals ------------------------------------------------------------------------------------


def test_rows_that_cannot_be_compared_are_refused() -> None:
    with pytest.raises(NotAssessable, match="current counts: no case in 1 of 2 rows"):
        pair([1, 2], [[0, 0], [1, 1]])
    with pytest.raises(NotAssessable, match="reference counts: no case in 1 of 1 rows"):
        pair([0, 0], [1, 1])
    with pytest.raises(MonitorError, match="bins: 3 expected as in the reference, got 2"):
        pair([1, 2, 3], [1, 2])
    with pytest.raises(MonitorError, match="current counts must be finite and not negative"):
        pair([1, 2], [1, -1])
    with pytest.raises(MonitorError, match="reference counts must be finite and not negative"):
        pair([1, np.nan], [1, 1])
    with pytest.raises(MonitorError, match=r"at least 2 bins expected, got shape \(1,\)"):
        pair([1], [1])
    with pytest.raises(MonitorError, match=r"a design effect is at least 1, got 0\.5"):
        pair([1, 2], [1, 2], current_effect=0.5)


def test_a_constant_characteristic_is_not_assessable() -> None:
    of = pair([[5, 5, 5], [9, 0, 0]], [[1, 1, 1], [3, 0, 0]])

    with pytest.raises(NotAssessable, match="at least 2 occupied bins expected, fewer in 1 of 2"):
        chi_square(of)
    with pytest.raises(NotAssessable, match="Cramer-von Mises: at least 2 occupied bins"):
        cramer_von_mises(of)
    with pytest.raises(NotAssessable, match="normal scores: at least 3 occupied bins"):
        directed(pair([5, 5], [1, 2]))


def test_edges_that_do_not_fit_the_bins_are_refused() -> None:
    with pytest.raises(MonitorError, match="edges: 4 expected, got 3"):
        wasserstein(pair([1, 2, 3], [1, 2, 3]), [0.0, 1.0, 2.0])


def test_a_negative_relevance_is_refused() -> None:
    with pytest.raises(MonitorError, match="smallest relevant PSI must not be negative"):
        psi_relevance(pair([1, 2], [1, 2]), -0.1)


def test_too_few_windows_have_no_intra_window_correlation() -> None:
    with pytest.raises(NotAssessable, match="at least 2 windows with over 1 case needed"):
        intraclass_correlation([[3, 4]])
    with pytest.raises(NotAssessable, match="design effect: no case in the windows pooled"):
        design_effect([0, 0], 0.1)
