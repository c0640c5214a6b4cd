"""May this drift be answered with a new operating point? Only if its cause allows, and is proved.

A prevalence shift may; a scanner shift only through an equivalent threshold (`equivalence`);
everything else is refused, with what would change the answer. The gate does not trust the
attribution alone: the scores must mix the two reference classes and nothing else, the labels
must say the same as the scores, and the size of the change must be known.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.special import logit
from scipy.stats import norm

from monitors.annotation import Difference, double_difference, recalibrate
from monitors.errors import NotAssessable
from monitors.prevalence import Classes, Estimate, LabelShiftFit, label_shift_fit, mlls
from monitors.readers import beyond_shift

Route = Literal["prevalence", "scanner", ""]
NEGLIGIBLE = 0.1  # reference SD: an acquisition characteristic that moved less did not move


@dataclass(frozen=True, slots=True)
class GateLimits:
    """What the gate asks for. Set in the change-control plan, before any data is seen."""

    least_probability: float = 0.80  # of the cause
    size: float = 0.01  # of the test that only the mixture of the classes changed
    residual: float = 0.02  # most lack of fit per case that is negligible (PSI scale)
    shift_size: float = 0.01  # of the test that the prevalence moved at all
    relative_half_width: float = 0.20  # of the prevalence's 95 % interval
    least_labels: int = 60
    label_size: float = 0.05  # of the test that labels moved only with the prevalence


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of one drift. `named`: causes as attributed; `candidates`: probabilities.

    acquisition : names of acquisition characteristics that moved. sentinel, lock : whether
    re-reads of the fixed images and the lock are as they were.
    """

    named: tuple[str, ...]
    candidates: Mapping[str, float]
    before: float
    prevalence: Estimate
    fit: LabelShiftFit
    labels: Difference | None
    labelled: int
    acquisition: tuple[str, ...] = ()
    sentinel: bool = True
    lock: bool = True


@dataclass(frozen=True, slots=True)
class Reason:
    """Why not: a closed word, what was found, and what evidence would change it."""

    code: str
    found: str
    would_change: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """Which kind of change the cause allows; "" with the reasons if none."""

    route: Route
    reasons: tuple[Reason, ...] = field(default=())

    @property
    def is_open(self) -> bool:
        """Whether any operating point may be proposed."""
        return self.route != ""


REFUSED = {
    "annotation": "the labels moved, not the device: question the reference standard and "
    "re-evaluate the locked device on a freshly labelled holdout",
    "performance": "positives present differently: a new threshold does not bring them back; a "
    "freshly labelled set would show what is lost",
    "population": "prevalence and case mix moved together: labels of the new population are needed",
    "lock": "the runtime does not score as cleared: restore the cleared device first",
    "data_quality": "what arrives is incomplete or malformed: repair the data path first",
    "undetermined": "the evidence does not name a cause: labels or re-reads of the sentinel set "
    "would decide it",
}


def evidence_of(
    classes: Classes,
    current: npt.ArrayLike,
    labels: tuple[npt.ArrayLike, npt.ArrayLike] | None,
    label_bins: npt.ArrayLike,
    *,
    named: tuple[str, ...],
    candidates: Mapping[str, float],
    before: float,
    labels_before: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
    design_effect: float = 1.0,
    acquisition: tuple[str, ...] = (),
    sentinel: bool = True,
    lock: bool = True,
) -> Evidence:
    """The statistics of a gate from counts: `current` (B,) since the change, of what is affected.

    labels : (labelled, positive) counts (G,) of random audit reads since the change, on the
    merged bins that `label_bins` (B,) names; None where there are none. labels_before : of the
    reference period, from which the readers' errors are known; without it they are taken as none.
    """
    prevalence = mlls(classes, current, design_effect=design_effect)
    fit = label_shift_fit(classes, current, design_effect=design_effect)
    return Evidence(
        named,
        candidates,
        before,
        prevalence,
        fit,
        _label_channel(classes, labels_before, labels, label_bins, before, prevalence),
        0 if labels is None else int(np.sum(labels[0])),
        acquisition,
        sentinel,
        lock,
    )


def _label_channel(
    classes: Classes,
    known: tuple[npt.ArrayLike, npt.ArrayLike] | None,
    labels: tuple[npt.ArrayLike, npt.ArrayLike] | None,
    label_bins: npt.ArrayLike,
    before: float,
    prevalence: Estimate,
) -> Difference | None:
    """What the labels moved beyond the shift of prevalence that the scores show."""
    pi = float(prevalence.value)
    if labels is None or not np.sum(labels[0]) or not 0 < pi < 1:
        return None
    groups = np.asarray(label_bins, dtype=np.int64)
    q0, q1 = (np.bincount(groups, weights=q) for q in (classes.q0, classes.q1))
    ratio = np.log(q1) - np.log(q0)
    try:
        if known is not None and np.sum(known[0]):
            return beyond_shift(known, labels, ratio, before, prevalence)
        found = recalibrate(labels, ratio + logit(before))
    except NotAssessable:
        return None
    error = float(prevalence.standard_error) / (pi * (1 - pi))
    return double_difference(
        found.intercept, found.intercept_error, logit(pi) - logit(before), error
    )


def gate(evidence: Evidence, limits: GateLimits | None = None) -> Verdict:
    """The kind of change that the evidence allows."""
    limits = limits or GateLimits()
    if evidence.named == ("scanner",):
        refused = tuple(_probable(evidence, limits)) + tuple(_whole(evidence))
        return Verdict("" if refused else "scanner", refused)
    refused = (*_cause(evidence), *_probable(evidence, limits), *_whole(evidence))
    refused = (*refused, *_only_mixture(evidence, limits), *_labels_agree(evidence, limits))
    return Verdict("" if refused else "prevalence", refused)


def _cause(e: Evidence) -> Iterator[Reason]:
    others = [c for c in e.named if c != "prevalence"]
    for cause in others:
        text = REFUSED.get(cause, "only a scanner shift by itself has an equivalent threshold")
        yield Reason(f"cause_{cause}", f"cause named: {' and '.join(e.named)}", text)


def _probable(e: Evidence, limits: GateLimits) -> Iterator[Reason]:
    probability = max((e.candidates.get(c, 0.0) for c in e.named), default=0.0)
    if probability < limits.least_probability:
        yield Reason(
            "cause_not_sure",
            f"probability {probability:.2f} of {' and '.join(e.named) or 'any cause'}",
            f"evidence that raises it to {limits.least_probability:.2f}: more windows, audit "
            "labels, or re-reads of the sentinel set",
        )


def _whole(e: Evidence) -> Iterator[Reason]:
    if not e.lock:
        yield Reason("lock", "the lock does not hold", REFUSED["lock"])
    if not e.sentinel:
        yield Reason("sentinel", "fixed images are read differently", REFUSED["annotation"])


def _only_mixture(e: Evidence, limits: GateLimits) -> Iterator[Reason]:
    """Scores mix the two reference classes, nothing else, and in a known proportion."""
    if e.acquisition:
        yield Reason(
            "acquisition_moved",
            f"acquisition moved: {', '.join(e.acquisition)}",
            "the scanner's change explained and excluded, or an equivalent threshold for it",
        )
    p, residual = float(e.fit.p_value), float(e.fit.residual_high)
    if p < limits.size or residual > limits.residual:
        yield Reason(
            "not_only_prevalence",
            f"lack of fit to a mixture of the two classes: p {p:.3g}, up to {residual:.3g} a case",
            f"p of at least {limits.size} and at most {limits.residual} a case: more cases, if "
            "only the prevalence changed",
        )
    yield from _size_known(e, limits)


def _size_known(e: Evidence, limits: GateLimits) -> Iterator[Reason]:
    value, low, high = (float(x) for x in (e.prevalence.value, e.prevalence.low, e.prevalence.high))
    p = float(2 * norm.sf(abs(value - e.before) / float(e.prevalence.standard_error)))
    if low <= e.before <= high or not p < limits.shift_size:
        yield Reason(
            "no_shift",
            f"prevalence {low:.3f} to {high:.3f} (p {p:.3g}) against {e.before:.3f} before",
            "nothing to correct: no change of the operating point is due to prevalence",
        )
    if not value > 0 or (high - low) / 2 > limits.relative_half_width * value:
        yield Reason(
            "prevalence_not_known",
            f"prevalence {value:.3f} known to {low:.3f} to {high:.3f} only",
            f"more cases: a half-width of at most {limits.relative_half_width:.0%} of the value",
        )


def _labels_agree(e: Evidence, limits: GateLimits) -> Iterator[Reason]:
    if e.labelled < limits.least_labels or e.labels is None:
        yield Reason(
            "too_few_labels",
            f"{e.labelled} audit labels since the change",
            f"at least {limits.least_labels} random audit labels, of both kinds",
        )
        return
    if float(e.labels.p_value) < limits.label_size:
        yield Reason(
            "labels_disagree",
            f"labels moved by {float(e.labels.value):+.2f} logits beyond the shift of prevalence "
            f"in the scores (p {float(e.labels.p_value):.3g})",
            "labels and scores that agree: re-reads of the sentinel set or a fresh holdout",
        )
