"""One device version, gathered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta

from sqlalchemy.orm import Session

from app.central.events import service as events
from app.central.events.service import EventView
from app.central.exports.formats import Format
from app.central.exports.tables import Name
from app.central.fleet import service as fleet
from app.central.fleet.service import DeviceVersionView
from app.central.references import service as references
from app.central.references.service import ReferenceView
from app.central.surveillance import evidence as stored
from app.central.surveillance import service as surveillance
from app.central.surveillance.pool import pool_within
from app.central.surveillance.service import SignalView as StoredSignal
from dashboards import evidence, filters, wording
from dashboards.charts.spec import Chart, Lane, Span, State, TimeLine
from dashboards.evidence import Period, Scope
from dashboards.pages.event_marks import event_marks
from dashboards.pages.fleet import SiteState, site_states
from dashboards.pages.frame import queue_row, topic_links
from dashboards.pages.points import points_in_use
from dashboards.pages.registers import EQUAL, lock_words
from dashboards.pages.subjects import in_force, marks_of, reference_words
from dashboards.pages.views import Fact, Grid, Link, SubjectView
from dashboards.wording import count, sentence_case

SIGNALS_LISTED = 25  # the rest is a page of its own
LANES_SHOWN = 30
LOCKS_LISTED = 100


def device_view(
    session: Session, lock_digest: str, scope: str | None, now: datetime
) -> SubjectView:
    """One device version: what it is, its lock at every site, its reference, its signals."""
    version = fleet.device_version(session, lock_digest)
    sites = fleet.sites(session, scope=scope)
    signals = surveillance.signals(
        session, lock_digest=lock_digest, scope=scope, limit=surveillance.EVERY
    )
    open_ones = [s for s in signals if s.is_open]
    listed = signals[:SIGNALS_LISTED]
    standing = stored.fleet_standing(
        session,
        lock_digest,
        now.date(),
        sites=sites,
        open_signals=open_ones,
        counts={},  # only the state of each site is shown here
        scope=scope,
    )
    states = site_states(sites, standing, open_ones, now)
    periods = references.views(session, lock_digest=lock_digest)
    reference = in_force(periods)
    words = wording.fleet_sentences(len(open_ones), [s.standing for s in states])
    return SubjectView(
        crumb="Device version",
        title=f"{version.device} {version.version}",
        state=worst([s.standing.state for s in states]),
        sentences=(
            *words,
            *points_in_use(session, lock_digest, scope, now.date()),
            wording.LOCKED,
        ),
        facts=_facts(version, reference),
        signals=tuple(queue_row(s, now.date()) for s in listed),
        charts=_charts(session, lock_digest, reference, scope, signals, now.date()),
        grids=(locks(states), _references(periods)),
        topics=topic_links(lock_digest, ""),
        downloads=_downloads(lock_digest),
        signals_shown=_shown(len(listed), len(signals)),
    )


def _shown(listed: int, on_record: int) -> str:
    """That there are more signals than are listed; "" where there are not."""
    return wording.rows_shown(1, listed, on_record, "signal") if on_record > listed else ""


def _downloads(lock_digest: str) -> tuple[Link, ...]:
    """Every table of the device version as CSV; the service keeps to what the person may see."""
    at = f"/api/v1/device-versions/{lock_digest}/tables"
    return tuple(
        Link(wording.TABLES[name.value], f"{at}/{name.value}.{Format.CSV.value}") for name in Name
    )


def worst(states: list[State]) -> State:
    """The state that most needs a look."""
    order = (State.SIGNAL, State.SILENT, State.NOT_ASSESSABLE, State.IN_CONTROL)
    return next((state for state in order if state in states), State.NOT_ASSESSABLE)


def _facts(version: DeviceVersionView, reference: ReferenceView | None) -> tuple[Fact, ...]:
    threshold = "–" if version.threshold is None else filters.score(version.threshold)
    return (
        Fact("Intended use", version.intended_use),
        Fact("Finding", version.finding),
        Fact("UDI-DI", version.udi_di),
        Fact("Release", str(version.release_counter)),
        Fact("Lock digest", version.lock_digest, True),
        Fact("Operating point", f"{version.operating_point}, cleared to flag from {threshold}"),
        Fact("Registered", filters.instant(version.registered_at)),
        Fact("Reference period", reference_words(reference)),
    )


def _charts(
    session: Session,
    lock_digest: str,
    reference: ReferenceView | None,
    scope: str | None,
    signals: tuple[StoredSignal, ...],
    today: date,
) -> tuple[Chart, ...]:
    pool = pool_within(session, lock_digest, upto=today + timedelta(1), scope=scope)
    history = pool.history
    if reference is None or not len(history.cases.start):
        return ()
    period = Period(reference.until + timedelta(1), today)
    planned = events.events(session, lock_digest=lock_digest, site_id=scope)
    first = date.fromordinal(int(history.cases.start.min()))
    lanes = _lanes(pool.sites, signals, planned)
    line = TimeLine(
        title="What happened, by site",
        caption="Triangles: signals. Squares: decisions. Bars: registered changes.",
        lanes=lanes,
        period=Span(first, today),
        shaded=Span(first, reference.until),
    )
    flagged = evidence.flagged_series(history, Scope(), today)
    score = evidence.series_of(history, "score_probability", Scope(), today)
    charts = [evidence.control_chart(s, Scope(), period) for s in (flagged, score) if s]
    return (of_note(line), *(chart for chart in charts if chart is not None))


def _lanes(
    sites: Sequence[str], signals: Sequence[StoredSignal], planned: Sequence[EventView]
) -> tuple[Lane, ...]:
    raised: dict[str, list[StoredSignal]] = {}
    for signal in signals:
        for site in signal.signal.sites:
            raised.setdefault(site, []).append(signal)
    registered: dict[str, list[EventView]] = {}
    for event in planned:
        registered.setdefault(event.site_id, []).append(event)
    noted = raised.keys() | registered.keys()
    marks = {
        one: (*marks_of(tuple(raised.get(one, ()))), *event_marks(registered.get(one, ())))
        for one in noted
    }
    return tuple(Lane(one, marks.get(one, ())) for one in sites)


def of_note(line: TimeLine) -> TimeLine:
    """The time line; of a large fleet, the sites where something happened last."""
    if len(line.lanes) <= LANES_SHOWN:
        return line
    noted = [lane for lane in line.lanes if lane.marks]
    latest = sorted(noted, key=lambda lane: max(mark.day for mark in lane.marks))[-LANES_SHOWN:]
    left_out = wording.lanes_left_out(len(noted) - len(latest), len(line.lanes) - len(noted))
    shown = tuple(lane for lane in noted if lane in latest)
    return replace(line, lanes=shown, caption=f"{line.caption} {left_out}")


def locks(states: tuple[SiteState, ...]) -> Grid:
    """The lock at every site; of a large fleet, where it is not equal to the release."""
    edges = [(s, e) for s in states for e in s.edges]
    caption, empty = "Lock at every site", "Released, not yet installed anywhere."
    if len(edges) > LOCKS_LISTED:
        unequal = [(s, e) for s, e in edges if lock_words(e) != EQUAL]
        shown = unequal[:LOCKS_LISTED]
        caption = wording.locks_left_out(len(unequal) - len(shown), len(edges) - len(unequal))
        edges, empty = shown, wording.EVERY_LOCK_EQUAL
    return Grid(
        caption,
        ("Site", "Edge", "Lock", "Reported digest", "Last heard"),
        tuple(
            (
                s.site.name,
                e.id,
                lock_words(e),
                filters.short(e.reported_lock),
                filters.instant(e.last_seen_at),
            )
            for s, e in edges
        ),
        links=tuple(f"/sites/{s.site.site_id}" for s, _ in edges),
        empty=empty,
    )


def _references(periods: Sequence[ReferenceView]) -> Grid:
    return Grid(
        "Reference periods",
        ("Number", "Up to", "State", "Windows", "Proposed by", "Approved by", "Digest"),
        tuple(
            (
                r.id,
                r.until.isoformat(),
                r.state.value,
                filters.whole(r.windows),
                r.proposed_by,
                r.approved_by or "–",
                filters.short(r.digest),
            )
            for r in periods
        ),
        numeric=frozenset({3}),
        empty=f"{sentence_case(count(0, 'reference period'))} yet.",
    )
