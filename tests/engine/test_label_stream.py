"""Labels given the score: exact e-values, and re-reads of fixed images."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.stats import binom

from monitors.errors import NotAssessable
from monitors.label_stream import (
    OVERDISPERSION,
    expected_read_shift,
    fit_labels,
    intercept_shift,
    likelihood_ratios,
    read_shift,
    slope_z,
)

P = np.array([0.05, 0.3, 0.8])
LIMIT = 10_000.0  # days
ODDS = np.array([1.5, 3.0, 1 / 1.5, 1 / 3.0])


@pytest.mark.parametrize("labelled", [(4, 3, 2), (12, 0, 1), (1, 1, 9)])
def test_likelihood_ratios_are_exact_e_values_for_every_case_mix(
    labelled: tuple[int, int, int],
) -> None:
    n = np.array(labelled)
    expected = np.zeros(ODDS.size)

    for y in product(*(range(k + 1) for k in labelled)):
        chance = binom.pmf(y, n, P).prod()
        expected += chance * np.exp(likelihood_ratios(P, 0.0, n, np.array(y), ODDS, LIMIT))

    assert expected.max() <= 1.0
    assert expected.min() > 0.7  # the margin costs something, not everything


def test_more_positive_labels_speak_for_higher_odds_and_fewer_for_lower() -> None:
    n = np.array([40, 20, 20])

    up = likelihood_ratios(P, 0.05, n, np.array([10, 12, 19]), ODDS, LIMIT)
    down = likelihood_ratios(P, 0.05, n, np.array([0, 1, 10]), ODDS, LIMIT)

    assert up[1] > 2 > up[3]
    assert down[3] > 2 > down[1]


def test_labels_that_no_longer_follow_the_score_have_a_negative_slope() -> None:
    n = np.array([60, 40, 40])

    flat = slope_z(P, 0.0, n, np.array([15, 15, 15]))
    same = slope_z(P, 0.0, n, np.array([3, 12, 32]))

    assert flat < -3
    assert abs(same) < 0.5
    assert slope_z(P, 0.0, np.zeros(3, dtype=np.int64), np.zeros(3, dtype=np.int64)) == 0


def labels(rng: np.random.Generator, own: float, weeks: int = 20) -> tuple[np.ndarray, np.ndarray]:
    n = rng.poisson([10, 6, 5], (weeks, 3))
    p = 1 / (1 + (1 - P) / P * np.exp(-own))
    return n, rng.binomial(n, p)


def test_a_sites_own_intercept_is_recovered_with_its_error() -> None:
    rng = np.random.default_rng(1)
    n0, y0 = labels(rng, 0.0)
    n1, y1 = labels(rng, 0.8)

    fitted = fit_labels(
        np.concatenate([n0, n1]),
        np.concatenate([y0, y1]),
        ["a"] * 20 + ["b"] * 20,
        ["r"] * 40,
        [True] * 40,
    )

    a, b = fitted.index(("a", "")), fitted.index(("b", ""))
    assert a is not None
    assert b is not None
    apart = np.log(fitted.probability[b] / (1 - fitted.probability[b])) - np.log(
        fitted.probability[a] / (1 - fitted.probability[a])
    )
    assert apart == pytest.approx(np.full(3, apart[0]))
    assert apart[0] == pytest.approx(0.8, abs=4 * np.hypot(fitted.error[a], fitted.error[b]))
    assert fitted.rate[b] > fitted.rate[a]


def test_a_group_with_few_reference_labels_is_not_watched() -> None:
    n, y = labels(np.random.default_rng(2), 0.0)

    fitted = fit_labels(n, y, ["a"] * 20, ["r"] * 18 + ["new"] * 2, [True] * 20)

    assert fitted.index(("a", "r")) is not None
    assert fitted.index(("a", "new")) is None


def reads(rng: np.random.Generator, rate: np.ndarray, times: int) -> np.ndarray:
    return rng.binomial(times, rate)


def test_re_reads_in_control_have_mean_zero_and_the_variance_that_is_claimed() -> None:
    rng = np.random.default_rng(3)
    rate = np.repeat([0.05, 0.5, 0.95], 40)
    baseline, once = np.full(120, 5), np.ones(120, dtype=np.int64)

    found = [
        read_shift(once, reads(rng, rate, 1), baseline, reads(rng, rate, 5)) for _ in range(800)
    ]

    z = np.array([shift / np.sqrt(variance) for shift, variance in found])
    assert abs(z.mean()) < 3 / np.sqrt(800)
    assert 0.7 < z.std() < 1.0  # a round effect is allowed for


def test_over_calling_shifts_re_reads_by_what_is_expected_of_it() -> None:
    rng = np.random.default_rng(4)
    rate = np.repeat([0.05, 0.5, 0.95], 40)
    baseline, once = np.full(120, 40), np.ones(120, dtype=np.int64)
    first = reads(rng, rate, 40)
    moved = 1 / (1 + (1 - rate) / rate * np.exp(-1.0))

    shift = np.mean(
        [read_shift(once, reads(rng, moved, 1), baseline, first)[0] for _ in range(300)]
    )

    [expected] = expected_read_shift(np.array([1.0]), once, baseline, first)
    assert shift == pytest.approx(expected, rel=0.25)


def test_too_few_fixed_images_are_refused() -> None:
    few = np.ones(10, dtype=np.int64)
    with pytest.raises(NotAssessable, match="20 fixed images expected, got 10"):
        read_shift(few, few, few, few)
    once = np.ones(30, dtype=np.int64)
    with pytest.raises(NotAssessable, match="no fixed image was read twice"):
        read_shift(once, once, once, once)


def test_the_shift_of_one_bin_is_the_difference_of_its_log_odds() -> None:
    shift, error = intercept_shift(
        np.array([[0.2]]), np.array([0.0]), np.array([[200]]), np.array([[80]])
    )

    assert shift == pytest.approx(np.log(0.4 / 0.6) - np.log(0.2 / 0.8), abs=1e-9)
    assert error == pytest.approx(np.sqrt(OVERDISPERSION / (200 * 0.4 * 0.6)), rel=1e-9)


def test_the_shift_is_found_and_its_interval_holds_it_as_often_as_said() -> None:
    rng, truth, runs = np.random.default_rng(3), 0.6, 4000
    p, n = np.array([P, P]), np.array([[60, 30, 20], [40, 20, 10]])
    error = np.array([0.15, 0.1])
    held = 0
    for _ in range(runs):
        own = rng.normal(0, error)[:, None]
        y = rng.binomial(n, expit(logit(p) + own + truth))
        shift, se = intercept_shift(p, error, n, y)
        held += abs(shift - truth) <= 1.96 * se
    assert 0.94 < held / runs < 0.985  # wider than 0.95 by the over-dispersion that is allowed for


def test_labels_that_are_all_positive_have_a_finite_shift_and_none_is_refused() -> None:
    n = np.array([[20, 10, 5]])
    shift, error = intercept_shift(P[None], np.array([0.1]), n, n)
    assert shift == 6.0
    assert np.isfinite(error)
    with pytest.raises(NotAssessable, match="no label"):
        intercept_shift(P[None], np.array([0.1]), 0 * n, 0 * n)
