"""Queries on planned events."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.central.events.models import EventDecision, PlannedEvent


def find(session: Session, event_id: str, *, lock: bool = False) -> PlannedEvent | None:
    """The event of that number."""
    return session.get(PlannedEvent, event_id, with_for_update=lock)


def with_decisions(
    session: Session,
    *,
    lock_digest: str | None = None,
    site_id: str | None = None,
    event_id: str | None = None,
    limit: int = 1000,
) -> Sequence[tuple[PlannedEvent, EventDecision | None]]:
    """Events with what was decided of each, newest first."""
    query = (
        select(PlannedEvent, EventDecision)
        .outerjoin(EventDecision, EventDecision.event_id == PlannedEvent.id)
        .order_by(PlannedEvent.first_day.desc(), PlannedEvent.id.desc())
        .limit(limit)
    )
    if lock_digest is not None:
        query = query.where(PlannedEvent.lock_digest == lock_digest)
    if site_id is not None:
        query = query.where(PlannedEvent.site_id == site_id)
    if event_id is not None:
        query = query.where(PlannedEvent.id == event_id)
    return [(event, decision) for event, decision in session.execute(query)]
