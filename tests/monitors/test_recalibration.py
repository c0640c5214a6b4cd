from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from monitors.errors import MonitorError, NotAssessable
from monitors.prevalence import Classes, Estimate
from monitors.recalibration import (
    bin_for_alert_rate,
    bin_for_ppv,
    bin_for_sensitivity,
    bin_for_specificity,
    consequence,
    cost_threshold,
    guaranteed_rank,
    positives_needed,
    rates,
    require_claim,
    smallest_sample,
)

CLASSES = Classes([500, 250, 120, 80, 40, 10], [2, 4, 14, 40, 60, 80])


def an_estimate(value: float, low: float, high: float) -> Estimate:
    return Estimate(*(np.array(x) for x in (value, (high - low) / 4, low, high)))


# Published numbers ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "ranks"),
    [
        (0.90, {59: 2, 100: 5, 150: 9, 200: 13, 300: 22, 500: 39}),
        (0.95, {58: 0, 59: 1, 92: 1, 93: 2, 100: 2, 123: 2, 124: 3, 200: 5, 500: 17}),
    ],
)
def test_order_statistics_are_those_of_the_tables_of_tolerance_limits(
    target: float, ranks: dict[int, int]
) -> None:
    # Wilks (1941); 59, 93 and 124 are the classical first, second and third ranks at 95/95.
    assert guaranteed_rank(list(ranks), target).tolist() == list(ranks.values())


def test_fifty_nine_is_the_smallest_sample_with_a_guarantee_of_95_at_95() -> None:
    assert smallest_sample(0.95) == 59
    assert smallest_sample(0.90) == 29
    assert guaranteed_rank([smallest_sample(0.9) - 1, smallest_sample(0.9)], 0.9).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("claim", "truth", "positives"),
    [
        (0.80, 0.85, 494),
        (0.80, 0.88, 185),
        (0.80, 0.90, 113),
        (0.85, 0.90, 379),
        (0.85, 0.92, 185),
        (0.90, 0.94, 411),
        (0.90, 0.95, 255),
    ],
)
def test_sample_sizes_are_those_of_the_exact_bound(
    claim: float, truth: float, positives: int
) -> None:
    # statistics.md D4: exact 97.5% lower bound above the claim with 80% power.
    assert positives_needed(claim, truth) == positives


def test_a_fall_in_prevalence_raises_the_raw_threshold() -> None:
    # statistics.md D3: 0.10 becomes 0.345 as the prevalence falls from 0.20 to 0.05.
    assert cost_threshold(1, 9, old=0.20, new=0.05) == pytest.approx(0.345, abs=5e-4)
    assert cost_threshold(1, 9, old=0.20, new=0.20) == pytest.approx(0.10)


# Policies ------------------------------------------------------------------------------------


def test_the_rank_is_the_largest_the_beta_law_of_order_statistics_allows() -> None:
    for n in (60, 100, 333):
        k = int(guaranteed_rank(n, 0.9))
        assert stats.beta.cdf(0.1, k, n - k + 1) >= 0.95
        assert stats.beta.cdf(0.1, k + 1, n - k) < 0.95


def test_the_bin_of_the_guaranteed_rank_is_chosen_for_sensitivity() -> None:
    # 200 positives: at 90% the 13th lowest, which lies in bin 2 (2 + 4 + 14 = 20).
    assert bin_for_sensitivity(CLASSES, 0.90) == 2
    # At 97% only the lowest (200 >= 99) of them: rank 2, in bin 0.
    assert bin_for_sensitivity(CLASSES, 0.97) == 0


def test_the_bin_above_the_guaranteed_rank_is_chosen_for_specificity() -> None:
    # 1000 negatives: at 90% the 84th highest; 10 + 40 + 80 = 130 reach down to bin 3.
    rank = int(guaranteed_rank(1000, 0.90))

    assert 50 < rank <= 130
    assert bin_for_specificity(CLASSES, 0.90) == 4
    assert bin_for_specificity(Classes([0] * 5 + [200], [1] * 6), 0.90) == 6


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_empirical_sensitivity_never_falls_below_the_guarantee(seed: int) -> None:
    rng = np.random.default_rng(seed)
    classes = Classes(rng.integers(1, 50, 12), rng.integers(8, 50, 12))

    at = int(bin_for_sensitivity(classes, 0.8))

    assert rates(classes).sensitivity[at] >= 0.8


def test_ppv_and_alert_rate_move_the_threshold_with_the_prevalence() -> None:
    common, rare = bin_for_ppv(CLASSES, [0.3, 0.03], 0.5)
    busy, quiet = bin_for_alert_rate(CLASSES, [0.3, 0.03], 0.15)

    assert rare > common
    assert busy > quiet
    found = 0.3 * rates(CLASSES).sensitivity
    false = 0.7 * rates(CLASSES).false_positive_rate
    assert (found / (found + false))[common] >= 0.5 > (found / (found + false))[common - 1]
    assert (found + false)[busy] <= 0.15 < (found + false)[busy - 1]


def test_a_threshold_below_the_claim_is_blocked() -> None:
    bound = require_claim(CLASSES, 3, 0.8)

    assert bound == pytest.approx(stats.beta.ppf(0.025, 180, 21))
    with pytest.raises(
        NotAssessable, match=r"sensitivity is guaranteed only to 0\.\d{3} from bin 4, below the"
    ):
        require_claim(CLASSES, 4, 0.8)


# Consequences --------------------------------------------------------------------------------


def test_the_consequences_follow_from_bayes_and_carry_all_uncertainty() -> None:
    table = consequence(CLASSES, an_estimate(0.1, 0.08, 0.125), 3)

    tpr, fpr = 180.5 / 201, 130.5 / 1001
    assert table.sensitivity.value == pytest.approx(tpr)
    assert table.ppv.value == pytest.approx(0.1 * tpr / (0.1 * tpr + 0.9 * fpr))
    assert table.alerts_per_1000.value == pytest.approx(1000 * (0.1 * tpr + 0.9 * fpr))
    assert table.missed_per_1000.value == pytest.approx(100 * (1 - tpr))
    for name in table.__dataclass_fields__:
        interval = getattr(table, name)
        assert interval.low < interval.value < interval.high


def test_a_surer_prevalence_narrows_ppv_but_not_sensitivity() -> None:
    vague = consequence(CLASSES, an_estimate(0.1, 0.05, 0.2), 3)
    sure = consequence(CLASSES, an_estimate(0.1, 0.099, 0.101), 3)

    assert sure.ppv.high - sure.ppv.low < 0.5 * (vague.ppv.high - vague.ppv.low)
    assert sure.sensitivity.low == pytest.approx(float(vague.sensitivity.low))


def test_the_interval_of_the_prevalence_is_met_by_the_draws() -> None:
    # With a perfect operating point the alert rate is the prevalence itself.
    perfect = Classes([1e9, 0], [0, 1e9])

    table = consequence(perfect, an_estimate(0.1, 0.07, 0.16), 1)

    assert table.alerts_per_1000.low == pytest.approx(70, rel=0.03)
    assert table.alerts_per_1000.high == pytest.approx(160, rel=0.03)


# Refusals ------------------------------------------------------------------------------------


def test_policies_that_cannot_be_met_are_refused() -> None:
    with pytest.raises(NotAssessable, match=r"a guarantee of 0\.99 needs at least 299 labelled"):
        bin_for_sensitivity(CLASSES, 0.99)
    with pytest.raises(NotAssessable, match=r"a guarantee of 0\.9 needs at least 29 labelled"):
        bin_for_specificity(Classes([10, 10], [10, 10]), 0.9)
    with pytest.raises(NotAssessable, match=r"no threshold has a PPV of 0\.99"):
        bin_for_ppv(CLASSES, 0.01, 0.99)
    with pytest.raises(NotAssessable, match=r"no threshold flags at most 0\.001"):
        bin_for_alert_rate(CLASSES, 0.5, 0.001)
    with pytest.raises(NotAssessable, match="more than 100 positives would be needed"):
        positives_needed(0.80, 0.81, most=100)
    with pytest.raises(NotAssessable, match="a prevalence above 0 and below 1 expected"):
        consequence(CLASSES, an_estimate(0.0, 0.0, 0.1), 3)


def test_targets_that_are_none_are_refused() -> None:
    with pytest.raises(MonitorError, match=r"target must lie in \(0, 1\), got 1\.0"):
        guaranteed_rank(100, 1.0)
    with pytest.raises(MonitorError, match=r"confidence must lie in \(0, 1\), got 0"):
        smallest_sample(0.9, 0)
    with pytest.raises(MonitorError, match=r"0 < claim < truth < 1 expected, got 0\.9 and 0\.8"):
        positives_needed(0.9, 0.8)
    with pytest.raises(MonitorError, match="costs must be positive"):
        cost_threshold(0, 1, 0.1, 0.2)
    with pytest.raises(MonitorError, match="threshold_bin: 1 to 5 expected, got 6"):
        consequence(CLASSES, an_estimate(0.1, 0.08, 0.125), 6)
