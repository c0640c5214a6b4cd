"""Performance, prevalence, sub-groups and labels as charts and numbers, from stored windows.

Pure, like `evidence`. What cannot be estimated is refused by the statistic itself; the refusal is
what the page then says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TypeVar

import numpy as np
from scipy.special import logit

from app.central.surveillance.measured import (
    LEAST_READS,
    Counts,
    Days,
    Rate,
)
from app.central.surveillance.subgroups import Level
from dashboards import wording
from dashboards import wording_performance as phrases
from dashboards.charts.spec import Calibration, CalibrationBin, Forest, Group
from monitors.annotation import Recalibration, mantel_haenszel, recalibrate
from monitors.errors import MonitorError
from monitors.prevalence import Classes, Estimate, LabelShiftFit, label_shift_fit, mlls
from monitors.proportions import wilson
from monitors.schema import FloatArray, IntArray, Schema

LEAST_CASES = 100  # of a prevalence estimate
LEAST_IN_BIN = 20


def performance_forest(
    name: str,
    rows: Sequence[tuple[str, int, Rate | None, str]],
    overall: Rate,
    score: float | None = None,
) -> Forest:
    """Measured and estimated values by month, against that of the validation cohort.

    score : from which cases were flagged, where that is not always the same.
    """
    flagged = "" if score is None else f", flagged from {score:g}"
    return Forest(
        title=f"{wording.sentence_case(name)}, measured and estimated{flagged}",
        caption=(
            f"Line: validation cohort, {float(overall.value):.2f} ({float(overall.low):.2f}–"
            f"{float(overall.high):.2f}). Measured rows rest on reads; estimated rows on scores "
            "alone, and are not measurements."
        ),
        unit=name,
        groups=tuple(group(title, n, value, note) for title, n, value, note in rows),
        overall=float(overall.value),
    )


def group(name: str, n: int, value: Rate | Estimate | None, note: str = "") -> Group:
    """A row of a forest plot."""
    if value is None:
        return Group(name, n, None, note=note)
    return Group(name, n, float(value.value), float(value.low), float(value.high), note)


@dataclass(frozen=True, slots=True)
class CalibrationFound:
    """The curve, and its two numbers with errors."""

    chart: Calibration
    fit: Recalibration | None


def calibration(schema: Schema, found: Counts, days: str) -> CalibrationFound | None:
    """Observed share of positives by score; None below the least number of reads."""
    labelled, positive = found.labelled, found.positive
    if labelled.sum() < LEAST_READS:
        return None
    counts, edges = found.scores, schema.scores[0].edges
    mean = _mean_scores(schema, counts)
    used = (labelled >= LEAST_IN_BIN) & np.isfinite(mean)
    limits = wilson(positive[used], labelled[used])
    rows = zip(mean[used], limits.value, limits.low, limits.high, labelled[used], strict=True)
    left_out = int((~used & (labelled > 0)).sum())
    chart = Calibration(
        title="Calibration: observed share of positives by score",
        caption=(
            f"{wording.count(int(labelled.sum()), 'audited read')}, {days}; 95 % intervals "
            f"per point. {phrases.bins_left_out(left_out, LEAST_IN_BIN)}"
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


def prevalences(classes: Classes, counted: Mapping[str, IntArray]) -> list[PrevalenceRow]:
    """Of the cases by score bin (B,) under each name, all at once, under label shift.

    The fit says whether a changed mixture alone explains the scores.
    """
    enough = [name for name, counts in counted.items() if counts.sum() >= LEAST_CASES]
    found = _estimates(classes, {name: counted[name] for name in enough})
    return [found.get(name) or _too_few(name, counts) for name, counts in counted.items()]


def _too_few(name: str, counts: IntArray) -> PrevalenceRow:
    n = int(counts.sum())
    return PrevalenceRow(name, n, None, reason=wording.needs_cases(n, LEAST_CASES))


def _estimates(classes: Classes, counted: Mapping[str, IntArray]) -> dict[str, PrevalenceRow]:
    if not counted:
        return {}
    rows = np.stack(list(counted.values()))
    try:
        estimates, fits = mlls(classes, rows), label_shift_fit(classes, rows)
    except MonitorError as error:
        if len(counted) == 1:
            [(name, counts)] = counted.items()
            return {name: PrevalenceRow(name, int(counts.sum()), None, reason=str(error))}
        # One that is refused refuses all: each for itself then.
        return {n: _estimates(classes, {n: counts})[n] for n, counts in counted.items()}
    return {
        name: PrevalenceRow(name, int(rows[i].sum()), _of(estimates, i), _of(fits, i))
        for i, name in enumerate(counted)
    }


Found = TypeVar("Found", Estimate, LabelShiftFit)


def _of(found: Found, i: int) -> Found:
    """One row of a result over several."""
    parts = {f.name: np.asarray(getattr(found, f.name)[i]) for f in fields(found)}
    return type(found)(**parts)


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


def flagged_forest(margin: str, levels: Sequence[Level], k: int) -> Forest | None:
    """Flagged rate by level, in the order given; intervals hold for all `k` rows together.

    None without cases, and for a single level, which is compared with nothing.
    """
    cases = sum(level.cases or 0 for level in levels)
    if not cases or len(levels) < 2:
        return None
    return Forest(
        title=f"Flagged rate by {wording.characteristic(margin)}",
        caption=(
            "Line: all levels together. Intervals are 95 % for all sub-groups at once "
            f"(Bonferroni, {k} rows). In the plan's order, not sorted by rate."
        ),
        unit="flagged",
        groups=tuple(_flagged_group(level) for level in levels),
        overall=sum(level.flagged for level in levels) / cases,
    )


def _flagged_group(level: Level) -> Group:
    name = wording.level(level.margin, level.name)
    if level.cases is None:
        return Group(name, 0, None, note=phrases.SUPPRESSED)
    note = "" if level.flagged_rate else phrases.needs_level(level)
    return group(name, level.cases, level.flagged_rate, note)


@dataclass(frozen=True, slots=True)
class Readers:
    """A reader group now against itself in the reference period, at equal scores."""

    group: str
    reference: tuple[int, int]
    current: tuple[int, int]
    ratio: tuple[float, float, float] | None
    p_value: float | None
    reason: str = ""


Reads = tuple[IntArray, IntArray]
"""Labelled and positive per bin of labels, (G,) each."""


def readers(group: str, first: Reads, second: Reads) -> Readers:
    """Odds of a positive read then and now, stratified by score (Cochran-Mantel-Haenszel)."""
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
        return Group(row.group, n, None, note=phrases.NO_COMPARISON)
    value, low, high = (float(v) for v in np.log(row.ratio))
    return Group(row.group, n, value, low, high)
