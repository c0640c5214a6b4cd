"""Performance, prevalence, sub-groups and labels as charts and numbers, from stored windows.

Pure, like `evidence`. What cannot be estimated is refused by the statistic itself; the refusal is
what the page then says. Days are half open, [start, end).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt
from scipy.special import logit

from dashboards import wording
from dashboards.charts.spec import Calibration, CalibrationBin, Forest, Group
from monitors.annotation import Recalibration, mantel_haenszel, recalibrate
from monitors.errors import MonitorError, NotAssessable
from monitors.observations import Cohort, History
from monitors.performance import (
    Audit,
    Bounds,
    ModelBased,
    Performance,
    cbpe,
    performance_bounds,
    post_stratified,
)
from monitors.prevalence import Classes, Estimate, LabelShiftFit, label_shift_fit, mlls
from monitors.proportions import Interval, wilson
from monitors.schema import FloatArray, IntArray, Schema
from monitors.summaries import score_counts

LEAST_READS = 100  # below it a curve says more about chance than about the device
LEAST_CASES = 100  # of a prevalence estimate
LEAST_IN_BIN = 20
LEAST_IN_GROUP = 30
AUDITED = "random_audit"


@dataclass(frozen=True, slots=True)
class Days:
    """Days [start, end) as ordinals."""

    start: int
    end: int

    @classmethod
    def of(cls, first: date, last: date) -> Days:
        """From `first` up to and including `last`."""
        return cls(first.toordinal(), last.toordinal() + 1)

    def holds(self, day: IntArray) -> npt.NDArray[np.bool_]:
        """Which days lie inside."""
        return (day >= self.start) & (day < self.end)

    @property
    def words(self) -> str:
        """`2026-03-02 to 2026-03-17`."""
        return f"{date.fromordinal(self.start)} to {date.fromordinal(self.end - 1)}"


def scores_of(history: History, days: Days, sites: Sequence[str] = ()) -> IntArray:
    """Cases per bin of the first score stage, (B,)."""
    cases = history.cases
    inside = days.holds(cases.start) & _at(history, sites)
    return np.asarray(score_counts(history.schema, cases.rows[inside].sum(axis=0))[0, :-1])


def _at(history: History, sites: Sequence[str]) -> npt.NDArray[np.bool_]:
    wanted = np.array([not sites or s.site in sites for s in history.strata], dtype=np.bool_)
    return np.asarray(wanted[history.cases.stratum])


def reads_of(
    history: History, days: Days, *, group: str = "", source: str = AUDITED
) -> tuple[IntArray, IntArray]:
    """Labelled and positive per merged score bin, (G,) each, of reads in the labelling weeks."""
    labels, columns = history.labels, history.schema.label_columns
    mine = [
        i
        for i in range(len(labels.site))
        if labels.source[i] == source and (not group or labels.reader_group[i] == group)
    ]
    inside = np.array(mine, dtype=np.int64)
    inside = inside[days.holds(labels.week[inside])]
    row = labels.rows[inside].sum(axis=0)
    return row[columns["labelled"]], row[columns["positive"]]


def merged(schema: Schema, counts: IntArray) -> IntArray:
    """Score-bin counts (..., B) in the coarser bins of labels, (..., G)."""
    out = np.zeros((*counts.shape[:-1], schema.merged_label_bins), dtype=np.int64)
    for i, place in enumerate(schema.label_bins):
        out[..., place] += counts[..., i]
    return out


def threshold_bins(schema: Schema, threshold: float) -> tuple[int, int]:
    """The score bin, and the bin of labels, from which cases are flagged."""
    at = int(np.searchsorted(schema.scores[0].edges, threshold - 1e-12))
    if not 0 < at < schema.score_bins or schema.label_bins[at] == schema.label_bins[at - 1]:
        raise NotAssessable("the operating point does not lie on an edge of the bins of labels")
    return at, schema.label_bins[at]


@dataclass(frozen=True, slots=True)
class Measured:
    """What reads show over `days`: an estimate, or only bounds, or the reason for neither."""

    days: Days
    reads: int
    performance: Performance | None = None
    bounds: Bounds | None = None
    reason: str = ""


def measured(history: History, days: Days, threshold: float) -> Measured:
    """Sensitivity and specificity from audited reads, corrected for how they were selected."""
    labelled, positive = reads_of(history, days)
    reads = int(labelled.sum())
    if reads < LEAST_READS:
        return Measured(days, reads, reason=wording.needs_reads(reads, LEAST_READS))
    cases = merged(history.schema, scores_of(history, days))
    try:
        _, at = threshold_bins(history.schema, threshold)
        audit = Audit(*(np.asarray(c, dtype=np.float64) for c in (cases, labelled, positive)))
        if not audit.identified:
            return Measured(days, reads, bounds=performance_bounds(audit, at))
        return Measured(days, reads, performance=post_stratified(audit, at))
    except MonitorError as error:
        return Measured(days, reads, reason=str(error))


def estimated(
    history: History, classes: Classes, days: Days, threshold: float
) -> ModelBased | None:
    """What the cleared calibration implies for these cases; None where there are none."""
    try:
        at, _ = threshold_bins(history.schema, threshold)
        return cbpe(classes, scores_of(history, days), at)
    except MonitorError:
        return None


def cleared(classes: Classes, at: int) -> tuple[Interval, Interval]:
    """Sensitivity and specificity of the validation cohort at the operating point."""
    positive, negative = classes.positive, classes.negative
    return (
        wilson(positive[at:].sum(), positive.sum()),
        wilson(negative[:at].sum(), negative.sum()),
    )


def classes_of(cohort: Cohort) -> Classes:
    """Scores of the validation cohort by class, first stage."""
    counts = cohort.score_counts[:, 0]
    return Classes(counts[0].astype(np.float64), counts[1].astype(np.float64))


def performance_forest(
    name: str, rows: Sequence[tuple[str, int, Interval | None, str]], overall: Interval
) -> Forest:
    """Measured and estimated values by month, against the cleared one."""
    return Forest(
        title=f"{wording.sentence_case(name)}, measured and estimated",
        caption=(
            f"Line: validation cohort, {float(overall.value):.2f} ({float(overall.low):.2f}–"
            f"{float(overall.high):.2f}). Measured rows rest on reads; estimated rows on scores "
            "alone, and are not measurements."
        ),
        unit=name,
        groups=tuple(group(title, n, value, note) for title, n, value, note in rows),
        overall=float(overall.value),
    )


def group(name: str, n: int, value: Interval | Estimate | None, note: str = "") -> Group:
    """A row of a forest plot."""
    if value is None:
        return Group(name, n, None, note=note)
    return Group(name, n, float(value.value), float(value.low), float(value.high), note)


@dataclass(frozen=True, slots=True)
class CalibrationFound:
    """The curve, and its two numbers with errors."""

    chart: Calibration
    fit: Recalibration | None


def calibration(history: History, days: Days) -> CalibrationFound | None:
    """Observed share of positives by score; None below the least number of reads."""
    schema = history.schema
    labelled, positive = reads_of(history, days)
    if labelled.sum() < LEAST_READS:
        return None
    counts, edges = scores_of(history, days), schema.scores[0].edges
    mean = _mean_scores(schema, counts)
    used = (labelled >= LEAST_IN_BIN) & np.isfinite(mean)
    limits = wilson(positive[used], labelled[used])
    rows = zip(mean[used], limits.value, limits.low, limits.high, labelled[used], strict=True)
    left_out = int((~used & (labelled > 0)).sum())
    chart = Calibration(
        title="Calibration: observed share of positives by score",
        caption=(
            f"{wording.count(int(labelled.sum()), 'audited read')}, {days.words}; 95 % intervals "
            f"per point. {wording.bins_left_out(left_out, LEAST_IN_BIN)}"
            "Below: scores of all cases."
        ),
        bins=tuple(
            CalibrationBin(float(x), float(y), float(low), float(high), int(n))
            for x, y, low, high, n in rows
        ),
        edges=tuple(float(e) for e in edges),
        counts=tuple(int(c) for c in counts),
    )
    return CalibrationFound(chart, _fit(labelled[used], positive[used], mean[used]))


def _fit(labelled: IntArray, positive: IntArray, mean: FloatArray) -> Recalibration | None:
    if len(mean) < 2:
        return None
    try:
        return recalibrate((labelled, positive), logit(np.clip(mean, 1e-4, 1 - 1e-4)))
    except MonitorError:
        return None


def _mean_scores(schema: Schema, counts: IntArray) -> FloatArray:
    """Mean score of each bin of labels, each score bin at its middle, (G,); NaN without cases."""
    edges = schema.scores[0].edges
    middle = (edges[:-1] + edges[1:]) / 2
    mass, moment = (np.zeros(schema.merged_label_bins) for _ in range(2))
    np.add.at(mass, np.array(schema.label_bins), counts)
    np.add.at(moment, np.array(schema.label_bins), counts * middle)
    return np.divide(moment, mass, out=np.full_like(mass, np.nan), where=mass > 0)


@dataclass(frozen=True, slots=True)
class PrevalenceRow:
    """The prevalence that the scores of one scope imply, or why there is none."""

    name: str
    cases: int
    estimate: Estimate | None
    fit: LabelShiftFit | None = None
    reason: str = ""


def prevalence(
    history: History, classes: Classes, days: Days, name: str, sites: Sequence[str]
) -> PrevalenceRow:
    """Under label shift; the fit says whether a changed mixture alone explains the scores."""
    counts = scores_of(history, days, sites)
    n = int(counts.sum())
    if n < LEAST_CASES:
        return PrevalenceRow(name, n, None, reason=wording.needs_cases(n, LEAST_CASES))
    try:
        return PrevalenceRow(name, n, mlls(classes, counts), label_shift_fit(classes, counts))
    except MonitorError as error:
        return PrevalenceRow(name, n, None, reason=str(error))


def prevalence_forest(rows: Sequence[PrevalenceRow], cohort: float, days: Days) -> Forest:
    """Sites in the order of enrolment, never by estimate, against the validation cohort."""
    return Forest(
        title=f"Estimated prevalence, {days.words}",
        caption=(
            f"Line: prevalence of the validation cohort, {100 * cohort:.1f} %. 95 % intervals, "
            "for independent cases. Estimated from scores, without reference reads."
        ),
        unit="share of positive cases",
        groups=tuple(group(r.name, r.cases, r.estimate, r.reason) for r in rows),
        overall=cohort,
    )


@dataclass(frozen=True, slots=True)
class Level:
    """One level of a margin over the months it left its sites: (10,) row of the contract."""

    margin: str
    name: str
    row: IntArray


def flagged_forest(
    margin: str, levels: Sequence[str], rows: Sequence[Level], k: int
) -> Forest | None:
    """Flagged rate by level, in the plan's order; intervals hold for all `k` rows together."""
    found = {r.name: r.row for r in rows if r.margin == margin}
    total = sum(found.values(), np.zeros(10, dtype=np.int64))
    if not total[0]:
        return None
    groups = [_flagged_group(level, found.get(level), k) for level in levels]
    return Forest(
        title=f"Flagged rate by {wording.characteristic(margin)}",
        caption=(
            "Line: all levels together. Intervals are 95 % for all rows of this page at once "
            f"(Bonferroni, {k} rows). In the plan's order, not sorted by rate."
        ),
        unit="flagged",
        groups=tuple(groups),
        overall=float(total[1] / total[0]),
    )


def _flagged_group(level: str, row: IntArray | None, k: int) -> Group:
    if row is None:
        return Group(level, 0, None, note=wording.SUPPRESSED)
    n, flagged = int(row[0]), int(row[1])
    if n < LEAST_IN_GROUP:
        return Group(level, n, None, note=wording.needs_cases(n, LEAST_IN_GROUP))
    return group(level, n, wilson(flagged, n, 1 - 0.05 / k))


@dataclass(frozen=True, slots=True)
class Readers:
    """A reader group now against itself in the reference period, at equal scores."""

    group: str
    reference: tuple[int, int]
    current: tuple[int, int]
    ratio: tuple[float, float, float] | None
    p_value: float | None
    reason: str = ""


def readers(history: History, group: str, before: Days, after: Days) -> Readers:
    """Odds of a positive read, stratified by score (Cochran-Mantel-Haenszel)."""
    first, second = reads_of(history, before, group=group), reads_of(history, after, group=group)
    counts = [(int(n.sum()), int(y.sum())) for n, y in (first, second)]
    try:
        found = mantel_haenszel(first, second)
    except MonitorError as error:
        return Readers(group, counts[0], counts[1], None, None, str(error))
    ratio = (float(found.odds_ratio), float(found.low), float(found.high))
    return Readers(group, counts[0], counts[1], ratio, float(found.p_value))


def readers_forest(rows: Sequence[Readers]) -> Forest:
    """Odds ratios by reader group on a logarithmic scale, against no change."""
    return Forest(
        title="Reads now against the reference period, by reader group",
        caption=(
            "Natural logarithm of the odds ratio of a positive read at equal scores; 0: as "
            "before, above 0: called positive more often. 95 % intervals of each group."
        ),
        unit="log odds ratio",
        groups=tuple(_readers_group(r) for r in rows),
        overall=0.0,
    )


def _readers_group(row: Readers) -> Group:
    n = row.current[0]
    if row.ratio is None or not 0 < row.ratio[1] <= row.ratio[2] < np.inf:
        return Group(row.group, n, None, note=wording.NO_COMPARISON)
    value, low, high = (float(v) for v in np.log(row.ratio))
    return Group(row.group, n, value, low, high)
