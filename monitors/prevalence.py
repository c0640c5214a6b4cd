"""How many cases are positive, from scores alone, and is that all that changed?

Every estimate here assumes label shift: the scores of positive cases and of negative cases are
distributed as in the reference, only their mixture changes. `label_shift_fit` tests that, but
has almost no power against a loss in the positives (0.02 to 0.11 at a size of 1%), because
missed positives look like fewer positives: never call a fall "prevalence" without labels.

BBSE: Lipton, Wang and Smola (2018), ICML; MLLS and its prior correction: Saerens, Latinne and
Decaestecker (2002), Neural Computation 14, 21-41; mixtures with both classes sampled:
Anderson (1979), Biometrika 66, 17-26. Counts are (..., B) over score bins; leading axes are
strata and broadcast.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import elementwise
from scipy.special import chdtrc, chdtri, expit, logit, ndtri, xlogy

from monitors.errors import MonitorError, NotAssessable
from monitors.schema import FloatArray
from monitors.two_sample import noncentrality

WORST_CONDITION = 30.0  # of a confusion matrix that may still be inverted
GRID = 41  # prevalences at which maxima of the three-sample likelihood are looked for
CONVERGED = 1e-10  # change of an EM step, in probability


@dataclass(frozen=True, slots=True)
class Classes:
    """Scores of the labelled reference: counts (..., B) of negative and of positive cases."""

    negative: FloatArray
    positive: FloatArray

    def __post_init__(self) -> None:
        for name in ("negative", "positive"):
            object.__setattr__(self, name, _counts(name, getattr(self, name)))
        if self.negative.shape[-1] != self.positive.shape[-1]:
            raise MonitorError(
                f"bins: {self.negative.shape[-1]} expected for positives, "
                f"got {self.positive.shape[-1]}"
            )

    @property
    def q0(self) -> FloatArray:
        """P(bin | negative), (..., B), smoothed by half a case spread over the bins."""
        return _smoothed(self.negative)

    @property
    def q1(self) -> FloatArray:
        """P(bin | positive), (..., B), smoothed likewise."""
        return _smoothed(self.positive)

    @property
    def prevalence(self) -> FloatArray:
        """Share of positives in the labelled reference, (...)."""
        n1, n0 = self.positive.sum(axis=-1), self.negative.sum(axis=-1)
        return np.asarray(n1 / (n0 + n1))


def _counts(name: str, counts: npt.ArrayLike) -> FloatArray:
    table = np.asarray(counts, dtype=np.float64)
    if table.ndim < 1 or table.shape[-1] < 2:
        raise MonitorError(f"{name}: at least 2 score bins expected, got shape {table.shape}")
    if not np.all(np.isfinite(table) & (table >= 0)):
        raise MonitorError(f"{name}: counts must be finite and not negative")
    empty = table.sum(axis=-1) < 1
    if empty.any():
        raise NotAssessable(f"{name}: no case in {int(empty.sum())} of {empty.size} rows")
    return table


def _smoothed(counts: FloatArray) -> FloatArray:
    raised = counts + 0.5 / counts.shape[-1]
    return np.asarray(raised / raised.sum(axis=-1, keepdims=True))


@dataclass(frozen=True, slots=True)
class Estimate:
    """A prevalence, (...): value, standard error and confidence interval, all probabilities."""

    value: FloatArray
    standard_error: FloatArray
    low: FloatArray
    high: FloatArray


# BBSE ----------------------------------------------------------------------------------------


def bbse(
    classes: Classes,
    current: npt.ArrayLike,
    threshold_bin: int,
    *,
    design_effect: npt.ArrayLike = 1.0,
    confidence: float = 0.95,
) -> Estimate:
    """Prevalence from the flag rate alone: (f - FPR) / (TPR - FPR), clipped to [0, 1].

    Bins from `threshold_bin` up are flagged. The error (delta method) has all three sources:
    the flag rate and both reference rates.
    """
    counts = _counts("current", current)
    flag, n = _flag_rate(counts, threshold_bin)
    tpr, n1 = _flag_rate(classes.positive, threshold_bin)
    fpr, n0 = _flag_rate(classes.negative, threshold_bin)
    power = tpr - fpr
    if not np.all(power > 0):
        raise NotAssessable("BBSE: positives must be flagged more often than negatives")
    raw = (flag - fpr) / power
    variance = flag * (1 - flag) / n * np.asarray(design_effect)
    variance = variance + raw**2 * tpr * (1 - tpr) / n1 + (1 - raw) ** 2 * fpr * (1 - fpr) / n0
    error = np.sqrt(variance) / power
    half = ndtri((1 + confidence) / 2) * error
    low, value, high = (np.clip(x, 0.0, 1.0) for x in (raw - half, raw, raw + half))
    return Estimate(value, error, low, high)


def _flag_rate(counts: FloatArray, threshold_bin: int) -> tuple[FloatArray, FloatArray]:
    if not 0 < threshold_bin < counts.shape[-1]:
        raise MonitorError(
            f"threshold_bin: 1 to {counts.shape[-1] - 1} expected, got {threshold_bin}"
        )
    n = counts.sum(axis=-1)
    return counts[..., threshold_bin:].sum(axis=-1) / n, n


def bbse_classes(confusion: npt.ArrayLike, predicted: npt.ArrayLike) -> FloatArray:
    """Class prevalences (..., K) from the shares `predicted` (..., K) of each output.

    confusion : (..., K, K) P(output i | true class j), columns adding to 1. Refused beyond a
    condition number of `WORST_CONDITION`, where the inverse only amplifies noise. Negative
    solutions are set to 0 and the rest rescaled.
    """
    matrix, shares = np.asarray(confusion, dtype=float), np.asarray(predicted, dtype=float)
    if matrix.shape[-2:] != (shares.shape[-1],) * 2:
        raise MonitorError(f"confusion: {(shares.shape[-1],) * 2} expected, got {matrix.shape}")
    worst = float(np.max(np.linalg.cond(matrix)))
    if not worst < WORST_CONDITION:
        raise NotAssessable(
            f"BBSE: condition number below {WORST_CONDITION:.0f} needed, got {worst:.1f}"
        )
    solved = np.maximum(np.linalg.solve(matrix, shares[..., None])[..., 0], 0.0)
    return np.asarray(solved / solved.sum(axis=-1, keepdims=True))


# MLLS ----------------------------------------------------------------------------------------


def mlls(
    classes: Classes,
    current: npt.ArrayLike,
    *,
    design_effect: npt.ArrayLike = 1.0,
    confidence: float = 0.95,
) -> Estimate:
    """Maximum-likelihood prevalence of `current` (..., B), with its profile interval.

    The log-likelihood sum c_b log((1 - pi) q0_b + pi q1_b) is concave, so its one root or
    boundary maximum is found by bracketing, for all strata at once (Chandrupatla 1997, a
    vectorised Brent). The interval divides the likelihood ratio by the design effect; the
    standard error adds the error of the reference's own bin probabilities, and so does the
    interval, by widening in proportion.
    """
    q0, q1, counts, effect = np.broadcast_arrays(
        classes.q0,
        classes.q1,
        _counts("current", current),
        np.asarray(design_effect, dtype=np.float64)[..., None],
    )
    effect = effect[..., 0]
    value = _maximise(q0, q1, counts)
    target, reference = _variances(classes, q0, q1, counts, value)
    inflation = effect + reference / target
    low, high = _profile(q0, q1, counts, value, chdtri(1, 1 - confidence) / 2 * inflation)
    return Estimate(value, np.sqrt(target * inflation), low, high)


def most_likely(q0: FloatArray, q1: FloatArray, current: npt.ArrayLike) -> FloatArray:
    """Maximum-likelihood prevalence (...) of `current` (..., B) where both classes are known."""
    arrays = (np.asarray(x, dtype=np.float64) for x in (q0, q1, current))
    return _maximise(*np.broadcast_arrays(*arrays))


def _mixture(q0: FloatArray, q1: FloatArray, pi: FloatArray) -> FloatArray:
    return np.asarray(q0 + pi[..., None] * (q1 - q0))


def _log_likelihood(q0: FloatArray, q1: FloatArray, c: FloatArray, pi: FloatArray) -> FloatArray:
    return np.asarray((c * np.log(_mixture(q0, q1, pi))).sum(axis=-1))


def _slope(q0: FloatArray, q1: FloatArray, c: FloatArray, pi: FloatArray) -> FloatArray:
    return np.asarray((c * (q1 - q0) / _mixture(q0, q1, pi)).sum(axis=-1))


def _maximise(q0: FloatArray, q1: FloatArray, c: FloatArray) -> FloatArray:
    zero, one = np.zeros(c.shape[:-1]), np.ones(c.shape[:-1])
    at_zero, at_one = _slope(q0, q1, c, zero) <= 0, _slope(q0, q1, c, one) >= 0
    if np.any(at_zero & at_one):
        raise NotAssessable("prevalence: positives and negatives have the same score distribution")
    value = np.where(at_one, one, zero)
    inside = ~(at_zero | at_one)
    value[inside] = _root(
        lambda pi, i: _slope(q0[inside][i], q1[inside][i], c[inside][i], pi),
        zero[inside],
        one[inside],
    )
    return value


def _root(
    f: Callable[[FloatArray, npt.NDArray[np.int64]], FloatArray], low: FloatArray, high: FloatArray
) -> FloatArray:
    """Root of f(x, index) between `low` and `high` (m,) for each index 0 .. m - 1."""
    if not low.size:
        return low
    # find_root hands on only the rows still open, so each row travels with its index.
    found = elementwise.find_root(
        lambda x, i: f(x, i.astype(np.int64)), (low, high), args=(np.arange(low.size, dtype=float),)
    )
    return np.asarray(found.x)


def _variances(
    classes: Classes, q0: FloatArray, q1: FloatArray, c: FloatArray, pi: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Variance of pi from the target's cases and from the reference's, (...), independent cases."""
    mix = _mixture(q0, q1, pi)
    information = (c * ((q1 - q0) / mix) ** 2).sum(axis=-1)
    by_q0 = -c * q1 / mix**2 / information[..., None]
    by_q1 = c * q0 / mix**2 / information[..., None]
    reference = _multinomial_variance(by_q0, q0) / classes.negative.sum(axis=-1)
    reference = reference + _multinomial_variance(by_q1, q1) / classes.positive.sum(axis=-1)
    return 1 / information, np.asarray(reference)


def _multinomial_variance(weight: FloatArray, q: FloatArray) -> FloatArray:
    return np.asarray((weight**2 * q).sum(axis=-1) - (weight * q).sum(axis=-1) ** 2)


def _profile(
    q0: FloatArray, q1: FloatArray, c: FloatArray, value: FloatArray, drop: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Where the log-likelihood lies `drop` below its maximum; 0 or 1 where it never does."""
    floor = _log_likelihood(q0, q1, c, value) - drop
    return (
        _profile_end(q0, q1, c, value, floor, np.zeros_like(value)),
        _profile_end(q0, q1, c, value, floor, np.ones_like(value)),
    )


def _profile_end(
    q0: FloatArray,
    q1: FloatArray,
    c: FloatArray,
    value: FloatArray,
    floor: FloatArray,
    bound: FloatArray,
) -> FloatArray:
    inside = (_log_likelihood(q0, q1, c, bound) < floor) & (value != bound)
    a, b, n, least = q0[inside], q1[inside], c[inside], floor[inside]
    end = bound.copy()
    end[inside] = _root(
        lambda pi, i: _log_likelihood(a[i], b[i], n[i], pi) - least[i],
        np.minimum(value, bound)[inside],
        np.maximum(value, bound)[inside],
    )
    return end


def em_prevalence(classes: Classes, current: npt.ArrayLike) -> FloatArray:
    """The same maximum by expectation-maximisation to convergence, (...): a check on `mlls`.

    Steps go on until none moves by `CONVERGED`: a fixed number of them is not convergence
    where bins barely separate the classes.
    """
    q0, q1, c = np.broadcast_arrays(classes.q0, classes.q1, _counts("current", current))
    pi = np.full(c.shape[:-1], 0.5)
    n = c.sum(axis=-1)
    while True:
        step = (c * pi[..., None] * q1 / _mixture(q0, q1, pi)).sum(axis=-1) / n
        moved = float(np.max(np.abs(step - pi), initial=0.0))
        pi = np.asarray(step)
        if moved < CONVERGED:
            return pi


# Is it only the mixture? ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LabelShiftFit:
    """Three-sample likelihood-ratio test that only the mixture changed, (...).

    statistic : G2 over the design effect; df : occupied bins less 2. residual_low,
    residual_high : 95% interval of the lack of fit per current case (non-centrality / n): a
    fit is supported only if `residual_high` is negligible, not because p is large.
    """

    prevalence: FloatArray
    statistic: FloatArray
    df: FloatArray
    p_value: FloatArray
    residual_low: FloatArray
    residual_high: FloatArray


def label_shift_fit(
    classes: Classes, current: npt.ArrayLike, *, design_effect: npt.ArrayLike = 1.0
) -> LabelShiftFit:
    """Test that `current` mixes the two reference classes, all three samples being random.

    Plugging the estimated class distributions in as if known gives a size of 0.14 to 0.98 at a
    nominal 1%; so both are refitted together with the prevalence, to the joint maximum.
    """
    r0, r1, c = np.broadcast_arrays(classes.negative, classes.positive, _counts("current", current))
    pi, q0, q1 = _fit_mixture(r0, r1, c)
    fitted = _log(r0, q0) + _log(r1, q1) + _log(c, _mixture(q0, q1, pi))
    saturated = sum((_log(x, _share(x)) for x in (r0, r1, c)), np.zeros(pi.shape))
    statistic = np.maximum(2 * (saturated - fitted), 0.0) / np.asarray(design_effect)
    df = ((r0 + r1 + c) > 0).sum(axis=-1) - 2.0
    if not np.all(df > 0):
        raise NotAssessable("label shift fit: at least 3 occupied score bins expected")
    n = c.sum(axis=-1)
    low, high = (noncentrality(statistic, df, p) / n for p in (0.975, 0.025))
    return LabelShiftFit(pi, statistic, df, np.asarray(chdtrc(df, statistic)), low, high)


def _share(counts: FloatArray) -> FloatArray:
    return np.asarray(counts / counts.sum(axis=-1, keepdims=True))


def _log(counts: FloatArray, q: FloatArray) -> FloatArray:
    return np.asarray(xlogy(counts, np.where(counts > 0, q, 1.0)).sum(axis=-1))


def _fit_mixture(
    r0: FloatArray, r1: FloatArray, c: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Joint maximum over pi (...), q0 and q1 (..., B); the likelihood may have several."""
    shape, bins = c.shape[:-1], c.shape[-1]
    r0, r1, c = (x.reshape(-1, bins) for x in (r0, r1, c))
    low, high = _best_bracket(r0, r1, c)
    pi, inside = low.copy(), low < high
    a, b, n = (x[inside] for x in (r0, r1, c))
    pi[inside] = _root(lambda x, i: _mixture_slope(a[i], b[i], n[i], x), low[inside], high[inside])
    q0, q1 = _stationary(r0, r1, c, pi)
    return pi.reshape(shape), q0.reshape(*shape, bins), q1.reshape(*shape, bins)


def _best_bracket(r0: FloatArray, r1: FloatArray, c: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The cell of a grid, or the end of the range twice, that holds the highest maximum (m,)."""
    grid = np.linspace(0.0, 1.0, GRID)
    at = np.broadcast_to(grid, (len(c), GRID))
    r0, r1, c = (x[:, None, :] for x in (r0, r1, c))
    q0, q1 = _stationary(r0, r1, c, at)
    likelihood = _log(r0, _share(q0)) + _log(r1, _share(q1))
    likelihood = likelihood + _log(c, _mixture(_share(q0), _share(q1), at))
    slope = _mixture_slope(r0, r1, c, at)
    # Cells in which the slope falls through zero; each end of the range is a cell of its own.
    rising = np.pad(slope > 0, ((0, 0), (1, 1)), constant_values=((0, 0), (True, False)))
    falls = rising[:, :-1] & ~rising[:, 1:]
    low, high = np.concatenate([[0.0], grid]), np.concatenate([grid, [1.0]])
    ends = np.pad(likelihood, ((0, 0), (1, 1)), mode="edge")
    best = np.where(falls, np.maximum(ends[:, :-1], ends[:, 1:]), -np.inf).argmax(axis=1)
    return low[best], high[best]


def _mixture_slope(r0: FloatArray, r1: FloatArray, c: FloatArray, pi: FloatArray) -> FloatArray:
    """Zero at the joint maximum, positive below it: sum c (q1 - q0) / mixture."""
    q0, q1 = _stationary(r0, r1, c, pi)
    mix = _mixture(q0, q1, pi)
    return np.asarray((c * (q1 - q0) / np.where(c > 0, mix, 1.0)).sum(axis=-1))


def _stationary(
    r0: FloatArray, r1: FloatArray, c: FloatArray, pi: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """q0, q1 that solve each bin's own equations at pi, with the multipliers of the maximum.

    There the multipliers of sum q0 = 1 and sum q1 = 1 are n0 + n (1 - pi) and n1 + n pi, so
    q0 follows from q1 by the bin's total, and q1 is the one admissible root of a quadratic:
    no iteration, where EM would creep along a flat likelihood.
    """
    n = c.sum(axis=-1)
    l0 = (r0.sum(axis=-1) + n * (1 - pi))[..., None]
    l1 = (r1.sum(axis=-1) + n * pi)[..., None]
    p = pi[..., None]
    total = r0 + r1 + c
    level, slope = (1 - p) * total / l0, p - (1 - p) * l1 / l0
    a, b, d = l1 * slope, l1 * level - r1 * slope - c * p, r1 * level
    root = np.sqrt(np.maximum(b**2 + 4 * a * d, 0.0))
    # Each form where it does not cancel. a = 0 = b only for a bin of current cases alone, whose
    # mixture is the same however it is split.
    rising = b > 0
    falling = ~rising & (a != 0)
    q1 = 2 * d / np.where(rising, b + root, np.inf)
    q1 = np.where(falling, (root - b) / np.where(falling, 2 * a, 1.0), q1)
    return np.maximum(total - l1 * q1, 0.0) / l0, q1


# What it means for users ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Consequences:
    """What a prevalence means at an operating point, (...): all probabilities per case."""

    ppv: FloatArray
    npv: FloatArray
    alert_rate: FloatArray
    missed_rate: FloatArray


def consequences(
    prevalence: npt.ArrayLike, sensitivity: npt.ArrayLike, specificity: npt.ArrayLike
) -> Consequences:
    """PPV, NPV, flagged and missed shares at `prevalence` (Bayes); all arguments (...)."""
    pi, tpr, tnr = (np.asarray(x, dtype=float) for x in (prevalence, sensitivity, specificity))
    for name, x in (("prevalence", pi), ("sensitivity", tpr), ("specificity", tnr)):
        if not np.all((x >= 0) & (x <= 1)):
            raise MonitorError(f"{name} must lie in [0, 1]")
    found, missed = pi * tpr, pi * (1 - tpr)
    flagged = found + (1 - pi) * (1 - tnr)
    if not np.all((flagged > 0) & (flagged < 1)):
        raise NotAssessable("PPV and NPV need some cases flagged and some not")
    return Consequences(found / flagged, 1 - missed / (1 - flagged), flagged, missed)


def prior_corrected(
    probability: npt.ArrayLike, old: npt.ArrayLike, new: npt.ArrayLike
) -> FloatArray:
    """Calibrated probability after a prevalence change from `old` to `new` (Saerens 2002)."""
    p, before, after = (np.asarray(x, dtype=float) for x in (probability, old, new))
    for name, x in (("old", before), ("new", after)):
        if not np.all((x > 0) & (x < 1)):
            raise MonitorError(f"{name} prevalence must lie in (0, 1)")
    return np.asarray(expit(logit(p) + logit(after) - logit(before)))


def gold_label_worth(classes: Classes, prevalence: npt.ArrayLike) -> FloatArray:
    """Information of one unlabelled case relative to one labelled case, 0 to 1, (...)."""
    pi = np.asarray(prevalence, dtype=np.float64)
    q0, q1 = classes.q0, classes.q1
    information = ((q1 - q0) ** 2 / _mixture(q0, q1, pi)).sum(axis=-1)
    return np.asarray(information * pi * (1 - pi))
