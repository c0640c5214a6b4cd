"""Log in and out, and one's own password."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from app.central.accounts import people, service
from app.central.accounts.models import Account
from app.central.accounts.permissions import Anyone, Now, Oneself, Viewer, cookie_name
from app.central.accounts.schemas import LogIn, NewPassword, PersonOut
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
    account = service.check_password(
        state.sessions, body.name, password, now, code=body.code.get_secret_value()
    )
    set_cookie(response, service.log_in(session, account, now), state.settings.secure_cookies)
    return account


@router.get("/session", response_model=PersonOut, responses=problems(401))
def who_am_i(person: Viewer) -> Person:
    """Who is logged in."""
    return person


@router.delete("/session", status_code=204, response_class=Response, responses=problems(401))
def log_out(request: Request, session: DbSession, _: Viewer) -> Response:
    """Log out; the cookie means nothing from then on."""
    secure = request.app.state.settings.secure_cookies
    service.log_out(session, request.cookies[cookie_name(secure)])
    answer = Response(status_code=204)
    answer.delete_cookie(cookie_name(secure), path="/", secure=secure, httponly=True)
    return answer


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
    service.sign(state.sessions, person, body.password.get_secret_value(), now)
    new = body.new_password.get_secret_value()
    account = people.set_password(session, person.name, new, now=now)
    answer = Response(status_code=204)
    set_cookie(answer, service.log_in(session, account, now), state.settings.secure_cookies)
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
        max_age=int(service.LONGEST.total_seconds()),
    )
