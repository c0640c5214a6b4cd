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


@dataclass(frozen=True, slots=True, eq=False)
class NoisyNullModel(NullModel):
    """noise : (U, p) variance of each stratum's reference mean by the noise of its windows."""

    noise: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class NoiseShare:
    """Variance by edges' noise of phi, (W, p) or (W, 1) zeros: all of it, and the reference's."""

    total: FloatArray
    reference: FloatArray

    def select(self, which: IntArray | slice) -> NoiseShare:
        """That of some windows."""
        return NoiseShare(self.total[which], self.reference[which])

    def scaled(self, factor: FloatArray | float) -> NoiseShare:
        """Times `factor` (W, 1) or one for all."""
        return NoiseShare(self.total * factor, self.reference * factor)


EXACT = NoiseShare(np.zeros((1, 1)), np.zeros((1, 1)))


def fit_null_model(
    n: IntArray,
    mean: FloatArray,
    unit: IntArray,
    units: int,
    within: FloatArray,
    noise: FloatArray | None = None,
) -> NullModel:
    """The model of reference windows: n (W,), mean (W, p), unit (W,) in 0 .. units - 1.

    Windows of one unit must stand in time order (for the autocorrelation). noise : (W, p)
    variance of each mean by an edge's noise, which is none of the variation between days.
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
    scatter = scatter - len(n) * within
    if noise is not None and noise.any():
        scatter = scatter - np.diag(weight @ noise)
    between = scatter / weight.sum()
    between = (1 - SHRINK) * between + SHRINK * np.diag(np.diag(between))
    between = _positive(between, within) * _widening(residual, weight, unit)
    if noise is None or not noise.any():
        return NullModel(within, between, centre, cases, n0)
    lent = np.zeros_like(centre)
    np.add.at(lent, unit, (weight / np.maximum(cases[unit], 1))[:, None] ** 2 * noise)
    return NoisyNullModel(within, between, centre, cases, n0, lent)


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
    null: NullModel,
    basis: Basis,
    n: IntArray,
    mean: FloatArray,
    unit: IntArray,
    noise: FloatArray = EXACT.total,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Value, variance, and the reference's share of that variance, each (W, K), of windows.

    noise : (W, p) variance of each mean by an edge's noise; zeros for none.
    """
    value = (mean - null.mean[unit]) @ basis.projection
    reference = (1 + null.n0[unit, None] * basis.between) / np.maximum(null.cases[unit], 1)[:, None]
    reference = reference + _spread(noise_of_reference(null, unit), basis)
    variance = 1 / n[:, None] + basis.between + reference + TOLERANCE**2
    return value, variance + _spread(noise, basis), reference


def _spread(noise: FloatArray, basis: Basis) -> FloatArray | float:
    """Variance (W, K) of coordinates by independent noise (W, p) on phi."""
    return noise @ basis.projection**2 if noise.any() else 0.0


def noise_of_reference(null: NullModel, unit: IntArray) -> FloatArray:
    """Variance (W, p) by noise of the reference mean that each window is held against."""
    return null.noise[unit] if isinstance(null, NoisyNullModel) else np.zeros((unit.size, 1))


def correlated(basis: Basis, noise: FloatArray) -> FloatArray:
    """How much more variance (W, whitened) than its own each whitened coordinate needs to be used
    as if noise (W, p) on phi left it uncorrelated with the others, which it does not.

    Times the sum of the absolute correlations in its row, a diagonal is at least the covariance in
    every direction: what is left is diagonally dominant after scaling.
    """
    extra = np.zeros((len(noise), basis.whitened))
    p = basis.projection[:, : basis.whitened]
    for w in np.flatnonzero(noise.any(axis=1)):
        covariance = (p.T * noise[w]) @ p
        own = np.diag(covariance)
        sd = np.sqrt(np.maximum(own, 1e-300))
        extra[w] = sd * (np.abs(covariance) / sd).sum(axis=1) - own
    return extra


def noise_of_shift(
    null: NullModel, noise: FloatArray, share: FloatArray, by_unit: FloatArray | IntArray
) -> FloatArray:
    """Variance (p,) or (1,) by noise of a shift averaged over windows: noise (W, p) of each, share
    (W,) of each, by_unit (U,) of each stratum, whose reference has noise of its own."""
    found: FloatArray = share**2 @ noise
    return found + by_unit**2 @ null.noise if isinstance(null, NoisyNullModel) else found


def directed(
    basis: Basis,
    value: FloatArray,
    variance: FloatArray,
    reference: FloatArray,
    noise: NoiseShare = EXACT,
) -> tuple[FloatArray, FloatArray]:
    """z (W,) along the label-shift direction, and the reference's share of its variance.

    The whitened coordinates are uncorrelated but for `noise`, whose part is taken as it is.
    """
    if basis.direction is None:
        raise NotAssessable("no label-shift direction is known")
    white = slice(0, basis.whitened)
    weight = basis.direction / variance[:, white]
    information = (basis.direction * weight).sum(axis=1)
    spread = _along(basis, weight, information, noise.total)
    lent = _along(basis, weight, (weight**2 * reference[:, white]).sum(axis=1), noise.reference)
    return (weight * value[:, white]).sum(axis=1) / np.sqrt(spread), lent / spread


def _along(basis: Basis, weight: FloatArray, variance: FloatArray, noise: FloatArray) -> FloatArray:
    """Variance (W,) of the weighted sum, given that of uncorrelated coordinates: what noise (W, p)
    added to that is taken out again, and put in as noise on phi really adds up."""
    if not noise.any():
        return variance
    p = basis.projection[:, : basis.whitened]
    apart = (weight**2 * (noise @ p**2)).sum(axis=1)
    together = ((weight @ p.T) ** 2 * noise).sum(axis=1)
    return np.asarray(np.maximum(variance - apart, 0.0) + together)
