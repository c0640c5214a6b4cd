"""Signing in with the manufacturer's identity provider: the way there, and the way back.

The way there is a link, not a form: `form-action 'self'` of the pages' policy also binds what a
form is redirected to, and stays as strict as it is.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import RedirectResponse, Response

from app.central.accounts import provider_sign_in, sessions
from app.central.accounts.identity_provider import RETURN_PATH, IdentityProvider
from app.central.accounts.models import OpenedWith
from app.central.accounts.permissions import Anyone, Now, client_of, cookie_name
from app.central.database import DbSession
from app.central.errors import NotFound
from dashboards.pages.requests import SEE_OTHER, PageRoute, own_path
from dashboards.pages.sign_in import PROVIDER, with_session

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get(PROVIDER)
def to_provider(
    _: Anyone, request: Request, now: Now, then: Annotated[str, Query()] = "/"
) -> Response:
    """Begin, and go to the provider."""
    provider = _provider(request)
    begun = provider_sign_in.begin(request.app.state.sessions, provider, own_path(then), now)
    answer = RedirectResponse(begun.address, SEE_OTHER)
    answer.set_cookie(
        _cookie(request),
        begun.browser,
        max_age=int(provider_sign_in.LIFE.total_seconds()),
        path="/",
        secure=request.app.state.settings.secure_cookies,
        httponly=True,
        samesite="lax",  # the way back comes from the provider's site
    )
    return answer


@router.get(RETURN_PATH)
def back_from_provider(_: Anyone, request: Request, session: DbSession, now: Now) -> Response:
    """A session for the person whom the provider names, if an administrator has linked both."""
    provider, state = _provider(request), request.app.state
    query = {name: value[:4096] for name, value in request.query_params.items()}
    browser = request.cookies.get(_cookie(request), "")
    account, then = provider_sign_in.finish(state.sessions, provider, query, browser, now)
    token = sessions.log_in(
        session, account, now, client=client_of(request), opened_with=OpenedWith.PROVIDER
    )
    answer = with_session(RedirectResponse(then, SEE_OTHER), request, token)
    secure = state.settings.secure_cookies
    answer.delete_cookie(_cookie(request), path="/", secure=secure, httponly=True)
    return answer


def _provider(request: Request) -> IdentityProvider:
    state = request.app.state
    if state.provider is None:
        raise NotFound("no identity provider is configured: sign in with name and password")
    state.sign_in_limiter.spend(request.client.host if request.client else "")
    found: IdentityProvider = state.provider
    return found


def _cookie(request: Request) -> str:
    return cookie_name(request.app.state.settings.secure_cookies) + "-sign-in"
