"""Has a binned distribution changed? Tests and effect sizes from two rows of counts.

Counts are (..., B): strata and characteristics are leading axes and broadcast. Each sample has
a design effect (`monitors.dispersion`): its proportions vary as if it had n / effect cases.
Bins are the reference's; merge sparse ones first (`merge_sparse`), by the reference alone.

Pearson (1900) for two samples as in Press et al., Numerical Recipes, section 14.3; null of the
PSI: Yurdakul (2018), Statistical Properties of the Population Stability Index, Western
Michigan University. Binned distances bound the unbinned ones: Kolmogorov's and Wasserstein's
come with the band that no arrangement of the cases inside their bins can leave.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import elementwise
from scipy.special import chdtrc, chdtri, kolmogorov, ndtri, xlogy
from scipy.stats import ncx2

from monitors.errors import MonitorError, NotAssessable
from monitors.quadratic_forms import weighted_chi_square_tail
from monitors.schema import FloatArray, IntArray

SMALLEST_EXPECTED = 5.0  # cases expected in a bin for the chi-square limit to hold (Cochran 1954)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two rows of proportions with their effective sizes.

    reference, current : (..., B) proportions. reference_size, current_size : (...) cases each
    row is worth, n / design effect. reference_counts, current_counts : (..., B) as given.
    """

    reference: FloatArray
    current: FloatArray
    reference_size: FloatArray
    current_size: FloatArray
    reference_counts: FloatArray
    current_counts: FloatArray

    @property
    def noise(self) -> FloatArray:
        """(...) 1/m + 1/n of the effective sizes: Var(difference) = noise p (1 - p)."""
        return np.asarray(1 / self.reference_size + 1 / self.current_size)

    @property
    def difference(self) -> FloatArray:
        """current - reference, (..., B)."""
        return self.current - self.reference

    @property
    def pooled(self) -> FloatArray:
        """Proportions of both together, weighted by effective size, (..., B)."""
        m, n = self.reference_size[..., None], self.current_size[..., None]
        return np.asarray((m * self.reference + n * self.current) / (m + n))

    @property
    def df(self) -> FloatArray:
        """Occupied bins less one, (...); 0 where there is nothing to compare."""
        return np.asarray((self.pooled > 0).sum(axis=-1) - 1.0)


def pair(
    reference: npt.ArrayLike,
    current: npt.ArrayLike,
    *,
    reference_effect: npt.ArrayLike = 1.0,
    current_effect: npt.ArrayLike = 1.0,
) -> Pair:
    """Two rows of counts (..., B) with their design effects (...), ready to be compared."""
    r, c = _counts("reference", reference), _counts("current", current)
    if r.shape[-1] != c.shape[-1]:
        raise MonitorError(f"bins: {r.shape[-1]} expected as in the reference, got {c.shape[-1]}")
    m, n = r.sum(axis=-1), c.sum(axis=-1)
    return Pair(
        r / m[..., None],
        c / n[..., None],
        m / _effect(reference_effect),
        n / _effect(current_effect),
        r,
        c,
    )


def _counts(name: str, counts: npt.ArrayLike) -> FloatArray:
    table = np.asarray(counts, dtype=np.float64)
    if table.ndim < 1 or table.shape[-1] < 2:
        raise MonitorError(f"{name} counts: at least 2 bins expected, got shape {table.shape}")
    if not np.all(np.isfinite(table) & (table >= 0)):
        raise MonitorError(f"{name} counts must be finite and not negative")
    empty = table.sum(axis=-1) == 0
    if empty.any():
        raise NotAssessable(f"{name} counts: no case in {int(empty.sum())} of {empty.size} rows")
    return table


def _effect(effect: npt.ArrayLike) -> FloatArray:
    value = np.asarray(effect, dtype=np.float64)
    if not np.all(value >= 1):
        raise MonitorError(f"a design effect is at least 1, got {float(value.min())!r}")
    return value


# Sparse bins ---------------------------------------------------------------------------------


def merge_sparse(
    reference: npt.ArrayLike, n: npt.ArrayLike, smallest: float = SMALLEST_EXPECTED
) -> IntArray:
    """Group of each ordered bin, (..., B), so that a group expects `smallest` of `n` (...) cases.

    Neighbours are merged from the left by reference proportions only: a merge chosen by the
    current data would change the null. A last group that falls short joins the one before.
    """
    share = _counts("reference", reference)
    expected = share / share.sum(axis=-1, keepdims=True) * np.asarray(n, dtype=float)[..., None]
    group = np.zeros(expected.shape, dtype=np.int64)
    held = np.zeros(expected.shape[:-1])
    full_groups = np.zeros(expected.shape[:-1], dtype=np.int64)
    for b in range(expected.shape[-1]):
        group[..., b] = full_groups
        held = held + expected[..., b]
        full = held >= smallest
        full_groups, held = full_groups + full, np.where(full, 0.0, held)
    return np.asarray(np.minimum(group, np.maximum(full_groups - 1, 0)[..., None]))


def merge_counts(counts: npt.ArrayLike, group: IntArray) -> FloatArray:
    """Counts (..., B) added up by `group` (..., B), still in B columns; unused ones are 0."""
    table = np.asarray(counts, dtype=np.float64)
    member = group[..., None, :] == np.arange(group.shape[-1])[:, None]
    return np.asarray(np.einsum("...gb,...b->...g", member.astype(np.float64), table))


# Tests ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ChiSquare:
    """A chi-square test of each row: statistic, degrees of freedom, tail probability (...)."""

    statistic: FloatArray
    df: FloatArray
    p_value: FloatArray


def chi_square(of: Pair) -> ChiSquare:
    """Pearson's X2 of each pair of rows, corrected for the design effects (Rao and Scott 1981)."""
    return _chi_square(of, _pearson(of))


def g_test(of: Pair) -> ChiSquare:
    """Likelihood ratio G of each pair of rows (Wilks 1938), of the effective sizes."""
    pooled = of.pooled
    gain = of.reference_size * _divergence(of.reference, pooled)
    return _chi_square(of, 2 * (gain + of.current_size * _divergence(of.current, pooled)))


def _chi_square(of: Pair, statistic: FloatArray) -> ChiSquare:
    df = _occupied("chi-square", of, 2)
    return ChiSquare(statistic, df, np.asarray(chdtrc(df, statistic)))


def _occupied(test: str, of: Pair, least: int) -> FloatArray:
    """Degrees of freedom, once every row has `least` occupied bins."""
    df = of.df
    short = df + 1 < least
    if short.any():
        raise NotAssessable(
            f"{test}: at least {least} occupied bins expected, fewer in {int(short.sum())} of "
            f"{df.size} rows"
        )
    return df


def _pearson(of: Pair) -> FloatArray:
    return np.asarray((of.difference**2 * _inverse(of.pooled)).sum(axis=-1) / of.noise)


def _inverse(p: FloatArray) -> FloatArray:
    """1/p of occupied bins, 0 elsewhere."""
    return np.where(p > 0, 1 / np.where(p > 0, p, 1.0), 0.0)


def _divergence(p: FloatArray, q: FloatArray) -> FloatArray:
    """Kullback-Leibler divergence of p from q > 0 wherever p > 0, in nats, (...)."""
    return np.asarray((xlogy(p, p) - xlogy(p, np.where(p > 0, q, 1.0))).sum(axis=-1))


def residuals(of: Pair) -> FloatArray:
    """Standardised difference of each bin, (..., B); 0 where a bin cannot differ."""
    variance = of.pooled * (1 - of.pooled) * of.noise[..., None]
    return np.where(variance > 0, of.difference / np.sqrt(np.where(variance > 0, variance, 1)), 0.0)


def cramers_v(of: Pair) -> FloatArray:
    """Cramer's V of the 2 x B table, 0 to 1, (...): an effect size, blind to design effects."""
    m, n = of.reference_counts.sum(axis=-1), of.current_counts.sum(axis=-1)
    plain = pair(of.reference_counts, of.current_counts)
    return np.asarray(np.sqrt(_pearson(plain) / (m + n)))


def jensen_shannon(of: Pair) -> FloatArray:
    """Jensen-Shannon distance, base 2, 0 to 1, (...) (Endres and Schindelin 2003)."""
    middle = (of.reference + of.current) / 2
    half = _divergence(of.reference, middle) + _divergence(of.current, middle)
    return np.asarray(np.sqrt(np.maximum(half, 0.0) / (2 * np.log(2))))


# Population stability index ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Psi:
    """Population stability index, (...): as computed, and what it says of the population.

    value : sum (q - p) ln(q / p), with 1/2 added to each count (Jeffreys).
    expected : its mean when nothing has changed: (B - 1) noise, never a fixed limit.
    estimate, low, high : PSI of the population with its confidence interval.
    p_value : of no change at all, from Pearson's X2, to which PSI / noise is equivalent.
    """

    value: FloatArray
    expected: FloatArray
    estimate: FloatArray
    low: FloatArray
    high: FloatArray
    p_value: FloatArray


def psi(of: Pair, confidence: float = 0.95) -> Psi:
    """PSI as an effect size with its interval, by inverting the non-central chi-square."""
    test, noise = chi_square(of), of.noise
    p, q = _jeffreys(of.reference_counts), _jeffreys(of.current_counts)
    tail = (1 - confidence) / 2
    return Psi(
        ((q - p) * np.log(q / p)).sum(axis=-1),
        test.df * noise,
        np.maximum(test.statistic - test.df, 0.0) * noise,
        noncentrality(test.statistic, test.df, 1 - tail) * noise,
        noncentrality(test.statistic, test.df, tail) * noise,
        test.p_value,
    )


def _jeffreys(counts: FloatArray) -> FloatArray:
    raised = counts + 0.5
    return np.asarray(raised / raised.sum(axis=-1, keepdims=True))


def psi_critical(of: Pair, size: float) -> FloatArray:
    """PSI exceeded with probability `size` when nothing has changed, (...)."""
    return np.asarray(chdtri(of.df, size) * of.noise)


def psi_relevance(of: Pair, smallest: float) -> FloatArray:
    """P value of "the population's PSI is at most `smallest`", (...): relevance, not change."""
    if not smallest >= 0:
        raise MonitorError(f"smallest relevant PSI must not be negative, got {smallest!r}")
    test = chi_square(of)
    return np.asarray(ncx2.sf(test.statistic, test.df, smallest / of.noise))


def noncentrality(x: npt.ArrayLike, df: npt.ArrayLike, probability: float) -> FloatArray:
    """Non-centrality at which P(chi-square <= x) = `probability`; 0 where none is that small.

    Confidence limits by inversion of the test: Kent and Hainsworth (1995), J. Stat. Plan.
    Inference 47, 147-160.
    """
    at, freedom = np.broadcast_arrays(np.asarray(x, dtype=float), np.asarray(df, dtype=float))
    none = np.asarray(chdtrc(freedom, at)) >= 1 - probability
    at = np.where(none, freedom + 100.0, at)  # any x with a root: those rows are not used
    # Mean df + l and sd sqrt(2 df + 4 l): ten sd above x there is no probability left.
    top = at + 10 * np.sqrt(4 * at + 2 * freedom + 100) + 100
    found = elementwise.find_root(
        lambda nc, x, df: ncx2.cdf(x, df, nc) - probability,
        (np.zeros_like(at), top),
        args=(at, freedom),
    )
    return np.where(none, 0.0, found.x)


# Distances of distribution functions ---------------------------------------------------------


@dataclass(frozen=True, slots=True)
class KolmogorovSmirnov:
    """Largest distance of the distribution functions, (...): exact at edges, bounded inside.

    low : at the bin edges, the statistic tested; high : what cases inside bins could hide.
    p_value : Kolmogorov's limit of `low`: conservative, as edges see only part of the path.
    """

    low: FloatArray
    high: FloatArray
    p_value: FloatArray


def kolmogorov_smirnov(of: Pair) -> KolmogorovSmirnov:
    """Binned two-sample Kolmogorov-Smirnov of ordered bins (Smirnov 1939)."""
    f, g = np.cumsum(of.reference, axis=-1), np.cumsum(of.current, axis=-1)
    below_f, below_g = f - of.reference, g - of.current
    low = np.abs(f - g).max(axis=-1)
    high = np.maximum(np.abs(f - below_g), np.abs(below_f - g)).max(axis=-1)
    return KolmogorovSmirnov(low, high, np.asarray(kolmogorov(low / np.sqrt(of.noise))))


def kolmogorov_tail(
    distance: npt.ArrayLike, covariance: npt.ArrayLike, draws: int = 20_000, seed: int = 0
) -> FloatArray:
    """P(largest |cumulated difference| > distance), (...), under a full covariance of bins.

    covariance : (..., B, B) of the difference of proportions, day effects included. By
    simulation of the normal limit, the same draws for every row; the +1 keeps it a valid test
    (Phipson and Smyth 2010).
    """
    c = np.asarray(covariance, dtype=np.float64)
    values, vectors = np.linalg.eigh(np.cumsum(np.cumsum(c, axis=-1), axis=-2))
    root = vectors * np.sqrt(np.maximum(values, 0.0))[..., None, :]
    normal = np.random.default_rng(seed).standard_normal((c.shape[-1], draws))
    largest = np.abs(root @ normal).max(axis=-2)
    beyond = largest >= np.asarray(distance, dtype=np.float64)[..., None]
    return np.asarray((1 + beyond.sum(axis=-1)) / (1 + draws))


@dataclass(frozen=True, slots=True)
class CramerVonMises:
    """Weighted squared distance of the distribution functions and its tail probability (...)."""

    statistic: FloatArray
    p_value: FloatArray


def cramer_von_mises(of: Pair) -> CramerVonMises:
    """Two-sample Cramer-von Mises of ordered bins: sum p_j (F_j - G_j)^2 / noise.

    Null: sum lambda_i chi2_1 with lambda the eigenvalues of the binned Brownian bridge
    (Choulakian, Lockhart and Stephens 1994, Can. J. Stat. 22, 125-137).
    """
    _occupied("Cramer-von Mises", of, 2)
    pooled, root = of.pooled, np.sqrt(of.pooled)
    gap = np.cumsum(of.difference, axis=-1)
    statistic = (pooled * gap**2).sum(axis=-1) / of.noise
    f = np.minimum(np.cumsum(pooled, axis=-1), 1.0)
    bridge = np.minimum(f[..., :, None], f[..., None, :]) - f[..., :, None] * f[..., None, :]
    weights = np.linalg.eigvalsh(root[..., :, None] * bridge * root[..., None, :])
    return CramerVonMises(statistic, weighted_chi_square_tail(np.maximum(weights, 0), statistic))


@dataclass(frozen=True, slots=True)
class Wasserstein:
    """Earth mover's distance in the unit of the edges, (...), with the band bins leave open."""

    value: FloatArray
    low: FloatArray
    high: FloatArray


def wasserstein(of: Pair, edges: npt.ArrayLike) -> Wasserstein:
    """Wasserstein-1 distance with cases spread evenly inside their bins (Vallender 1974).

    edges : (..., B + 1) for B bins, or (..., B - 1) where the first and last count are under
    and over: those stand at the outer edges, as the clipped values they are.
    """
    at = np.asarray(edges, dtype=np.float64)
    gap = np.cumsum(of.difference, axis=-1)
    within = of.reference + of.current
    if at.shape[-1] == gap.shape[-1] + 1:
        gap = np.concatenate([np.zeros((*gap.shape[:-1], 1)), gap], axis=-1)
    elif at.shape[-1] == gap.shape[-1] - 1:
        gap, within = gap[..., :-1], within[..., 1:-1]
    else:
        raise MonitorError(f"edges: {gap.shape[-1] + 1} expected, got {at.shape[-1]}")
    width = np.diff(at, axis=-1)
    value = (width * _mean_absolute(gap[..., :-1], gap[..., 1:])).sum(axis=-1)
    band = (width * within).sum(axis=-1) / 2
    return Wasserstein(value, np.maximum(value - band, 0.0), value + band)


def _mean_absolute(a: FloatArray, b: FloatArray) -> FloatArray:
    """Mean of |a + (b - a) u| over 0 <= u <= 1."""
    size = np.abs(a) + np.abs(b)
    crossing = (a**2 + b**2) / np.where(size > 0, 2 * size, 1.0)
    return np.where(a * b < 0, crossing, size / 2)


@dataclass(frozen=True, slots=True)
class Directed:
    """Shift and spread of ordered bins along normal scores, (...).

    shift, spread : mean normal score and mean squared score gained, in reference sd.
    z_shift, z_spread : the same over their standard error; uncorrelated when nothing changed.
    """

    shift: FloatArray
    spread: FloatArray
    z_shift: FloatArray
    z_spread: FloatArray


def directed(of: Pair) -> Directed:
    """Normal-scores contrasts of ordered bins: stronger than omnibus tests for smooth changes.

    Scores are the means of a standard normal inside the reference's quantile bins (van der
    Waerden 1952; for grouped data Hajek and Sidak 1967, section III.4), taken over the
    pooled sample so that no bin is without a score.
    """
    _occupied("normal scores", of, 3)
    p = of.pooled
    f = np.clip(np.cumsum(p, axis=-1), 0.0, 1.0)
    cut = ndtri(np.concatenate([np.zeros((*f.shape[:-1], 1)), f[..., :-1]], axis=-1))
    density = np.exp(-(cut**2) / 2) / np.sqrt(2 * np.pi)
    next_density = np.concatenate([density[..., 1:], np.zeros((*f.shape[:-1], 1))], axis=-1)
    linear = (density - next_density) * _inverse(p)
    linear = linear - (p * linear).sum(axis=-1, keepdims=True)
    power = (p * linear**2).sum(axis=-1, keepdims=True)
    square = linear**2 - power
    square = square - (p * square * linear).sum(axis=-1, keepdims=True) / power * linear
    shift, z_shift = _contrast(of, linear)
    spread, z_spread = _contrast(of, square)
    return Directed(shift, spread, z_shift, z_spread)


def _contrast(of: Pair, score: FloatArray) -> tuple[FloatArray, FloatArray]:
    gain = (of.difference * score).sum(axis=-1)
    variance = (of.pooled * score**2).sum(axis=-1) * of.noise
    return np.asarray(gain), np.asarray(gain / np.sqrt(variance))
