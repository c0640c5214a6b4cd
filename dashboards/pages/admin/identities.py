"""Which identity at the provider signs in as which person."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from app.central.accounts import identities
from app.central.accounts.permissions import Administrator, Now
from app.central.database import DbSession
from dashboards.pages.admin import accounts
from dashboards.pages.admin.common import ACCOUNTS, attempt, refused
from dashboards.pages.requests import SEE_OTHER, Form, PageRoute

router = APIRouter(route_class=PageRoute, include_in_schema=False)
IDENTITY = ACCOUNTS + "/identity"


@router.post(IDENTITY)
def link(
    request: Request, fields: Form, session: DbSession, person: Administrator, now: Now
) -> Response:
    """From now on this subject signs in as this person."""
    name, subject = fields.get("name", ""), fields.get("subject", "").strip()

    def run() -> None:
        issuer = identities.issuer_of(request.app.state.settings)
        identities.link(session, name, issuer, subject, by=person.name, now=now)

    errors = attempt(session, run)
    if errors:
        typed = refused("identity", fields, errors)
        return accounts.one(request, session, person, name, now, typed=typed)
    return RedirectResponse(accounts.address(name), SEE_OTHER)


@router.post(IDENTITY + "/end")
def unlink(fields: Form, session: DbSession, person: Administrator, now: Now) -> Response:
    """The subject signs in as nobody from now on."""
    name = fields.get("name", "")
    identities.unlink(session, name, by=person.name, now=now)
    return RedirectResponse(accounts.address(name), SEE_OTHER)
