"""Has a mean moved? From n, mean and variance of windows alone, knowing that days differ.

    mean of window t = mu + b_t + e_t,   Var(e_t) = within / n_t,   Var(b_t) = between

`between` is estimated from the reference's own windows (one-way analysis of variance: Searle,
Casella and McCulloch, Variance Components, 1992, section 3.6), so that a day's case mix is not
taken for a change. The degrees of freedom of the combined variance are Satterthwaite's (1946),
Biometrics Bull. 2, 110-114. The first axis is windows; further axes are characteristics.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import stdtr, stdtrit

from monitors.errors import MonitorError, NotAssessable
from monitors.schema import FloatArray


@dataclass(frozen=True, slots=True)
class Baseline:
    """What the reference's windows say of a mean, each (...).

    within, between : variance of a case within a window and of windows' true means. cases, n0 :
    total and sum n^2 / total. windows : how many. size : the windows' typical n, of the anova.
    """

    mean: FloatArray
    within: FloatArray
    between: FloatArray
    cases: FloatArray
    windows: FloatArray
    n0: FloatArray
    size: FloatArray


def baseline(n: npt.ArrayLike, mean: npt.ArrayLike, variance: npt.ArrayLike) -> Baseline:
    """The reference from its windows' n, mean and (population) variance, each (windows, ...).

    Windows without a case count for nothing; their mean and variance are not read.
    """
    n, mean, variance = np.broadcast_arrays(
        *(np.asarray(x, dtype=np.float64) for x in (n, mean, variance))
    )
    _check(n, mean, variance)
    mean, variance = np.where(n > 0, mean, 0.0), np.where(n > 0, variance, 0.0)
    windows, cases = (n > 0).sum(axis=0).astype(np.float64), n.sum(axis=0)
    if not np.all((windows >= 2) & (cases > windows)):
        raise NotAssessable("means: at least 2 reference windows with over 1 case needed")
    within = (n * variance).sum(axis=0) / (cases - windows)
    centre = (n * mean).sum(axis=0) / cases
    if not np.all(within > 0):
        raise NotAssessable("means: no variation within the reference's windows")
    n0 = (n**2).sum(axis=0) / cases
    size = (cases - n0) / (windows - 1)
    spread = (n * (mean - centre) ** 2).sum(axis=0) / (windows - 1)
    between = np.maximum((spread - within) / size, 0.0)
    return Baseline(centre, within, between, cases, windows, n0, size)


def independent(n: npt.ArrayLike, mean: npt.ArrayLike, variance: npt.ArrayLike) -> Baseline:
    """The reference from its total n, mean and (population) variance (...), days not differing."""
    n, mean, variance = np.broadcast_arrays(
        *(np.asarray(x, dtype=np.float64)[None] for x in (n, mean, variance))
    )
    _check(n, mean, variance)
    cases, one = n[0], np.ones(n.shape[1:])
    if not np.all((cases > 1) & (variance[0] > 0)):
        raise NotAssessable("means: at least 2 reference cases that differ needed")
    within = variance[0] * cases / (cases - 1)
    return Baseline(mean[0], within, 0 * one, cases, one, cases, one)


def _check(n: FloatArray, mean: FloatArray, variance: FloatArray) -> None:
    if n.ndim < 1:
        raise MonitorError("means: an axis of windows expected, got a single number")
    known = n > 0
    if not np.all(np.isfinite(n) & (n >= 0)):
        raise MonitorError("means: n must be finite and not negative")
    if not np.all(np.isfinite(mean[known]) & np.isfinite(variance[known])):
        raise MonitorError("means: mean and variance must be finite where there are cases")
    if not np.all(variance[known] >= 0):
        raise MonitorError("means: variances must not be negative")


@dataclass(frozen=True, slots=True)
class MeanShift:
    """A difference of means and its test, each (...).

    difference : in the unit of the mean; low, high : its interval. effect, effect_low,
    effect_high : the same in standard deviations of a case within a window.
    """

    difference: FloatArray
    low: FloatArray
    high: FloatArray
    effect: FloatArray
    effect_low: FloatArray
    effect_high: FloatArray
    standard_error: FloatArray
    dof: FloatArray
    p_value: FloatArray


def mean_shift(
    reference: Baseline, n: npt.ArrayLike, mean: npt.ArrayLike, confidence: float = 0.95
) -> MeanShift:
    """The current windows' n and mean (windows, ...), pooled by cases, against the reference."""
    size, value = np.broadcast_arrays(*(np.asarray(x, dtype=np.float64) for x in (n, mean)))
    total = size.sum(axis=0)
    if not np.all(total >= 1):
        raise NotAssessable("means: no case in the current windows")
    current = (size * np.where(size > 0, value, 0.0)).sum(axis=0) / total
    cases = 1 / total + 1 / reference.cases
    days = (size**2).sum(axis=0) / total**2 + reference.n0 / reference.cases
    error, dof = _error(reference, cases, days)
    gap = current - reference.mean
    half = stdtrit(dof, (1 + confidence) / 2) * error
    sd = np.sqrt(reference.within)
    return MeanShift(
        difference=gap,
        low=gap - half,
        high=gap + half,
        effect=gap / sd,
        effect_low=(gap - half) / sd,
        effect_high=(gap + half) / sd,
        standard_error=error,
        dof=dof,
        p_value=np.asarray(2 * stdtr(dof, -np.abs(gap) / error)),
    )


def _error(r: Baseline, cases: FloatArray, days: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Standard error of within * cases + between * days, and its degrees of freedom.

    between = (spread - within) / size, so the sum is one of the two independent mean squares.
    """
    found = r.between > 0
    spread = r.within + r.size * r.between
    by_spread = np.where(found, days / r.size, 0.0)
    by_within = cases - by_spread
    variance = by_within * r.within + by_spread * spread
    doubt = (by_within * r.within) ** 2 / (r.cases - r.windows)
    doubt = doubt + (by_spread * spread) ** 2 / np.maximum(r.windows - 1, 1)
    # A negative weight of `within` can take more than it gives; never fewer than the windows' own.
    least = np.where(found, np.minimum(r.windows - 1, r.cases - r.windows), 1.0)
    dof = np.maximum(variance**2 / doubt, least)
    return np.sqrt(variance), np.asarray(dof)
