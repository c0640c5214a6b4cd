"""Queries on the counts of cases that pages read instead of windows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from sqlalchemy import ColumnElement, delete, func, insert, select, text
from sqlalchemy.dialects.postgresql import DATERANGE, Range
from sqlalchemy.orm import Session

from app.central.fleet.models import EdgeCursor
from app.central.intake.models import CaseCount

Key = tuple[str, str, date, date, date]
"""Device version, site, first day, day after the last, day of arrival."""
Counts = dict[Key, tuple[int, int]]
"""Analysed and flagged cases."""
SETTLE = text("""
    UPDATE edge_cursor AS cursor SET seen = known.seen, cases_end = known.cases_end
    FROM (
        SELECT epoch, range_agg(int8range(sequence, sequence + 1)) AS seen,
               max("end") FILTER (WHERE outcome = 'stored' AND stream = 'cases') AS cases_end
        FROM arrival WHERE edge_id = :edge_id GROUP BY epoch
    ) AS known
    WHERE cursor.edge_id = :edge_id AND cursor.epoch = known.epoch
        AND (cursor.seen, cursor.cases_end) IS DISTINCT FROM (known.seen, known.cases_end)
    RETURNING cursor.epoch
""")


@dataclass(frozen=True, slots=True)
class SiteCount:
    """Cases of a site, and the days they were acquired on, as half-open ranges."""

    analysed: int
    flagged: int
    days: tuple[Range[date], ...]


NOTHING = SiteCount(0, 0, ())


def received(
    session: Session, lock_digest: str, *, since: date, upto: date, scope: str | None = None
) -> dict[str, SiteCount]:
    """Cases acquired from the day `since` on that had arrived by the evaluation of `upto`."""
    c = CaseCount
    span = func.daterange(c.start, c.end, type_=DATERANGE)
    query = (
        select(c.site_id, func.sum(c.analysed), func.sum(c.flagged), func.range_agg(span))
        .where(*_arrived(lock_digest, upto, scope), c.start >= since)
        .group_by(c.site_id)
    )
    found = session.execute(query)
    return {site: SiteCount(int(a), _of(a, f), tuple(days)) for site, a, f, days in found}


def by_site(
    session: Session, lock_digest: str, *, since: date, upto: date, scope: str | None = None
) -> dict[str, tuple[int, int]]:
    """Of the same cases, those analysed and flagged."""
    c = CaseCount
    query = (
        select(c.site_id, func.sum(c.analysed), func.sum(c.flagged))
        .where(*_arrived(lock_digest, upto, scope), c.start >= since)
        .group_by(c.site_id)
    )
    return {site: (int(a), _of(a, f)) for site, a, f in session.execute(query)}


def before(
    session: Session, lock_digest: str, *, until: date, upto: date, scope: str | None = None
) -> tuple[int, int]:
    """Analysed and flagged cases acquired before the day `until`."""
    c = CaseCount
    query = select(func.sum(c.analysed), func.sum(c.flagged)).where(
        *_arrived(lock_digest, upto, scope), c.start < until
    )
    analysed, flagged = session.execute(query).one()
    return int(analysed or 0), _of(analysed or 0, flagged or 0)


def _of(analysed: int, flagged: int) -> int:
    """Flagged cases as they are shown; an edge's noise may leave a sum outside what can be."""
    return min(max(int(flagged), 0), int(analysed))


def _arrived(lock_digest: str, upto: date, scope: str | None) -> tuple[ColumnElement[bool], ...]:
    c = CaseCount
    mine = () if scope is None else (c.site_id == scope,)
    return (c.lock_digest == lock_digest, c.arrival <= upto, *mine)


def lock_cursors(session: Session, edge_id: str) -> None:
    """Wait until nothing of the edge is being taken in; nothing is until the transaction ends."""
    query = select(EdgeCursor.epoch).where(EdgeCursor.edge_id == edge_id).with_for_update()
    session.execute(query).all()


def counts_of(session: Session, edge_id: str) -> Counts:
    """What is kept of an edge."""
    c = CaseCount
    query = select(c.lock_digest, c.site_id, c.start, c.end, c.arrival, c.analysed, c.flagged)
    found = session.execute(query.where(c.edge_id == edge_id))
    return {(row[0], row[1], row[2], row[3], row[4]): (row[5], row[6]) for row in found}


def replace_counts(session: Session, edge_id: str, counts: Mapping[Key, tuple[int, int]]) -> None:
    """Keep these instead."""
    names = "lock_digest", "site_id", "start", "end", "arrival", "analysed", "flagged"
    session.execute(delete(CaseCount).where(CaseCount.edge_id == edge_id))
    rows = [
        {"edge_id": edge_id, **dict(zip(names, (*key, *values), strict=True))}
        for key, values in counts.items()
    ]
    if rows:
        session.execute(insert(CaseCount), rows)


def settle_cursors(session: Session, edge_id: str) -> int:
    """Cursors of an edge put right by its ledger of arrivals; how many that were."""
    return len(session.execute(SETTLE, {"edge_id": edge_id}).all())
