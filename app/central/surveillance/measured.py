"""How well a device did over some days, from audited reads and from scores: plain, to be frozen.

What pages show and what reports freeze is made here once. What cannot be estimated is refused by
the statistic itself; the refusal is kept. Days are half open, [start, end).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt

from app.central.surveillance.service import SignalView
from app.contracts.signals import Attribution
from monitors.errors import MonitorError, NotAssessable
from monitors.observations import Cohort
from monitors.performance import (
    Audit,
    auc,
    auc_interval,
    auc_post_stratified,
    cbpe,
    performance_bounds,
    post_stratified,
    predictive_values,
)
from monitors.prevalence import Classes
from monitors.proportions import Interval, wilson
from monitors.schema import BoolArray, FloatArray, IntArray, Schema
from monitors.summaries import merge_score_bins

BESIDE = 0.2  # probability of other causes up to which only the patients changed
LEAST_READS = 100  # below it a figure says more about chance than about the device


@dataclass(frozen=True, slots=True)
class Days:
    """Days [start, end) as ordinals."""

    start: int
    end: int

    @classmethod
    def of(cls, first: date, last: date) -> Days:
        """From `first` up to and including `last`."""
        return cls(first.toordinal(), last.toordinal() + 1)

    def holds(self, day: IntArray) -> BoolArray:
        """Which days lie inside."""
        return (day >= self.start) & (day < self.end)

    @property
    def words(self) -> str:
        """`2026-03-02 to 2026-03-17`."""
        return f"{date.fromordinal(self.start)} to {date.fromordinal(self.end - 1)}"


@dataclass(frozen=True, slots=True)
class Rate:
    """A share, or an area, with its 95 % interval."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, found: Interval) -> Rate:
        """From the statistic's interval of one number."""
        return cls(float(found.value), float(found.low), float(found.high))


@dataclass(frozen=True, slots=True)
class Counts:
    """Cases and audited reads of some days, at one site or at all.

    scores : cases per bin of the first score stage, (B,). labelled, positive : reads per bin of
    labels, (G,), and those that called the case positive. Cases are those acquired, reads those
    made in the weeks that begin in the days.
    """

    scores: IntArray
    labelled: IntArray
    positive: IntArray

    @property
    def is_empty(self) -> bool:
        """Without a case and without a read."""
        return not (self.scores.any() or self.labelled.any())

    def with_(self, other: Counts) -> Counts:
        """Both together."""
        return Counts(
            self.scores + other.scores,
            self.labelled + other.labelled,
            self.positive + other.positive,
        )

    def without(self, part: Counts) -> Counts:
        """What is not of `part`, which these hold."""
        return Counts(
            self.scores - part.scores,
            self.labelled - part.labelled,
            self.positive - part.positive,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What reads show: estimates, or only bounds, or the reason for neither.

    cases, labelled, positive : per bin of labels, (G,); all cases, those read, those read as
    positive. rates : sensitivity, specificity, ppv, npv, auc; one that is not assessable is
    left out. bounds : lowest and highest possible sensitivity and specificity. needed : reads
    below which nothing is estimated. refused : what the statistic said.
    """

    cases: tuple[int, ...]
    labelled: tuple[int, ...]
    positive: tuple[int, ...]
    rates: dict[str, Rate] = field(default_factory=dict)
    bounds: dict[str, tuple[float, float]] = field(default_factory=dict)
    needed: int = LEAST_READS
    refused: str = ""

    @property
    def reads(self) -> int:
        """Audited reads."""
        return sum(self.labelled)


def measured(schema: Schema, counts: Counts, threshold: float) -> Measured:
    """Performance of all cases from audited reads, corrected for how they were selected."""
    cases, labelled, positive = merged(schema, counts.scores), counts.labelled, counts.positive
    found = Measured(cases=_whole(cases), labelled=_whole(labelled), positive=_whole(positive))
    if found.reads < found.needed:
        return found
    try:
        _, at = threshold_bins(schema, threshold)
        audit = Audit(cases, labelled.astype(np.float64), positive.astype(np.float64))
        if not audit.identified:
            return replace(found, bounds=_bounds(audit, at))
        return replace(found, rates=_rates(audit, at))
    except MonitorError as error:
        return replace(found, refused=str(error))


def _whole(counts: npt.NDArray[Any]) -> tuple[int, ...]:
    return tuple(int(n) for n in counts)


def _rates(audit: Audit, at: int) -> dict[str, Rate]:
    found = post_stratified(audit, at)
    rates = {"sensitivity": Rate.of(found.sensitivity), "specificity": Rate.of(found.specificity)}
    try:
        values = predictive_values(audit, at)
        rates |= {"ppv": Rate.of(values.ppv), "npv": Rate.of(values.npv)}
    except NotAssessable:
        pass  # no case was flagged, or every one: the other figures stand
    return rates | {"auc": Rate.of(auc_interval(auc_post_stratified(audit)))}


def _bounds(audit: Audit, at: int) -> dict[str, tuple[float, float]]:
    found = performance_bounds(audit, at)
    return {
        "sensitivity": (float(found.sensitivity_low), float(found.sensitivity_high)),
        "specificity": (float(found.specificity_low), float(found.specificity_high)),
    }


def estimated(
    schema: Schema, classes: Classes, scores: IntArray, threshold: float
) -> dict[str, Rate]:
    """What the cleared calibration implies for these cases; empty where there are none."""
    try:
        at = score_bin(schema, threshold)
        found = cbpe(classes, scores, at)
        # The area has no threshold, and is of the bins of labels, like the cleared one.
        area = cbpe(_merged(schema, classes), merged(schema, scores), 1).auc
    except MonitorError:
        return {}
    rates = {name: Rate.of(getattr(found, name)) for name in ("sensitivity", "specificity", "ppv")}
    return rates | {"auc": Rate.of(area)}


def _merged(schema: Schema, classes: Classes) -> Classes:
    return Classes(*(merged(schema, c) for c in (classes.negative, classes.positive)))


def may_estimate(signals: Iterable[SignalView]) -> bool:
    """Estimates from scores hold only while nothing but the prevalence moves.

    A named prevalence may have another cause beside it: that must be improbable too.
    """
    last = [s.signal.history[-1] for s in signals if s.is_open and s.signal.history]
    return all(set(a.causes) <= {"prevalence"} and _beside(a) <= BESIDE for a in last)


def _beside(attribution: Attribution) -> float:
    """Probability of anything but a changed share or mix of patients."""
    patients = ("prevalence", "population")
    return sum(p for name, p in attribution.candidates.items() if name not in patients)


def cleared(schema: Schema, classes: Classes, threshold: float) -> dict[str, Rate]:
    """Figures of the validation cohort at the operating point, by the names of `Measured`.

    The area is that of the bins of labels, so that it is compared with its like. Raises
    `NotAssessable` where the operating point lies outside the bins of scores, or a class is empty.
    """
    at = score_bin(schema, threshold)
    positive, negative = classes.positive, classes.negative
    true, false = positive[at:].sum(), negative[at:].sum()
    rest = positive[:at].sum() + negative[:at].sum()
    found = {
        "sensitivity": wilson(true, positive.sum()),
        "specificity": wilson(negative[:at].sum(), negative.sum()),
    }
    if true + false and rest:
        found |= {"ppv": wilson(true, true + false), "npv": wilson(negative[:at].sum(), rest)}
    if min(positive.sum(), negative.sum()) >= 2:
        found["auc"] = auc_interval(auc(_merged(schema, classes)))
    return {name: Rate.of(value) for name, value in found.items()}


def classes_of(cohort: Cohort) -> Classes:
    """Scores of the validation cohort by class, first stage."""
    counts = cohort.score_counts[:, 0]
    return Classes(counts[0].astype(np.float64), counts[1].astype(np.float64))


def merged(schema: Schema, counts: npt.NDArray[Any]) -> FloatArray:
    """Score-bin counts (..., B) in the coarser bins of labels, (..., G)."""
    return merge_score_bins(schema, np.asarray(counts, dtype=np.float64))


def threshold_bins(schema: Schema, threshold: float) -> tuple[int, int]:
    """The score bin, and the bin of labels, from which cases are flagged."""
    at = score_bin(schema, threshold)
    if schema.label_bins[at] == schema.label_bins[at - 1]:
        raise NotAssessable("the operating point does not lie on an edge of the bins of labels")
    return at, schema.label_bins[at]


def score_bin(schema: Schema, threshold: float) -> int:
    """The score bin from which cases are flagged."""
    at = int(np.searchsorted(schema.scores[0].edges, threshold - 1e-12))
    if not 0 < at < schema.score_bins:
        raise NotAssessable("the operating point does not lie inside the bins of scores")
    return at
