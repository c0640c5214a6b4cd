"""Signing in and out. Password managers, paste and the back button work."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from app.central.accounts import service as accounts
from app.central.accounts import sessions
from app.central.accounts.permissions import (
    Anyone,
    Now,
    client_of,
    cookie_name,
    session_token,
)
from app.central.database import DbSession
from app.central.errors import NotAuthenticated
from dashboards import wording
from dashboards.pages.requests import SEE_OTHER, Form, PageRoute, own_path
from dashboards.pages.views import SignInView
from dashboards.templating import render

PROVIDER = "/sign-in/provider"
router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/sign-in")
def sign_in_page(_: Anyone, request: Request, then: Annotated[str, Query()] = "/") -> HTMLResponse:
    """The form, and the way to the identity provider where there is one."""
    return _page(request, own_path(then))


@router.post("/sign-in")
def sign_in(_: Anyone, request: Request, fields: Form, session: DbSession, now: Now) -> Response:
    """A session for the person whose password it is."""
    then, name = own_path(fields.get("then", "/")), fields.get("name", "")
    try:
        accounts.check_door(request.app.state.settings, name)
        account = accounts.check_password(
            request.app.state.sessions,
            name,
            fields.get("password", ""),
            now,
            code=fields.get("code", ""),
        )
    except NotAuthenticated as refused:
        error = str(refused) if refused.reason == "provider" else wording.SIGN_IN_FAILED
        return _page(request, then, name[:64], error)
    token = sessions.log_in(session, account, now, client=client_of(request))
    return with_session(RedirectResponse(then, SEE_OTHER), request, token)


def with_session(answer: Response, request: Request, token: str) -> Response:
    """The answer, which begins a session in this browser, until it is closed."""
    secure = request.app.state.settings.secure_cookies
    answer.set_cookie(
        cookie_name(secure), token, httponly=True, secure=secure, samesite="lax", path="/"
    )
    return answer


@router.post("/sign-out")
def sign_out(_: Anyone, __: Form, request: Request, session: DbSession) -> Response:
    """The end of a session."""
    name = cookie_name(request.app.state.settings.secure_cookies)
    sessions.log_out(session, session_token(request))
    answer = RedirectResponse("/sign-in", SEE_OTHER)
    answer.delete_cookie(name, path="/", secure=name.startswith("__Host-"), httponly=True)
    return answer


def _page(request: Request, then: str, name: str = "", error: str = "") -> HTMLResponse:
    state = request.app.state
    view = SignInView(
        then,
        state.settings.oidc_name if state.provider else "",
        f"{PROVIDER}?then={quote(then, safe='')}",
        bool(state.settings.break_glass),
        name,
        error,
    )
    return HTMLResponse(render("sign_in.html", view=view, shell=None), 401 if error else 200)
