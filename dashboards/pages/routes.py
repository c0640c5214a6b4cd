"""The pages' addresses. Every view is a GET with its choices in the address; forms are POSTs."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from sqlalchemy.orm import Session

from app.central.accounts import service as accounts
from app.central.accounts.permissions import (
    GRANTS,
    Approver,
    Assessor,
    Auditor,
    Now,
    Permission,
    Registrar,
    Viewer,
)
from app.central.accounts.service import Person
from app.central.database import DbSession
from app.central.errors import NotAllowed, NotAuthenticated, Unusable
from app.central.surveillance import on_demand
from app.central.surveillance import service as surveillance
from app.central.surveillance.models import Action
from app.central.surveillance.service import SignalView as StoredSignal
from app.errors import AppError
from dashboards import wording
from dashboards.pages import device as device_page
from dashboards.pages import events, registers, scanners, subjects
from dashboards.pages import fleet as fleet_page
from dashboards.pages import signal as signal_page
from dashboards.pages.duty import duty_view
from dashboards.pages.evaluations import evaluation_view
from dashboards.pages.first_steps import with_example
from dashboards.pages.frame import page, queue_row
from dashboards.pages.requests import SEE_OTHER, Form, PageRoute
from dashboards.pages.topics.pages import topic_view
from dashboards.pages.views import Link, SignalsView

router = APIRouter(route_class=PageRoute, include_in_schema=False)
REPORT_DAYS = 28
SIGNALS_A_PAGE = 50
PageNumber = Annotated[int, Query(alias="page", ge=1, le=100_000)]
Topic = Literal[
    "performance", "subgroups", "prevalence", "annotation", "lock", "timeline", "references"
]


@router.get("/")
def fleet_home(
    session: DbSession,
    person: Viewer,
    now: Now,
    device: Annotated[str, Query()] = "",
    number: PageNumber = 1,
) -> HTMLResponse:
    """What needs me today."""
    view = fleet_page.fleet_view(session, device, person.site_id, now, number)
    view = with_example(session, person, view)
    return page(session, person, "/", "fleet.html", view)


@router.get("/signals")
def signal_list(
    session: DbSession,
    person: Viewer,
    now: Now,
    show: Annotated[str, Query(pattern="^(open|all)$")] = "open",
    before: Annotated[str | None, Query(pattern=r"^S-[0-9]{4,12}$")] = None,
) -> HTMLResponse:
    """Signals, newest first; `before`: the last one of the page before."""
    only_open = show == "open"
    found = surveillance.signals(
        session,
        only_open=only_open,
        scope=person.site_id,
        before=before,
        limit=SIGNALS_A_PAGE + 1,
    )
    rows = found[:SIGNALS_A_PAGE]
    address = "/signals?" if only_open else "/signals?show=all&"
    on_record = surveillance.count(session, only_open=only_open, scope=person.site_id)
    view = SignalsView(
        title="Signals",
        sentence=wording.signals_sentence(on_record, only_open),
        filters=(
            Link("waiting for a decision", "/signals", only_open),
            Link("all", "/signals?show=all", not only_open),
        ),
        rows=tuple(queue_row(s, now.date()) for s in rows),
        older=f"{address}before={rows[-1].id}" if len(found) > len(rows) else "",
    )
    return page(session, person, "/signals", "signals.html", view)


@router.get("/signals/{signal_id}")
def signal_of(
    signal_id: str, request: Request, session: DbSession, person: Viewer, now: Now
) -> HTMLResponse:
    """One signal: look, and decide."""
    one = surveillance.signal(session, signal_id, scope=person.site_id)
    duty = duty_view(request, session, one.id, person, now)
    view = signal_page.signal_view(
        session, one, duty=duty, scope=person.site_id, may_assess=may_assess(person)
    )
    return page(session, person, "/signals", "signal.html", view)


def may_assess(person: Person) -> bool:
    """Whether the role may decide on signals."""
    return Permission.ASSESS in GRANTS[person.role]


@router.post("/signals/{signal_id}/decision")
def decide(
    signal_id: str, request: Request, fields: Form, session: DbSession, person: Assessor, now: Now
) -> Response:
    """A signed decision; a refusal gives the form back with what was typed."""
    one = surveillance.whole(session, signal_id, scope=person.site_id)
    errors = complaints(one, fields)
    if not errors:
        errors = _sign(request, session, person, one, fields, now)
    if not errors:
        return RedirectResponse(f"/signals/{one.id}", SEE_OTHER)
    form = replace(
        signal_page.empty_form(one),
        verdict=fields.get("verdict", ""),
        cause=fields.get("cause", ""),
        rationale=fields.get("rationale", "")[: surveillance.LONGEST_RATIONALE],
        errors=errors,
    )
    duty = duty_view(request, session, one.id, person, now)
    view = signal_page.signal_view(
        session, one, duty=duty, scope=person.site_id, may_assess=True, form=form
    )
    return page(session, person, "/signals", "signal.html", view, 422)


def complaints(one: StoredSignal, fields: dict[str, str]) -> tuple[str, ...]:
    """What is wrong with the form, before anybody signs."""
    verdict, rationale = fields.get("verdict", ""), fields.get("rationale", "").strip()
    if verdict not in {a.value for a in one.actions}:
        return (wording.CHOOSE_VERDICT,)
    if verdict == Action.START_ASSESSMENT.value:
        return ()
    if len(rationale) < wording.RATIONALE_LEAST:
        least, got = wording.RATIONALE_LEAST, len(rationale)
        return (wording.RATIONALE_TOO_SHORT.format(least=least, got=got),)
    return ()


def _sign(
    request: Request,
    session: Session,
    person: Person,
    one: StoredSignal,
    fields: dict[str, str],
    now: Now,
) -> tuple[str, ...]:
    """Sign and store; what stood in the way, in words."""
    try:
        signer = accounts.sign(request.app.state.sessions, person, fields.get("password", ""), now)
        with session.begin_nested():
            surveillance.decide(
                session,
                one.id,
                Action(fields["verdict"]),
                rationale=fields.get("rationale", "").strip() or wording.TAKEN,
                cause=fields.get("cause", ""),
                seen_digest=fields.get("digest", ""),
                signer=signer,
                key=request.app.state.key,
            )
    except NotAuthenticated:
        return (wording.WRONG_PASSWORD,)
    except (NotAllowed, Unusable) as error:
        return (str(error),)
    return ()


@router.get("/sites")
def site_list(session: DbSession, person: Viewer, number: PageNumber = 1) -> HTMLResponse:
    """Every site."""
    view = registers.sites_view(session, person.site_id, number)
    return page(session, person, "/sites", "list.html", view)


@router.get("/sites/{site_id}")
def site(site_id: str, session: DbSession, person: Viewer, now: Now) -> HTMLResponse:
    """One site."""
    view = subjects.site_view(session, site_id, person.site_id, now)
    return page(session, person, "/sites", "subject.html", view)


@router.get("/sites/{site_id}/scanners")
def site_scanners(site_id: str, session: DbSession, person: Viewer, now: Now) -> HTMLResponse:
    """Scanners and protocols of one site."""
    view = scanners.scanners_view(session, site_id, person, now)
    return page(session, person, "/sites", "scanners.html", view)


@router.post("/sites/{site_id}/events")
def register_event(
    site_id: str, fields: Form, session: DbSession, person: Registrar, now: Now
) -> Response:
    """Register a planned event; a refusal gives the form back with what was typed."""
    try:
        events.register_from(fields, session, site_id, person, now)
    except AppError as error:
        return _scanners_again(session, site_id, person, now, fields, (str(error),))
    return RedirectResponse(f"/sites/{site_id}/scanners#events", SEE_OTHER)


@router.post("/sites/{site_id}/events/{event_id}")
def decide_event(
    site_id: str,
    event_id: str,
    request: Request,
    fields: Form,
    session: DbSession,
    person: Approver,
    now: Now,
) -> Response:
    """Sign whether an event opens a new stage."""
    errors = events.decide_from(fields, request, session, event_id, person, now)
    if errors:
        return _scanners_again(session, site_id, person, now, fields, errors)
    return RedirectResponse(f"/sites/{site_id}/scanners#{event_id}", SEE_OTHER)


def _scanners_again(
    session: Session,
    site_id: str,
    person: Person,
    now: Now,
    fields: dict[str, str],
    errors: tuple[str, ...],
) -> Response:
    view = scanners.scanners_view(session, site_id, person, now, typed=fields, errors=errors)
    return page(session, person, "/sites", "scanners.html", view, 422)


@router.get("/devices")
def device_list(session: DbSession, person: Viewer) -> HTMLResponse:
    """Every device version."""
    view = registers.devices_view(session)
    return page(session, person, "/devices", "list.html", view)


@router.get("/devices/{lock_digest}")
def device(lock_digest: str, session: DbSession, person: Viewer, now: Now) -> HTMLResponse:
    """One device version."""
    view = device_page.device_view(session, lock_digest, person.site_id, now)
    view = replace(view, evaluation=evaluation_view(session, lock_digest, person))
    return page(session, person, "/devices", "device.html", view)


@router.post("/devices/{lock_digest}/evaluations")
def evaluate_now(lock_digest: str, session: DbSession, person: Assessor, now: Now) -> Response:
    """Ask for an evaluation; the page it leads back to says how far it is."""
    on_demand.ask(session, lock_digest, by=person.name, now=now)
    return RedirectResponse(f"/devices/{lock_digest}#evaluation", SEE_OTHER)


@router.get("/devices/{lock_digest}/{topic}")
def device_topic(
    lock_digest: str,
    topic: Topic,
    session: DbSession,
    person: Viewer,
    now: Now,
    first: date | None = None,
    last: date | None = None,
    number: PageNumber = 1,
) -> HTMLResponse:
    """One question about a device version, over the days of the address."""
    period = first, last
    view = topic_view(session, lock_digest, topic, person.site_id, now, period, number)
    return page(session, person, "/devices", "subject.html", view)


@router.get("/balance")
def balance(session: DbSession, person: Viewer, number: PageNumber = 1) -> HTMLResponse:
    """Nothing is missing."""
    view = registers.balance_view(session, person.site_id, number)
    return page(session, person, "/balance", "list.html", view)


@router.get("/audit")
def audit_trail(
    session: DbSession, person: Auditor, before: Annotated[int | None, Query(ge=1)] = None
) -> HTMLResponse:
    """The audit trail."""
    return page(session, person, "/audit", "list.html", registers.audit_view(session, before))
