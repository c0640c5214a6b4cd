"""The home page, gathered: what needs a decision, and how every site stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from sqlalchemy.orm import Session

from app.central.fleet import service as fleet
from app.central.fleet.jobs import SILENT_AFTER
from app.central.fleet.service import DeviceVersionView, EdgeView, SiteView
from app.central.intake import case_counts
from app.central.intake.case_counts import SiteCount
from app.central.intake.closing import closings
from app.central.references import service as references
from app.central.surveillance import evidence as stored
from app.central.surveillance import service as surveillance
from app.central.surveillance.evidence import FleetStanding, SiteStanding
from app.central.surveillance.service import SignalView as StoredSignal
from dashboards import evidence, wording
from dashboards.charts.drawing import iso_week
from dashboards.charts.spec import Cell, Chart, HeatMap, Span, State
from dashboards.evidence import BLOCKS, SiteRate
from dashboards.pages.first_steps import first_steps
from dashboards.pages.frame import queue_row
from dashboards.pages.paging import page_of
from dashboards.pages.points import points_in_use
from dashboards.pages.registers import balance_sentences
from dashboards.pages.views import FleetView, Link, Step, Strip
from dashboards.wording import Standing

HEAT_MAP_SITES = 60
QUEUED = 25  # signals; the rest is a page of its own
STRIPS_A_PAGE = 100
CLOSING_DAYS = 2  # a day is closed and sent one to two days after its end
ROWS = (*BLOCKS.items(), ("event", "Scanner changes"))
BLOCK_STATES = {
    "signal": State.SIGNAL,
    "warning": State.IN_CONTROL,  # no guarantee stands behind a warning, so no state does
    "quiet": State.IN_CONTROL,
    "not_assessable": State.NOT_ASSESSABLE,
}


@dataclass(frozen=True, slots=True)
class SiteState:
    """One site of a device version: what the centre knows, and the one state it is in."""

    site: SiteStanding
    edges: tuple[EdgeView, ...]
    standing: Standing
    signals: tuple[StoredSignal, ...]

    @property
    def last_heard(self) -> datetime | None:
        """When any of its edges last called."""
        return max((e.last_seen_at for e in self.edges if e.last_seen_at), default=None)


def fleet_view(
    session: Session, chosen: str, scope: str | None, now: datetime, page: int = 1
) -> FleetView:
    """The home page of the device version `chosen`, or of the one most in use.

    `page`: of the list of data received.
    """
    versions = fleet.device_versions(session)
    version = choose(versions, chosen)
    sites = fleet.sites(session, scope=scope)
    balances = closings(session, scope=scope)
    steps = first_steps(session, versions, sites, balances)
    balance = " ".join(balance_sentences(balances))
    if version is None:
        return _empty(steps, balance)
    open_signals = surveillance.signals(
        session, only_open=True, scope=scope, limit=surveillance.EVERY
    )
    counts = stored.recent_counts(session, version.lock_digest, now.date(), scope=scope)
    standing = stored.fleet_standing(
        session,
        version.lock_digest,
        now.date(),
        sites=sites,
        open_signals=open_signals,
        counts=counts,
        scope=scope,
    )
    states = site_states(sites, standing, open_signals, now)
    device = f"{version.device} {version.version}"
    here = [s for s in open_signals if s.lock_digest == version.lock_digest]
    rows = page_of(states, page, STRIPS_A_PAGE)
    return FleetView(
        title=f"{device} · {wording.count(len(states), 'site')} · {iso_week(now.date())}",
        sentences=(
            *wording.fleet_sentences(len(here), [s.standing for s in states]),
            *points_in_use(session, version.lock_digest, scope, now.date()),
        ),
        queue=tuple(queue_row(s, now.date()) for s in open_signals[:QUEUED]),
        empty_queue="" if open_signals else _empty_queue(session, standing, states),
        versions=_links(versions, version),
        heat_map=of_note(states) if standing.evaluated_upto and states else None,
        funnel=_funnel(session, version.lock_digest, states, counts, scope, now.date()),
        strips=tuple(_strip(s, standing) for s in rows.shown),
        pages=rows.links("site", f"/?device={version.lock_digest}"),
        queued=_queued(len(open_signals)),
        balance=balance,
        steps=steps,
    )


def _queued(waiting: int) -> str:
    """That the queue is longer than what is shown; "" where it is not."""
    return wording.rows_shown(1, QUEUED, waiting, "signal") if waiting > QUEUED else ""


def choose(versions: Sequence[DeviceVersionView], chosen: str) -> DeviceVersionView | None:
    """The version asked for; else the one on most edges, the newest of equals."""
    asked = [v for v in versions if v.lock_digest == chosen]
    ranked = sorted(versions, key=lambda v: (v.edges, v.registered_at, v.release_counter))
    return asked[0] if asked else ranked[-1] if ranked else None


def _empty(steps: tuple[Step, ...], balance: str) -> FleetView:
    return FleetView(
        title="Fleet",
        sentences=(wording.NO_DEVICE,),
        queue=(),
        empty_queue=wording.empty_queue(None, 0, 0),
        versions=(),
        heat_map=None,
        funnel=None,
        strips=(),
        balance=balance,
        steps=steps,
    )


def site_states(
    sites: Sequence[SiteView],
    standing: FleetStanding,
    open_signals: Sequence[StoredSignal],
    now: datetime,
) -> tuple[SiteState, ...]:
    """Every one of `sites` that runs the version, in the order of enrolment."""
    edges = {s.id: s.edges for s in sites}
    evaluated = standing.evaluated_upto is not None
    raised: dict[str, list[StoredSignal]] = {}
    for one in open_signals:
        if one.lock_digest == standing.lock_digest:
            for site_id in one.signal.sites:
                raised.setdefault(site_id, []).append(one)
    found = []
    for site in standing.sites:
        if site.site_id not in edges:
            continue
        mine = tuple(raised.get(site.site_id, ()))
        own = tuple(e for e in edges[site.site_id] if e.expected_lock == standing.lock_digest)
        word = _standing(site, own, bool(mine), evaluated, now)
        found.append(SiteState(site, own, word, mine))
    return tuple(found)


def _standing(
    site: SiteStanding, edges: Sequence[EdgeView], raised: bool, evaluated: bool, now: datetime
) -> Standing:
    """One state a site: a signal is shown first, then silence, then what cannot be assessed."""
    heard = max((e.last_seen_at for e in edges if e.last_seen_at), default=None)
    if raised:
        return Standing(site.name, State.SIGNAL, heard)
    if heard is None or now - heard > SILENT_AFTER:
        return Standing(site.name, State.SILENT, heard)
    if not evaluated:
        return Standing(site.name, State.NOT_ASSESSABLE, reason=wording.NOT_EVALUATED)
    if all(word == "not_assessable" for word in site.blocks.values()):
        return Standing(site.name, State.NOT_ASSESSABLE, reason=wording.TOO_LITTLE)
    return Standing(site.name, State.IN_CONTROL)


def of_note(states: Sequence[SiteState]) -> HeatMap:
    """The heat map; of a large fleet, the sites that the page's first sentences are about."""
    if len(states) <= HEAT_MAP_SITES:
        return heat_map(states)
    noted = [s for s in states if s.standing.state is not State.IN_CONTROL]
    shown = (noted or list(states))[:HEAT_MAP_SITES]
    quiet = len(states) - len(noted) if noted else len(states) - len(shown)
    left_out = wording.sites_left_out(len(noted) - len(shown) if noted else 0, quiet)
    chart = heat_map(shown)
    return replace(chart, caption=f"{chart.caption}. {left_out}")


def heat_map(states: Sequence[SiteState], linked: bool = True) -> HeatMap:
    """What is watched, by site, in the plan's order and that of enrolment."""
    cells = tuple(tuple(_cell(key, name, s, linked) for s in states) for key, name in ROWS)
    return HeatMap(
        title="Signals by site and what is watched",
        caption="▲ signal · grey: in control · dashed –: not assessable · dashed ○: silent",
        rows=tuple(name for _, name in ROWS),
        columns=tuple(state.site.site_id for state in states),
        cells=cells,
    )


def _cell(key: str, name: str, state: SiteState, linked: bool) -> Cell:
    raised = _raised(key, state)
    href = f"/signals/{raised.id}" if raised else f"/sites/{state.site.site_id}"
    word = _state_of(key, state)
    return Cell(word, f"{state.site.name}, {name.lower()}, {word}", href if linked else "")


def _raised(key: str, state: SiteState) -> StoredSignal | None:
    return next((s for s in state.signals if _row_of(s) == key), None)


def _state_of(key: str, state: SiteState) -> State:
    return State.SIGNAL if _raised(key, state) else _quiet_state(key, state)


def _row_of(one: StoredSignal) -> str:
    """The row of the heat map that a signal belongs to."""
    if one.signal.kind == "statistical":
        return one.signal.stream.split(":")[0]
    return {"lock": "lock", "silence": "data", "data_quality": "data"}.get(
        one.signal.event, "event"
    )


def _quiet_state(key: str, state: SiteState) -> State:
    if state.standing.state is State.SILENT:
        return State.SILENT
    if key in state.site.blocks:
        return BLOCK_STATES[state.site.blocks[key]]
    if key == "lock" and any(e.lock_state == "not_checked" for e in state.edges):
        return State.NOT_ASSESSABLE
    return State.IN_CONTROL


def _funnel(
    session: Session,
    lock_digest: str,
    states: Sequence[SiteState],
    counts: Mapping[str, SiteCount],
    scope: str | None,
    today: date,
) -> Chart | None:
    last = references.approved(session).get(lock_digest)
    if last is None:
        return None
    until, upto = last + timedelta(1), today + timedelta(1)
    analysed, flagged = case_counts.before(
        session, lock_digest, until=until, upto=upto, scope=scope
    )
    first = today - timedelta(stored.RECENT_DAYS)  # as the strip of days
    recent = {site: (one.analysed, one.flagged) for site, one in counts.items()}
    if until > first:
        first = until
        recent = case_counts.by_site(session, lock_digest, since=first, upto=upto, scope=scope)
    if not analysed or not recent:
        return None
    names = {s.site.site_id: s.site.name for s in states}
    rates = [
        SiteRate(names.get(one, one), some_flagged, some, f"/sites/{one}")
        for one, (some, some_flagged) in sorted(recent.items())
    ]
    span = Span(first, today)
    return evidence.funnel_of(rates, flagged / analysed, span, "the fleet's reference rate")


def _strip(state: SiteState, standing: FleetStanding) -> Strip:
    last = standing.upto - timedelta(CLOSING_DAYS)
    days = [standing.since + timedelta(i) for i in range((last - standing.since).days + 1)]
    got = [day in state.site.days_received for day in days]
    return Strip(
        site=state.site.name,
        href=f"/sites/{state.site.site_id}",
        marks="".join("█" if one else "·" for one in got),
        text=wording.received(sum(got), len(got), state.site.analysed, state.last_heard),
    )


def _links(versions: Sequence[DeviceVersionView], here: DeviceVersionView) -> tuple[Link, ...]:
    return tuple(
        Link(f"{v.device} {v.version}", f"/?device={v.lock_digest}", v == here) for v in versions
    )


def _empty_queue(session: Session, standing: FleetStanding, states: Sequence[SiteState]) -> str:
    last = surveillance.last_evaluated_at(session, standing.lock_digest)
    unknown = {State.NOT_ASSESSABLE, State.SILENT}
    assessable = sum(1 for s in states if s.standing.state not in unknown)
    return wording.empty_queue(last, assessable, len(states))
