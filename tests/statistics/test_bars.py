"""What windows give away against raw rows, and error rates at small volumes.

Tolerances are those of the simulation itself. The bars are the project's own promises.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from monitors.clusters import cluster_bootstrap
from monitors.matching import hellinger_prevalence
from monitors.means import Baseline, baseline, independent, mean_shift
from monitors.performance import Audit, classes_of
from monitors.power import mean_power
from monitors.prevalence import Classes, mlls
from monitors.schema import FloatArray
from monitors.two_sample import chi_square, directed, merge_counts, merge_sparse, pair

RUNS = 20_000


def rate(p: FloatArray, level: float = 0.05) -> float:
    return float(np.mean(np.asarray(p) <= level))


def within(found: float, nominal: float = 0.05) -> None:
    """0.8 to 1.1 of nominal, less the error of the simulation."""
    slack = 3 * np.sqrt(nominal * (1 - nominal) / RUNS)
    assert 0.8 * nominal - slack <= found <= 1.1 * nominal + slack, found / nominal


# Small windows -------------------------------------------------------------------------------


def windows(
    rng: np.random.Generator, count: int, n: int, between: float, runs: int = RUNS
) -> tuple[FloatArray, FloatArray]:
    """Mean and variance of `count` windows of n normal cases whose days differ."""
    day = np.sqrt(between) * rng.standard_normal((count, runs))
    mean = day + rng.standard_normal((count, runs)) / np.sqrt(n)
    return mean, rng.chisquare(n - 1, (count, runs)) / n


@pytest.mark.parametrize("n", [20, 50, 150])
@pytest.mark.parametrize("between", [0.0, 0.01])
def test_mean_tests_keep_their_size_with_a_reference_of_sixty_windows(
    n: int, between: float
) -> None:
    rng = np.random.default_rng(n)
    reference = baseline(np.full((60, 1), n), *windows(rng, 60, n, between))
    now, _ = windows(rng, 1, n, between)

    within(rate(mean_shift(reference, np.full((1, 1), n), now).p_value))


def test_mean_tests_keep_their_size_on_skewed_cases_from_twenty_on() -> None:
    rng = np.random.default_rng(2)
    sums = rng.gamma(2 * 20, size=(60, RUNS)) / 20  # means of 20 gamma(2) cases
    reference = Baseline(
        mean=sums.mean(axis=0),
        within=np.full(RUNS, 2.0),
        between=np.zeros(RUNS),
        cases=np.full(RUNS, 1200.0),
        windows=np.full(RUNS, 60.0),
        n0=np.full(RUNS, 20.0),
        size=np.full(RUNS, 20.0),
    )

    within(
        rate(mean_shift(reference, np.full((1, 1), 20), rng.gamma(40, size=(1, RUNS)) / 20).p_value)
    )


@pytest.mark.parametrize("n", [80, 150, 400])
@pytest.mark.parametrize("m", [4800, 20_000])
def test_histogram_tests_keep_their_size_from_eighty_on(n: int, m: int) -> None:
    # Ten reference deciles; 4800 is sixty windows of eighty cases.
    rng = np.random.default_rng(n + m)
    even = np.full(10, 0.1)
    reference, now = rng.multinomial(m, even, RUNS), rng.multinomial(n, even, RUNS)
    of = pair(*(merge_counts(x, merge_sparse(reference, n)) for x in (reference, now)))

    within(rate(chi_square(of).p_value))
    within(rate(2 * stats.norm.sf(np.abs(directed(of).z_shift))))


# Windows against rows ------------------------------------------------------------------------


def test_a_quarter_of_a_standard_deviation_is_seen_in_one_hundred_and_fifty_cases() -> None:
    rng = np.random.default_rng(3)
    runs = 20_000
    mean0, mean1 = (rng.standard_normal(runs) / np.sqrt(k) for k in (5000, 150))
    var0 = rng.chisquare(4999, runs) / 5000
    p = mean_shift(independent(5000, mean0, var0), np.full((1, 1), 150), mean1[None] + 0.25).p_value

    promised = float(mean_power(0.25, 150, 5000))
    assert promised >= 0.85
    assert rate(p) == pytest.approx(promised, abs=3 * np.sqrt(0.85 * 0.15 / runs))


def test_sixty_four_bins_lose_less_than_a_point_of_power() -> None:
    # Against Student's t and the rank sum on the raw rows themselves, same draws.
    rng = np.random.default_rng(4)
    runs, m, n = 2000, 5000, 150
    edges = stats.norm.ppf(np.linspace(0, 1, 65))
    reference = rng.standard_normal(m)
    rows = rng.standard_normal((runs, n)) + 0.25
    binned = np.apply_along_axis(lambda x: np.histogram(x, edges)[0], 1, rows)
    of = pair(np.broadcast_to(np.histogram(reference, edges)[0], binned.shape), binned)

    raw = stats.ttest_ind(rows, reference[None], axis=1).pvalue
    bins = 2 * stats.norm.sf(np.abs(directed(of).z_shift))
    middle = (rows - reference.mean()) / np.sqrt(reference.var(ddof=1) * (1 / m + 1 / n))
    sums = 2 * stats.norm.sf(np.abs(middle.sum(axis=1) / n))

    assert rate(bins) >= rate(raw) - 0.01
    assert rate(sums) >= rate(raw) - 0.01


# Prevalence ----------------------------------------------------------------------------------


def raw_em(x: FloatArray, apart: float) -> float:
    """Saerens's EM on raw rows, with the true densities: the best that rows could do."""
    one, zero = np.exp(apart * x - apart**2 / 2), 1.0
    pi = 0.5
    for _ in range(500):
        post = pi * one / (pi * one + (1 - pi) * zero)
        new = float(post.mean())
        if abs(new - pi) < 1e-9:
            break
        pi = new
    return pi


@pytest.mark.parametrize(("n", "gap"), [(200, 0.002), (1000, 0.001)])
def test_prevalence_from_sixty_four_bins_is_as_good_as_from_rows(n: int, gap: float) -> None:
    rng = np.random.default_rng(n)
    runs, apart, truth = 400, np.sqrt(2) * stats.norm.ppf(0.90), 0.12
    cut = np.concatenate(
        [[-np.inf], apart / 2 + 1.4 * stats.norm.ppf(np.arange(1, 64) / 64), [np.inf]]
    )
    q0, q1 = np.diff(stats.norm.cdf(cut)), np.diff(stats.norm.cdf(cut - apart))
    classes = Classes(1e7 * q0, 1e7 * q1)
    positive = rng.random((runs, n)) < truth
    rows = rng.standard_normal((runs, n)) + apart * positive
    counts = np.apply_along_axis(lambda x: np.histogram(x, cut)[0], 1, rows)

    binned = mlls(classes, counts).value
    raw = np.array([raw_em(x, float(apart)) for x in rows])

    ratio = np.abs(binned - truth).mean() / np.abs(raw - truth).mean()
    assert ratio <= 1.1
    assert abs(float(np.mean(binned - raw))) <= gap


def test_the_nearest_mixture_has_the_coverage_it_states() -> None:
    rng = np.random.default_rng(5)
    edges = 0.9 + 1.3 * stats.norm.ppf(np.linspace(0, 1, 13))
    q0, q1 = np.diff(stats.norm.cdf(edges)), np.diff(stats.norm.cdf(edges - 1.8))
    runs = 250
    classes = Classes(rng.multinomial(1000, q0, runs), rng.multinomial(150, q1, runs))
    found = hellinger_prevalence(classes, rng.multinomial(800, 0.85 * q0 + 0.15 * q1, runs))

    covered = np.mean((found.low <= 0.15) & (found.high >= 0.15))
    assert covered >= 0.95 - 3 * np.sqrt(0.95 * 0.05 / runs), covered


def test_weighted_labels_recover_the_classes_of_all_cases() -> None:
    rng = np.random.default_rng(6)
    cases, rates = np.array([4000, 2000, 800, 400]), np.array([0.02, 0.1, 0.4, 0.8])
    labelled = np.array([200, 200, 400, 300])
    found = rng.binomial(labelled, rates, (2000, 4))
    shares = classes_of(
        Audit(np.broadcast_to(cases, found.shape), np.broadcast_to(labelled, found.shape), found)
    )
    truth = cases * rates / (cases * rates).sum()

    share = shares.positive / shares.positive.sum(axis=1, keepdims=True)
    assert share.mean(axis=0) == pytest.approx(truth, abs=0.005)
    # Worth: the share of the last bin varies at most as its stated number of labels would.
    worth = shares.positive.sum(axis=1).mean()
    assert share[:, 3].std() <= 1.2 * np.sqrt(truth[3] * (1 - truth[3]) / worth)


def test_clustered_cases_are_covered_and_treating_them_as_single_is_not() -> None:
    rng = np.random.default_rng(7)
    hits = naive = 0
    runs = 200
    for run in range(runs):
        p = rng.beta(2, 8, 60)  # patients differ: mean 0.2, five images each
        y = rng.binomial(5, p)
        found = cluster_bootstrap(
            np.column_stack([y, np.full(60, 5)]),
            lambda t: t[..., 0] / t[..., 1],
            draws=400,
            seed=run,
        )
        hits += bool(found.low <= 0.2 <= found.high)
        mean = y.sum() / 300
        naive += abs(mean - 0.2) <= 1.96 * np.sqrt(mean * (1 - mean) / 300)

    assert hits / runs >= 0.95 - 3 * np.sqrt(0.95 * 0.05 / runs) - 0.02
    assert naive / runs < 0.93
