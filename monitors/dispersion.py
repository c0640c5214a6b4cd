"""How much more windows vary than independent cases would: the design effect.

Day-to-day case mix correlates the cases of a window. At an intra-window correlation of 0.005
and 200 cases a day a nominal 0.1% chi-square test fires in about 12% of windows, so every
test of this package takes a design effect. One-way analysis of variance for proportions:
Donner and Klar, Design and Analysis of Cluster Randomization Trials (2000), chapter 6;
effect of unequal window sizes: Kish, Survey Sampling (1965), section 8.2.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from monitors.errors import NotAssessable
from monitors.schema import FloatArray


def intraclass_correlation(counts: npt.ArrayLike) -> FloatArray:
    """Intra-window correlation of bin membership, shape (...).

    counts : (windows, ..., B) counts of the reference windows; B = 2 for a yes-or-no rate.
    Averaged over bins in proportion to their variance; never negative. Empty windows count
    for nothing.
    """
    table = np.asarray(counts, dtype=np.float64)
    n = table.sum(axis=-1)
    used, total = (n > 0).sum(axis=0), n.sum(axis=0)
    if not np.all((used >= 2) & (total > used)):
        raise NotAssessable("intra-window correlation: at least 2 windows with over 1 case needed")
    rates = table / np.maximum(n, 1)[..., None]
    mean = table.sum(axis=0) / total[..., None]
    within = (n * (1 - (rates**2).sum(axis=-1))).sum(axis=0) / (total - used)
    between = (n * ((rates - mean) ** 2).sum(axis=-1)).sum(axis=0) / (used - 1)
    size = (total - (n**2).sum(axis=0) / total) / (used - 1)
    spread = between + (size - 1) * within
    with np.errstate(invalid="ignore"):
        icc = np.where(spread > 0, (between - within) / spread, 0.0)
    return np.asarray(np.clip(icc, 0.0, 1.0))


def design_effect(sizes: npt.ArrayLike, icc: npt.ArrayLike) -> FloatArray:
    """Variance of pooled windows relative to independent cases, >= 1, shape (...).

    sizes : (windows, ...) cases in each window pooled; icc : (...) intra-window correlation.
    """
    n = np.asarray(sizes, dtype=np.float64)
    total = n.sum(axis=0)
    if not np.all(total >= 1):
        raise NotAssessable("design effect: no case in the windows pooled")
    return np.asarray(1.0 + np.maximum((n**2).sum(axis=0) / total - 1, 0.0) * icc)
