"""Watch the fleet itself: locks that do not hold, edges that are silent, late or starved.

These are a family of signals of their own, with a source that names the episode: each is
raised once. Lost routing is the commonest failure of such devices in use, so a site that still
talks but sees far fewer studies is told, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from app.central.fleet import repository
from app.central.fleet.models import Edge, EdgeState
from app.central.intake import repository as intake_repository
from app.central.surveillance import repository as surveillance_repository
from app.central.surveillance.service import Announce, raise_event
from app.contracts.disclosure import DEFAULT

SILENT_AFTER = timedelta(days=2)
LATE_AFTER = timedelta(days=DEFAULT.longest_days + 2)  # a small site merges up to longest_days
WEEK = timedelta(days=7)
WEEKS_BEFORE = 4
FEWEST_EXPECTED = 30  # cases a week, below which half of them is no surprise
STARVED_BELOW = 0.5


@dataclass(frozen=True, slots=True)
class Concern:
    """Something certain about an edge. `source` names it, so that it is raised once."""

    source: str
    event: str
    cause: str


def watch(session: Session, announce: Announce, now: datetime) -> None:
    """Raise a deterministic signal for every concern about an active edge, once."""
    for edge in repository.edges(session):
        for concern in (*concerns(edge, now), *traffic(session, edge, now)):
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


def traffic(session: Session, edge: Edge, now: datetime) -> Iterator[Concern]:
    """What is wrong with what an edge that still talks sends."""
    heard, approved = edge.last_seen_at, edge.approved_at
    if edge.state is not EdgeState.ACTIVE or heard is None or approved is None:
        return
    if now - heard > SILENT_AFTER:
        return  # silence is a signal already
    last = intake_repository.last_window(session, edge.id) or approved
    if now - last > LATE_AFTER:
        yield Concern(f"lateness:{edge.id}:{last.isoformat()}", "lateness", "data_quality")
    elif _is_starved(session, edge.id, last) and not _is_told(session, edge.id, now):
        year, week, _ = now.isocalendar()
        yield Concern(f"routing:{edge.id}:{year}-{week}", "routing", "data_quality")


def _is_told(session: Session, edge_id: str, now: datetime) -> bool:
    """A fall lasts as one episode until every week it is measured against lies within it."""
    since = now - (WEEKS_BEFORE + 1) * WEEK
    return surveillance_repository.has_raised(session, f"routing:{edge_id}:", since)


def _is_starved(session: Session, edge_id: str, end: datetime) -> bool:
    """Fewer than half the cases of an average week of the four before, in the week up to `end`.

    `end` is where the edge's own windows end: days that it has not closed yet are not missing.
    """
    start = end - WEEK
    before = intake_repository.cases_between(session, edge_id, start - WEEKS_BEFORE * WEEK, start)
    expected = before / WEEKS_BEFORE
    if expected < FEWEST_EXPECTED:
        return False
    return intake_repository.cases_between(session, edge_id, start, end) < STARVED_BELOW * expected
