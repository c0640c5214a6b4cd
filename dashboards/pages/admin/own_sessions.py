"""One's own sessions: where one is signed in, and the end of what is not wanted any more."""

from __future__ import annotations

from datetime import datetime

from fastapi import APIRouter
from fastapi.responses import RedirectResponse, Response
from sqlalchemy.orm import Session

from app.central.accounts import sessions
from app.central.accounts.models import Identity
from app.central.accounts.permissions import Now, Viewer
from app.central.accounts.service import Person
from app.central.database import DbSession
from dashboards import filters
from dashboards import wording_admin as words
from dashboards.pages.admin.common import OWN
from dashboards.pages.admin.views import SessionRow
from dashboards.pages.requests import SEE_OTHER, Form, PageRoute
from dashboards.pages.views import Fact

router = APIRouter(route_class=PageRoute, include_in_schema=False)


def identity_facts(identity: Identity | None) -> tuple[Fact, ...]:
    """With which identity at the provider a person signs in, if with any."""
    if identity is None:
        return ()
    return (Fact("Identity at the provider", f"{identity.subject} at {identity.issuer}"),)


def rows(session: Session, person: Person, now: datetime) -> tuple[SessionRow, ...]:
    """What the page shows of each session."""
    return tuple(
        SessionRow(
            id=s.id_hash,
            opened_with=words.OPENED_WITH[s.opened_with],
            browser=words.browser(s.client),
            begun=filters.instant(s.created_at),
            last_used=filters.instant(s.last_used_at),
            until=filters.instant(s.ends_at),
            is_this=s.id_hash == person.session_id,
        )
        for s in sessions.sessions_of(session, person.name, now)
    )


@router.post(OWN + "/sessions/end")
def end_session(fields: Form, session: DbSession, person: Viewer, now: Now) -> Response:
    """One of one's own sessions ends."""
    sessions.end(session, person.name, fields.get("id", ""), now)
    return RedirectResponse(f"{OWN}?done=session", SEE_OTHER)


@router.post(OWN + "/sessions/end-others")
def end_other_sessions(_: Form, session: DbSession, person: Viewer, now: Now) -> Response:
    """Every other session of one's own ends."""
    sessions.end_others(session, person, now)
    return RedirectResponse(f"{OWN}?done=sessions", SEE_OTHER)
