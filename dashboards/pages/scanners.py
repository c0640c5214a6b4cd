"""Scanners and protocols of one site: most drift starts here."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta

import numpy as np
from sqlalchemy.orm import Session

from app.central.accounts.service import Person
from app.central.events import service as events
from app.central.events.service import EventView
from app.central.fleet import service as fleet
from app.central.fleet.service import SiteView
from app.central.surveillance import service as surveillance
from app.central.surveillance.history import history_within
from dashboards import evidence, filters, wording
from dashboards.charts.spec import Chart, Lane, Mark, Span, TimeLine
from dashboards.evidence import Period, Scope
from dashboards.pages.event_marks import event_marks, event_stages
from dashboards.pages.events import events_view
from dashboards.pages.subjects import reference_in_force, scanner_grid
from dashboards.pages.views import Grid, Link, SubjectView
from dashboards.wording import sentence_case
from monitors.case_windows import POOLED
from monitors.observations import History
from monitors.schema import IntArray
from monitors.summaries import categorical_counts, numeric_counts

WEEKS_SHOWN = 8


def scanners_view(
    session: Session,
    site_id: str,
    person: Person,
    now: datetime,
    *,
    typed: dict[str, str] | None = None,
    errors: tuple[str, ...] = (),
) -> SubjectView:
    """Software versions over time, scores by scanner, missing attributes by week, planned events.

    `typed` and `errors` are those of a form that was refused.
    """
    scope = person.site_id
    site = fleet.site(session, site_id, scope=scope)
    edge = next((e for e in reversed(site.edges) if e.state.value == "active"), None)
    sentences: tuple[str, ...] = (wording.NO_EDGE,)
    charts: tuple[Chart, ...] = ()
    grids: tuple[Grid, ...] = ()
    planned = events.events(session, site_id=site_id)
    scanners: set[str] = set()
    if edge is not None:
        history = history_within(
            session, edge.expected_lock, upto=now.date() + timedelta(1), scope=site_id
        )
        scanners = {s.scanner for s in history.strata}
        versions = {(s.scanner, s.software_version) for s in history.strata}
        sentences = (wording.scanners_sentence(len(scanners), len(versions)), wording.SCANNERS)
        mine = tuple(e for e in planned if e.lock_digest == edge.expected_lock)
        charts = _charts(session, edge.expected_lock, history, site_id, now.date(), mine)
        grids = (scanner_grid(history, site_id), missing_grid(history))
        grids += _stages(session, edge.expected_lock, mine)
    return SubjectView(
        crumb=f"Site {site.id}",
        title=f"Scanners and protocols, {site.name}",
        state=None,
        sentences=sentences,
        facts=(),
        signals=(),
        charts=charts,
        grids=grids,
        topics=site_links(site, "scanners"),
        events=events_view(site, planned, tuple(sorted(scanners)), person, now, typed, errors),
    )


def _stages(session: Session, lock_digest: str, planned: Sequence[EventView]) -> tuple[Grid, ...]:
    """How far each opened stage can be assessed, by the newest evaluation."""
    opened = {e.id for e in planned if e.opens_stage}
    if not opened:
        return ()
    found = surveillance.newest_evaluation(session, lock_digest)
    words: dict[str, str] = found.standing["assessability"] if found else {}
    rows = sorted((name, w) for name, w in words.items() if name.split(":")[-1] in opened)
    return (
        Grid(
            "New stages",
            ("Scanner, software, protocol, event", "How far"),
            tuple(rows),
            empty="Not evaluated since the stage was opened, or no case has arrived since.",
        ),
    )


def site_links(site: SiteView, here: str) -> tuple[Link, ...]:
    """The pages of a site."""
    base = f"/sites/{site.id}"
    return (
        Link("Overview", base, here == ""),
        Link("Scanners and protocols", f"{base}/scanners", here == "scanners"),
    )


def _charts(
    session: Session,
    lock_digest: str,
    history: History,
    site_id: str,
    today: date,
    planned: Sequence[EventView],
) -> tuple[Chart, ...]:
    if not len(history.cases.start):
        return ()
    charts: list[Chart | None] = [software_time_line(history, today, planned)]
    reference = reference_in_force(session, lock_digest)
    if reference is not None:
        since = reference.until + timedelta(1)
        period = Period(since, today)
        charts += _by_scanner(history, site_id, period, planned)
        charts.append(evidence.comparison(history, "score_probability", (site_id,), period, since))
    return tuple(chart for chart in charts if chart is not None)


def _by_scanner(
    history: History, site_id: str, period: Period, planned: Sequence[EventView]
) -> list[Chart | None]:
    """The mean score of each scanner for which an event is on record, with its stages."""
    charts: list[Chart | None] = []
    for scanner in sorted({s.scanner for s in history.strata} - {POOLED}):
        mine = [e for e in planned if e.scanner in ("", scanner)]
        scope = Scope((site_id,), (scanner,))
        series = evidence.series_of(history, "score_probability", scope, period.upto)
        if mine and series is not None:
            charts.append(evidence.control_chart(series, scope, period, event_stages(mine)))
    return charts


def software_time_line(
    history: History, today: date, planned: Sequence[EventView] = ()
) -> TimeLine:
    """A lane a scanner, a bar where a software version was first seen or an event planned."""
    lanes = []
    for scanner in sorted({s.scanner for s in history.strata}):
        first: dict[str, int] = {}
        for i, stratum in enumerate(history.strata):
            days = history.cases.start[history.cases.stratum == i]
            if stratum.scanner == scanner and days.size:
                seen = first.get(stratum.software_version, int(days.min()))
                first[stratum.software_version] = min(seen, int(days.min()))
        marks = sorted((day, version) for version, day in first.items())
        seen_first = tuple(Mark(date.fromordinal(d), "change", v or "?") for d, v in marks)
        events_here = event_marks([e for e in planned if e.scanner in ("", scanner)])
        lanes.append(Lane(scanner, (*seen_first, *events_here)))
    start = date.fromordinal(int(history.cases.start.min()))
    return TimeLine(
        title="Software versions of each scanner",
        caption="Bars: the first day on which a software version was seen; planned events.",
        lanes=tuple(lanes),
        period=Span(start, today),
    )


def missing_grid(history: History) -> Grid:
    """Share of cases without a value, by attribute and week."""
    schema, cases = history.schema, history.cases
    monday = cases.start - (cases.start - 1) % 7
    weeks = np.unique(monday)[-WEEKS_SHOWN:]
    rows = np.array([cases.rows[monday == week].sum(axis=0) for week in weeks], dtype=np.int64)
    names = [*(f.name for f in schema.numeric), *(c.name for c in schema.categorical)]
    cells: list[tuple[str, ...]] = []
    if len(weeks):
        numeric = numeric_counts(schema, rows)
        parts = [numeric[:, i] for i in range(len(schema.numeric))]
        parts += categorical_counts(schema, rows)
        cells = [
            (sentence_case(wording.characteristic(name)), *_shares(part))
            for name, part in zip(names, parts, strict=True)
        ]
    return Grid(
        f"Missing attributes, share of cases, last {len(weeks)} weeks",
        ("Attribute", *(_week(int(w)) for w in weeks)),
        tuple(cells),
        numeric=frozenset(range(1, len(weeks) + 1)),
        empty="No case has arrived.",
    )


def _shares(counts: IntArray) -> tuple[str, ...]:
    """The last count of each row is that of cases without a value."""
    return tuple(
        filters.rate(float(row[-1] / row.sum())) if row.sum() else "withheld" for row in counts
    )


def _week(day: int) -> str:
    year, week, _ = date.fromordinal(day).isocalendar()
    return f"{year}-W{week:02d}"
