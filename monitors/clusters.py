"""Intervals when cases come in clusters: several images of a patient, cases of a day, a reader.

Whole clusters are drawn with replacement, so that whatever their cases share stays together
(Davison and Hinkley, Bootstrap Methods and their Application, 1997, section 3.8; Field and Welsh
2007, JRSS B 69, 369-390). Only each cluster's counts are needed, never a case.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from monitors.errors import MonitorError, NotAssessable
from monitors.proportions import Interval
from monitors.schema import FloatArray

DRAWS = 2000
LEAST_CLUSTERS = 10  # with fewer the bootstrap's own distribution is too coarse for a 95% interval

Statistic = Callable[[FloatArray], npt.ArrayLike]


def cluster_bootstrap(
    counts: npt.ArrayLike,
    statistic: Statistic,
    *,
    confidence: float = 0.95,
    draws: int = DRAWS,
    seed: int = 0,
) -> Interval:
    """Interval of `statistic` of the added-up `counts` (clusters, ...), by drawing clusters.

    statistic : takes totals (draws, ...) and gives (draws, ...); it may refuse none of them, so
    give it what a draw without, say, a positive case should count as. Percentile interval.
    """
    table = np.asarray(counts, dtype=np.float64)
    if table.ndim < 2 or not np.all(np.isfinite(table)):
        raise MonitorError("clusters: finite counts (clusters, ...) expected")
    clusters = table.shape[0]
    if clusters < LEAST_CLUSTERS:
        raise NotAssessable(f"clusters: at least {LEAST_CLUSTERS} needed, got {clusters}")
    times = np.random.default_rng(seed).multinomial(
        clusters, np.full(clusters, 1 / clusters), draws
    )
    totals = np.tensordot(times.astype(np.float64), table, axes=1)
    value = np.asarray(statistic(table.sum(axis=0)[None]), dtype=np.float64)[0]
    drawn = np.asarray(statistic(totals), dtype=np.float64)
    if not (np.all(np.isfinite(value)) and np.all(np.isfinite(drawn))):
        raise NotAssessable("clusters: the statistic has no value for some draw of clusters")
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    return Interval(value, low, high)
