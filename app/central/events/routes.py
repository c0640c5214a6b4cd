"""Planned events: register one, and decide whether it opens a new stage."""

from __future__ import annotations

from fastapi import APIRouter, Request

from app.central.accounts import service as accounts
from app.central.accounts.permissions import Approver, Now, Registrar, Viewer
from app.central.database import DbSession
from app.central.events import service
from app.central.events.schemas import EventDecisionIn, NewEvent
from app.central.events.service import EventView
from app.central.problems import problems

router = APIRouter(prefix="/api/v1/events", tags=["events"])


@router.get("", response_model=list[EventView], responses=problems(401))
def list_events(
    session: DbSession, person: Viewer, lock_digest: str | None = None
) -> tuple[EventView, ...]:
    """Planned events with what was decided of each, newest first."""
    return service.events(session, lock_digest=lock_digest, site_id=person.site_id)


@router.get("/{event_id}", response_model=EventView, responses=problems(401, 404))
def show_event(event_id: str, session: DbSession, person: Viewer) -> EventView:
    """One planned event."""
    return service.get(session, event_id, scope=person.site_id)


@router.post("", response_model=EventView, status_code=201, responses=problems(401, 403, 404, 422))
def register_event(body: NewEvent, session: DbSession, person: Registrar, now: Now) -> EventView:
    """Register an event; it is drawn from then on, and changes no limit."""
    return service.register(
        session,
        body.lock_digest,
        body.site_id,
        scanner=body.scanner,
        kind=body.kind,
        first_day=body.first_day,
        last_day=body.last_day,
        description=body.description,
        by=person.name,
        scope=person.site_id,
        now=now,
    )


@router.post(
    "/{event_id}/decision",
    response_model=EventView,
    responses=problems(401, 403, 404, 409, 422),
)
def decide_event(
    event_id: str,
    body: EventDecisionIn,
    request: Request,
    session: DbSession,
    person: Approver,
    now: Now,
) -> EventView:
    """Approve that an event opens a new stage, or that it does not; signed with the password."""
    state = request.app.state
    signer = accounts.sign(state.sessions, person, body.password.get_secret_value(), now)
    return service.decide(
        session,
        event_id,
        body.verdict,
        reason=body.reason,
        seen_digest=body.seen_digest,
        signer=signer,
        key=state.key,
        scope=person.site_id,
    )
