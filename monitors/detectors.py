"""Shiryaev-Roberts e-detectors, averaged over coordinates, signs and sizes of a shift.

    M <- (M + c) L,   E[L | past] <= 1 while nothing changes,   signal when M >= limit

c is the time in days since the stream was last looked at, so M counts days: for every stopping
time E[M] <= E[days watched], whatever the dependence between streams, windows or sites. Hence a
stream with `limit` = K 365.25 / F gives at most F / K false signals a year, and K of them F
(statistics.md B1; Shin, Ramdas and Rinaldo, "E-detectors", 2023). Looking more often costs nothing.
Averages of e-detectors are e-detectors: one limit serves all coordinates of a stream.
"""

from __future__ import annotations

import numpy as np

from monitors.errors import DesignError
from monitors.schema import FloatArray

SHIFTS = np.array([0.5, 1.0, 2.0])  # in standard deviations of a window
SIGNS = np.array([1.0, -1.0])
CLIP = 4.0
LARGEST = 1e300  # days; far beyond every limit, and a sum of such still a number
DAYS_A_YEAR = 365.25


def limit(streams: int, false_signals_per_year: float) -> float:
    """Days that M must reach: the whole fleet then signals falsely at most so often a year."""
    if streams < 1 or not 0 < false_signals_per_year < np.inf:
        raise DesignError(
            f"at least 1 stream and a positive budget expected, got {streams} and "
            f"{false_signals_per_year}"
        )
    return streams * DAYS_A_YEAR / false_signals_per_year


def shift_evidence(z: FloatArray, margin: FloatArray) -> FloatArray:
    """log e-values (..., 2, 3) of standardised `z` for each sign and size of a shift.

    `margin` (...) is the largest in-control mean: what the reference's own error may pretend.
    """
    clipped = np.clip(z, -CLIP, CLIP)[..., None, None]
    beyond = SIGNS[:, None] * clipped - margin[..., None, None]
    return np.asarray(SHIFTS * (beyond - SHIFTS / 2))


def advance(m: FloatArray, days: FloatArray | float, evidence: FloatArray) -> FloatArray:
    """M after one look, all broadcast together; `days` since the last look, > 0.

    evidence : log e-values. M counts no further than `LARGEST` days.
    """
    with np.errstate(over="ignore"):
        return np.asarray(np.minimum((m + days) * np.exp(evidence), LARGEST))


def log_sum(log_terms: FloatArray, axis: int | tuple[int, ...] | None = None) -> FloatArray:
    """log of the sum of exponentials over `axis`; terms of -inf count for nothing."""
    largest = np.maximum(log_terms.max(axis=axis, keepdims=True), -1e300)
    total = np.exp(log_terms - largest).sum(axis=axis, keepdims=True)
    with np.errstate(divide="ignore"):
        return np.asarray((np.log(total) + largest).squeeze(axis))


def average(m: FloatArray, weight: FloatArray) -> FloatArray:
    """Weighted mean of M over the trailing axes, which are those of `weight`."""
    return np.asarray(np.tensordot(m, weight, axes=weight.ndim))


def stream_weights(directed: bool, whitened: int, single: int) -> FloatArray:
    """Weights (K,) of a block: half on the label-shift direction if known, the rest shared."""
    parts = [np.full(whitened, 1.0 / max(whitened, 1)), np.full(single, 1.0 / max(single, 1))]
    rest = np.concatenate(parts)
    rest = rest / rest.sum()
    return np.concatenate([[1 / 3], rest * 2 / 3]) if directed else rest
