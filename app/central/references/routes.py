"""Reference periods: propose, and approve as a second person."""

from __future__ import annotations

from fastapi import APIRouter

from app.central.accounts.permissions import Approver, Assessor, Now, Viewer
from app.central.database import DbSession
from app.central.problems import problems
from app.central.references import service
from app.central.references.schemas import NewReference
from app.central.references.service import ReferenceView

router = APIRouter(prefix="/api/v1/references", tags=["references"])


@router.get("", response_model=list[ReferenceView])
def list_references(session: DbSession, person: Viewer) -> tuple[ReferenceView, ...]:
    """Reference periods, newest first."""
    views = service.views(session)
    return tuple(service.seen_from(view, person.site_id) for view in views)


@router.post("", response_model=ReferenceView, status_code=201, responses=problems(403, 404, 422))
def propose_reference(
    body: NewReference, session: DbSession, now: Now, by: Assessor
) -> ReferenceView:
    """A candidate from the windows up to a day."""
    made = service.propose(session, body.lock_digest, body.until, by=by.name, now=now)
    return service.view(session, made)


@router.post(
    "/{reference_id}/approval", response_model=ReferenceView, responses=problems(403, 404, 409)
)
def approve_reference(
    reference_id: str, session: DbSession, now: Now, by: Approver
) -> ReferenceView:
    """Put a candidate in force; by another person than proposed it."""
    return service.view(session, service.approve(session, reference_id, by=by.name, now=now))
