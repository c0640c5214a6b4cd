"""Log in and out, and one's own password."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from app.central.accounts import people, service, sessions
from app.central.accounts.models import Account
from app.central.accounts.permissions import (
    Anyone,
    Now,
    Oneself,
    Viewer,
    client_of,
    cookie_name,
    session_token,
)
from app.central.accounts.schemas import LogIn, NewPassword, PersonOut, SessionOut
from app.central.accounts.service import Person
from app.central.database import DbSession
from app.central.problems import problems

router = APIRouter(prefix="/api/v1", tags=["accounts"])


@router.post("/session", response_model=PersonOut, responses=problems(401))
def log_in(
    body: LogIn, request: Request, response: Response, session: DbSession, now: Now, _: Anyone
) -> Account:
    """Log in; the answer sets the session cookie."""
    state = request.app.state
    password = body.password.get_secret_value()
    service.check_door(state.settings, body.name)
    account = service.check_password(
        state.sessions, body.name, password, now, code=body.code.get_secret_value()
    )
    token = sessions.log_in(session, account, now, client=client_of(request))
    set_cookie(response, token, state.settings.secure_cookies)
    return account


@router.get("/session", response_model=PersonOut, responses=problems(401))
def who_am_i(person: Viewer) -> Person:
    """Who is logged in."""
    return person


@router.delete("/session", status_code=204, response_class=Response, responses=problems(401))
def log_out(request: Request, session: DbSession, _: Viewer) -> Response:
    """Log out; the cookie means nothing from then on."""
    secure = request.app.state.settings.secure_cookies
    sessions.log_out(session, session_token(request))
    answer = Response(status_code=204)
    answer.delete_cookie(cookie_name(secure), path="/", secure=secure, httponly=True)
    return answer


@router.get("/sessions", response_model=list[SessionOut], responses=problems(401))
def list_sessions(session: DbSession, person: Viewer, now: Now) -> list[SessionOut]:
    """One's own sessions that run now, the one used last first."""
    return [
        SessionOut(
            id=s.id_hash,
            created_at=s.created_at,
            last_used_at=s.last_used_at,
            ends_at=s.ends_at,
            opened_with=s.opened_with,
            client=s.client,
            is_this=s.id_hash == person.session_id,
        )
        for s in sessions.sessions_of(session, person.name, now)
    ]


@router.delete("/sessions", status_code=204, response_class=Response, responses=problems(401, 403))
def end_other_sessions(session: DbSession, person: Viewer, now: Now) -> Response:
    """Every other session of one's own ends; this one goes on."""
    sessions.end_others(session, person, now)
    return Response(status_code=204)


@router.delete(
    "/sessions/{session_id}",
    status_code=204,
    response_class=Response,
    responses=problems(401, 403, 404),
)
def end_session(session_id: str, session: DbSession, person: Viewer, now: Now) -> Response:
    """One of one's own sessions ends, on whatever machine it was begun."""
    sessions.end(session, person.name, session_id, now)
    return Response(status_code=204)


@router.put(
    "/account/password",
    status_code=204,
    response_class=Response,
    responses=problems(401, 403, 422),
)
def change_password(
    body: NewPassword, request: Request, session: DbSession, person: Oneself, now: Now
) -> Response:
    """Choose a password of one's own; every other session of the person ends."""
    state = request.app.state
    service.confirm(state.sessions, person, body.password.get_secret_value(), now)
    new = body.new_password.get_secret_value()
    account = people.set_password(session, person.name, new, now=now)
    answer = Response(status_code=204)
    token = sessions.log_in(
        session, account, now, client=client_of(request), opened_with=person.opened_with
    )
    set_cookie(answer, token, state.settings.secure_cookies)
    return answer


def set_cookie(response: Response, token: str, secure: bool) -> None:
    """The session cookie: this host only, not for scripts, not across sites."""
    response.set_cookie(
        cookie_name(secure),
        token,
        path="/",
        secure=secure,
        httponly=True,
        samesite="lax",
        max_age=int(sessions.LONGEST.total_seconds()),
    )
