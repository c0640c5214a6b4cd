"""Acceptance criteria of a changed operating point, set before the data are seen.

Sensitivity and specificity by exact one-sided 97.5 % bounds. A bundle holds no scores by
sub-group: criteria take the cases that change side as spread over sub-groups in proportion, and
`after` shows how far every other way of spreading them could reach.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.special import logit

from monitors.prevalence import Classes
from monitors.proportions import Interval, clopper_pearson, wilson
from monitors.recalibration import Consequence


@dataclass(frozen=True, slots=True)
class Criteria:
    """Limits of the plan. Margins are probabilities."""

    sensitivity: float  # cleared claim
    specificity: float  # least that the plan accepts
    margin: float = 0.03
    largest_logit_step: float = 1.0
    most_alerts_ratio: float = 2.0
    subgroup_loss: float = 0.05  # of sensitivity in any sub-group
    subgroup_specificity_loss: float = 0.05
    subgroup_excess: float = 0.05  # by which the upper bound of a loss may exceed its limit


@dataclass(frozen=True, slots=True)
class Outcome:
    """One criterion: the figure, the limit it was held against, and whether it was met."""

    criterion: str
    against: str
    figure: float
    limit: float
    met: bool


@dataclass(frozen=True, slots=True)
class Group:
    """A sub-group at the original threshold: cases of each class, and those called right."""

    name: str
    positives: int
    found: int
    negatives: int
    cleared: int


def bound(classes: Classes, threshold_bin: int) -> tuple[float, float]:
    """Exact lower 97.5 % bounds of sensitivity and specificity from `threshold_bin` up."""
    right = classes.positive[threshold_bin:].sum(), classes.negative[:threshold_bin].sum()
    totals = classes.positive.sum(), classes.negative.sum()
    low = clopper_pearson(np.array(right), np.array(totals), 0.95).low
    return float(low[0]), float(low[1])


def overall(
    criteria: Criteria,
    classes: Classes,
    bins: tuple[int, int],
    thresholds: tuple[float, float],
    expected: tuple[Consequence, Consequence],
    against: str,
) -> Iterator[Outcome]:
    """Criteria on the whole cohort; pairs are (before, after), `against` names the before."""
    yield from guarantees(criteria, classes, bins[1], against)
    before, after = (float(e.alerts_per_1000.value) for e in expected)
    yield from change_size(criteria, thresholds, (before, after), against)


def guarantees(
    criteria: Criteria, classes: Classes, threshold_bin: int, against: str
) -> Iterator[Outcome]:
    """Exact bounds of sensitivity and specificity against the claims, less the margin."""
    found, cleared = bound(classes, threshold_bin)
    least, lowest = (x - criteria.margin for x in (criteria.sensitivity, criteria.specificity))
    yield Outcome("sensitivity, lower 97.5 % bound", against, found, least, found >= least)
    yield Outcome("specificity, lower 97.5 % bound", against, cleared, lowest, cleared >= lowest)


def change_size(
    criteria: Criteria, thresholds: tuple[float, float], alerts: tuple[float, float], against: str
) -> Iterator[Outcome]:
    """How far the threshold and the alert rate may move; pairs are (before, after)."""
    step = abs(float(logit(thresholds[1]) - logit(thresholds[0])))
    most = criteria.largest_logit_step
    yield Outcome("threshold step on the logit scale", against, step, most, step <= most)
    ratio = max(alerts[1] / alerts[0], alerts[0] / alerts[1]) if min(alerts) > 0 else np.inf
    most = criteria.most_alerts_ratio
    yield Outcome("alert rate, ratio of change", against, ratio, most, ratio <= most)


def subgroups(
    criteria: Criteria, classes: Classes, bins: tuple[int, int], groups: tuple[Group, ...]
) -> Iterator[Outcome]:
    """Loss of sensitivity and of specificity in each sub-group, and its upper bound."""
    limits = {
        "sensitivity": criteria.subgroup_loss,
        "specificity": criteria.subgroup_specificity_loss,
    }
    for group in groups:
        for name, n, right, moved, total in _sides(classes, bins, group):
            if n == 0 or total == 0:
                continue
            lost = moved * (right if moved > 0 else n - right) / total
            limit = limits[name]
            yield Outcome(f"{name} lost", group.name, lost / n, limit, lost / n <= limit)
            # The same scores at a threshold that moved the other way: no case can be lost.
            most = float(wilson(lost, n).high) if moved > 0 else 0.0
            limit += criteria.subgroup_excess
            yield Outcome(f"{name} lost, 97.5 % bound", group.name, most, limit, most < limit)


def after(classes: Classes, bins: tuple[int, int], group: Group) -> dict[str, Interval]:
    """Sensitivity and specificity of a sub-group at the new threshold.

    Value: cases that change side spread in proportion. Interval: Wilson's, widened over every
    other way to spread them.
    """
    made = {}
    for name, n, right, moved, total in _sides(classes, bins, group):
        if n == 0:
            continue
        pool = right if moved > 0 else n - right
        share = moved / total if total else 0.0
        most = min(abs(moved), pool)
        ends = sorted((right, right - np.sign(moved) * most))
        low, high = wilson(ends[0], n).low, wilson(ends[1], n).high
        made[name] = Interval(np.asarray((right - share * pool) / n), low, high)
    return made


def _sides(
    classes: Classes, bins: tuple[int, int], group: Group
) -> Iterator[tuple[str, int, int, float, float]]:
    """Name, cases, called right, cohort's cases lost by the move (< 0: gained), and their pool.

    The pool is what could be lost (all found), or gained (all missed), in the cohort.
    """
    before, new = bins
    positive, negative = classes.positive, classes.negative
    lost = float(positive[before:].sum() - positive[new:].sum())
    pool = positive[before:].sum() if lost > 0 else positive[:before].sum()
    yield "sensitivity", group.positives, group.found, lost, float(pool)
    lost = float(negative[:before].sum() - negative[:new].sum())
    pool = negative[:before].sum() if lost > 0 else negative[before:].sum()
    yield "specificity", group.negatives, group.cleared, lost, float(pool)
