from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from monitors.errors import MonitorError, NotAssessable
from monitors.proportions import (
    BetaBinomial,
    beta_binomial,
    beta_binomial_tails,
    clopper_pearson,
    newcombe,
    newcombe_paired,
    odds_ratio,
    rate_z,
    unseen_category,
    wilson,
)


@pytest.mark.parametrize(
    ("events", "n", "score", "exact"),
    [
        (81, 263, (0.2553, 0.3662), (0.2527, 0.3676)),
        (15, 148, (0.0624, 0.1605), (0.0578, 0.1617)),
        (0, 20, (0.0, 0.1611), (0.0, 0.1684)),
        (1, 29, (0.0061, 0.1718), (0.0009, 0.1776)),
    ],
)
def test_intervals_are_those_of_newcombes_table(
    events: int, n: int, score: tuple[float, float], exact: tuple[float, float]
) -> None:
    # Newcombe (1998), Stat. Med. 17, 857-872, table I: methods 3 and 5.
    quick, claim = wilson(events, n), clopper_pearson(events, n)

    assert (quick.low, quick.high) == pytest.approx(score, abs=5.1e-5)
    assert (claim.low, claim.high) == pytest.approx(exact, abs=5.1e-5)


@pytest.mark.parametrize(
    ("cells", "interval"),
    [
        ((56, 70, 48, 80), (0.0524, 0.3339)),
        ((9, 10, 3, 10), (0.1705, 0.8090)),
        ((5, 56, 0, 29), (-0.0381, 0.1926)),
        ((0, 10, 0, 20), (-0.1611, 0.2775)),
        ((10, 10, 0, 10), (0.6075, 1.0)),
    ],
)
def test_differences_are_those_of_newcombes_table(
    cells: tuple[int, int, int, int], interval: tuple[float, float]
) -> None:
    # Newcombe (1998), Stat. Med. 17, 873-890, table II: method 10.
    result = newcombe(*cells)

    assert (result.low, result.high) == pytest.approx(interval, abs=5.1e-5)


def test_none_of_many_bounds_the_rate_by_three_over_n() -> None:
    # Hanley and Lippman-Hand (1983), JAMA 249, 1743-1745.
    assert clopper_pearson(0, 1000, 0.90).high == pytest.approx(3 / 1000, rel=0.005)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 80), st.integers(1, 80))
def test_intervals_are_symmetric_and_contain_their_rate(events: int, n: int) -> None:
    events = min(events, n)

    for interval in (wilson, clopper_pearson):
        yes, no = interval(events, n), interval(n - events, n)
        assert 0 <= yes.low <= yes.value <= yes.high <= 1
        assert no.low == pytest.approx(1 - float(yes.high), abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 40), st.integers(0, 40))
def test_exchanging_two_rates_turns_their_difference(a: int, b: int) -> None:
    one, other = newcombe(a, 40, b, 50), newcombe(b, 50, a, 40)
    ratio, inverse = odds_ratio(a, 40, b, 50), odds_ratio(b, 50, a, 40)

    assert other.low == pytest.approx(-float(one.high))
    assert inverse.low == pytest.approx(1 / float(ratio.high))


def test_the_rate_z_is_the_root_of_the_chi_square_without_day_effects() -> None:
    chi = stats.chi2_contingency([[30, 170], [100, 900]], correction=False).statistic

    z = rate_z(30, 200, 100, 1000)

    assert z == pytest.approx(chi**0.5)
    assert rate_z(30, 200, 100, 1000, effect=4.0, reference_effect=4.0) == pytest.approx(z / 2)


def test_the_predictive_distribution_is_scipys() -> None:
    null = beta_binomial(0.02, 0.01)
    x, n = np.array([0, 1, 7, 30]), np.array([50, 50, 200, 30])

    tails = beta_binomial_tails(x, n, null)

    theirs = stats.betabinom(n, null.a, null.b)
    assert tails.upper == pytest.approx(theirs.sf(x) + theirs.pmf(x) / 2, rel=1e-8)
    assert tails.lower == pytest.approx(theirs.cdf(x - 1) + theirs.pmf(x) / 2, rel=1e-8)


def test_the_shapes_have_the_rate_and_the_correlation_asked_for() -> None:
    null = beta_binomial(0.02, 0.1)

    assert null.a / (null.a + null.b) == pytest.approx(0.02)
    assert 1 / (null.a + null.b + 1) == pytest.approx(0.1)


def test_without_correlation_the_predictive_distribution_is_binomial() -> None:
    tails = beta_binomial_tails(5, 50, beta_binomial(0.1, 0.0))

    expected = stats.binom.sf(5, 50, 0.1) + stats.binom.pmf(5, 50, 0.1) / 2
    assert tails.upper == pytest.approx(expected, rel=1e-3)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 30), st.floats(0.01, 0.9), st.floats(0.0, 0.5))
def test_mid_p_values_add_to_one_and_keep_their_order(x: int, rate: float, icc: float) -> None:
    null = beta_binomial(rate, icc)

    here, more = (beta_binomial_tails(events, 31, null) for events in (x, x + 1))

    assert here.lower + here.upper == pytest.approx(1.0)
    assert more.upper <= here.upper + 1e-12


def test_correlated_windows_make_a_cluster_of_events_less_surprising() -> None:
    quiet = beta_binomial_tails(8, 100, beta_binomial(0.02, 0.0)).upper
    noisy = beta_binomial_tails(8, 100, beta_binomial(0.02, 0.05)).upper

    assert noisy > 10 * quiet


def test_the_first_case_of_a_new_category_is_no_proof_but_several_are() -> None:
    p = unseen_category([0, 1, 3, 5], 100, 5000)

    assert p[0] == 1.0
    assert p[1] > 0.1
    assert p[2] < 0.002 < p[1]
    assert p[3] >= 0.0005  # the price of bounding the reference rate
    bound = 1 - 0.0005 ** (1 / 5000)
    assert p[2] == pytest.approx(stats.binom.sf(2, 100, bound) + 0.0005)


def test_rates_that_are_none_are_refused() -> None:
    with pytest.raises(NotAssessable, match="rate: at least 1 case expected"):
        wilson(0, 0)
    with pytest.raises(MonitorError, match="rate: 0 <= events <= cases expected"):
        clopper_pearson(5, 4)
    with pytest.raises(NotAssessable, match="all or none of the cases are events in both periods"):
        rate_z(0, 10, 0, 100)
    with pytest.raises(MonitorError, match="0 < rate < 1 and icc < 1 expected"):
        beta_binomial(0.0, 0.1)
    with pytest.raises(MonitorError, match="beta-binomial: both shapes must be positive"):
        BetaBinomial(np.array(0.0), np.array(1.0))
    with pytest.raises(NotAssessable, match="unseen category: no reference case"):
        unseen_category(1, 10, 0)
    with pytest.raises(MonitorError, match=r"share must lie in \(0, 1\), got 0"):
        unseen_category(1, 10, 10, share=0)


# Paired --------------------------------------------------------------------------------------


def test_pairs_without_correlation_give_the_unpaired_interval() -> None:
    # 60 and 40 of 100, independent: a d = b c, so the correlation is nought.
    paired, apart = newcombe_paired(24, 36, 16, 24), newcombe(60, 100, 40, 100)

    assert paired.value == pytest.approx(apart.value)
    assert (paired.low, paired.high) == (pytest.approx(apart.low), pytest.approx(apart.high))


def test_exchanging_the_two_rates_mirrors_the_interval_and_agreement_shortens_it() -> None:
    one, other = newcombe_paired(36, 12, 2, 10), newcombe_paired(36, 2, 12, 10)
    apart = newcombe(48, 60, 38, 60)

    assert (one.low, one.high) == (pytest.approx(-other.high), pytest.approx(-other.low))
    assert one.high - one.low < apart.high - apart.low


def test_pairs_that_never_differ_have_no_difference() -> None:
    found = newcombe_paired([30, 0], [0, 0], [0, 0], [0, 30])

    assert found.value.tolist() == [0.0, 0.0]
    assert np.all((found.low <= 0) & (found.high >= 0))


def test_the_paired_interval_holds_the_truth_as_often_as_promised() -> None:
    rng = np.random.default_rng(1)
    cells = np.array([0.55, 0.20, 0.08, 0.17])
    a, b, c, d = rng.multinomial(60, cells, size=4000).T

    found = newcombe_paired(a, b, c, d)
    covered = np.mean((found.low <= 0.12) & (found.high >= 0.12))

    assert 0.94 < covered < 0.985  # 4,000 runs: +- 0.7 points
