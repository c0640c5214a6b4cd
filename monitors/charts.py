"""Control charts with a stated price: CUSUM, EWMA, Bernoulli CUSUM and Shewhart limits.

Page (1954), Biometrika 41, 100-115; Roberts (1959), Technometrics 1, 239-250; Reynolds and
Stoumbos (1999), J. Qual. Technol. 31, 87-108. Tabular forms and published run lengths:
Montgomery, Introduction to Statistical Quality Control, 7th ed., sections 6.4, 9.1 and 9.2.
Run lengths solve the integral equation of the chart (Goel and Wu 1971 for the CUSUM, Crowder
1987 for the EWMA) at Gauss-Legendre nodes; the Bernoulli chart's is an exact linear system.

A chart never restarts itself: a person who closes a signal starts a new trace, so the path
that raised it stays visible. Nothing here is rounded. Readings run along the first axis;
further axes are streams with designs of their own. Independent readings with a known centre
and sigma are assumed: with estimated ones true run lengths are shorter (docs/methods/charts.md).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import ndtr, roots_legendre

from monitors.errors import DesignError
from monitors.schema import FloatArray, IntArray

Number = float | FloatArray

NODES = 96  # Gauss-Legendre nodes: run lengths agree to 1e-6 with twice as many
NARROWEST = 1e-6  # of limits tried, in sigma
LONGEST = 1e9  # run length asked for; beyond it the linear system loses its digits


def _positive(name: str, value: Number) -> None:
    if not np.all(np.isfinite(value) & (np.asarray(value) > 0)):
        raise DesignError(f"{name} must be positive, got {value!r}")


def _finite(xs: npt.ArrayLike) -> FloatArray:
    readings = np.asarray(xs, dtype=np.float64)
    if readings.ndim < 1:
        raise DesignError("readings must have a time axis, got a single number")
    if not np.all(np.isfinite(readings)):
        raise DesignError("readings must be finite; leave a window that is not assessable out")
    return readings


# Tabular CUSUM -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class CusumDesign:
    """A two-sided tabular CUSUM, agreed before looking at the monitored data.

    centre : in-control mean, in the unit of the statistic; scalar or one per stream.
    sigma : in-control standard deviation of one reading, same unit; > 0.
    k : reference value, in sigma; half the shift that matters.
    h : decision interval, in sigma.
    head_start : where both sums start, in sigma, 0 <= head_start < h (Lucas and Crosier 1982).
    """

    centre: Number = 0.0
    sigma: Number = 1.0
    k: float = 0.5
    h: float = 5.0
    head_start: float = 0.0

    def __post_init__(self) -> None:
        _positive("sigma", self.sigma)
        _positive("h", self.h)
        if not self.k >= 0:
            raise DesignError(f"k must not be negative, got {self.k!r}")
        if not 0 <= self.head_start < self.h:
            raise DesignError(f"head_start must lie in [0, h), got {self.head_start!r}")


@dataclass(frozen=True, slots=True)
class CusumState:
    """Sums carried from one run to the next, in sigma, each shape (streams...).

    `up_since` and `down_since` count the readings since each sum last stood at zero: the
    usual estimate of when the shift began.
    """

    up: FloatArray
    down: FloatArray
    up_since: IntArray
    down_since: IntArray


@dataclass(frozen=True, slots=True)
class CusumTrace:
    """All the evidence, shape (n, streams...), with the interval `h` it was judged against."""

    up: FloatArray
    down: FloatArray
    up_since: IntArray
    down_since: IntArray
    h: float
    state: CusumState

    @property
    def signals(self) -> npt.NDArray[np.bool_]:
        """Where either sum stands above `h`, shape (n, streams...)."""
        return np.asarray((self.up > self.h) | (self.down > self.h))


def cusum_start(design: CusumDesign, streams: tuple[int, ...] = ()) -> CusumState:
    """State before the first reading."""
    sums = np.full(streams, design.head_start)
    zero = np.zeros(streams, dtype=np.int64)
    return CusumState(sums, sums, zero, zero)


def cusum_step(design: CusumDesign, state: CusumState, x: Number) -> CusumState:
    """Fold one reading `x` (unit of the statistic; scalar or one per stream) into the sums."""
    z = (x - np.asarray(design.centre)) / design.sigma
    up = np.maximum(0.0, state.up + z - design.k)
    down = np.maximum(0.0, state.down - z - design.k)
    return CusumState(
        up,
        down,
        np.where(up > 0, state.up_since + 1, 0),
        np.where(down > 0, state.down_since + 1, 0),
    )


def cusum_trace(
    design: CusumDesign, xs: npt.ArrayLike, state: CusumState | None = None
) -> CusumTrace:
    """Fold readings `xs` of shape (n, streams...) in time order, continuing from `state`."""
    readings = _finite(xs)
    state = state or cusum_start(design, readings.shape[1:])
    sums = np.empty((2, *readings.shape))
    since = np.empty((2, *readings.shape), dtype=np.int64)
    for i, x in enumerate(readings):
        state = cusum_step(design, state, x)
        sums[:, i] = state.up, state.down
        since[:, i] = state.up_since, state.down_since
    return CusumTrace(sums[0], sums[1], since[0], since[1], design.h, state)


def cusum_run_length(design: CusumDesign, shift: float = 0.0) -> float:
    """Expected readings until a signal when the mean sits `shift` sigma off centre.

    With shift=0 this is the expected interval between false signals (ARL0). Both sides are
    combined, with the head start, by Lucas and Crosier (1982), Technometrics 24, 199-205.
    """
    up0, up = _one_sided(design.k - shift, design.h, design.head_start)
    down0, down = _one_sided(design.k + shift, design.h, design.head_start)
    return (up * down0 + down * up0 - up0 * down0) / (up0 + down0)


def estimated_run_lengths(
    design: CusumDesign, windows: int, draws: int = 400, seed: int = 0
) -> FloatArray:
    """What ARL0 truly is when centre and sigma were estimated from `windows` readings, (draws,).

    A random draw of reference periods: a limit with a nominal 10,000 readings has a median of
    about 3,400 after 60 windows. Choose h so that a low quantile here is acceptable (Gandy and
    Kvaloy 2013, Scand. J. Stat. 40, 647-668). Normal readings.
    """
    if windows < 2:
        raise DesignError(f"at least 2 windows needed to estimate sigma, got {windows}")
    rng = np.random.default_rng(seed)
    error = rng.standard_normal(draws) / np.sqrt(windows)
    ratio = np.sqrt(rng.chisquare(windows - 1, draws) / (windows - 1))
    start = design.head_start
    return np.array(
        [
            cusum_run_length(CusumDesign(k=design.k * s, h=design.h * s, head_start=start * s), e)
            for e, s in zip(error, ratio, strict=True)
        ]
    )


def one_sided_run_length(k: float, h: float, shift: float = 0.0) -> float:
    """Expected readings until the upper sum alone passes `h`, starting at zero."""
    return _one_sided(k - shift, h, 0.0)[0]


def _one_sided(k: float, h: float, start: float) -> tuple[float, float]:
    """Run lengths from zero and from `start`: L(u) = 1 + L(0) P(z <= k-u) + int L(y) f(y+k-u) dy.

    The atom at zero is an unknown of its own, so that only a smooth kernel is integrated.
    """
    nodes, weights = _gauss(0.0, h)
    at = np.concatenate([[0.0], nodes])
    system = np.eye(at.size) - _transition(at, k, nodes, weights)
    values = np.linalg.solve(system, np.ones(at.size))
    moved = 1.0 + _transition(np.array([start]), k, nodes, weights) @ values
    return float(values[0]), float(moved[0])


def _transition(at: FloatArray, k: float, nodes: FloatArray, weights: FloatArray) -> FloatArray:
    kernel = weights * _normal_density(nodes + k - at[:, None])
    return np.column_stack([ndtr(k - at), kernel])


def _gauss(low: float, high: float) -> tuple[FloatArray, FloatArray]:
    x, w = roots_legendre(NODES)
    half = (high - low) / 2
    return low + half * (x + 1), half * w


def _normal_density(z: FloatArray) -> FloatArray:
    return np.asarray(np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi))


def cusum_interval(run_length: float, k: float = 0.5) -> float:
    """The h of a two-sided CUSUM whose in-control run length is `run_length` readings."""

    def price(h: float) -> float:
        return cusum_run_length(CusumDesign(k=k, h=h))

    return _limit_for(run_length, price)


def _limit_for(run_length: float, price: Callable[[float], float]) -> float:
    """The limit at which the rising function `price` equals `run_length`."""
    shortest = price(NARROWEST)
    if not shortest < run_length < LONGEST:
        raise DesignError(
            f"run length must lie between {shortest:.3f} and {LONGEST:.0e}, got {run_length!r}"
        )
    high = 1.0
    while price(high) < run_length:
        high *= 1.5
    return float(
        brentq(lambda limit: math.log(price(limit) / run_length), NARROWEST, high, xtol=1e-10)
    )


# EWMA ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class EwmaDesign:
    """An exponentially weighted moving average, agreed before looking at the data.

    centre, sigma : as in `CusumDesign`. weight : of the newest reading, 0 < weight <= 1.
    width : half-width of the limits, in standard deviations of the average.
    """

    centre: Number = 0.0
    sigma: Number = 1.0
    weight: float = 0.1
    width: float = 2.814

    def __post_init__(self) -> None:
        _positive("sigma", self.sigma)
        _positive("width", self.width)
        if not 0 < self.weight <= 1:
            raise DesignError(f"weight must lie in (0, 1], got {self.weight!r}")


@dataclass(frozen=True, slots=True)
class EwmaTrace:
    """The average and its exact limits, shape (n, streams...), in the unit of the statistic.

    `read` is the number of readings so far: the limits widen with it.
    """

    average: FloatArray
    lower: FloatArray
    upper: FloatArray
    read: int

    @property
    def signals(self) -> npt.NDArray[np.bool_]:
        """Where the average stands outside its limits, shape (n, streams...)."""
        return np.asarray((self.average > self.upper) | (self.average < self.lower))


def ewma_trace(design: EwmaDesign, xs: npt.ArrayLike, before: EwmaTrace | None = None) -> EwmaTrace:
    """Average readings `xs` of shape (n, streams...) in time order, continuing `before`."""
    readings = _finite(xs)
    centre = np.broadcast_to(np.asarray(design.centre, dtype=np.float64), readings.shape[1:])
    value = centre if before is None or not len(before.average) else before.average[-1]
    read = 0 if before is None else before.read
    average = np.empty(readings.shape)
    for i, x in enumerate(readings):
        value = design.weight * x + (1 - design.weight) * value
        average[i] = value
    half = _ewma_half_width(design, read, readings)
    return EwmaTrace(average, centre - half, centre + half, read + len(readings))


def _ewma_half_width(design: EwmaDesign, read: int, readings: FloatArray) -> FloatArray:
    weight = design.weight
    age = (read + np.arange(1, len(readings) + 1)).reshape(-1, *[1] * (readings.ndim - 1))
    variance = weight / (2 - weight) * (1 - (1 - weight) ** (2 * age))
    return np.asarray(design.width * np.asarray(design.sigma) * np.sqrt(variance))


def ewma_run_length(design: EwmaDesign, shift: float = 0.0) -> float:
    """Expected readings until a signal with the steady limits, the mean `shift` sigma off.

    Crowder (1987), Technometrics 29, 401-407. With exact limits early signals come sooner.
    """
    weight = design.weight
    limit = design.width * np.sqrt(weight / (2 - weight))
    nodes, weights = _gauss(-limit, limit)

    def transition(at: FloatArray) -> FloatArray:
        z = (nodes - (1 - weight) * at[:, None]) / weight - shift
        return np.asarray(weights * _normal_density(z) / weight)

    values = np.linalg.solve(np.eye(NODES) - transition(nodes), np.ones(NODES))
    return float(1.0 + (transition(np.zeros(1)) @ values)[0])


def ewma_width(run_length: float, weight: float = 0.1) -> float:
    """The width whose in-control run length is `run_length` readings."""

    def price(width: float) -> float:
        return ewma_run_length(EwmaDesign(weight=weight, width=width))

    return _limit_for(run_length, price)


# Bernoulli CUSUM -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class BernoulliDesign:
    """A CUSUM of single yes-or-no outcomes against a rise from `in_control` to `out_of_control`.

    The reference value of the likelihood ratio is set to 1/m with m whole (Reynolds and
    Stoumbos 1999, section 3), so that the sum lives on a lattice and its price is exact.
    h : decision interval, in the unit of the sum (one event weighs about 1).
    """

    in_control: float
    out_of_control: float
    h: float

    def __post_init__(self) -> None:
        if not 0 < self.in_control < self.out_of_control < 1:
            raise DesignError(
                "0 < in_control < out_of_control < 1 expected, got "
                f"{self.in_control!r} and {self.out_of_control!r}"
            )
        _positive("h", self.h)

    @property
    def m(self) -> int:
        """Steps of the lattice in one unit of the sum."""
        p0, p1 = self.in_control, self.out_of_control
        r1 = -np.log((1 - p1) / (1 - p0))
        r2 = np.log(p1 * (1 - p0) / (p0 * (1 - p1)))
        return max(2, int(np.floor(r2 / r1 + 0.5)))

    @property
    def states(self) -> int:
        """Lattice states at which the chart has not signalled: 0 .. states - 1, in units 1/m."""
        return max(1, int(np.ceil(self.h * self.m - 1e-9)))


def bernoulli_trace(
    design: BernoulliDesign, outcomes: npt.ArrayLike, start: npt.ArrayLike = 0
) -> IntArray:
    """Lattice path (n, streams...) of 0/1 `outcomes`, in units 1/m; signals where >= `states`."""
    events = np.asarray(outcomes)
    if not np.all((events == 0) | (events == 1)):
        raise DesignError("outcomes must be 0 or 1")
    path = np.empty(events.shape, dtype=np.int64)
    value = np.broadcast_to(np.asarray(start, dtype=np.int64), events.shape[1:])
    for i, event in enumerate(events.astype(np.int64)):
        value = np.maximum(0, value + design.m * event - 1)
        path[i] = value
    return path


def bernoulli_run_length(design: BernoulliDesign, probability: float) -> float:
    """Exact expected number of cases until a signal when each is an event with `probability`."""
    if not 0 < probability < 1:
        raise DesignError(f"probability must lie in (0, 1), got {probability!r}")
    size, at = design.states, np.arange(design.states)
    moves = np.zeros((size, size))
    np.add.at(moves, (at, np.maximum(at - 1, 0)), 1 - probability)
    up = at + design.m - 1
    moves[at[up < size], up[up < size]] += probability
    return float(np.linalg.solve(np.eye(size) - moves, np.ones(size))[0])


# Shewhart limits -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Limits:
    """Control limits per window, in the unit of the statistic."""

    lower: FloatArray
    centre: FloatArray
    upper: FloatArray


def mean_limits(
    centre: Number, sigma_within: Number, sigma_between: Number, n: npt.ArrayLike, width: float = 3
) -> Limits:
    """Limits of window means of `n` cases: within-window noise plus day-to-day variation."""
    _positive("width", width)
    sizes = _sizes(n)
    spread = np.sqrt(np.square(sigma_within) / sizes + np.square(sigma_between))
    middle = np.broadcast_to(np.asarray(centre, dtype=np.float64), spread.shape)
    return Limits(middle - width * spread, middle, middle + width * spread)


def proportion_limits(
    rate: Number, n: npt.ArrayLike, icc: Number = 0.0, width: float = 3
) -> Limits:
    """p chart limits, clipped to [0, 1]; `icc` is the intra-window correlation of outcomes.

    icc=0 is the textbook chart; with it the variance is p(1-p)/n (1 + (n-1) icc), the same
    correction for over-dispersion as Laney (2002), Qual. Eng. 14, 531-537, in another form.
    """
    p = np.asarray(rate, dtype=np.float64)
    if not np.all((p >= 0) & (p <= 1)):
        raise DesignError(f"rate must lie in [0, 1], got {rate!r}")
    sizes = _sizes(n)
    spread = width * np.sqrt(p * (1 - p) / sizes * (1 + (sizes - 1) * icc))
    middle = np.broadcast_to(p, spread.shape)
    return Limits(np.maximum(0, middle - spread), middle, np.minimum(1, middle + spread))


def _sizes(n: npt.ArrayLike) -> FloatArray:
    sizes = np.asarray(n, dtype=np.float64)
    if not np.all(sizes >= 1):
        raise DesignError("a window needs at least 1 case to have limits")
    return sizes


def shewhart_run_length(width: float = 3.0, shift: float = 0.0) -> float:
    """Expected windows until one lies outside +-`width` sigma, the mean `shift` sigma off."""
    return float(1.0 / (ndtr(-width + shift) + ndtr(-width - shift)))
