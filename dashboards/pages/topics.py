"""One question about a device version at a time: performance, sub-groups, prevalence, readers,
lock, time line, reference periods. Each page opens with a sentence, and each is an address."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import numpy as np
from sqlalchemy.orm import Session

from app.central.events import service as events
from app.central.fleet import service as fleet
from app.central.fleet.service import DeviceVersionView
from app.central.recalibration import releases
from app.central.references import service as references
from app.central.references.cohort import cohort_of
from app.central.references.models import ReferenceState
from app.central.references.service import ReferenceView
from app.central.surveillance import measured as figures
from app.central.surveillance import service as surveillance
from app.central.surveillance.arrivals import Arrived
from app.central.surveillance.history import arrived_windows, history_of
from app.central.surveillance.measured import Days, Rate, classes_of
from app.central.surveillance.performance import PerformanceView
from app.central.surveillance.performance import performance as measured_performance
from app.contracts.manifest import Manifest
from dashboards import evidence, filters, measured, wording
from dashboards import performance as shown
from dashboards.charts.spec import Chart, Lane, Mark, Span, TimeLine
from dashboards.evidence import Scope
from dashboards.measured import PrevalenceRow
from dashboards.pages.event_marks import event_marks
from dashboards.pages.frame import TOPICS, topic_links
from dashboards.pages.registers import lock_words
from dashboards.pages.subjects import marks_of, reference_in_force, reference_words
from dashboards.pages.views import Fact, Grid, PeriodForm, SubjectView
from dashboards.performance import between
from monitors.annotation import Recalibration
from monitors.errors import MonitorError
from monitors.observations import History
from monitors.prevalence import Classes, consequences
from monitors.schema import NUMERIC_UNITS

NEGLIGIBLE = 0.01  # lack of fit per case below which a changed mixture explains the scores


@dataclass(frozen=True, slots=True)
class Subject:
    """What every topic is made from. `windows` are only those of the person's own site."""

    session: Session
    version: DeviceVersionView
    manifest: Manifest
    windows: list[Arrived]
    history: History
    reference: ReferenceView | None
    first: date
    last: date
    scope: str | None

    @property
    def days(self) -> Days:
        """The period of the page."""
        return Days.of(self.first, self.last)

    @property
    def before(self) -> Days:
        """The reference period; empty where none is approved."""
        return Days(0, self.reference.until.toordinal() + 1 if self.reference else 0)

    @property
    def performance(self) -> PerformanceView:
        """What reads, scores and sub-groups show over the page's period."""
        digest = self.version.lock_digest
        return measured_performance(
            self.history,
            self.windows,
            self.days,
            manifest=self.manifest,
            threshold=self.version.threshold,
            sites=self.sites,
            signals=surveillance.signals(self.session, only_open=True, lock_digest=digest),
        )

    @property
    def sites(self) -> tuple[str, ...]:
        """Sites that have sent cases, by name."""
        return tuple(sorted({s.site for s in self.history.strata}))


def topic_view(
    session: Session,
    lock_digest: str,
    topic: str,
    scope: str | None,
    now: datetime,
    period: tuple[date | None, date | None] = (None, None),
) -> SubjectView:
    """The page `topic` of a device version, over `period` or since the reference."""
    subject = _subject(session, lock_digest, scope, now, period)
    made = PAGES[topic](subject)
    return SubjectView(
        crumb=f"{subject.version.device} {subject.version.version}",
        title=TOPICS[topic],
        state=None,
        sentences=made.sentences,
        facts=made.facts,
        signals=(),
        charts=made.charts,
        grids=made.grids,
        topics=topic_links(lock_digest, topic),
        period=_period_form(subject, topic),
    )


def _period_form(subject: Subject, topic: str) -> PeriodForm | None:
    if topic == "references":
        return None
    here = f"/devices/{subject.version.lock_digest}/{topic}"
    return PeriodForm(here, subject.first.isoformat(), subject.last.isoformat())


def _subject(
    session: Session,
    lock_digest: str,
    scope: str | None,
    now: datetime,
    period: tuple[date | None, date | None],
) -> Subject:
    version = fleet.device_version(session, lock_digest)
    upto = now.date() + timedelta(1)
    mine = None if scope is None else (scope,)
    windows = arrived_windows(session, lock_digest, upto=upto, sites=mine)
    reference = reference_in_force(session, lock_digest)
    last = period[1] or now.date() - timedelta(1)
    usual = reference.until + timedelta(1) if reference else last - timedelta(27)
    return Subject(
        session,
        version,
        fleet.manifest_of(fleet.get_device_version(session, lock_digest)),
        windows,
        history_of(fleet.layout_of(session, lock_digest), windows),
        reference,
        min(period[0] or usual, last),
        last,
        scope,
    )


@dataclass(frozen=True, slots=True)
class Content:
    """What a topic adds to the common frame."""

    sentences: tuple[str, ...]
    facts: tuple[Fact, ...] = ()
    charts: tuple[Chart, ...] = ()
    grids: tuple[Grid, ...] = ()


# Performance ---------------------------------------------------------------------------------


def performance(subject: Subject) -> Content:
    """Measured where there are reads, estimated where that is allowed, kept apart."""
    view = subject.performance
    if view.threshold is None or view.overall is None:
        return Content((wording.NO_THRESHOLD,))
    curve = measured.calibration(subject.history, subject.days)
    names = site_names(subject.session)
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
        grids=(shown.compared_grid(view), shown.sites_grid(view, names)),
    )


def _performance_forests(
    subject: Subject, view: PerformanceView, threshold: float
) -> tuple[Chart, ...]:
    """Sensitivity and specificity by month, against the cleared ones."""
    months = [(f"{date.fromordinal(m.start):%Y-%m}", m) for m in _months(subject)]
    rows: dict[str, list[tuple[str, int, Rate | None, str]]] = {n: [] for n in shown.DRAWN}
    for label, month in months:
        found = figures.measured(subject.history, month, threshold)
        model = _estimated(subject, month, threshold) if view.may_estimate else {}
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


def _estimated(subject: Subject, days: Days, threshold: float) -> dict[str, Rate]:
    classes = classes_of(cohort_of(subject.manifest, subject.history.schema))
    return figures.estimated(subject.history, classes, days, threshold)


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


# Sub-groups ----------------------------------------------------------------------------------


def subgroups(subject: Subject) -> Content:
    """Who is affected: flagged rate by level, and the cleared table beside it."""
    view = subject.performance
    return Content(
        sentences=shown.subgroup_sentences(view),
        charts=shown.subgroup_forests(view),
        grids=(
            shown.subgroup_grid(view),
            shown.cleared_subgroups_grid(view.cleared_subgroups),
        ),
    )


# Prevalence ----------------------------------------------------------------------------------


def prevalence(subject: Subject) -> Content:
    """How many cases are positive, from scores alone, and what that would mean."""
    cohort = cohort_of(subject.manifest, subject.history.schema)
    classes = classes_of(cohort)
    names = site_names(subject.session)
    scopes = [("all sites", ()), *((names.get(s, s), (s,)) for s in subject.sites)]
    rows = [
        measured.prevalence(subject.history, classes, subject.days, name, sites)
        for name, sites in scopes
    ]
    return Content(
        sentences=(
            wording.prevalence_sentence(rows[0]),
            wording.prevalence_cohort(cohort.prevalence),
            wording.PREVALENCE_ASSUMES,
        ),
        charts=(measured.prevalence_forest(rows, cohort.prevalence, subject.days),),
        grids=(_prevalence_grid(rows), _consequence_grid(subject, classes, rows[0])),
    )


def site_names(session: Session) -> dict[str, str]:
    """Names of sites by their number."""
    return {s.id: s.name for s in fleet.sites(session)}


def _prevalence_grid(rows: Sequence[PrevalenceRow]) -> Grid:
    return Grid(
        "Estimated prevalence by site, and whether a changed mixture explains the scores",
        ("Where", "Cases", "Prevalence", "95 % interval", "A changed mixture"),
        tuple(
            (
                r.name,
                filters.whole(r.cases),
                filters.rate(float(r.estimate.value)) if r.estimate else filters.MISSING,
                between(float(r.estimate.low), float(r.estimate.high)) if r.estimate else r.reason,
                _explains(r),
            )
            for r in rows
        ),
        numeric=frozenset({1, 2, 3}),
    )


def _explains(row: PrevalenceRow) -> str:
    if row.fit is None:
        return "–"
    if float(row.fit.residual_low) > 0:
        return "does not explain them"
    return "explains them" if float(row.fit.residual_high) < NEGLIGIBLE else "may explain them"


def _consequence_grid(subject: Subject, classes: Classes, row: PrevalenceRow) -> Grid:
    caption = "What that means at the present operating point, with cleared sensitivity"
    threshold = subject.version.threshold
    if row.estimate is None or threshold is None:
        return Grid(caption, (), (), empty=filters.MISSING)
    try:
        found_cleared = figures.cleared(subject.history.schema, classes, threshold)
        sens, spec = (found_cleared[name].value for name in shown.DRAWN)
        values = np.array([classes.prevalence, row.estimate.low, row.estimate.high])
        found = consequences(values, sens, spec)
    except MonitorError as error:
        return Grid(caption, (), (), empty=str(error))
    rows = [
        (name, filters.rate(float(v[0])), between(*sorted((float(v[1]), float(v[2])))))
        for name, v in (
            ("Positive predictive value", found.ppv),
            ("Negative predictive value", found.npv),
            ("Flagged share", found.alert_rate),
            ("Missed positives, of all cases", found.missed_rate),
        )
    ]
    return Grid(
        caption,
        ("Measure", "Validation cohort", "Now, over the interval"),
        tuple(rows),
        numeric=frozenset({1, 2}),
    )


# Annotation ----------------------------------------------------------------------------------


def annotation(subject: Subject) -> Content:
    """Do readers label as they did, at equal scores?"""
    labels = subject.history.labels
    groups = sorted(
        {
            g
            for g, source in zip(labels.reader_group, labels.source, strict=True)
            if source == figures.AUDITED
        }
    )
    rows = [measured.readers(subject.history, g, subject.before, subject.days) for g in groups]
    period = evidence.Period(subject.first, subject.last)
    series = evidence.label_series(subject.history, Scope(), subject.last)
    control = evidence.control_chart(series, Scope(), period, least=evidence.LEAST_WEEKS)
    forest = measured.readers_forest(rows) if rows else None
    return Content(
        sentences=(wording.annotation_sentence(rows), wording.ANNOTATION),
        charts=tuple(c for c in (forest, control) if c is not None),
        grids=(_readers_grid(rows), _sources_grid(subject), _sentinel_grid(subject)),
    )


def _readers_grid(rows: Sequence[measured.Readers]) -> Grid:
    return Grid(
        "Audited reads by reader group",
        ("Group", "Reference", "Now", "Odds ratio", "95 % interval", "p", "Finding"),
        tuple(
            (
                r.group,
                _share(*r.reference),
                _share(*r.current),
                filters.effect(r.ratio[0]) if r.ratio else "–",
                filters.interval(r.ratio[1:], r.ratio[0]) if r.ratio else "–",
                filters.significant(r.p_value) if r.p_value is not None else "–",
                r.reason or wording.readers_finding(r),
            )
            for r in rows
        ),
        numeric=frozenset({3, 4, 5}),
        empty="No audited read has arrived.",
    )


def _share(n: int, positive: int) -> str:
    return f"{positive} of {n} positive ({filters.rate(positive / n)})" if n else wording.NO_READS


def _sources_grid(subject: Subject) -> Grid:
    labels, columns = subject.history.labels, subject.history.schema.label_columns
    inside = subject.days.holds(labels.week)
    rows = []
    keys = sorted(set(zip(labels.source, labels.reader_group, strict=True)))
    for source, group in keys:
        mine = inside & np.array(
            [
                s == source and g == group
                for s, g in zip(labels.source, labels.reader_group, strict=True)
            ],
            dtype=bool,
        )
        total = labels.rows[mine].sum(axis=0)
        n, y = (int(total[columns[part]].sum()) for part in ("labelled", "positive"))
        rows.append((source.replace("_", " "), group, filters.whole(n), _share(n, y)))
    return Grid(
        "Reads by source: only random audit is a sample of all cases",
        ("Source", "Group", "Reads", "Read as positive"),
        tuple(rows),
        numeric=frozenset({2}),
        empty="No read has arrived.",
    )


def _sentinel_grid(subject: Subject) -> Grid:
    sentinels, columns = subject.history.sentinels, subject.history.schema.sentinel_columns
    rows = []
    for i in np.argsort(-sentinels.day, kind="stable")[:20]:
        row, name = sentinels.rows[i], sentinels.reader_group[i]
        n, y = (int(row[columns[part]].sum()) for part in ("reads", "positive"))
        if name:
            what = f"re-read by {name}: {_share(n, y)}"
        else:
            what = f"re-scored, largest change {row[0] / NUMERIC_UNITS:.2g}"
        rows.append((date.fromordinal(int(sentinels.day[i])).isoformat(), sentinels.site[i], what))
    return Grid(
        "Sentinel set: fixed images, re-scored and re-read",
        ("Day", "Site", "What"),
        tuple(rows),
        empty="No round of the sentinel set has arrived.",
    )


# Lock ----------------------------------------------------------------------------------------


def lock(subject: Subject) -> Content:
    """Does every site still run what was cleared, and how do we know?"""
    sites = fleet.sites(subject.session, scope=subject.scope)
    digest = subject.version.lock_digest
    edges = [(s, e) for s in sites for e in s.edges if e.expected_lock == digest]
    worst = _deviations(subject)
    rows = [
        (
            s.name,
            e.id,
            e.state.value,
            lock_words(e),
            filters.short(e.reported_lock),
            _deviation(worst.get(s.id)),
            _deviation(_sentinel_worst(subject, s.id)),
            filters.instant(e.last_seen_at),
        )
        for s, e in edges
    ]
    grid = Grid(
        "Every installation",
        (
            *("Site", "Edge", "State", "Lock", "Reported digest"),
            *("Known-answer deviation", "Sentinel deviation", "Last heard"),
        ),
        tuple(rows),
        numeric=frozenset({5, 6}),
        links=tuple(f"/sites/{s.id}" for s, _ in edges),
        empty="Released, not yet installed anywhere.",
    )
    known = subject.manifest.known_answers
    return Content(
        sentences=(
            wording.lock_sentence([lock_words(e) for _, e in edges]),
            wording.LOCKED,
            wording.LOCK_PROOF,
        ),
        facts=(
            Fact("Lock digest", digest, True),
            Fact("Known answers", f"{known.cases} cases, deviation up to {known.tolerance:g}"),
            Fact("Training code", subject.manifest.validation.training_commit, True),
            Fact("Evaluation code", subject.manifest.validation.evaluation_commit, True),
        ),
        grids=(grid, _files(subject.manifest), _components(subject.manifest)),
    )


def _deviations(subject: Subject) -> dict[str, float]:
    """The largest deviation of the known-answer cases by site, over the page's period."""
    worst: dict[str, float] = {}
    for one in subject.windows:
        header = one.window.header
        if subject.days.start <= header.start.date().toordinal() < subject.days.end:
            worst[one.site] = max(worst.get(one.site, 0.0), header.known_answer_deviation)
    return worst


def _sentinel_worst(subject: Subject, site: str) -> float | None:
    sentinels = subject.history.sentinels
    found = [
        int(row[0]) / NUMERIC_UNITS
        for row, at, name, day in zip(
            sentinels.rows, sentinels.site, sentinels.reader_group, sentinels.day, strict=True
        )
        if at == site and not name and subject.days.start <= day < subject.days.end
    ]
    return max(found, default=None)


def _deviation(value: float | None) -> str:
    return "nothing received" if value is None else f"{value:.2g}"


def _files(manifest: Manifest) -> Grid:
    return Grid(
        "Files of the bundle: hashed at start and daily",
        ("File", "Bytes", "SHA-256"),
        tuple((f.path, filters.whole(f.length), filters.short(f.sha256)) for f in manifest.files),
        numeric=frozenset({1}),
    )


def _components(manifest: Manifest) -> Grid:
    return Grid(
        "Software bill of materials",
        ("Component", "Version", "Package URL"),
        tuple((c.name, c.version, c.purl) for c in manifest.components),
    )


# Time line -----------------------------------------------------------------------------------


def timeline(subject: Subject) -> Content:
    """One narrative: releases, reference periods, signals, decisions, outages, by site."""
    signals = [
        s
        for s in surveillance.signals(
            subject.session, lock_digest=subject.version.lock_digest, scope=subject.scope
        )
        if subject.first <= s.signal.date <= subject.last
    ]
    released = releases.effective_between(
        subject.session,
        subject.version.lock_digest,
        subject.first,
        subject.last + timedelta(1),
    )
    lanes = [Lane("device", _device_marks(subject))]
    for site in subject.sites:
        mine = tuple(s for s in signals if site in s.signal.sites)
        changed = (r for r in released if r.site_id == site)
        marks = (*marks_of(mine, changed), *_planned(subject, site), *_outages(subject, site))
        lanes.append(Lane(site, marks))
    chart = TimeLine(
        title=f"What happened, {subject.days.words}",
        caption="Triangles: signals. Squares: decisions. Bars: changes, releases, gaps of data.",
        lanes=tuple(lanes),
        period=Span(subject.first, subject.last),
    )
    n = sum(len(lane.marks) for lane in lanes)
    return Content((wording.timeline_sentence(n, len(subject.sites)),), charts=(chart,))


def _planned(subject: Subject, site: str) -> tuple[Mark, ...]:
    lock_digest = subject.version.lock_digest
    found = event_marks(events.events(subject.session, lock_digest=lock_digest, site_id=site))
    return tuple(m for m in found if subject.first <= m.day <= subject.last)


def _device_marks(subject: Subject) -> tuple[Mark, ...]:
    found = [(subject.version.registered_at.date(), "release", "registered")]
    for one in references.views(subject.session, lock_digest=subject.version.lock_digest):
        if one.approved_at is not None:
            found.append((one.approved_at.date(), "change", f"{one.id} approved"))
    return tuple(Mark(*m) for m in found if subject.first <= m[0] <= subject.last)


LONGEST_QUIET = 3  # days without a window before it is called a gap


def _outages(subject: Subject, site: str) -> tuple[Mark, ...]:
    history = subject.history
    mine = np.array([s.site == site for s in history.strata], dtype=np.bool_)
    inside = mine[history.cases.stratum] & subject.days.holds(history.cases.start)
    spans = sorted(set(zip(history.cases.start[inside], history.cases.end[inside], strict=True)))
    marks, reached = [], subject.days.start
    for start, end in [*spans, (subject.days.end - LONGEST_QUIET, subject.days.end)]:
        if start - reached > LONGEST_QUIET:
            text = f"no data for {int(start - reached)} days"
            marks.append(Mark(date.fromordinal(int(reached)), "outage", text))
        reached = max(reached, end)
    return tuple(marks)


# Reference periods ---------------------------------------------------------------------------


def reference_periods(subject: Subject) -> Content:
    """What is compared with, how stable it is, and who approved it."""
    views = references.views(subject.session, lock_digest=subject.version.lock_digest)
    charts: list[Chart | None] = []
    if subject.reference is not None:
        until = subject.reference.until
        period = evidence.Period(until + timedelta(1), until)
        for series in (
            evidence.flagged_series(subject.history, Scope(), until),
            evidence.series_of(subject.history, "score_probability", Scope(), until),
        ):
            if series is not None:
                charts.append(evidence.control_chart(series, Scope(), period))
    return Content(
        sentences=(f"In force: {reference_words(subject.reference)}.", wording.REFERENCES),
        charts=tuple(c for c in charts if c is not None),
        grids=(_reference_grid(views), *(_assessable(v, subject.scope) for v in views[:1])),
    )


def _reference_grid(views: Sequence[ReferenceView]) -> Grid:
    return Grid(
        "Reference periods, newest first",
        ("Number", "Days", "Cases", "Strata", "State", "Proposed", "Approved", "Digest"),
        tuple(
            (
                r.id,
                f"{r.contents['first_day']} to {r.until}",
                filters.whole(int(r.contents["cases"])),
                str(r.contents["strata"]),
                r.state.value,
                f"{filters.instant(r.proposed_at)} by {r.proposed_by}",
                f"{filters.instant(r.approved_at)} by {r.approved_by}" if r.approved_at else "–",
                filters.short(r.digest),
            )
            for r in views
        ),
        numeric=frozenset({2, 3}),
        empty="No reference period has been proposed.",
    )


def _assessable(view: ReferenceView, scope: str | None) -> Grid:
    return Grid(
        f"What {view.id} can assess",
        ("What", "How far"),
        tuple(
            sorted(
                (stream, str(words))
                for stream, words in view.contents["assessability"].items()
                if scope is None or scope in stream.split(":")
            )
        ),
        empty="Nothing is on record.",
    )


def candidates(session: Session, lock_digest: str) -> tuple[ReferenceView, ...]:
    """Reference periods that wait for a second person."""
    found = references.views(session, lock_digest=lock_digest)
    return tuple(r for r in found if r.state is ReferenceState.CANDIDATE)


PAGES: dict[str, Callable[[Subject], Content]] = {
    "performance": performance,
    "subgroups": subgroups,
    "prevalence": prevalence,
    "annotation": annotation,
    "lock": lock,
    "timeline": timeline,
    "references": reference_periods,
}
