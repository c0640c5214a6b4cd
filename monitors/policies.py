"""What an operating point is chosen to hold, and the threshold that holds it.

A policy names one figure (sensitivity, specificity, PPV, alert rate or net benefit) and, for
every policy, a floor below which the guaranteed sensitivity may not fall. Net benefit: Vickers
and Elkin (2006), Med. Decis. Making 26, 565-574.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from monitors.errors import MonitorError, NotAssessable
from monitors.prevalence import Classes
from monitors.recalibration import (
    bin_for_alert_rate,
    bin_for_ppv,
    bin_for_sensitivity,
    bin_for_specificity,
    rates,
    require_claim,
)
from monitors.schema import FloatArray, IntArray

Held = Literal["sensitivity", "specificity", "ppv", "alert_rate", "net_benefit"]
MOVED_BY_PREVALENCE: frozenset[Held] = frozenset({"ppv", "alert_rate", "net_benefit"})


@dataclass(frozen=True, slots=True)
class Policy:
    """What is held, at which value, and the least guaranteed sensitivity.

    target : the probability to hold; for `net_benefit` the probability of disease from which
    flagging pays, C_FP / (C_FP + C_FN). floor : 0 for none.
    """

    held: Held
    target: float
    floor: float = 0.0

    def __post_init__(self) -> None:
        if self.held not in get_args(Held):
            raise MonitorError(f"policy: one of {', '.join(get_args(Held))} expected")
        if not 0 < self.target < 1:
            raise MonitorError(f"policy: a target in (0, 1) expected, got {self.target!r}")
        if not 0 <= self.floor < 1:
            raise MonitorError(f"policy: a floor in [0, 1) expected, got {self.floor!r}")

    @property
    def depends_on_prevalence(self) -> bool:
        """Sensitivity and specificity at a threshold do not move with prevalence; the rest do."""
        return self.held in MOVED_BY_PREVALENCE


def net_benefit(classes: Classes, prevalence: npt.ArrayLike, due: float) -> FloatArray:
    """Net benefit (..., B) of flagging from each bin up, in true positives per case.

    due : probability of disease from which flagging pays; a false positive costs due / (1 - due)
    of what a true positive is worth.
    """
    if not 0 < due < 1:
        raise MonitorError(f"due: a probability in (0, 1) expected, got {due!r}")
    points, pi = rates(classes), np.asarray(prevalence, dtype=np.float64)[..., None]
    worth = due / (1 - due)
    return np.asarray(pi * points.sensitivity - (1 - pi) * points.false_positive_rate * worth)


def bin_for_net_benefit(classes: Classes, prevalence: npt.ArrayLike, due: float) -> IntArray:
    """Flagged-from bin (...) of highest net benefit at `prevalence`; bin 0 would flag all."""
    benefit = net_benefit(classes, prevalence, due)[..., 1:]
    if not np.all(benefit.max(axis=-1) > 0):
        raise NotAssessable("no threshold has a net benefit: flagging nobody is better")
    return np.asarray(benefit.argmax(axis=-1) + 1)


def choose(policy: Policy, classes: Classes, prevalence: float) -> int:
    """The flagged-from bin that the policy asks for, one cohort at one prevalence.

    Refused (`NotAssessable`) where no threshold holds the target, where the guarantee needs more
    labelled cases, or where the exact lower bound of sensitivity falls below the floor.
    """
    match policy.held:
        case "sensitivity":
            found = bin_for_sensitivity(classes, policy.target)
        case "specificity":
            found = bin_for_specificity(classes, policy.target)
        case "ppv":
            found = bin_for_ppv(classes, prevalence, policy.target)
        case "alert_rate":
            found = bin_for_alert_rate(classes, prevalence, policy.target)
        case "net_benefit":
            found = bin_for_net_benefit(classes, prevalence, policy.target)
    chosen, bins = int(found), classes.positive.shape[-1]
    if not 0 < chosen < bins:
        raise NotAssessable(f"{policy.held}: no threshold between the outer edges holds the target")
    if policy.floor > 0:
        require_claim(classes, chosen, policy.floor)
    return chosen
