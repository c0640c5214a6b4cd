"""Funnel limits (Spiegelhalter 2005, Stat Med 24:1185): where a site of n cases would lie by
common-cause variation alone around a known rate.

Binomial quantiles are exact and interpolated (his appendix A.1.1), so that they hold at small n.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import binom

from dashboards.charts.spec import FunnelLimit

INNER, OUTER = 0.025, 0.001  # one-sided: 95 % and 99.8 %


def binomial_limits(rate: float, n: int) -> FunnelLimit:
    """Limits at one n, for a rate strictly between 0 and 1."""
    return FunnelLimit(
        n,
        (_quantile(rate, n, INNER), _quantile(rate, n, 1 - INNER)),
        (_quantile(rate, n, OUTER), _quantile(rate, n, 1 - OUTER)),
    )


def funnel_limits(rate: float, largest: int, points: int = 60) -> tuple[FunnelLimit, ...]:
    """Limits on a grid of n up to a little over `largest`."""
    if not 0 < rate < 1 or largest < 2:
        return ()
    grid = np.unique(np.geomspace(5, max(largest * 1.05, 10), points).astype(int))
    return tuple(binomial_limits(rate, int(n)) for n in grid)


def is_outside(rate: float, events: int, n: int) -> bool:
    """Whether `events` of `n` lies outside the 99.8 % limits around `rate`."""
    if not 0 < rate < 1 or n < 1:
        return False
    low, high = binomial_limits(rate, n).outer
    return not low <= events / n <= high


def _quantile(rate: float, n: int, probability: float) -> float:
    count = float(binom.ppf(probability, n, rate))
    here, before = binom.cdf(count, n, rate), binom.cdf(count - 1, n, rate)
    share = (here - probability) / (here - before) if here > before else 0.0
    return float(np.clip((count - share) / n, 0.0, 1.0))
