"""Rates: intervals, differences, and tests that know that days differ.

Intervals after Wilson (1927), Clopper and Pearson (1934) and Newcombe (1998), Stat. Med. 17,
857-890. Counts are arrays of any shape that broadcast.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import bdtrc, betaincinv, betaln, gammaln, ndtri

from monitors.errors import MonitorError, NotAssessable
from monitors.schema import FloatArray


@dataclass(frozen=True, slots=True)
class Interval:
    """A rate or difference with its confidence interval, (...)."""

    value: FloatArray
    low: FloatArray
    high: FloatArray


def _rate(events: npt.ArrayLike, n: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    x, size = np.broadcast_arrays(*(np.asarray(v, dtype=np.float64) for v in (events, n)))
    if not np.all(size >= 1):
        raise NotAssessable("rate: at least 1 case expected")
    if not np.all((x >= 0) & (x <= size)):
        raise MonitorError("rate: 0 <= events <= cases expected")
    return x, size


def wilson(events: npt.ArrayLike, n: npt.ArrayLike, confidence: float = 0.95) -> Interval:
    """Wilson's score interval: for displays."""
    x, size = _rate(events, n)
    z = ndtri((1 + confidence) / 2)
    p = x / size
    centre = (p + z**2 / (2 * size)) / (1 + z**2 / size)
    half = z * np.sqrt(p * (1 - p) / size + z**2 / (4 * size**2)) / (1 + z**2 / size)
    low, high = np.maximum(centre - half, 0.0), np.minimum(centre + half, 1.0)
    return Interval(p, np.where(x == 0, 0.0, low), np.where(x == size, 1.0, high))


def clopper_pearson(events: npt.ArrayLike, n: npt.ArrayLike, confidence: float = 0.95) -> Interval:
    """Exact interval, never shorter than promised: for claims."""
    x, size = _rate(events, n)
    tail = (1 - confidence) / 2
    # The unused argument of a boundary is replaced, since betaincinv wants positive ones.
    low = betaincinv(np.maximum(x, 1), size - x + 1, tail)
    high = betaincinv(x + 1, np.maximum(size - x, 1), 1 - tail)
    return Interval(x / size, np.where(x == 0, 0.0, low), np.where(x == size, 1.0, high))


def newcombe(
    events: npt.ArrayLike,
    n: npt.ArrayLike,
    other_events: npt.ArrayLike,
    other_n: npt.ArrayLike,
    confidence: float = 0.95,
) -> Interval:
    """Difference of two independent rates, first less other (Newcombe's method 10)."""
    a, b = wilson(events, n, confidence), wilson(other_events, other_n, confidence)
    value = a.value - b.value
    below = np.sqrt((a.value - a.low) ** 2 + (b.high - b.value) ** 2)
    above = np.sqrt((a.high - a.value) ** 2 + (b.value - b.low) ** 2)
    return Interval(value, value - below, value + above)


def newcombe_paired(
    both: npt.ArrayLike,
    first_only: npt.ArrayLike,
    second_only: npt.ArrayLike,
    neither: npt.ArrayLike,
    confidence: float = 0.95,
) -> Interval:
    """Difference of two rates of the same cases, first less second.

    Newcombe (1998), Stat. Med. 17, 2635-2650, method 10: Wilson's limits of each, joined by the
    correlation of the pairs, corrected for continuity.
    """
    a, b, c, d = np.broadcast_arrays(
        *(np.asarray(x, dtype=np.float64) for x in (both, first_only, second_only, neither))
    )
    n = a + b + c + d
    one, other = wilson(a + b, n, confidence), wilson(a + c, n, confidence)
    spread = np.sqrt((a + b) * (c + d) * (a + c) * (b + d))
    excess = a * d - b * c
    excess = np.where(excess > 0, np.maximum(excess - n / 2, 0.0), excess)
    phi = np.divide(excess, spread, out=np.zeros_like(spread), where=spread > 0)

    def reach(down: FloatArray, up: FloatArray) -> FloatArray:
        return np.asarray(np.sqrt(np.maximum(down**2 - 2 * phi * down * up + up**2, 0.0)))

    value = one.value - other.value
    below = reach(one.value - one.low, other.high - other.value)
    above = reach(one.high - one.value, other.value - other.low)
    return Interval(value, value - below, value + above)


def odds_ratio(
    events: npt.ArrayLike,
    n: npt.ArrayLike,
    other_events: npt.ArrayLike,
    other_n: npt.ArrayLike,
    confidence: float = 0.95,
) -> Interval:
    """Odds ratio of two rates, first over other, with half a case in each cell (Gart 1966)."""
    (a, n1), (c, n2) = _rate(events, n), _rate(other_events, other_n)
    cells = [cell + 0.5 for cell in (a, n1 - a, c, n2 - c)]
    log_ratio = np.log(cells[0] * cells[3] / (cells[1] * cells[2]))
    half = ndtri((1 + confidence) / 2) * np.sqrt(sum(1 / cell for cell in cells))
    return Interval(np.exp(log_ratio), np.exp(log_ratio - half), np.exp(log_ratio + half))


# Against the reference -----------------------------------------------------------------------


def rate_z(
    events: npt.ArrayLike,
    n: npt.ArrayLike,
    reference_events: npt.ArrayLike,
    reference_n: npt.ArrayLike,
    *,
    effect: npt.ArrayLike = 1.0,
    reference_effect: npt.ArrayLike = 1.0,
) -> FloatArray:
    """z of a rate against the reference's; design effects as in `monitors.dispersion`.

    The normal limit needs about 5 expected events; below, use `beta_binomial_tails`.
    """
    (x, size), (y, m) = _rate(events, n), _rate(reference_events, reference_n)
    worth, known = size / np.asarray(effect), m / np.asarray(reference_effect)
    pooled = (worth * x / size + known * y / m) / (worth + known)
    variance = pooled * (1 - pooled) * (1 / worth + 1 / known)
    if not np.all(variance > 0):
        raise NotAssessable("rate: all or none of the cases are events in both periods")
    return np.asarray((x / size - y / m) / np.sqrt(variance))


@dataclass(frozen=True, slots=True)
class BetaBinomial:
    """Predictive distribution of counts: shapes a, b (...) of the rate that varies by window."""

    a: FloatArray
    b: FloatArray

    def __post_init__(self) -> None:
        if not (np.all(np.asarray(self.a) > 0) and np.all(np.asarray(self.b) > 0)):
            raise MonitorError("beta-binomial: both shapes must be positive")


def beta_binomial(rate: npt.ArrayLike, icc: npt.ArrayLike) -> BetaBinomial:
    """Shapes with mean `rate` and intra-window correlation `icc` (0 is taken as 1e-6), (...)."""
    p, rho = np.asarray(rate, dtype=float), np.maximum(np.asarray(icc, dtype=float), 1e-6)
    if not np.all((p > 0) & (p < 1)) or not np.all(rho < 1):
        raise MonitorError("beta-binomial: 0 < rate < 1 and icc < 1 expected")
    strength = 1 / rho - 1
    return BetaBinomial(p * strength, (1 - p) * strength)


@dataclass(frozen=True, slots=True)
class Tails:
    """Mid-p tail probabilities of a count, (...): mean 1/2 each when nothing has changed."""

    lower: FloatArray
    upper: FloatArray


def beta_binomial_tails(events: npt.ArrayLike, n: npt.ArrayLike, null: BetaBinomial) -> Tails:
    """Mid-p values of sparse counts: P(X < x) + P(X = x)/2 and its counterpart (Lancaster 1961)."""
    x, size = _rate(events, n)
    k = np.arange(int(size.max()) + 1, dtype=np.float64)
    a, b = np.asarray(null.a)[..., None], np.asarray(null.b)[..., None]
    room = size[..., None] - k
    inside = room >= 0
    free = np.where(inside, room, 0.0)
    log_p = gammaln(size + 1)[..., None] - gammaln(k + 1) - gammaln(free + 1)
    log_p = log_p + betaln(k + a, free + b) - betaln(a, b)
    p = np.where(inside, np.exp(log_p), 0.0)
    here = np.where(k == x[..., None], p, 0.0).sum(axis=-1) / 2
    lower = np.where(k < x[..., None], p, 0.0).sum(axis=-1) + here
    upper = np.where(k > x[..., None], p, 0.0).sum(axis=-1) + here
    return Tails(np.minimum(lower, 1.0), np.minimum(upper, 1.0))


def unseen_category(
    events: npt.ArrayLike, n: npt.ArrayLike, reference_n: npt.ArrayLike, share: float = 0.0005
) -> FloatArray:
    """P value of a category that none of `reference_n` reference cases had, (...).

    Its rate is bounded by 1 - share^(1/m) at a confidence of 1 - share (Hanley and
    Lippman-Hand 1983), and `share` is added to the tail: a bound on the p value, whatever the
    rate (Berger and Boos 1994).
    """
    x, size = _rate(events, n)
    m = np.asarray(reference_n, dtype=np.float64)
    if not np.all(m >= 1):
        raise NotAssessable("unseen category: no reference case")
    if not 0 < share < 1:
        raise MonitorError(f"share must lie in (0, 1), got {share!r}")
    bound = -np.expm1(np.log(share) / m)
    tail = np.where(x > 0, bdtrc(np.maximum(x - 1, 0), size.astype(np.int64), bound), 1.0)
    return np.asarray(np.minimum(1.0, tail + share))
