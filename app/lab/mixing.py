"""The share of positive cases in the current table, from scores alone, and whether that is all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from app.lab.two_tables import TwoTables
from monitors.annotation import mantel_haenszel
from monitors.dispersion import design_effect, intraclass_correlation
from monitors.errors import NotAssessable
from monitors.gate import GateLimits
from monitors.matching import hellinger_prevalence
from monitors.performance import Audit, classes_of
from monitors.prevalence import Classes, Estimate, bbse, label_shift_fit, mlls
from monitors.proportions import wilson
from monitors.recalibration import Consequence, consequence
from monitors.schema import FloatArray, IntArray
from monitors.summaries import score_bin, score_counts

LEAST_POSITIVES = 30
LIMITS = GateLimits()
Figures = tuple[tuple[str, float, float, float], ...]


@dataclass(frozen=True, slots=True)
class Estimated:
    """A prevalence and its 95 % interval by one method."""

    method: str
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """What prevalence needs: classes of the reference, current counts (B,), merged edges (B + 1,).

    threshold_bin : bin from which cases are flagged, None without an operating point. effect :
    design effect of the current counts.
    """

    classes: Classes
    current: FloatArray
    edges: FloatArray
    threshold_bin: int | None
    effect: float
    rate: float


@dataclass(frozen=True, slots=True)
class Mixing:
    """reference : share of positives among reference labels. estimates : of the current table.

    fit_p, residual_high : of "only the mixture changed"; supported : not rejected, and what it
    could have missed is negligible. measured : among `labels` random audit labels. labels_p : of
    labels given the score, None without current labels.
    """

    reference: float
    estimates: tuple[Estimated, ...]
    fit_p: float
    residual_high: float
    supported: bool
    labels_p: float | None
    measured: Estimated | None
    labels: int
    consequences: Figures


def scores_of(tables: TwoTables) -> Scores:
    """Classes and counts on the merged bins in which labels leave."""
    schema, columns = tables.schema, tables.schema.label_columns
    bins = np.asarray(schema.label_bins)
    merged = [_merged(tables, x, bins) for x in (False, True)]
    labels = tables.label_row(False)
    labelled, positive = (labels[columns[x]].astype(float) for x in ("labelled", "positive"))
    if positive.sum() < LEAST_POSITIVES:
        raise NotAssessable(
            f"prevalence: at least {LEAST_POSITIVES} positive reference labels needed, "
            f"got {int(positive.sum())}"
        )
    # Labels of other weeks or too late can outnumber a bin's disclosed cases; never by much.
    cases = np.maximum(merged[0].sum(axis=0), labelled)
    icc = intraclass_correlation(merged[0])
    sizes = merged[1].sum(axis=1)
    edges = schema.scores[0].edges
    starts = np.flatnonzero(np.diff(bins, prepend=-1))
    return Scores(
        classes=classes_of(Audit(cases, labelled, positive)),
        current=merged[1].sum(axis=0),
        edges=np.append(edges[starts], edges[-1]),
        threshold_bin=_threshold_bin(tables, bins),
        effect=float(design_effect(sizes[sizes > 0], icc)),
        rate=float((cases * positive / np.maximum(labelled, 1)).sum() / cases.sum()),
    )


def _merged(tables: TwoTables, current: bool, bins: np.ndarray) -> FloatArray:
    counts = score_counts(tables.schema, tables.case_rows(current))[:, 0, :-1]
    merged = np.zeros((len(counts), tables.schema.merged_label_bins))
    np.add.at(merged.T, bins, counts.T)
    return merged


def _threshold_bin(tables: TwoTables, bins: np.ndarray) -> int | None:
    if tables.threshold is None:
        return None
    at = int(bins[score_bin(tables.schema, np.array([tables.threshold]))[0]])
    return at or None


def mixing(tables: TwoTables) -> Mixing:
    """Prevalence by three methods, the fit, and what it means at the operating point."""
    s = scores_of(tables)
    likelihood = mlls(s.classes, s.current, design_effect=s.effect)
    matched = hellinger_prevalence(s.classes, s.current, design_effect=s.effect)
    estimates = [
        _estimated("maximum likelihood (MLLS)", likelihood),
        Estimated(
            "nearest mixture (HDy)",
            float(matched.value),
            float(matched.low),
            float(matched.high),
        ),
    ]
    if s.threshold_bin is not None:
        flags = bbse(s.classes, s.current, s.threshold_bin, design_effect=s.effect)
        estimates.append(_estimated("flag rate alone (BBSE)", flags))
    fit = label_shift_fit(s.classes, s.current, design_effect=s.effect)
    high = float(fit.residual_high)
    return Mixing(
        reference=s.rate,
        estimates=tuple(estimates),
        fit_p=float(fit.p_value),
        residual_high=high,
        supported=float(fit.p_value) >= LIMITS.size and high <= LIMITS.residual,
        labels_p=_labels_p(tables),
        measured=_measured(tables),
        labels=int(_audit(tables)[0]),
        consequences=_consequences(s, likelihood),
    )


def _estimated(method: str, e: Estimate) -> Estimated:
    return Estimated(method, float(e.value), float(e.low), float(e.high))


def _labels_p(tables: TwoTables) -> float | None:
    columns = tables.schema.label_columns
    rows = [tables.label_row(x) for x in (False, True)]
    try:
        groups = [(row[columns["labelled"]], row[columns["positive"]]) for row in rows]
        return float(mantel_haenszel(*groups).p_value)
    except NotAssessable:
        return None


def _measured(tables: TwoTables) -> Estimated | None:
    """Positives among the current random audit: a measurement, where there is one."""
    n, y = _audit(tables)
    if not n:
        return None
    found = wilson(y, n)
    return Estimated(
        f"{n} random audit labels", float(found.value), float(found.low), float(found.high)
    )


def audit_row(tables: TwoTables) -> IntArray:
    """Labels of the current table's random audit, on the schema's label columns."""
    return tables.label_row(True, "random_audit")


def _audit(tables: TwoTables) -> tuple[int, int]:
    """Random audit labels of the current table, and the positive ones."""
    row, columns = audit_row(tables), tables.schema.label_columns
    return int(row[columns["labelled"]].sum()), int(row[columns["positive"]].sum())


NAMES = ("sensitivity", "specificity", "ppv", "npv", "alerts_per_1000", "missed_per_1000")


def _consequences(s: Scores, prevalence: Estimate) -> Figures:
    if s.threshold_bin is None or not 0 < float(prevalence.value) < 1:
        return ()
    return consequence_rows(consequence(s.classes, prevalence, s.threshold_bin))


def consequence_rows(found: Consequence) -> Figures:
    """Name, value and 95 % interval of each figure."""
    figures = ((name, getattr(found, name)) for name in NAMES)
    return tuple((name, float(x.value), float(x.low), float(x.high)) for name, x in figures)
