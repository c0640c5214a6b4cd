"""Bring edges in: add a site, make a code, compare and approve; suspend, revoke, retire."""

from __future__ import annotations

from datetime import datetime

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from sqlalchemy.orm import Session

from app.central.accounts.permissions import Administrator, Enroller, Now, Viewer
from app.central.accounts.service import Person
from app.central.database import DbSession
from app.central.fleet import key_changes, service
from app.central.fleet.models import EdgeAction
from app.central.fleet.routes import within
from app.central.fleet.service import EdgeView
from dashboards import wording_admin as words
from dashboards.pages.admin.common import EMPTY, ENROLMENT, Typed, attempt, refused
from dashboards.pages.admin.enrolment_views import edge_page, enrolment_view
from dashboards.pages.admin.views import Shown
from dashboards.pages.frame import ADMIN, page
from dashboards.pages.requests import SEE_OTHER, Form, PageRoute

router = APIRouter(route_class=PageRoute, include_in_schema=False)
LONGEST_REASON = 1000


@router.get(ADMIN)
def admin_home(_: Viewer) -> Response:
    """The first page of the area."""
    return RedirectResponse(ENROLMENT, SEE_OTHER)


@router.get(ENROLMENT)
def enrolment(session: DbSession, person: Viewer, now: Now) -> HTMLResponse:
    """Sites, edges and codes."""
    return _page(session, person, now)


def _page(
    session: Session,
    person: Person,
    now: datetime,
    *,
    shown: Shown | None = None,
    typed: Typed = EMPTY,
) -> HTMLResponse:
    view = enrolment_view(session, person, now, shown=shown, typed=typed)
    return page(session, person, ADMIN, "admin/enrolment.html", view, 422 if typed.errors else 200)


@router.post(ENROLMENT + "/sites")
def add_site(fields: Form, session: DbSession, person: Administrator, now: Now) -> Response:
    """Add a hospital."""
    given = {name: fields.get(name, "").strip() for name in ("id", "name", "timezone")}

    def run() -> None:
        service.add_site(session, *given.values(), by=person.name, now=now)

    errors = attempt(session, run)
    if errors:
        return _page(session, person, now, typed=refused("site", fields, errors))
    return RedirectResponse(ENROLMENT, SEE_OTHER)


@router.post(ENROLMENT + "/codes")
def make_code(fields: Form, session: DbSession, person: Enroller, now: Now) -> Response:
    """A one-time code, shown on this answer and nowhere else."""
    site, version = fields.get("site", ""), fields.get("version", "")
    within(person, site)
    made: list[str] = []

    def run() -> None:
        made.append(service.create_code(session, site, version, by=person.name, now=now))

    errors = attempt(session, run)
    if errors:
        return _page(session, person, now, typed=refused("code", fields, errors))
    shown = Shown(f"One-time code for {site}", made[0], words.CODE_SHOWN)
    return _page(session, person, now, shown=shown)


@router.get(ENROLMENT + "/edges/{edge_id}")
def edge(edge_id: str, session: DbSession, person: Viewer) -> HTMLResponse:
    """One edge."""
    return _edge(session, person, _seen(session, person, edge_id))


def _edge(session: Session, person: Person, one: EdgeView, typed: Typed = EMPTY) -> HTMLResponse:
    view = edge_page(session, person, one, typed)
    return page(session, person, ADMIN, "admin/edge.html", view, 422 if typed.errors else 200)


def _seen(session: Session, person: Person, edge_id: str) -> EdgeView:
    """The edge, if the person may see its site."""
    one = service.edge_view(session, edge_id)
    within(person, one.site_id)
    return one


@router.post(ENROLMENT + "/edges/{edge_id}/approval")
def approve(edge_id: str, fields: Form, session: DbSession, person: Enroller, now: Now) -> Response:
    """The fingerprint that was typed is that of the key: the edge is one of ours."""
    one = _seen(session, person, edge_id)
    typed = fingerprint_of(fields.get("fingerprint", ""))

    def run() -> None:
        service.act(
            session, one.id, EdgeAction.APPROVE, by=person.name, now=now, seen_fingerprint=typed
        )

    return _after(session, person, one, attempt(session, run), "approval", fields)


def fingerprint_of(typed: str) -> str:
    """As people type one: blanks, colons and capitals do not matter."""
    return "".join(c for c in typed if not c.isspace() and c not in ":-").lower()


@router.post(ENROLMENT + "/edges/{edge_id}/key")
def decide_on_key(
    edge_id: str, fields: Form, session: DbSession, person: Enroller, now: Now
) -> Response:
    """Approve or refuse the new key, named by the fingerprint that was typed."""
    one = _seen(session, person, edge_id)
    decision = fields.get("decision", "")
    if decision not in ("approve", "refuse"):
        return _after(session, person, one, (words.CHOOSE_KEY_DECISION,), "key", fields)

    def run() -> None:
        key_changes.decide(
            session,
            one.id,
            approve=decision == "approve",
            seen_fingerprint=fingerprint_of(fields.get("fingerprint", "")),
            by=person.name,
            now=now,
            reason=fields.get("reason", "").strip()[:LONGEST_REASON],
        )

    return _after(session, person, one, attempt(session, run), "key", fields)


@router.post(ENROLMENT + "/edges/{edge_id}/actions")
def act(edge_id: str, fields: Form, session: DbSession, person: Enroller, now: Now) -> Response:
    """Suspend, resume, revoke or retire, with a reason."""
    one = _seen(session, person, edge_id)
    chosen = fields.get("action", "")
    if chosen not in {a.value for a in words.EDGE_ACTIONS}:
        return _after(session, person, one, (words.CHOOSE_ACTION,), "action", fields)
    reason = fields.get("reason", "").strip()[:LONGEST_REASON]

    def run() -> None:
        service.act(session, one.id, EdgeAction(chosen), by=person.name, now=now, reason=reason)

    return _after(session, person, one, attempt(session, run), "action", fields)


def _after(
    session: Session,
    person: Person,
    one: EdgeView,
    errors: tuple[str, ...],
    form: str,
    fields: dict[str, str],
) -> Response:
    if errors:
        return _edge(session, person, one, refused(form, fields, errors))
    return RedirectResponse(f"{ENROLMENT}/edges/{one.id}", SEE_OTHER)
