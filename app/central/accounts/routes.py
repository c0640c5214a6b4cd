"""Log in and out; people."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter, Request, Response

from app.central.accounts import repository, service
from app.central.accounts.models import Account
from app.central.accounts.permissions import Administrator, Anyone, Now, Viewer, cookie_name
from app.central.accounts.schemas import LogIn, NewAccount, PersonOut
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


@router.get("/accounts", response_model=list[PersonOut], responses=problems(401, 403))
def list_accounts(session: DbSession, _: Administrator) -> Sequence[Account]:
    """Everybody."""
    return repository.accounts(session)


@router.post("/accounts", response_model=PersonOut, status_code=201, responses=problems(403, 409))
def add_account(body: NewAccount, session: DbSession, now: Now, by: Administrator) -> Account:
    """Add a person."""
    return service.create_account(
        session,
        name=body.name,
        full_name=body.full_name,
        role=body.role,
        password=body.password.get_secret_value(),
        site_id=body.site_id,
        by=by.name,
        now=now,
    )


@router.post(
    "/accounts/{name}/disablement",
    status_code=204,
    response_class=Response,
    responses=problems(403, 422),
)
def disable_account(name: str, session: DbSession, now: Now, by: Administrator) -> Response:
    """No more log-ins; sessions end at once."""
    service.disable(session, name, by=by.name, now=now)
    return Response(status_code=204)


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
