"""The home page, gathered: what needs a decision, and how every site stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from sqlalchemy.orm import Session

from app.central.fleet import service as fleet
from app.central.fleet.jobs import SILENT_AFTER
from app.central.fleet.service import DeviceVersionView, EdgeView
from app.central.intake import service as intake
from app.central.references import service as references
from app.central.references.models import ReferenceState
from app.central.surveillance import evidence as stored
from app.central.surveillance import service as surveillance
from app.central.surveillance.evidence import FleetStanding, SiteStanding
from app.central.surveillance.history import history_within
from app.central.surveillance.service import SignalView as StoredSignal
from dashboards import evidence, wording
from dashboards.charts.drawing import iso_week
from dashboards.charts.spec import Cell, Chart, HeatMap, State
from dashboards.evidence import BLOCKS, Period
from dashboards.pages.first_steps import first_steps
from dashboards.pages.frame import queue_row
from dashboards.pages.registers import balance_sentences
from dashboards.pages.views import FleetView, Link, Strip
from dashboards.wording import Standing

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


def fleet_view(session: Session, chosen: str, scope: str | None, now: datetime) -> FleetView:
    """The home page of the device version `chosen`, or of the one most in use."""
    versions = fleet.device_versions(session)
    version = choose(versions, chosen)
    open_signals = surveillance.signals(session, only_open=True, scope=scope)
    if version is None:
        return _empty(session, scope)
    standing = stored.fleet_standing(session, version.lock_digest, now.date())
    states = site_states(session, standing, open_signals, scope, now)
    device = f"{version.device} {version.version}"
    here = [s for s in open_signals if s.lock_digest == version.lock_digest]
    return FleetView(
        title=f"{device} · {wording.count(len(states), 'site')} · {iso_week(now.date())}",
        sentences=wording.fleet_sentences(len(here), [s.standing for s in states]),
        queue=tuple(queue_row(s, now.date()) for s in open_signals),
        empty_queue=_empty_queue(session, standing, states),
        versions=_links(versions, version),
        heat_map=heat_map(states) if standing.evaluated_upto and states else None,
        funnel=_funnel(session, version.lock_digest, states, scope, now.date()),
        strips=tuple(_strip(s, standing) for s in states),
        balance=" ".join(balance_sentences(intake.balances(session, scope=scope))),
        steps=first_steps(session, scope),
    )


def choose(versions: Sequence[DeviceVersionView], chosen: str) -> DeviceVersionView | None:
    """The version asked for; else the one on most edges, the newest of equals."""
    asked = [v for v in versions if v.lock_digest == chosen]
    ranked = sorted(versions, key=lambda v: (v.edges, v.registered_at, v.release_counter))
    return asked[0] if asked else ranked[-1] if ranked else None


def _empty(session: Session, scope: str | None) -> FleetView:
    return FleetView(
        title="Fleet",
        sentences=(wording.NO_DEVICE,),
        queue=(),
        empty_queue=wording.empty_queue(None, 0, 0),
        versions=(),
        heat_map=None,
        funnel=None,
        strips=(),
        balance=" ".join(balance_sentences(intake.balances(session, scope=scope))),
        steps=first_steps(session, scope),
    )


def site_states(
    session: Session,
    standing: FleetStanding,
    open_signals: Sequence[StoredSignal],
    scope: str | None,
    now: datetime,
) -> tuple[SiteState, ...]:
    """Every site of the version that the person may see, in the order of enrolment."""
    edges = {s.id: s.edges for s in fleet.sites(session, scope=scope)}
    evaluated = standing.evaluated_upto is not None
    found = []
    for site in standing.sites:
        if site.site_id not in edges:
            continue
        mine = tuple(
            s
            for s in open_signals
            if s.lock_digest == standing.lock_digest and site.site_id in s.signal.sites
        )
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
    raised = next((s for s in state.signals if _row_of(s) == key), None)
    if raised is not None:
        word, href = State.SIGNAL, f"/signals/{raised.id}"
    else:
        word, href = _quiet_state(key, state), f"/sites/{state.site.site_id}"
    return Cell(word, f"{state.site.name}, {name.lower()}, {word}", href if linked else "")


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
    scope: str | None,
    today: date,
) -> Chart | None:
    in_force = [
        r
        for r in references.views(session, lock_digest=lock_digest)
        if r.state is ReferenceState.APPROVED
    ]
    if not in_force:
        return None
    history = history_within(session, lock_digest, upto=today + timedelta(1), scope=scope)
    names: Mapping[str, str] = {s.site.site_id: s.site.name for s in states}
    period = Period(in_force[0].until + timedelta(1), today)
    return evidence.funnel(history, period, stored.RECENT_DAYS, dict(names))


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
    last = surveillance.last_evaluation(session, standing.lock_digest)
    unknown = {State.NOT_ASSESSABLE, State.SILENT}
    assessable = sum(1 for s in states if s.standing.state not in unknown)
    return wording.empty_queue(last.evaluated_at if last else None, assessable, len(states))
