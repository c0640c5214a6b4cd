"""Which threshold a policy asks for at the current prevalence. A proposal; nothing is changed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from app.errors import ContractError
from app.lab.comparing import Comparison, compare
from app.lab.mixing import Estimated, Mixing, Scores, consequence_rows, mixing, scores_of
from app.lab.two_tables import TwoTables
from monitors.errors import NotAssessable
from monitors.prevalence import Estimate
from monitors.recalibration import (
    bin_for_alert_rate,
    bin_for_ppv,
    bin_for_sensitivity,
    bin_for_specificity,
    consequence,
    cost_threshold,
    require_claim,
)

LEAST_AUDIT = 60  # labels that confirm a prevalence
Z95 = 1.96
HELD = ("sensitivity", "specificity", "ppv", "alert_rate", "cost")
Figures = tuple[tuple[str, float, float, float], ...]


@dataclass(frozen=True, slots=True)
class Proposal:
    """used : the prevalence it rests on. refused : why not, "" for a proposal. Thresholds lie on
    edges of merged score bins."""

    held: str
    target: float
    prevalence: Mixing
    used: Estimated
    refused: str
    old_threshold: float
    new_threshold: float | None
    old: Figures
    new: Figures


def propose(tables: TwoTables, held: str, target: float, claim: float | None) -> Proposal:
    """The threshold that holds `held` at `target`, unless the cause forbids one.

    claim : sensitivity that must stay guaranteed at the new threshold; None for no such floor.
    """
    if held not in HELD:
        raise ContractError("policy", f"policy: one of {', '.join(HELD)} expected, got {held!r}")
    if tables.threshold is None:
        raise ContractError("policy", "policy: the columns map needs an [operating_point]")
    s, found = scores_of(tables), mixing(tables)
    if s.threshold_bin is None:
        raise ContractError("policy", "policy: a threshold above 0 expected")
    source = _trusted(found)
    now = _estimate(source)
    old = consequence_rows(consequence(s.classes, now, s.threshold_bin))
    refused, at = _gate(found, compare(tables)), None
    if not refused:
        try:
            at = _bin(s, held, target, source.value)
            if claim is not None:
                require_claim(s.classes, at, claim)
        except NotAssessable as error:
            refused, at = str(error), None
    new = () if at is None else consequence_rows(consequence(s.classes, now, at))
    edge = None if at is None else float(s.edges[at])
    return Proposal(held, target, found, source, refused, tables.threshold, edge, old, new)


def _trusted(found: Mixing) -> Estimated:
    """The scores' estimate, which is sharper, unless a random audit contradicts it.

    Labels that err make the scores' estimate too extreme; what a PPV counts are labels.
    """
    scores, audit = found.estimates[0], found.measured
    if audit is None or (audit.low <= scores.high and scores.low <= audit.high):
        return scores
    return audit


def _estimate(of: Estimated) -> Estimate:
    value, low, high = (np.asarray(x) for x in (of.value, of.low, of.high))
    return Estimate(value, (high - low) / (2 * Z95), low, high)


def _gate(found: Mixing, whole: Comparison) -> str:
    """Why the cause forbids a new threshold; "" where it does not."""
    if whole.differs and (whole.verdict is None or whole.verdict.causes != ("prevalence",)):
        named = "undetermined" if whole.verdict is None else " and ".join(whole.verdict.causes)
        return (
            f"the tables differ and the cause is {named}: a new threshold is a remedy for a "
            "changed share of positives alone"
        )
    if not found.supported:
        return (
            "the scores are not shown to mix the reference's classes: too few cases, or more moved"
        )
    if found.labels < LEAST_AUDIT:
        return (
            f"{found.labels} random audit labels in the current table, {LEAST_AUDIT} needed: "
            "scores cannot tell missed positives from fewer positives"
        )
    return ""


def _bin(s: Scores, held: str, target: float, prevalence: float) -> int:
    if held == "sensitivity":
        at = int(bin_for_sensitivity(s.classes, target))
    elif held == "specificity":
        at = int(bin_for_specificity(s.classes, target))
    elif held == "ppv":
        at = int(bin_for_ppv(s.classes, prevalence, target))
    elif held == "alert_rate":
        at = int(bin_for_alert_rate(s.classes, prevalence, target))
    else:
        raw = float(cost_threshold(target, 1 - target, s.rate, prevalence))
        at = int(np.searchsorted(s.edges, raw, side="right")) - 1
    if not 0 < at < s.current.size:
        raise NotAssessable(f"no threshold between score bins holds {held} at {target}")
    return at
