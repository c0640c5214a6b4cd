"""One site, gathered."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from sqlalchemy.orm import Session

from app.central.events import service as events
from app.central.events.service import EventView
from app.central.fleet import service as fleet
from app.central.fleet.service import EdgeView, SiteView
from app.central.intake import service as intake
from app.central.recalibration import watch
from app.central.recalibration.releases import ReleaseView
from app.central.recalibration.watch import NewStage
from app.central.references import service as references
from app.central.references.models import ReferenceState
from app.central.references.service import ReferenceView
from app.central.surveillance import evidence as stored
from app.central.surveillance import service as surveillance
from app.central.surveillance.history import history_within
from app.central.surveillance.service import SignalView as StoredSignal
from dashboards import evidence, filters, wording
from dashboards.charts.spec import Chart, Lane, Mark, Span, Stage, State, TimeLine
from dashboards.evidence import Period, Scope
from dashboards.pages.event_marks import event_marks, event_stages
from dashboards.pages.fleet import SiteState, site_states
from dashboards.pages.frame import queue_row
from dashboards.pages.registers import balance_sentences, lock_words
from dashboards.pages.views import Fact, Grid, Link, SubjectView
from monitors.observations import History

NUMERIC_CHARTS = 6
ARRIVALS_SHOWN = 10
MARKS = {"deterministic": "change", "statistical": "signal"}


def site_view(session: Session, site_id: str, scope: str | None, now: datetime) -> SubjectView:
    """One site: its lock, its data, its charts, its scanners, its signals."""
    site = fleet.site(session, site_id, scope=scope)
    edge = next((e for e in reversed(site.edges) if e.state.value == "active"), None)
    signals = surveillance.signals(session, site_id=site_id, scope=scope)
    charts: tuple[Chart, ...] = ()
    grids: tuple[Grid, ...] = ()
    state = State.NOT_ASSESSABLE
    sentences: tuple[str, ...] = (wording.NO_EDGE,)
    if edge is not None:
        upto = now.date() + timedelta(1)
        history = history_within(session, edge.expected_lock, upto=upto, scope=site_id)
        reference = reference_in_force(session, edge.expected_lock)
        released = watch.stages(session, edge.expected_lock, site_id)
        planned = events.events(session, lock_digest=edge.expected_lock, site_id=site_id)
        happened = Happened(signals, released, planned)
        charts = site_charts(history, site_id, reference, happened, now.date())
        grids = (scanner_grid(history, site_id), _arrivals(session, edge))
        here = _state_here(session, edge, site, signals, now)
        state = here.standing.state if here else State.NOT_ASSESSABLE
        sentences = _site_sentences(session, here, edge)
    return SubjectView(
        crumb=f"Site {site.id}",
        title=site.name,
        state=state,
        sentences=sentences,
        facts=tuple(fact for e in site.edges for fact in _edge_facts(e)),
        signals=tuple(queue_row(s, now.date()) for s in signals),
        charts=charts,
        grids=grids,
        topics=(
            Link("Overview", f"/sites/{site.id}", True),
            Link("Scanners and protocols", f"/sites/{site.id}/scanners"),
        ),
    )


def _state_here(
    session: Session,
    edge: EdgeView,
    site: SiteView,
    signals: tuple[StoredSignal, ...],
    now: datetime,
) -> SiteState | None:
    open_ones = [s for s in signals if s.is_open]
    standing = stored.fleet_standing(
        session,
        edge.expected_lock,
        now.date(),
        sites=[site],
        open_signals=open_ones,
        scope=site.id,
    )
    states = site_states([site], standing, open_ones, now)
    return states[0] if states else None


def _site_sentences(session: Session, here: SiteState | None, edge: EdgeView) -> tuple[str, ...]:
    if here is None:
        return (wording.NOT_INSTALLED,)
    mine = [b for b in intake.balances(session, scope=edge.site_id) if b.edge_id == edge.id]
    return (
        *wording.fleet_sentences(len(here.signals), [here.standing]),
        *balance_sentences(mine),
    )


def _edge_facts(edge: EdgeView) -> tuple[Fact, ...]:
    return (
        Fact("Edge", f"{edge.id}, {edge.state.value}, agent {edge.agent_version}"),
        Fact("Device", f"{edge.device} {edge.version}", href=f"/devices/{edge.expected_lock}"),
        Fact("Lock", f"{lock_words(edge)} ({edge.lock_state.replace('_', ' ')})"),
        Fact("Lock digest reported", edge.reported_lock, True),
        Fact("Last heard", filters.instant(edge.last_seen_at)),
        Fact("Key fingerprint", edge.fingerprint, True),
    )


def reference_in_force(session: Session, lock_digest: str) -> ReferenceView | None:
    """The approved reference period of a device version."""
    return in_force(references.views(session, lock_digest=lock_digest))


def in_force(periods: Iterable[ReferenceView]) -> ReferenceView | None:
    """The approved one."""
    return next((r for r in periods if r.state is ReferenceState.APPROVED), None)


def reference_words(reference: ReferenceView | None) -> str:
    """The reference in force, with who approved it."""
    if reference is None:
        return "none approved yet: nothing is assessed"
    cases = filters.whole(int(reference.contents["cases"]))
    return (
        f"{reference.id}, {reference.contents['first_day']} to {reference.until}, {cases} cases, "
        f"approved {filters.instant(reference.approved_at)} by {reference.approved_by}"
    )


@dataclass(frozen=True, slots=True)
class Happened:
    """What happened at one site: signals, operating points, and events that people registered."""

    signals: tuple[StoredSignal, ...]
    released: Sequence[NewStage]
    planned: tuple[EventView, ...]


def site_charts(
    history: History,
    site_id: str,
    reference: ReferenceView | None,
    happened: Happened,
    today: date,
) -> tuple[Chart, ...]:
    """Time line, flagged rate, score, image characteristics, readers, and mixes of one site."""
    if reference is None or not len(history.cases.start):
        return ()
    period, scope = Period(reference.until + timedelta(1), today), Scope((site_id,))
    names = ("score_probability", *history.schema.joint.acquisition[:NUMERIC_CHARTS])
    flagged = evidence.flagged_series(history, scope, today)
    series = [s for n in names if (s := evidence.series_of(history, n, scope, today))]
    series.append(evidence.label_series(history, scope, today))
    planned = event_stages(happened.planned)
    charts: list[Chart | None] = [
        _time_line(history, site_id, period, happened),
        evidence.control_chart(flagged, scope, period, (*stages_of(happened.released), *planned)),
    ]
    charts += [evidence.control_chart(s, scope, period, planned) for s in series]
    charts += [
        evidence.mix(history, i, scope, today) for i in range(len(history.schema.categorical))
    ]
    return tuple(chart for chart in charts if chart is not None)


def stages_of(released: Iterable[NewStage]) -> tuple[Stage, ...]:
    """Operating points as stages of a chart of the flagged share."""
    return tuple(Stage(s.day, f"{s.kind} {s.point_id}", s.expected) for s in released)


def _time_line(
    history: History,
    site_id: str,
    period: Period,
    happened: Happened,
) -> TimeLine:
    first = date.fromordinal(int(history.cases.start.min()))
    changed = (
        Mark(s.day - timedelta(1), "release", f"{s.point_id} {s.kind}") for s in happened.released
    )
    marks = (*marks_of(happened.signals), *changed, *event_marks(happened.planned))
    return TimeLine(
        title=f"What happened at {site_id}",
        caption="Triangles: signals. Squares: decisions. Bars: operating points and events.",
        lanes=(Lane(site_id, marks),),
        period=Span(first, period.upto),
        shaded=Span(first, period.until - timedelta(1)),
    )


def marks_of(
    signals: tuple[StoredSignal, ...], released: Iterable[ReleaseView] = ()
) -> tuple[Mark, ...]:
    """Signals, decisions and new operating points as marks on a time line."""
    raised = [
        Mark(s.signal.date, MARKS[s.signal.kind], f"{s.id} {wording.title(s.signal).lower()}")
        for s in signals
    ]
    decided = [
        Mark(d.decided_at.date(), "decision", f"{s.id} {wording.VERDICTS[d.action.value]}")
        for s in signals
        for d in s.decisions
    ]
    changed = [Mark(r.effective_from.date(), "release", f"{r.id} {r.kind}") for r in released]
    return (*raised, *decided, *changed)


def scanner_grid(history: History, site_id: str) -> Grid:
    """Every stratum of a site: from when to when, and how many cases."""
    rows = []
    for i, s in enumerate(history.strata):
        if s.site != site_id:
            continue
        mine = history.cases.stratum == i
        days = history.cases.start[mine]
        if not days.size:
            continue
        first, last = (date.fromordinal(int(d)).isoformat() for d in (days.min(), days.max()))
        n = int(history.cases.rows[mine][:, history.schema.columns["tallies"].start].sum())
        names = (s.scanner, s.manufacturer, s.model, s.software_version, s.protocol)
        rows.append((*names, first, last, filters.whole(n)))
    columns = ("Scanner", "Manufacturer", "Model", "Software", "Protocol", "First", "Last", "Cases")
    return Grid(
        "Scanners and protocols",
        columns,
        tuple(sorted(rows, key=lambda row: (row[0], row[5]))),
        numeric=frozenset({7}),
    )


def _arrivals(session: Session, edge: EdgeView) -> Grid:
    return Grid(
        f"The {ARRIVALS_SHOWN} newest windows",
        ("No.", "Stream", "Start", "End", "Received", "Outcome", "Reason", "Digest"),
        tuple(
            (
                f"{a.epoch}/{a.sequence}",
                a.stream,
                filters.instant(a.start),
                filters.instant(a.end),
                filters.instant(a.received_at),
                a.outcome,
                a.reason.replace("_", " "),
                filters.short(a.digest),
            )
            for a in intake.arrivals(session, edge.id, limit=ARRIVALS_SHOWN)
        ),
    )
