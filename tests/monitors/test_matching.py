"""Prevalence by the nearest mixture, and intervals by whole clusters."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize, stats

from monitors.clusters import cluster_bootstrap
from monitors.errors import MonitorError, NotAssessable
from monitors.matching import hellinger_prevalence
from monitors.prevalence import Classes, mlls
from monitors.schema import FloatArray


def two_normals(bins: int = 16, apart: float = 1.8) -> tuple[FloatArray, FloatArray]:
    edges = 0.9 + 1.3 * stats.norm.ppf(np.linspace(0, 1, bins + 1))
    return np.diff(stats.norm.cdf(edges)), np.diff(stats.norm.cdf(edges - apart))


def test_the_mixture_is_recovered_and_leaves_no_distance() -> None:
    q0, q1 = two_normals()
    found = hellinger_prevalence(Classes(1e9 * q0, 1e9 * q1), 1e6 * (0.85 * q0 + 0.15 * q1))

    assert float(found.value) == pytest.approx(0.15, abs=1e-4)
    assert float(found.distance) < 1e-3


def test_it_is_the_minimum_of_hellinger_s_distance() -> None:
    # The definition of HDy (Gonzalez-Castro et al. 2013, equation 6), searched for by brute force.
    rng = np.random.default_rng(2)
    q0, q1 = two_normals()
    classes = Classes(rng.multinomial(800, q0), rng.multinomial(200, q1))
    c = rng.multinomial(500, 0.7 * q0 + 0.3 * q1)

    def distance(pi: float) -> float:
        mix = (1 - pi) * classes.q0 + pi * classes.q1
        return float(np.sqrt(max(0.0, 1 - np.sqrt(c / c.sum() * mix).sum())))

    best = optimize.minimize_scalar(distance, bounds=(0, 1), method="bounded")
    found = hellinger_prevalence(classes, c)
    assert float(found.value) == pytest.approx(best.x, abs=1e-4)
    assert float(found.distance) == pytest.approx(best.fun, abs=1e-6)


def test_it_agrees_with_maximum_likelihood_and_rows_do_not_touch_each_other() -> None:
    rng = np.random.default_rng(3)
    q0, q1 = two_normals()
    classes = Classes(rng.multinomial(8000, q0), rng.multinomial(2000, q1))
    current = rng.multinomial(3000, 0.8 * q0 + 0.2 * q1, 4)

    together = hellinger_prevalence(classes, current)
    alone = [float(hellinger_prevalence(classes, row).value) for row in current]

    assert together.value == pytest.approx(alone)
    assert together.value == pytest.approx(mlls(classes, current).value, abs=0.01)
    order = rng.permutation(16)
    shuffled = hellinger_prevalence(
        Classes(classes.negative[order], classes.positive[order]), current[:, order]
    )
    assert shuffled.value == pytest.approx(together.value)


def test_no_positive_and_no_negative_lie_at_the_ends() -> None:
    q0, q1 = two_normals()
    classes = Classes(1e6 * q0, 1e6 * q1)
    assert float(hellinger_prevalence(classes, 1e4 * q0).value) == pytest.approx(0, abs=1e-3)
    assert float(hellinger_prevalence(classes, 1e4 * q1).value) == pytest.approx(1, abs=1e-3)


def test_matching_refuses() -> None:
    classes = Classes([5, 5, 1], [1, 5, 5])
    with pytest.raises(MonitorError, match="current: 3 bins expected"):
        hellinger_prevalence(classes, [1, 2])
    with pytest.raises(NotAssessable, match="no case in a row"):
        hellinger_prevalence(classes, [0, 0, 0])
    with pytest.raises(MonitorError, match="finite and not negative"):
        hellinger_prevalence(classes, [1, -1, 2])
    with pytest.raises(NotAssessable, match="the same score distribution"):
        hellinger_prevalence(Classes([5, 5], [5, 5]), [3, 4])


# Clusters ------------------------------------------------------------------------------------


def share(totals: FloatArray) -> FloatArray:
    return np.asarray(totals[..., 0] / totals[..., 1])


def test_clusters_of_one_give_the_binomial_interval() -> None:
    y = np.repeat([1.0, 0.0], [60, 240])
    found = cluster_bootstrap(np.column_stack([y, np.ones(300)]), share, draws=4000)

    half = 1.96 * np.sqrt(0.2 * 0.8 / 300)
    assert float(found.value) == pytest.approx(0.2)
    assert float(found.low) == pytest.approx(0.2 - half, abs=0.006)
    assert float(found.high) == pytest.approx(0.2 + half, abs=0.006)


def test_identical_twins_widen_the_interval_by_the_root_of_two() -> None:
    y = np.repeat([1.0, 0.0], [60, 240])
    single = np.column_stack([y, np.ones(300)])
    alone = cluster_bootstrap(np.concatenate([single, single]), share)
    twins = cluster_bootstrap(2 * single, share)

    ratio = float((twins.high - twins.low) / (alone.high - alone.low))
    assert ratio == pytest.approx(2**0.5, rel=0.06)


def test_the_order_of_clusters_is_not_part_of_the_estimate() -> None:
    rng = np.random.default_rng(4)
    counts = np.column_stack([rng.binomial(5, 0.3, 40), np.full(40, 5)])
    one, other = (cluster_bootstrap(c, share) for c in (counts, counts[::-1]))
    assert float(one.value) == float(other.value)
    assert float(one.low) == pytest.approx(float(other.low), abs=0.03)


def test_clusters_refuse() -> None:
    with pytest.raises(NotAssessable, match="at least 10 needed, got 3"):
        cluster_bootstrap(np.ones((3, 2)), share)
    with pytest.raises(MonitorError, match="finite counts"):
        cluster_bootstrap(np.full((20, 2), np.nan), share)
    with pytest.raises(NotAssessable, match="no value for some draw"):
        cluster_bootstrap(
            np.ones((20, 2)), lambda totals: np.log(totals[..., 0] - 30.0 + 0j).real * np.inf
        )
