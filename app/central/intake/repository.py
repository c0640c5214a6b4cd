"""Queries on what arrived."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Date, Row, and_, cast, func, select, text, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, aliased

from app.central.fleet.models import EdgeCursor
from app.central.fleet.repository import among
from app.central.intake.arrival import EVALUATION_TIME
from app.central.intake.models import Arrival, Outcome, QuarantinedContent, StoredWindow


@dataclass(frozen=True, slots=True)
class Reasoned:
    """How many windows of an edge were not accepted for a reason."""

    edge_id: str
    reason: str
    windows: int


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


def quarantined(session: Session, edge_ids: Sequence[str]) -> list[Reasoned]:
    """Why windows of these edges are in quarantine, counted."""
    query = (
        select(Arrival.edge_id, Arrival.reason, func.count())
        .where(Arrival.edge_id == among(edge_ids), Arrival.outcome == Outcome.QUARANTINED)
        .group_by(Arrival.edge_id, Arrival.reason)
    )
    return [Reasoned(*row) for row in session.execute(query)]


def refused(session: Session, edge_ids: Sequence[str]) -> list[Reasoned]:
    """Refused contents of these edges by reason."""
    query = (
        select(QuarantinedContent.edge_id, QuarantinedContent.reason, func.count())
        .where(QuarantinedContent.edge_id == among(edge_ids))
        .group_by(QuarantinedContent.edge_id, QuarantinedContent.reason)
    )
    return [Reasoned(*row) for row in session.execute(query)]


def last_window(session: Session, edge_id: str) -> datetime | None:
    """Day up to which the edge has sent cases: the end of the newest stored window of cases."""
    query = select(func.max(EdgeCursor.cases_end)).where(EdgeCursor.edge_id == edge_id)
    return session.scalar(query)


def cases_between(session: Session, edge_id: str, start: datetime, end: datetime) -> int:
    """Cases of an edge in windows that end in (start, end]."""
    w = StoredWindow
    query = select(func.sum(w.cases)).where(
        w.edge_id == edge_id, w.stream == "cases", w.end > start, w.end <= end
    )
    return int(session.scalar(query) or 0)


def newest(
    session: Session, *, edge_id: str, limit: int, before: tuple[int, int] | None = None
) -> Sequence[Arrival]:
    """Arrivals of an edge, newest first, from before an epoch and sequence on."""
    number = tuple_(Arrival.epoch, Arrival.sequence)
    query = select(Arrival).where(Arrival.edge_id == edge_id)
    if before is not None:
        query = query.where(number < before)
    order = Arrival.epoch.desc(), Arrival.sequence.desc()
    return session.scalars(query.order_by(*order).limit(limit)).all()


WindowKey = Row[str, int, int, str, str, str, datetime]


def window_index(
    session: Session,
    lock_digest: str,
    *,
    arrived_before: datetime,
    edge_ids: Sequence[str] | None = None,
) -> Sequence[WindowKey]:
    """Edge, epoch, sequence, digest, site, stream and arrival of every window of a version.

    Of these edges alone, where any are named.
    """
    w = StoredWindow
    query = (
        select(w.edge_id, w.epoch, w.sequence, w.digest, w.site_id, w.stream, w.received_at)
        .where(w.lock_digest == lock_digest, w.received_at < arrived_before)
        .order_by(w.edge_id, w.epoch, w.sequence)
    )
    if edge_ids is not None:
        query = query.where(w.edge_id.in_(edge_ids))
    return session.execute(query).all()


def arrivals_by_day(
    session: Session, lock_digest: str, *, arrived_before: datetime
) -> dict[date, int]:
    """How many windows of a version arrived on each day (`arrival.arrival_day`), oldest first."""
    w = StoredWindow
    evening = func.timezone("UTC", w.received_at) - timedelta(hours=EVALUATION_TIME.hour)
    day = (cast(evening, Date) + 1).label("day")
    query = select(day, func.count()).where(
        w.lock_digest == lock_digest, w.received_at < arrived_before
    )
    found = session.execute(query.group_by(day).order_by(day))
    return {row[0]: row[1] for row in found}


def arrived_within(
    session: Session, lock_digest: str, since: datetime, until: datetime
) -> Iterator[Row[str, int, int, str, bytes]]:
    """Edge, epoch, sequence, site and exact bytes of what arrived in [since, until)."""
    w = StoredWindow
    query = (
        select(w.edge_id, w.epoch, w.sequence, w.site_id, w.raw)
        .where(w.lock_digest == lock_digest, w.received_at >= since, w.received_at < until)
        .order_by(w.edge_id, w.epoch, w.sequence)
    )
    yield from session.execute(query.execution_options(yield_per=500))


def windows_of(
    session: Session, edge_id: str
) -> Iterator[Row[int, int, str, str, datetime, bytes]]:
    """Epoch, sequence, device version, site, arrival and exact bytes of an edge's windows."""
    w = StoredWindow
    columns = w.epoch, w.sequence, w.lock_digest, w.site_id, w.received_at, w.raw
    query = select(*columns).where(w.edge_id == edge_id)
    yield from session.execute(query.execution_options(yield_per=500))


def edges_that_sent(session: Session, lock_digest: str) -> Sequence[str]:
    """Edges with stored windows of a device version, whichever they run now."""
    query = select(StoredWindow.edge_id).where(StoredWindow.lock_digest == lock_digest)
    return session.scalars(query.distinct()).all()


def ledger_and_windows(session: Session, edge_id: str) -> Iterator[Row[Any, Any]]:
    """What the ledger and the table of windows each say of every stored window of an edge.

    A pair of rows a window, either of them None where it is missing. A few are held at a time.
    """
    arrived = select(Arrival).where(Arrival.edge_id == edge_id, Arrival.outcome == Outcome.STORED)
    stored = select(StoredWindow).where(StoredWindow.edge_id == edge_id)
    a, w = aliased(Arrival, arrived.subquery()), aliased(StoredWindow, stored.subquery())
    same = and_(a.epoch == w.epoch, a.sequence == w.sequence)
    query = select(a, w).join_from(a, w, same, full=True)
    # 20 at a time: each may be 2 MiB.
    with session.execute(query.execution_options(yield_per=20)) as found:
        yield from found


def raw_windows(
    session: Session, lock_digest: str, wanted: Sequence[WindowKey]
) -> dict[str, bytes]:
    """Exact bytes by window digest."""
    w = StoredWindow
    query = select(w.digest, w.raw).where(
        w.lock_digest == lock_digest,
        w.edge_id.in_({k.edge_id for k in wanted}),
        w.digest.in_([k.digest for k in wanted]),
    )
    return {row[0]: row[1] for row in session.execute(query)}


def stored_windows(
    session: Session, lock_digest: str, site_id: str | None, since: datetime, until: datetime
) -> list[tuple[Any, ...]]:
    """What is known of every window that starts in [since, until), without its bytes."""
    w = StoredWindow
    query = select(
        *(w.site_id, w.edge_id, w.epoch, w.sequence, w.revision, w.stream, w.start, w.end),
        *(w.closed_at, w.received_at, w.cases, w.digest),
    ).where(*_between(lock_digest, site_id, since, until))
    query = query.order_by(w.site_id, w.edge_id, w.epoch, w.sequence)
    return [tuple(row) for row in session.execute(query)]


def stored_cases(
    session: Session, lock_digest: str, site_id: str | None, since: datetime, until: datetime
) -> Iterator[Row[str, str, int, int, bytes]]:
    """Site, edge, epoch, sequence and bytes of every window of cases in [since, until)."""
    w = StoredWindow
    query = (
        select(w.site_id, w.edge_id, w.epoch, w.sequence, w.raw)
        .where(w.stream == "cases", *_between(lock_digest, site_id, since, until))
        .order_by(w.site_id, w.edge_id, w.epoch, w.sequence)
    )
    yield from session.execute(query.execution_options(yield_per=500))


def _between(
    lock_digest: str, site_id: str | None, since: datetime, until: datetime
) -> tuple[ColumnElement[bool], ...]:
    w = StoredWindow
    at_site = () if site_id is None else (w.site_id == site_id,)
    return (w.lock_digest == lock_digest, w.start >= since, w.start < until, *at_site)


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
