"""Who is told about signals: add an address, change what reaches it, try it, end it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from sqlalchemy.orm import Session

from app.central.accounts.permissions import Administrator, Now
from app.central.accounts.service import Person
from app.central.alerts import recipients as service
from app.central.alerts import service as alerts
from app.central.database import DbSession
from app.central.errors import Unusable
from dashboards import wording_admin as words
from dashboards.pages.admin.common import EMPTY, RECIPIENTS, Typed, attempt, refused
from dashboards.pages.admin.recipient_views import (
    ONE,
    recipient_page,
    recipients_view,
    routing_of,
)
from dashboards.pages.frame import ADMIN, page
from dashboards.pages.requests import SEE_OTHER, Form, PageRoute

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get(RECIPIENTS)
def recipients(
    session: DbSession, person: Administrator, done: Annotated[str, Query()] = ""
) -> HTMLResponse:
    """Everybody who is told."""
    return _list(session, person, notice=words.TEST_QUEUED if done == "test" else "")


def _list(
    session: Session, person: Person, *, notice: str = "", typed: Typed = EMPTY
) -> HTMLResponse:
    view = recipients_view(session, person, notice=notice, typed=typed)
    status = 422 if typed.errors else 200
    return page(session, person, ADMIN, "admin/recipients.html", view, status)


@router.post(RECIPIENTS)
def add(fields: Form, session: DbSession, person: Administrator, now: Now) -> Response:
    """Tell somebody more."""

    def run() -> None:
        given = routing_of(fields)
        address, severity = fields.get("address", "").strip(), given.pop("least_severity")
        alerts.add_recipient(session, address[:254], severity, by=person.name, now=now, **given)

    errors = attempt(session, run)
    if errors:
        return _list(session, person, typed=refused("routing", fields, errors))
    return RedirectResponse(RECIPIENTS, SEE_OTHER)


@router.get(ONE)
def recipient(
    session: DbSession, person: Administrator, address: Annotated[str, Query()] = ""
) -> HTMLResponse:
    """One address."""
    return _one(session, person, address)


def _one(session: Session, person: Person, address: str, typed: Typed = EMPTY) -> HTMLResponse:
    view = recipient_page(session, person, service.get(session, address), typed)
    status = 422 if typed.errors else 200
    return page(session, person, ADMIN, "admin/recipient.html", view, status)


Act = Callable[[Request, Session, str, Person, datetime, dict[str, str]], None]


def _change(
    _: Request, session: Session, address: str, by: Person, now: datetime, fields: dict[str, str]
) -> None:
    service.change(session, address, by=by.name, now=now, **routing_of(fields))


def _end(
    _: Request, session: Session, address: str, by: Person, now: datetime, __: dict[str, str]
) -> None:
    alerts.remove_recipient(session, address, by=by.name, now=now)


def _test(
    request: Request, session: Session, address: str, by: Person, now: datetime, _: dict[str, str]
) -> None:
    state = request.app.state
    service.send_test(
        session,
        address,
        renderers=state.renderers,
        settings=state.settings,
        by=by.name,
        now=now,
    )


ACTS: dict[str, tuple[Act, str]] = {
    "change": (_change, ONE + "?address={}"),
    "end": (_end, RECIPIENTS),
    "test": (_test, RECIPIENTS + "?done=test"),
}


@router.post(ONE)
def act(
    request: Request, fields: Form, session: DbSession, person: Administrator, now: Now
) -> Response:
    """What `do` says, to the address that `address` names."""
    address, chosen = fields.get("address", ""), fields.get("do", "")
    service.get(session, address)

    def run() -> None:
        if chosen not in ACTS:
            raise Unusable(words.CHOOSE_ACTION)
        ACTS[chosen][0](request, session, address, person, now, fields)

    errors = attempt(session, run)
    if errors:
        return _one(session, person, address, refused(chosen, fields, errors))
    return RedirectResponse(ACTS[chosen][1].format(quote(address, safe="")), SEE_OTHER)
