"""How well the device does, and for whom: what is measured, kept apart from what is estimated."""

from __future__ import annotations

from datetime import date, timedelta

from app.central.surveillance.measured import Days, Rate
from app.central.surveillance.operating import parts_of
from app.central.surveillance.performance import AtPoint, PerformanceView, at_point
from dashboards import measured
from dashboards import performance as shown
from dashboards import wording_performance as phrases
from dashboards.charts.spec import Chart
from dashboards.pages.topics.subject import Content, Subject
from dashboards.pages.views import Fact
from monitors.annotation import Recalibration


def performance(subject: Subject) -> Content:
    """Measured where there are reads, estimated where that is allowed, kept apart."""
    view = subject.performance(subject.paged.shown)
    if shown.is_unmeasured(view):
        return Content((phrases.NO_THRESHOLD,))
    schema, counts = subject.pool.schema, subject.pool.counts(subject.days)
    curve = measured.calibration(schema, counts, subject.days.words)
    reads = sum(at.overall.reads for at in view.points if at.overall)
    return Content(
        sentences=shown.sentences(view, subject.days.words),
        facts=(
            *shown.point_facts(view, subject.version.operating_point),
            Fact("Reads", f"{reads} audited, {subject.days.words}"),
            *(_fit_facts(curve.fit) if curve else ()),
        ),
        charts=(
            *(c for at in view.points for c in _by_month(subject, view, at)),
            *((curve.chart,) if curve else ()),
        ),
        grids=(*shown.compared_grids(view), *shown.sites_grids(view, subject.site_names)),
        paged=subject.paged,
    )


def _by_month(subject: Subject, view: PerformanceView, at: AtPoint) -> tuple[Chart, ...]:
    """Sensitivity and specificity at one operating point by month, against the cleared ones."""
    rows: dict[str, list[tuple[str, int, Rate | None, str]]] = {n: [] for n in shown.DRAWN}
    for month in _months(subject):
        point = _in_month(subject, month, at)
        if point is None or point.overall is None:
            continue
        label, found = f"{date.fromordinal(month.start):%Y-%m}", point.overall
        for name, mine in rows.items():
            note = phrases.unmeasured(found)
            mine.append((f"{label} measured", found.reads, found.rates.get(name), note))
            if view.may_estimate and name in point.estimated:
                model = point.estimated[name]
                mine.append((f"{label} estimated", sum(found.cases), model, ""))
    return tuple(
        measured.performance_forest(name, mine, at.cleared[name], shown.score(at, view))
        for name, mine in rows.items()
        if name in at.cleared and mine
    )


def _in_month(subject: Subject, month: Days, at: AtPoint) -> AtPoint | None:
    """Of a month, what was flagged from the same score."""
    parts = parts_of(subject.pool, month, (), subject.version.threshold, subject.uses)
    mine = (part for part in parts if part.threshold == at.threshold)
    part = next(mine, None)
    return None if part is None else at_point(subject.pool.schema, part, subject.manifest)


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
        Fact(name, phrases.with_error(float(value), float(error)))
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
