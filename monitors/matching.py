"""Prevalence by matching score distributions: the mixture nearest in Hellinger's distance.

HDy of Gonzalez-Castro, Alaiz-Rodriguez and Alegre (2013), Inf. Sci. 218, 146-164, on the bins of
a score. It is first-order as good as maximum likelihood (Beran 1977, Ann. Stat. 5, 445-463) and
bends less to a few bins that do not fit; so the two falling apart is itself a warning that more
than the mixture changed. Label shift is assumed, as in `monitors.prevalence`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import elementwise

from monitors.errors import MonitorError, NotAssessable
from monitors.prevalence import Classes
from monitors.schema import FloatArray, IntArray

DRAWS = 400


@dataclass(frozen=True, slots=True)
class Matched:
    """A prevalence with its interval, and the distance the best mixture leaves, (...).

    distance : Hellinger's, 0 to 1, between the current shares and the mixture.
    """

    value: FloatArray
    low: FloatArray
    high: FloatArray
    distance: FloatArray


def hellinger_prevalence(
    classes: Classes,
    current: npt.ArrayLike,
    *,
    design_effect: npt.ArrayLike = 1.0,
    confidence: float = 0.95,
    seed: int = 0,
) -> Matched:
    """Prevalence of `current` (..., B) whose mixture of the reference's classes is nearest.

    The affinity sum sqrt(c_b ((1 - pi) q0_b + pi q1_b)) is concave in pi, so its maximum is
    found by bracketing. Interval by resampling all three samples; `design_effect` divides the
    current cases.
    """
    counts = np.asarray(current, dtype=np.float64)
    if counts.ndim < 1 or counts.shape[-1] != classes.negative.shape[-1]:
        raise MonitorError(f"current: {classes.negative.shape[-1]} bins expected")
    if not np.all(np.isfinite(counts) & (counts >= 0)):
        raise MonitorError("current: counts must be finite and not negative")
    n = counts.sum(axis=-1)
    if not np.all(n >= 1):
        raise NotAssessable("current: no case in a row")
    share, q0, q1 = np.broadcast_arrays(counts / n[..., None], classes.q0, classes.q1)
    value = _nearest(q0, q1, share)
    left = _affinity(q0, q1, share, value)
    effect = np.asarray(design_effect, dtype=np.float64)
    rng = np.random.default_rng(seed)
    # Dirichlet draws of observed shares have the multinomial's covariance, to order 1/n.
    draws = _nearest(
        _drawn(rng, classes.negative, q0),
        _drawn(rng, classes.positive, q1),
        _drawn(rng, counts / effect[..., None], share),
    )
    low, high = np.quantile(draws, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    distance = np.sqrt(np.maximum(1 - left, 0.0))
    return Matched(value, np.minimum(low, value), np.maximum(high, value), distance)


def _drawn(rng: np.random.Generator, counts: FloatArray, share: FloatArray) -> FloatArray:
    size = counts.sum(axis=-1, keepdims=True)
    gamma = rng.standard_gamma(share * size, size=(DRAWS, *share.shape))
    return np.asarray(gamma / gamma.sum(axis=-1, keepdims=True))


def _affinity(q0: FloatArray, q1: FloatArray, share: FloatArray, pi: FloatArray) -> FloatArray:
    mix = q0 + pi[..., None] * (q1 - q0)
    return np.asarray(np.sqrt(share * np.maximum(mix, 0.0)).sum(axis=-1))


def _slope(q0: FloatArray, q1: FloatArray, share: FloatArray, pi: FloatArray) -> FloatArray:
    mix = np.maximum(q0 + pi[..., None] * (q1 - q0), 1e-300)
    return np.asarray((np.sqrt(share / mix) * (q1 - q0)).sum(axis=-1))


def _slope_at(
    q0: FloatArray, q1: FloatArray, share: FloatArray, i: IntArray, pi: FloatArray
) -> FloatArray:
    return _slope(q0[i], q1[i], share[i], pi)


def _nearest(q0: FloatArray, q1: FloatArray, share: FloatArray) -> FloatArray:
    q0, q1, share = np.broadcast_arrays(q0, q1, share)
    shape, bins = share.shape[:-1], share.shape[-1]
    q0, q1, share = (x.reshape(-1, bins) for x in (q0, q1, share))
    low, high = np.zeros(len(share)), np.ones(len(share))
    at_zero, at_one = _slope(q0, q1, share, low) <= 0, _slope(q0, q1, share, high) >= 0
    if np.any(at_zero & at_one):
        raise NotAssessable("prevalence: positives and negatives have the same score distribution")
    value = np.where(at_one, 1.0, 0.0)
    inside = np.flatnonzero(~(at_zero | at_one))
    if inside.size:
        # find_root hands on only the rows still open, so each row travels with its index.
        found = elementwise.find_root(
            lambda pi, i: _slope_at(q0, q1, share, i.astype(np.int64), pi),
            (low[inside], high[inside]),
            args=(inside.astype(float),),
        )
        value[inside] = found.x
    return np.asarray(value.reshape(shape))
