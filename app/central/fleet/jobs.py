"""Watch the fleet itself: locks that do not hold, edges that have fallen silent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from app.central.fleet import repository
from app.central.fleet.models import Edge, EdgeState
from app.central.surveillance.service import Announce, raise_event

SILENT_AFTER = timedelta(days=2)


@dataclass(frozen=True, slots=True)
class Concern:
    """Something certain about an edge. `source` names it, so that it is raised once."""

    source: str
    event: str
    cause: str


def watch(session: Session, announce: Announce, now: datetime) -> None:
    """Raise a deterministic signal for every concern about an active edge, once."""
    for edge in repository.edges(session):
        for concern in concerns(edge, now):
            raise_event(
                session,
                edge.lock_digest,
                source=concern.source,
                event=concern.event,
                cause=concern.cause,
                site=edge.site_id,
                announce=announce,
                now=now,
            )


def concerns(edge: Edge, now: datetime) -> Iterator[Concern]:
    """What is wrong with an edge now."""
    if edge.state is not EdgeState.ACTIVE:
        return
    if edge.reported_lock != edge.lock_digest:
        yield Concern(f"lock:{edge.id}:{edge.reported_lock}", "lock", "lock")
    elif edge.lock_state == "broken":
        yield Concern(f"lock:{edge.id}:broken:{edge.reported_lock}", "lock", "lock")
    heard = edge.last_seen_at or edge.approved_at or edge.enrolled_at
    if now - heard > SILENT_AFTER:
        yield Concern(f"silence:{edge.id}:{heard.isoformat()}", "silence", "data_quality")
