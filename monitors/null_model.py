"""How window means vary while nothing changes: window random effects.

    mean of window t of stratum g = mu_g + b_t + e_t,   Cov(e_t) = within / n_t,  Cov(b_t) = between
    Cov(mean - estimated mu_g)    = within / n_t + between + (within + n0 between) / N_g

with N_g the reference cases of the stratum and n0 = sum n^2 / sum n over its reference windows.
Treating cases of a day as independent is the main source of false signals; the reference
mean's own error is the second (statistics.md 2). `within` and `between` are shared by the strata
of a device version, `mu` is each stratum's own. One generalised eigenbasis makes both diagonal,
so that whitening a window of any size is a division.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh

from monitors.errors import NotAssessable
from monitors.schema import FloatArray, IntArray

SHRINK = 0.1  # of `between` towards its diagonal
TOLERANCE = 0.04  # standard deviations within a day: a smaller shift of the mean could not matter
AUTOCORRELATION = 0.1  # of successive windows; above it `between` is widened


@dataclass(frozen=True, slots=True, eq=False)
class NullModel:
    """within, between : (p, p). mean : (U, p). cases, n0 : (U,) of each stratum's reference."""

    within: FloatArray
    between: FloatArray
    mean: FloatArray
    cases: FloatArray
    n0: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Basis:
    """K coordinates of phi, each with variance 1 within a day and `between` (K,) between days.

    projection : (p, K). The first `whitened` coordinates are uncorrelated with each other, the
    others are single entries of phi. direction : (whitened,) of a label shift, or None.
    """

    projection: FloatArray
    between: FloatArray
    whitened: int
    direction: FloatArray | None = None

    @property
    def size(self) -> int:
        """Number of coordinates K."""
        return int(self.between.size)


def fit_null_model(
    n: IntArray, mean: FloatArray, unit: IntArray, units: int, within: FloatArray
) -> NullModel:
    """The model of reference windows: n (W,), mean (W, p), unit (W,) in 0 .. units - 1.

    Windows of one unit must stand in time order (for the autocorrelation).
    """
    if not n.size:
        raise NotAssessable("a reference needs at least one window, got none")
    weight = n.astype(np.float64)
    cases = np.bincount(unit, weight, units).astype(np.float64)
    sums = np.zeros((units, mean.shape[1]))
    np.add.at(sums, unit, weight[:, None] * mean)
    centre = sums / np.maximum(cases, 1)[:, None]
    n0 = np.bincount(unit, weight**2, units) / np.maximum(cases, 1)
    residual = mean - centre[unit]
    # A residual is smaller than the deviation from the true mean by what its own window lent to it.
    residual = residual / np.sqrt(np.maximum(1 - weight / cases[unit], 0.5))[:, None]
    scatter = (residual * weight[:, None]).T @ residual
    between = (scatter - len(n) * within) / weight.sum()
    between = (1 - SHRINK) * between + SHRINK * np.diag(np.diag(between))
    between = _positive(between, within) * _widening(residual, weight, unit)
    return NullModel(within, between, centre, cases, n0)


def _positive(between: FloatArray, within: FloatArray) -> FloatArray:
    """The positive semidefinite part, in the metric of `within`."""
    values, vectors = eigh(between, within)
    half = within @ vectors
    return np.asarray((half * np.maximum(values, 0)) @ half.T)


def _widening(residual: FloatArray, weight: FloatArray, unit: IntArray) -> float:
    """(1 + r) / (1 - r) for successive windows correlated by more than `AUTOCORRELATION`."""
    z = residual * np.sqrt(weight)[:, None]
    spread = z.std(axis=0)
    z = z / np.where(spread > 0, spread, 1)
    successive = unit[1:] == unit[:-1]
    if successive.sum() < 20:
        return 1.0
    r = float((z[1:] * z[:-1])[successive].mean())
    return (1 + min(r, 0.6)) / (1 - min(r, 0.6)) if r > AUTOCORRELATION else 1.0


def regularised(within: FloatArray) -> tuple[FloatArray, IntArray]:
    """`within` made safely invertible, and which coordinates vary at all.

    Nearly collinear coordinates (logit and probability) keep a small own variance.
    """
    diagonal = np.diag(within).copy()
    varies = diagonal > 1e-8
    ridge = np.where(varies, 0.01 * diagonal, 1.0)
    safe = np.where(np.outer(varies, varies), within, 0.0) + np.diag(ridge)
    return np.asarray(safe), np.flatnonzero(varies)


def make_basis(
    null: NullModel, members: IntArray, direction: FloatArray | None = None, single: bool = True
) -> Basis:
    """Coordinates of the entries `members` of phi; `direction` (p,) is that of a label shift."""
    p = len(null.within)
    inside = np.ix_(members, members)
    values, vectors = eigh(null.between[inside], null.within[inside])
    projection = np.zeros((p, members.size * (2 if single else 1)))
    projection[members, : members.size] = vectors
    if single:
        sd = np.sqrt(np.diag(null.within)[members])
        projection[members, members.size + np.arange(members.size)] = 1 / sd
        values = np.concatenate([values, np.diag(null.between)[members] / sd**2])
    along = None if direction is None else projection[:, : members.size].T @ direction
    return Basis(projection, np.maximum(values, 0), members.size, along)


def coordinates(
    null: NullModel, basis: Basis, n: IntArray, mean: FloatArray, unit: IntArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Value, variance, and the reference's share of that variance, each (W, K), of windows."""
    value = (mean - null.mean[unit]) @ basis.projection
    reference = (1 + null.n0[unit, None] * basis.between) / np.maximum(null.cases[unit], 1)[:, None]
    variance = 1 / n[:, None] + basis.between + reference + TOLERANCE**2
    return value, variance, reference


def directed(
    basis: Basis, value: FloatArray, variance: FloatArray, reference: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """z (W,) along the label-shift direction, and the reference's share of its variance."""
    if basis.direction is None:
        raise NotAssessable("no label-shift direction is known")
    white = slice(0, basis.whitened)
    weight = basis.direction / variance[:, white]
    information = (basis.direction * weight).sum(axis=1)
    z = (weight * value[:, white]).sum(axis=1) / np.sqrt(information)
    return z, (weight**2 * reference[:, white]).sum(axis=1) / information
