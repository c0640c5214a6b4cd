"""May a new operating point go into use? Acceptance tests on cases that did not choose it.

Each criterion is agreed in the change-control plan before the data are seen (FDA, Predetermined
Change Control Plans, December 2024: "acceptance criteria"). They are tested in a fixed order and
all must pass, so none needs an adjusted level (gatekeeping: Westfall and Krishen 2001, J. Stat.
Plan. Inference 99, 25-40). Non-inferiority margins are shares, not percentages.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri
from scipy.stats import binom

from monitors.annotation import Recalibration
from monitors.errors import MonitorError, NotAssessable
from monitors.proportions import clopper_pearson, newcombe
from monitors.schema import FloatArray

SLOPE_LIMITS = (0.8, 1.25)
LARGEST_LOSS = 0.05  # of a sub-group's rate, as estimated
LARGEST_LOSS_BOUND = 0.10  # and as its upper confidence bound allows
LARGEST_STEP = 1.0  # of a threshold, in log odds
LARGEST_ALERT_RATIO = 2.0
FEWEST_DAYS = 90  # between two changes of one scope


@dataclass(frozen=True, slots=True)
class Criterion:
    """One criterion: what was found, the limit it was held to, and whether it passed."""

    name: str
    found: float
    limit: float
    passed: bool


def confirm_rate(
    name: str, found: int, n: int, claim: float, margin: float = 0.03, confidence: float = 0.975
) -> Criterion:
    """The exact lower bound of `found` in `n` must reach `claim` - `margin` (one-sided)."""
    if not (0 < claim < 1 and 0 <= margin < claim):
        raise MonitorError(f"0 <= margin < claim < 1 expected, got {margin!r} and {claim!r}")
    bound = float(clopper_pearson(found, n, 2 * confidence - 1).low)
    return Criterion(name, bound, claim - margin, bound >= claim - margin)


def confirm_calibration(fit: Recalibration, confidence: float = 0.95) -> tuple[Criterion, ...]:
    """Intercept compatible with 0; slope interval within `SLOPE_LIMITS`. Of one scope, not many."""
    if np.ndim(fit.intercept):
        raise MonitorError(f"calibration: one scope expected, got shape {np.shape(fit.intercept)}")
    z = float(ndtri((1 + confidence) / 2))
    shift, half = abs(float(fit.intercept)), z * float(fit.intercept_error)
    reach = z * float(fit.slope_error)
    low, high = float(fit.slope) - reach, float(fit.slope) + reach
    return (
        Criterion("calibration in the large", shift, half, shift <= half),
        Criterion("calibration slope, lower", low, SLOPE_LIMITS[0], low >= SLOPE_LIMITS[0]),
        Criterion("calibration slope, upper", high, SLOPE_LIMITS[1], high <= SLOPE_LIMITS[1]),
    )


def confirm_subgroups(
    names: tuple[str, ...],
    before: tuple[npt.ArrayLike, npt.ArrayLike],
    after: tuple[npt.ArrayLike, npt.ArrayLike],
    confidence: float = 0.95,
) -> tuple[Criterion, ...]:
    """No sub-group may lose more than `LARGEST_LOSS`, nor possibly `LARGEST_LOSS_BOUND`.

    before, after : (events, n), each (groups,), of independent cases. Newcombe's interval.
    """
    loss = newcombe(*before, *after, confidence)
    value, high = np.atleast_1d(loss.value), np.atleast_1d(loss.high)
    if value.shape != (len(names),):
        raise MonitorError(f"sub-groups: {len(names)} expected, got {value.size}")
    estimates = (
        Criterion(f"{name}: loss", float(v), LARGEST_LOSS, bool(v <= LARGEST_LOSS))
        for name, v in zip(names, value, strict=True)
    )
    bounds = (
        Criterion(
            f"{name}: loss, upper bound", float(h), LARGEST_LOSS_BOUND, bool(h < LARGEST_LOSS_BOUND)
        )
        for name, h in zip(names, high, strict=True)
    )
    return tuple(c for pair in zip(estimates, bounds, strict=True) for c in pair)


def confirm_change(
    old_threshold: float,
    new_threshold: float,
    old_alert_rate: float,
    new_alert_rate: float,
    days_since_last: int | None = None,
) -> tuple[Criterion, ...]:
    """How far a change may go: its step in log odds, the alerts it brings, its distance in time."""
    for name, x in (("threshold", old_threshold), ("threshold", new_threshold)):
        if not 0 < x < 1:
            raise MonitorError(f"{name} must lie in (0, 1), got {x!r}")
    if not (old_alert_rate > 0 and new_alert_rate >= 0):
        raise NotAssessable("alert rate: some case flagged before the change expected")
    step = abs(_log_odds(new_threshold) - _log_odds(old_threshold))
    ratio = new_alert_rate / old_alert_rate
    criteria = (
        Criterion("step of the threshold, log odds", step, LARGEST_STEP, step <= LARGEST_STEP),
        Criterion("alert rate, ratio", ratio, LARGEST_ALERT_RATIO, ratio <= LARGEST_ALERT_RATIO),
    )
    if days_since_last is None:
        return criteria
    late = days_since_last >= FEWEST_DAYS
    return (*criteria, Criterion("days since the last change", days_since_last, FEWEST_DAYS, late))


def _log_odds(p: float) -> float:
    return float(np.log(p) - np.log1p(-p))


def chance_of_acceptance(
    n: npt.ArrayLike, truth: float, claim: float, margin: float = 0.03, confidence: float = 0.975
) -> FloatArray:
    """Chance that `confirm_rate` passes with `n` cases of its class at a rate of `truth`, (...)."""
    size = np.asarray(n, dtype=np.int64)
    if not np.all(size >= 1):
        raise NotAssessable("acceptance: at least 1 case expected")
    needed = binom.isf(1 - confidence, size, claim - margin) + 1
    return np.asarray(np.where(needed > size, 0.0, binom.sf(needed - 1, size, truth)))
