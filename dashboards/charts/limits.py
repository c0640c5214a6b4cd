"""Funnel limits (Spiegelhalter 2005, Stat Med 24:1185): where a site of n cases would lie by
common-cause variation alone around a known rate.

Binomial quantiles are exact and interpolated (his appendix A.1.1), so that they hold at small n.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import binom

from dashboards.charts.spec import FunnelLimit
from monitors.schema import BoolArray, FloatArray, IntArray

INNER, OUTER = 0.025, 0.001  # one-sided: 95 % and 99.8 %


def binomial_limits(rate: float, n: IntArray) -> tuple[FunnelLimit, ...]:
    """Limits at each n (k,), for a rate strictly between 0 and 1."""
    tails = (INNER, 1 - INNER, OUTER, 1 - OUTER)
    columns = (_quantile(rate, n, tail).tolist() for tail in tails)
    return tuple(
        FunnelLimit(int(k), (low, high), (lowest, highest))
        for k, low, high, lowest, highest in zip(n, *columns, strict=True)
    )


def funnel_limits(rate: float, largest: int, points: int = 60) -> tuple[FunnelLimit, ...]:
    """Limits on a grid of n up to a little over `largest`."""
    if not 0 < rate < 1 or largest < 2:
        return ()
    return binomial_limits(
        rate, np.unique(np.geomspace(5, max(largest * 1.05, 10), points).astype(np.int64))
    )


def are_outside(rate: float, events: IntArray, n: IntArray) -> BoolArray:
    """Whether each `events` (k,) of `n` (k,) lies outside the 99.8 % limits around `rate`."""
    if not 0 < rate < 1:
        return np.zeros(n.shape, dtype=np.bool_)
    low, high = (_quantile(rate, np.maximum(n, 1), tail) for tail in (OUTER, 1 - OUTER))
    share = events / np.maximum(n, 1)
    return np.asarray((n > 0) & ((share < low) | (share > high)))


def _quantile(rate: float, n: IntArray, probability: float) -> FloatArray:
    count = binom.ppf(probability, n, rate)
    here, before = binom.cdf(count, n, rate), binom.cdf(count - 1, n, rate)
    mass = here - before
    share = np.where(mass > 0, (here - probability) / np.where(mass > 0, mass, 1.0), 0.0)
    return np.asarray(np.clip((count - share) / n, 0.0, 1.0))
