"""How well the device does, and for whom: what is measured, kept apart from what is estimated."""

from __future__ import annotations

from datetime import date, timedelta

from app.central.references.cohort import cohort_of
from app.central.surveillance import measured as figures
from app.central.surveillance.measured import Counts, Days, Rate, classes_of
from app.central.surveillance.performance import PerformanceView
from dashboards import measured, wording
from dashboards import performance as shown
from dashboards.charts.spec import Chart
from dashboards.pages.topics.subject import Content, Subject
from dashboards.pages.views import Fact
from monitors.annotation import Recalibration


def performance(subject: Subject) -> Content:
    """Measured where there are reads, estimated where that is allowed, kept apart."""
    view = subject.performance(subject.paged.shown)
    if view.threshold is None or view.overall is None:
        return Content((wording.NO_THRESHOLD,))
    schema, counts = subject.pool.schema, subject.pool.counts(subject.days)
    curve = measured.calibration(schema, counts, subject.days.words)
    return Content(
        sentences=shown.sentences(view, subject.days.words),
        facts=(
            Fact("Operating point", f"{subject.version.operating_point}, from {view.threshold:g}"),
            Fact("Reads", f"{view.overall.reads} audited, {subject.days.words}"),
            *(_fit_facts(curve.fit) if curve else ()),
        ),
        charts=(
            *_performance_forests(subject, view, view.threshold),
            *((curve.chart,) if curve else ()),
        ),
        grids=(shown.compared_grid(view), shown.sites_grid(view, subject.site_names)),
        paged=subject.paged,
    )


def _performance_forests(
    subject: Subject, view: PerformanceView, threshold: float
) -> tuple[Chart, ...]:
    """Sensitivity and specificity by month, against the cleared ones."""
    months = [(f"{date.fromordinal(m.start):%Y-%m}", m) for m in _months(subject)]
    rows: dict[str, list[tuple[str, int, Rate | None, str]]] = {n: [] for n in shown.DRAWN}
    for label, month in months:
        counts = subject.pool.counts(month)
        found = figures.measured(subject.pool.schema, counts, threshold)
        model = _estimated(subject, counts, threshold) if view.may_estimate else {}
        for name, mine in rows.items():
            note = wording.unmeasured(found)
            mine.append((f"{label} measured", found.reads, found.rates.get(name), note))
            if name in model:
                mine.append((f"{label} estimated", sum(found.cases), model[name], ""))
    return tuple(
        measured.performance_forest(name, mine, view.cleared[name])
        for name, mine in rows.items()
        if name in view.cleared
    )


def _estimated(subject: Subject, counts: Counts, threshold: float) -> dict[str, Rate]:
    schema = subject.pool.schema
    classes = classes_of(cohort_of(subject.manifest, schema))
    return figures.estimated(schema, classes, counts.scores, threshold)


def _months(subject: Subject) -> list[Days]:
    """Calendar months that the page's period touches, cut to it."""
    starts, at = [], subject.first
    while at <= subject.last:
        starts.append(at)
        at = (at.replace(day=1) + timedelta(32)).replace(day=1)
    ends = [*starts[1:], subject.last + timedelta(1)]
    return [Days(a.toordinal(), b.toordinal()) for a, b in zip(starts, ends, strict=True)]


def _fit_facts(fit: Recalibration | None) -> tuple[Fact, ...]:
    if fit is None:
        return ()
    return tuple(
        Fact(name, wording.with_error(float(value), float(error)))
        for name, value, error in (
            ("Calibration in the large", fit.intercept, fit.intercept_error),
            ("Calibration slope", fit.slope, fit.slope_error),
        )
    )


def subgroups(subject: Subject) -> Content:
    """Who is affected: flagged rate by level, and the cleared table beside it."""
    view = subject.performance()
    return Content(
        sentences=shown.subgroup_sentences(view),
        charts=shown.subgroup_forests(view),
        grids=(
            shown.subgroup_grid(view),
            shown.cleared_subgroups_grid(view.cleared_subgroups),
        ),
    )
