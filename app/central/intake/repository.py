"""Queries on what arrived."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Row, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.central.intake.models import Arrival, Outcome, QuarantinedContent, StoredWindow


@dataclass(frozen=True, slots=True)
class Tally:
    """How many windows of an edge and epoch became what."""

    epoch: int
    outcome: Outcome
    windows: int


def find_arrival(session: Session, edge_id: str, epoch: int, sequence: int) -> Arrival | None:
    """What became of a sequence number."""
    return session.get(Arrival, (edge_id, epoch, sequence))


def keep_aside(session: Session, content: QuarantinedContent) -> None:
    """Keep refused bytes; the same bytes again are only counted."""
    values = {
        column.key: getattr(content, column.key)
        for column in QuarantinedContent.__mapper__.column_attrs
    }
    made = insert(QuarantinedContent).values(values)
    session.execute(
        made.on_conflict_do_update(
            index_elements=["edge_id", "content_digest"],
            set_={"times": QuarantinedContent.times + 1},
        )
    )


def tallies(session: Session, edge_id: str) -> list[Tally]:
    """Arrivals of an edge by epoch and outcome."""
    query = (
        select(Arrival.epoch, Arrival.outcome, func.count())
        .where(Arrival.edge_id == edge_id)
        .group_by(Arrival.epoch, Arrival.outcome)
    )
    return [Tally(*row) for row in session.execute(query)]


def reasons(session: Session, edge_id: str) -> dict[str, int]:
    """Why windows of an edge are in quarantine, counted."""
    query = (
        select(Arrival.reason, func.count())
        .where(Arrival.edge_id == edge_id, Arrival.outcome == Outcome.QUARANTINED)
        .group_by(Arrival.reason)
    )
    return {row[0]: row[1] for row in session.execute(query)}


def refused(session: Session, edge_id: str) -> dict[str, int]:
    """Refused contents of an edge by reason."""
    query = (
        select(QuarantinedContent.reason, func.count())
        .where(QuarantinedContent.edge_id == edge_id)
        .group_by(QuarantinedContent.reason)
    )
    return {row[0]: row[1] for row in session.execute(query)}


def last_window(session: Session, edge_id: str) -> datetime | None:
    """Day up to which the edge has sent cases: the end of the newest stored window of cases."""
    w = StoredWindow
    query = select(func.max(w.end)).where(w.edge_id == edge_id, w.stream == "cases")
    return session.scalar(query)


def cases_between(session: Session, edge_id: str, start: datetime, end: datetime) -> int:
    """Cases of an edge in windows that end in (start, end]."""
    w = StoredWindow
    query = select(func.sum(w.cases)).where(
        w.edge_id == edge_id, w.stream == "cases", w.end > start, w.end <= end
    )
    return int(session.scalar(query) or 0)


def newest(session: Session, *, edge_id: str, limit: int) -> Sequence[Arrival]:
    """Arrivals of an edge, newest first."""
    query = (
        select(Arrival)
        .where(Arrival.edge_id == edge_id)
        .order_by(Arrival.epoch.desc(), Arrival.sequence.desc())
        .limit(limit)
    )
    return session.scalars(query).all()


WindowKey = Row[str, int, int, str, str, str, datetime]


def window_index(
    session: Session, lock_digest: str, *, arrived_before: datetime
) -> Sequence[WindowKey]:
    """Edge, epoch, sequence, digest, site, stream and arrival of every window of a version."""
    w = StoredWindow
    query = (
        select(w.edge_id, w.epoch, w.sequence, w.digest, w.site_id, w.stream, w.received_at)
        .where(w.lock_digest == lock_digest, w.received_at < arrived_before)
        .order_by(w.edge_id, w.epoch, w.sequence)
    )
    return session.execute(query).all()


def raw_windows(session: Session, lock_digest: str, digests: Sequence[str]) -> dict[str, bytes]:
    """Exact bytes by window digest."""
    query = select(StoredWindow.digest, StoredWindow.raw).where(
        StoredWindow.lock_digest == lock_digest, StoredWindow.digest.in_(digests)
    )
    return {row[0]: row[1] for row in session.execute(query)}


def add_partition(session: Session, name: str, start: datetime, end: datetime) -> None:
    """Give a month its own partition; what the default holds of it moves there."""
    known = session.scalar(text("SELECT to_regclass(:n)"), {"n": name})
    if known is not None:
        return
    span = {"start": start, "end": end}
    session.execute(text(f"CREATE TABLE {name} (LIKE stored_window INCLUDING ALL)"))
    session.execute(
        text(
            "WITH moved AS (DELETE FROM stored_window_default "  # noqa: S608 - name is ours
            "WHERE start >= :start AND start < :end RETURNING *) "
            f"INSERT INTO {name} SELECT * FROM moved"
        ),
        span,
    )
    bounds = f"FROM ('{start.isoformat()}') TO ('{end.isoformat()}')"
    session.execute(text(f"ALTER TABLE stored_window ATTACH PARTITION {name} FOR VALUES {bounds}"))
