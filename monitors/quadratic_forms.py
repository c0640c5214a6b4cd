"""Quadratic forms of normal vectors: exact tails, Hotelling's T2 and the kernel mean test.

The tail of sum w_i chi2_1 is the inversion integral of Imhof (1961), Biometrika 48, 419-426,
taken along a parabola through its saddle point instead of the imaginary axis, as proposed by
Rice (1980), SIAM J. Sci. Stat. Comput. 1, 438-448: there the integrand neither oscillates nor
decays slowly, so the tail keeps its relative accuracy at 1e-30. The two-moment (Satterthwaite)
approximation is anti-conservative in the tail (true size 0.0027 at a nominal 0.001) and absent.

Covariances are those of the difference tested: within-window noise, day-to-day variation and
the error of the reference together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import chdtrc, fdtrc

from monitors.errors import MonitorError, NotAssessable
from monitors.schema import FloatArray

NODES = 160  # trapezoid nodes on half the parabola: relative error below 1e-12 (see the tests)
REACH = 6.0  # half-length of the parabola on the sinh scale
NEGLIGIBLE = 1e-6  # directions with less than this share of the largest eigenvalue are dropped


def weighted_chi_square_tail(weights: npt.ArrayLike, x: npt.ArrayLike) -> FloatArray:
    """P(sum_i weights_i Z_i^2 > x) for independent standard normal Z, shape (...).

    weights : (..., p), not negative, at least one positive; x : (...).
    """
    w, at = np.asarray(weights, dtype=np.float64), np.asarray(x, dtype=np.float64)
    if w.ndim < 1 or not np.all(np.isfinite(w) & (w >= 0)) or not np.all(w.max(axis=-1) > 0):
        raise MonitorError("weights must be finite, not negative and not all zero")
    if np.any(np.isnan(at)):
        raise MonitorError("x must be a number, got NaN")
    largest = w.max(axis=-1)
    shape = np.broadcast_shapes(w.shape[:-1], at.shape)
    w = np.broadcast_to(w / largest[..., None], (*shape, w.shape[-1])).reshape(-1, w.shape[-1])
    scaled = np.broadcast_to(at / largest, shape).reshape(-1)
    tail = np.where(scaled > 0, 0.0, 1.0)
    inside = (scaled > 0) & np.isfinite(scaled)
    if inside.any():
        tail[inside] = _tail(w[inside], scaled[inside])
    return tail.reshape(shape)


def _tail(w: FloatArray, x: FloatArray) -> FloatArray:
    """Tail for weights (m, p) whose largest is 1 and x (m,) > 0."""
    # Below the mean the contour passes left of the pole at zero, which gives minus the lower tail.
    lower = x < w.sum(axis=1)
    saddle = _saddle(w, x, lower)
    spread, bend = _curvature(w, saddle)
    # sinh spaces the nodes so that both the narrow middle and the long flanks are covered.
    v = (np.arange(NODES) + 0.5) * (REACH / NODES)
    t = spread[:, None] * np.sinh(v)
    step = spread[:, None] * np.cosh(v) * (REACH / NODES)
    s = saddle[:, None] + 1j * t + bend[:, None] * t**2
    log_value = -s * x[:, None] - np.log(s)
    for column in w.T:  # one log per weight keeps every factor on its own sheet
        log_value -= 0.5 * np.log(1 - 2 * column[:, None] * s)
    value = np.exp(log_value) * (1j + 2 * bend[:, None] * t)
    return np.asarray(np.clip((value.imag * step).sum(axis=1) / np.pi + lower, 0.0, 1.0))


def _saddle(w: FloatArray, x: FloatArray, lower: npt.NDArray[np.bool_]) -> FloatArray:
    """Minimum of K(s) - s x - log|s|, convex on each side of zero, K the cumulant function."""
    low = np.where(lower, -(w.shape[1] / 2 + 1) / x, 0.0)
    high = np.where(lower, 0.0, 0.5)
    for _ in range(60):
        middle = (low + high) / 2
        slope = (w / (1 - 2 * w * middle[:, None])).sum(axis=1) - x - 1 / middle
        low, high = np.where(slope < 0, middle, low), np.where(slope < 0, high, middle)
    return np.asarray((low + high) / 2)


def _curvature(w: FloatArray, saddle: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Width of the integrand at the saddle and the bend of its path of steepest descent."""
    ratio = w / (1 - 2 * w * saddle[:, None])
    second = 2 * (ratio**2).sum(axis=1) + saddle**-2
    third = 8 * (ratio**3).sum(axis=1) - 2 * saddle**-3
    # Any positive bend is valid, as the cut lies inside the parabola; the pole can ask for a
    # negative one, along which the integrand would not decay.
    return np.asarray(second**-0.5), np.maximum(third / (6 * second), 0.05 * np.sqrt(second))


@dataclass(frozen=True, slots=True)
class Hotelling:
    """T2 (...), the directions kept (...), and the tail probability of no difference."""

    statistic: FloatArray
    dimensions: FloatArray
    p_value: FloatArray


def hotelling(
    difference: npt.ArrayLike, covariance: npt.ArrayLike, dof: npt.ArrayLike = np.inf
) -> Hotelling:
    """Hotelling's T2 of a mean difference (..., p) with its covariance (..., p, p).

    dof : degrees of freedom of the covariance (`covariance_dof`); infinite means known and
    gives chi2_p, otherwise T2 (dof - p + 1) / (dof p) is F(p, dof - p + 1).
    Hotelling (1931), Ann. Math. Stat. 2, 360-378. Directions of less than `NEGLIGIBLE` of the
    largest eigenvalue are dropped, not inverted.
    """
    x, c = np.asarray(difference, dtype=np.float64), np.asarray(covariance, dtype=np.float64)
    if c.shape[-2:] != (x.shape[-1], x.shape[-1]):
        raise MonitorError(
            f"covariance: (..., {x.shape[-1]}, {x.shape[-1]}) expected, got {c.shape}"
        )
    values, vectors = np.linalg.eigh(c)
    top = values[..., -1:]
    if not np.all(top > 0):
        raise NotAssessable("T2: the covariance of the difference is zero")
    kept = values > NEGLIGIBLE * top
    along = np.einsum("...ji,...j->...i", vectors, x)
    statistic = np.where(kept, along**2 / np.where(kept, values, 1.0), 0.0).sum(axis=-1)
    p = kept.sum(axis=-1).astype(np.float64)
    return Hotelling(statistic, p, _hotelling_tail(statistic, p, np.asarray(dof, dtype=float)))


def _hotelling_tail(statistic: FloatArray, p: FloatArray, dof: FloatArray) -> FloatArray:
    spare = dof - p + 1
    if not np.all(spare > 0):
        raise NotAssessable(f"T2: more degrees of freedom than directions needed, got {dof}")
    finite = np.isfinite(dof)
    known = np.where(finite, dof, 1e6)
    ratio = statistic * np.where(finite, spare, 1.0) / (known * p)
    tail = np.where(finite, fdtrc(p, np.where(finite, spare, 1.0), ratio), chdtrc(p, statistic))
    return np.asarray(tail)


def covariance_dof(parts: npt.ArrayLike, dof: npt.ArrayLike) -> FloatArray:
    """Approximate degrees of freedom of a sum of independent covariance estimates, shape (...).

    parts : (k, ..., p, p) covariances of each mean (already divided by its n); dof : (k, ...).
    Nel and van der Merwe (1986), Commun. Stat. 15, 3719-3735; for p = 1 it is Welch's.
    """
    each = np.asarray(parts, dtype=np.float64)
    known = np.asarray(dof, dtype=np.float64)
    return np.asarray(_size(each.sum(axis=0)) / (_size(each) / known).sum(axis=0))


def _size(c: FloatArray) -> FloatArray:
    squares = np.einsum("...ij,...ji->...", c, c)
    return np.asarray(squares + np.trace(c, axis1=-2, axis2=-1) ** 2)


@dataclass(frozen=True, slots=True)
class KernelMean:
    """Squared distance of kernel means, its unbiased version, and its tail probability (...)."""

    statistic: FloatArray
    unbiased: FloatArray
    p_value: FloatArray


def kernel_mean_test(difference: npt.ArrayLike, covariance: npt.ArrayLike) -> KernelMean:
    """Maximum mean discrepancy in random Fourier features, with its exact null.

    difference : (..., D) difference of mean features; covariance : (..., D, D) of it.
    Gretton et al. (2012), J. Mach. Learn. Res. 13, 723-773, with the finite features of Rahimi
    and Recht (2007): the null is sum lambda_i chi2_1 over the eigenvalues of the covariance,
    so neither permutation nor a single case is needed.
    """
    x, c = np.asarray(difference, dtype=np.float64), np.asarray(covariance, dtype=np.float64)
    weights = np.maximum(np.linalg.eigvalsh(c), 0.0)
    if not np.all(weights[..., -1] > 0):
        raise NotAssessable("kernel means: the covariance of the difference is zero")
    statistic = (x**2).sum(axis=-1)
    return KernelMean(
        statistic, statistic - weights.sum(axis=-1), weighted_chi_square_tail(weights, statistic)
    )
