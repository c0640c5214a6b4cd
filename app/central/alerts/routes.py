"""Who is told, what became of every mail, and the duty to report a signal."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from app.central.accounts import service as accounts
from app.central.accounts.permissions import Administrator, Assessor, Now, Reporter, Viewer
from app.central.alerts import assessments, recipients, service
from app.central.alerts.assessments import VigilanceView
from app.central.alerts.schemas import (
    AssessmentIn,
    AwarenessIn,
    NewRecipient,
    RecipientOut,
    RecipientTest,
    Routing,
)
from app.central.alerts.service import MailView
from app.central.database import DbSession
from app.central.problems import problems
from app.central.surveillance import service as surveillance

router = APIRouter(prefix="/api/v1", tags=["alerts"])


@router.get("/recipients", response_model=list[RecipientOut], responses=problems(401, 403))
def list_recipients(session: DbSession, _: Administrator) -> list[RecipientOut]:
    """Everybody who is told about signals."""
    return [RecipientOut.model_validate(r) for r in service.recipients(session)]


@router.post(
    "/recipients", response_model=RecipientOut, status_code=201, responses=problems(403, 409, 422)
)
def add_recipient(
    body: NewRecipient, session: DbSession, now: Now, by: Administrator
) -> RecipientOut:
    """Tell somebody more."""
    given = {name: getattr(body, name) for name in NewRecipient.model_fields}
    made = service.add_recipient(
        session, given.pop("address"), given.pop("least_severity"), by=by.name, now=now, **given
    )
    return RecipientOut.model_validate(made)


@router.put(
    "/recipients/{address:path}", response_model=RecipientOut, responses=problems(403, 404, 422)
)
def change_recipient(
    address: str, body: Routing, session: DbSession, now: Now, by: Administrator
) -> RecipientOut:
    """Tell somebody other things from now on."""
    given = {name: getattr(body, name) for name in Routing.model_fields}
    changed = recipients.change(session, address, by=by.name, now=now, **given)
    return RecipientOut.model_validate(changed)


@router.delete(
    "/recipients/{address:path}",
    status_code=204,
    response_class=Response,
    responses=problems(403, 404),
)
def remove_recipient(address: str, session: DbSession, now: Now, by: Administrator) -> Response:
    """Tell somebody no longer."""
    service.remove_recipient(session, address, by=by.name, now=now)
    return Response(status_code=204)


@router.post(
    "/recipient-tests",
    status_code=204,
    response_class=Response,
    responses=problems(403, 404, 409, 422),
)
def test_recipient(
    body: RecipientTest, request: Request, session: DbSession, now: Now, by: Administrator
) -> Response:
    """Send one message that says it is a test; `mails` says what became of it."""
    state = request.app.state
    recipients.send_test(
        session,
        body.address,
        renderers=state.renderers,
        settings=state.settings,
        by=by.name,
        now=now,
    )
    return Response(status_code=204)


@router.get("/mails", response_model=list[MailView], responses=problems(401, 403))
def list_mails(
    session: DbSession, _: Administrator, limit: Annotated[int, Query(ge=1, le=1000)] = 100
) -> tuple[MailView, ...]:
    """What became of every message to every recipient, newest first."""
    return service.mails(session, limit)


@router.get("/signals/{signal_id}/vigilance", response_model=VigilanceView, responses=problems(404))
def show_vigilance(
    signal_id: str, request: Request, session: DbSession, now: Now, person: Viewer
) -> VigilanceView:
    """Who is aware since when, what was decided about reporting, and when each clock ends."""
    zone = request.app.state.settings.timezone
    return assessments.vigilance(session, signal_id, scope=person.site_id, zone=zone, now=now)


@router.post(
    "/signals/{signal_id}/awareness",
    response_model=VigilanceView,
    status_code=201,
    responses=problems(403, 404, 422),
)
def note_awareness(
    signal_id: str,
    body: AwarenessIn,
    request: Request,
    session: DbSession,
    now: Now,
    person: Assessor,
) -> VigilanceView:
    """Acknowledge a signal: the time of becoming aware is what reporting times count from."""
    assessments.note_awareness(
        session, signal_id, person, aware_at=body.aware_at or now, how=body.how, now=now
    )
    return show_vigilance(signal_id, request, session, now, person)


@router.post(
    "/signals/{signal_id}/reportability",
    response_model=VigilanceView,
    status_code=201,
    responses=problems(401, 403, 404, 409, 422),
)
def assess_reportability(
    signal_id: str,
    body: AssessmentIn,
    request: Request,
    session: DbSession,
    now: Now,
    person: Reporter,
) -> VigilanceView:
    """Sign an assessment of the duty to report; the password is given again."""
    surveillance.whole(session, signal_id, scope=person.site_id)
    state = request.app.state
    signer = accounts.sign(state.sessions, person, body.password.get_secret_value(), now)
    assessments.assess(
        session, signal_id, body.answers, seen_digest=body.seen_digest, signer=signer, key=state.key
    )
    return show_vigilance(signal_id, request, session, now, person)
