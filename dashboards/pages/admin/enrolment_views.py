"""What the enrolment pages show: edges, codes, sites, and one edge on its way."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session

from app.central.accounts.permissions import Permission
from app.central.accounts.service import Person
from app.central.audit import service as audit
from app.central.fleet import codes, service
from app.central.fleet.codes import CodeView
from app.central.fleet.models import EDGE_TRANSITIONS, EdgeAction, EdgeState
from app.central.fleet.service import EdgeView, SiteView
from app.central.intake import service as intake
from dashboards import filters
from dashboards import wording_admin as words
from dashboards.pages.admin.common import EMPTY, ENROLMENT, Typed, area, may
from dashboards.pages.admin.views import EdgePage, EnrolmentView, Shown
from dashboards.pages.registers import lock_words
from dashboards.pages.views import Choice, Fact, Grid, Step


def enrolment_view(
    session: Session,
    person: Person,
    now: datetime,
    *,
    shown: Shown | None = None,
    typed: Typed = EMPTY,
) -> EnrolmentView:
    """Every edge, code and site that the person may see, and the forms that the role allows."""
    sites = service.sites(session, scope=person.site_id)
    edges = [edge for site in sites for edge in site.edges]
    waiting = codes.waiting(session, now, scope=person.site_id)
    return EnrolmentView(
        title="Enrolment",
        sentences=words.enrolment_sentences([e.state for e in edges], len(waiting)),
        area=area(person, ENROLMENT),
        edges=_edges(edges),
        codes=_codes(waiting),
        sites=_sites(sites),
        may_add=may(person, Permission.ADMINISTER),
        may_enrol=may(person, Permission.ENROL),
        site_choices=tuple(Choice(s.id, f"{s.id}, {s.name}") for s in sites),
        versions=tuple(
            Choice(v.lock_digest, f"{v.device} {v.version}, lock {filters.short(v.lock_digest)}")
            for v in service.device_versions(session)
        ),
        shown=shown,
        typed=typed,
    )


def _edges(edges: list[EdgeView]) -> Grid:
    return Grid(
        "Edges",
        ("Edge", "Site", "Device", "State", "Lock", "Key fingerprint", "Last heard"),
        tuple(
            (
                e.id,
                e.site_id,
                f"{e.device} {e.version}",
                e.state.value,
                lock_words(e),
                filters.short(e.fingerprint),
                filters.instant(e.last_seen_at),
            )
            for e in edges
        ),
        links=tuple(f"{ENROLMENT}/edges/{e.id}" for e in edges),
        empty="No edge is enrolled yet.",
    )


def _codes(waiting: tuple[CodeView, ...]) -> Grid:
    return Grid(
        "One-time codes not redeemed yet",
        ("Site", "Device", "Made by", "Good until"),
        tuple(
            (c.site_id, f"{c.device} {c.version}", c.created_by, filters.instant(c.expires_at))
            for c in waiting
        ),
        empty="No code waits for its edge.",
    )


def _sites(sites: tuple[SiteView, ...]) -> Grid:
    return Grid(
        "Sites",
        ("Site", "Name", "Time zone", "Edges"),
        tuple((s.id, s.name, s.timezone, filters.whole(len(s.edges))) for s in sites),
        numeric=frozenset({3}),
        links=tuple(f"/sites/{s.id}" for s in sites),
        empty="No site has been added yet.",
    )


def edge_page(session: Session, person: Person, edge: EdgeView, typed: Typed = EMPTY) -> EdgePage:
    """One edge: how far its enrolment is, what it is, and what may be done to it."""
    may_act = may(person, Permission.ENROL)
    return EdgePage(
        title=f"{edge.id} at {edge.site_id}",
        id=edge.id,
        state=edge.state.value,
        sentences=(words.EDGE_STATES[edge.state],),
        area=area(person, ""),
        steps=_steps(session, edge),
        fingerprint=grouped(edge.fingerprint),
        facts=_facts(edge),
        may_approve=may_act and (edge.state, EdgeAction.APPROVE) in EDGE_TRANSITIONS,
        actions=_actions(edge.state) if may_act else (),
        history=_history(session, edge) if may_act or may(person, Permission.AUDIT) else None,
        new_key=grouped(edge.new_key),
        new_key_sentence=words.NEW_KEY.get(edge.new_key_state, ""),
        may_decide_key=may_act and bool(edge.new_key),
        typed=typed,
    )


def grouped(fingerprint: str) -> str:
    """In fours, as it is read aloud."""
    return " ".join(fingerprint[i : i + 4] for i in range(0, len(fingerprint), 4))


def _actions(state: EdgeState) -> tuple[Choice, ...]:
    return tuple(
        Choice(action.value, text)
        for action, text in words.EDGE_ACTIONS.items()
        if (state, action) in EDGE_TRANSITIONS
    )


def _steps(session: Session, edge: EdgeView) -> tuple[Step, ...]:
    stored = intake.balance(session, service.get_edge(session, edge.id)).stored
    done = (True, True, edge.approved_at is not None, stored > 0)
    following = done.index(False) if not all(done) else len(done)
    return tuple(
        Step(text, "", "done" if is_done else "next" if i == following else "to do")
        for i, (text, is_done) in enumerate(zip(words.ENROLMENT_STEPS, done, strict=True))
    )


def _facts(edge: EdgeView) -> tuple[Fact, ...]:
    approved = f"{filters.instant(edge.approved_at)} by {edge.approved_by}"
    return (
        Fact("Site", f"{edge.site_id}, {edge.site}", href=f"/sites/{edge.site_id}"),
        Fact("Device", f"{edge.device} {edge.version}", href=f"/devices/{edge.expected_lock}"),
        Fact("Lock", lock_words(edge)),
        Fact("Expected lock digest", edge.expected_lock, is_code=True),
        Fact("Reported lock digest", edge.reported_lock, is_code=True),
        Fact("Agent", edge.agent_version),
        Fact("Key presented", filters.instant(edge.enrolled_at)),
        Fact("Approved", approved if edge.approved_by else "not yet"),
        Fact("Last heard", filters.instant(edge.last_seen_at)),
    )


def _history(session: Session, edge: EdgeView) -> Grid:
    return Grid(
        "What was done to this edge",
        ("Time", "Who", "What", "Reason"),
        tuple(
            (
                filters.instant(line.at),
                line.actor,
                line.action.rpartition(":")[2].replace("_", " "),
                line.reason or "–",
            )
            for line in audit.lines(session, limit=50, subject=edge.id)
        ),
    )
