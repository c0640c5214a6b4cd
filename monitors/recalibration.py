"""Which operating point a changed prevalence asks for, and what it would cost. Only proposals.

Under a pure prevalence change sensitivity and specificity at a fixed threshold do not move, so
only policies on PPV, alert rate or cost move the threshold. Thresholds are chosen by order
statistics with a guarantee (Wilks 1941, Ann. Math. Stat. 12, 91-96), never by a point
estimate, and lie on edges of score bins. Nothing here is applied: the device stays locked.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit, ndtri
from scipy.stats import binom

from monitors.errors import MonitorError, NotAssessable
from monitors.prevalence import Classes, Estimate, consequences, prior_corrected
from monitors.proportions import Interval, clopper_pearson
from monitors.schema import FloatArray, IntArray

DRAWS = 5000
PER_MILLE = 1000.0


# Guarantees ----------------------------------------------------------------------------------


def _probability(name: str, value: float) -> float:
    if not 0 < value < 1:
        raise MonitorError(f"{name} must lie in (0, 1), got {value!r}")
    return value


def guaranteed_rank(n: npt.ArrayLike, target: float, confidence: float = 0.95) -> IntArray:
    """Largest k such that flagging all but the k - 1 lowest of `n` positives keeps `target`.

    With probability `confidence` the sensitivity of the threshold at the k-th lowest positive
    score is then at least `target`, whatever the score distribution: the k-th order statistic
    leaves Beta(k, n - k + 1) below it. 0 where n is too small for any guarantee.
    """
    size = np.asarray(n, dtype=np.int64)
    miss = 1 - _probability("target", target)
    return np.asarray(binom.ppf(1 - _probability("confidence", confidence), size, miss), np.int64)


def smallest_sample(target: float, confidence: float = 0.95) -> int:
    """Fewest positives with which any threshold can be guaranteed: 59 for 95% at 95%."""
    miss = _probability("target", target)
    return int(np.ceil(np.log(1 - _probability("confidence", confidence)) / np.log(miss)))


def positives_needed(
    claim: float, truth: float, power: float = 0.8, confidence: float = 0.975, most: int = 20_000
) -> int:
    """Fewest positives from which on the exact lower bound exceeds `claim` with `power`.

    claim, truth : sensitivities; `confidence` of the one-sided Clopper-Pearson bound. The power
    is a saw-tooth of n: a smaller n may have it by luck of the lattice and lose it with one more.
    """
    if not 0 < claim < truth < 1:
        raise MonitorError(f"0 < claim < truth < 1 expected, got {claim!r} and {truth!r}")
    n = np.arange(1, most + 1)
    # The bound of k found exceeds the claim iff k or more are too rare under the claim.
    needed = binom.isf(1 - confidence, n, claim) + 1
    short = (needed > n) | (binom.sf(needed - 1, n, truth) < power)
    if short[-1]:
        raise NotAssessable(f"more than {most} positives would be needed")
    return int(n[short][-1]) + 1


# Policies ------------------------------------------------------------------------------------


def bin_for_sensitivity(classes: Classes, target: float, confidence: float = 0.95) -> IntArray:
    """Highest flagged-from bin (...) whose sensitivity is guaranteed to be `target`.

    The lower edge of the bin that holds the k-th lowest positive: the score itself is not
    known, so the guarantee is given away to the edge.
    """
    n = classes.positive.sum(axis=-1)
    rank = guaranteed_rank(n, target, confidence)
    _enough(rank, target, confidence)
    return np.asarray((np.cumsum(classes.positive, axis=-1) < rank[..., None]).sum(axis=-1))


def bin_for_specificity(classes: Classes, target: float, confidence: float = 0.95) -> IntArray:
    """Lowest flagged-from bin (...) whose specificity is guaranteed to be `target`.

    The upper edge of the bin that holds the k-th highest negative; equal to the number of bins
    where no score may be flagged.
    """
    n = classes.negative.sum(axis=-1)
    rank = guaranteed_rank(n, target, confidence)
    _enough(rank, target, confidence)
    above = np.cumsum(classes.negative[..., ::-1], axis=-1)
    return np.asarray(classes.negative.shape[-1] - (above < rank[..., None]).sum(axis=-1))


def _enough(rank: IntArray, target: float, confidence: float) -> None:
    if not np.all(rank >= 1):
        raise NotAssessable(
            f"a guarantee of {target} needs at least {smallest_sample(target, confidence)} "
            "labelled cases of its class"
        )


@dataclass(frozen=True, slots=True)
class Rates:
    """Shares flagged from each bin up, (..., B): of positives and of negatives."""

    sensitivity: FloatArray
    false_positive_rate: FloatArray


def rates(classes: Classes) -> Rates:
    """Empirical operating points of all bins, (..., B)."""
    flagged = (
        np.cumsum(x[..., ::-1], axis=-1)[..., ::-1] for x in (classes.positive, classes.negative)
    )
    totals = (classes.positive.sum(axis=-1), classes.negative.sum(axis=-1))
    found, false = (x / n[..., None] for x, n in zip(flagged, totals, strict=True))
    return Rates(np.asarray(found), np.asarray(false))


def bin_for_ppv(classes: Classes, prevalence: npt.ArrayLike, target: float) -> IntArray:
    """Lowest flagged-from bin (...) from which PPV at `prevalence` is at least `target`."""
    points, pi = rates(classes), np.asarray(prevalence, dtype=np.float64)[..., None]
    found, false = pi * points.sensitivity, (1 - pi) * points.false_positive_rate
    meets = (found > 0) & (found >= _probability("target", target) * (found + false))
    return _first(meets, f"no threshold has a PPV of {target}")


def bin_for_alert_rate(classes: Classes, prevalence: npt.ArrayLike, most: float) -> IntArray:
    """Lowest flagged-from bin (...) that flags at most the share `most` of all cases."""
    points, pi = rates(classes), np.asarray(prevalence, dtype=np.float64)[..., None]
    alerts = pi * points.sensitivity + (1 - pi) * points.false_positive_rate
    return _first(alerts <= _probability("most", most), f"no threshold flags at most {most}")


def _first(meets: npt.NDArray[np.bool_], otherwise: str) -> IntArray:
    if not np.all(meets.any(axis=-1)):
        raise NotAssessable(otherwise)
    return np.asarray(meets.argmax(axis=-1))


def cost_threshold(
    false_positive_cost: float, false_negative_cost: float, old: npt.ArrayLike, new: npt.ArrayLike
) -> FloatArray:
    """Raw score, calibrated at prevalence `old`, from which flagging pays at prevalence `new`.

    The corrected probability must reach C_FP / (C_FP + C_FN) (Elkan 2001); seen from the
    unchanged score a fall in prevalence raises the threshold.
    """
    if not (false_positive_cost > 0 and false_negative_cost > 0):
        raise MonitorError("costs must be positive")
    due = false_positive_cost / (false_positive_cost + false_negative_cost)
    return prior_corrected(due, new, old)


def require_claim(
    classes: Classes, threshold_bin: int, claim: float, confidence: float = 0.975
) -> FloatArray:
    """Lower confidence bound of sensitivity (...), refused where it lies below the `claim`."""
    found = classes.positive[..., threshold_bin:].sum(axis=-1)
    bound = clopper_pearson(found, classes.positive.sum(axis=-1), 2 * confidence - 1).low
    if not np.all(bound >= _probability("claim", claim)):
        raise NotAssessable(
            f"sensitivity is guaranteed only to {float(np.min(bound)):.3f} from bin "
            f"{threshold_bin}, below the claim of {claim}"
        )
    return bound


# Consequences --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Consequence:
    """What an operating point means at a prevalence, each with its 95% interval, (...)."""

    sensitivity: Interval
    specificity: Interval
    ppv: Interval
    npv: Interval
    alerts_per_1000: Interval
    missed_per_1000: Interval


def consequence(
    classes: Classes,
    prevalence: Estimate,
    threshold_bin: int,
    *,
    confidence: float = 0.95,
    seed: int = 0,
) -> Consequence:
    """Consequences of flagging from `threshold_bin` up at an estimated prevalence.

    By simulation: Jeffreys posteriors of sensitivity and specificity, and a prevalence whose
    logit is normal on each side with the interval it was given (95%).
    """
    if not 0 < threshold_bin < classes.positive.shape[-1]:
        raise MonitorError(
            f"threshold_bin: 1 to {classes.positive.shape[-1] - 1} expected, got {threshold_bin}"
        )
    rng = np.random.default_rng(seed)
    tpr, tprs = _flag_share(rng, classes.positive, threshold_bin)
    fpr, fprs = _flag_share(rng, classes.negative, threshold_bin)
    pi, pis = _prevalence_draws(rng, prevalence)
    point, drawn = consequences(pi, tpr, 1 - fpr), consequences(pis, tprs, 1 - fprs)
    pairs = (
        (tpr, tprs),
        (1 - fpr, 1 - fprs),
        (point.ppv, drawn.ppv),
        (point.npv, drawn.npv),
        (PER_MILLE * point.alert_rate, PER_MILLE * drawn.alert_rate),
        (PER_MILLE * point.missed_rate, PER_MILLE * drawn.missed_rate),
    )
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    return Consequence(
        *(Interval(value, *np.quantile(draws, tails, axis=0)) for value, draws in pairs)
    )


def _flag_share(
    rng: np.random.Generator, counts: FloatArray, threshold_bin: int
) -> tuple[FloatArray, FloatArray]:
    flagged = counts[..., threshold_bin:].sum(axis=-1)
    rest = counts.sum(axis=-1) - flagged
    # The mean of the same posterior, so that the value never is 0 or 1 and lies in its interval.
    value = (flagged + 0.5) / (flagged + rest + 1)
    return value, rng.beta(flagged + 0.5, rest + 0.5, size=(DRAWS, *flagged.shape))


def _prevalence_draws(
    rng: np.random.Generator, prevalence: Estimate
) -> tuple[FloatArray, FloatArray]:
    value, low, high = (
        np.asarray(x, dtype=np.float64) for x in (prevalence.value, prevalence.low, prevalence.high)
    )
    if not np.all((value > 0) & (value < 1)):
        raise NotAssessable("consequences: a prevalence above 0 and below 1 expected")
    at, floor = logit(value), np.finfo(float).eps
    down = (at - logit(np.maximum(low, floor))) / ndtri(0.975)
    up = (logit(np.minimum(high, 1 - floor)) - at) / ndtri(0.975)
    z = rng.standard_normal((DRAWS, *value.shape))
    return value, expit(at + z * np.where(z < 0, down, up))
