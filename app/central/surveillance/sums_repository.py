"""Queries on the sums that are kept, and on the windows that they do not hold yet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import Row, delete, func, select, text
from sqlalchemy.dialects.postgresql import INT8MULTIRANGE
from sqlalchemy.orm import Session

from app.central.surveillance.sum_models import SitePresence, SumBlock, SumCursor
from app.central.surveillance.sums import (
    DAILY,
    Dated,
    Kind,
    Presence,
    Span,
    Sums,
    merged,
    month_of,
    packed,
    table_of,
    unpacked,
)
from app.contracts.window import Table

SUMMING, SHOWING = 9_012_027, 9_012_028  # advisory locks: any numbers, the same in every process
AT_A_TIME = 500  # windows in memory
BEHIND = text("""
    SELECT cursor.edge_id, cursor.epoch,
           cursor.seen - coalesce(known.summed, '{}'::int8multirange) AS missing
    FROM edge_cursor AS cursor
    LEFT JOIN sum_cursor AS known USING (edge_id, epoch)
    WHERE cursor.seen <> coalesce(known.summed, '{}'::int8multirange)
    ORDER BY cursor.edge_id, cursor.epoch
""").columns(missing=INT8MULTIRANGE)
_WINDOWS = """
    SELECT w.edge_id, w.epoch, w.sequence, w.lock_digest, w.site_id, w.received_at, w.digest{raw}
    FROM unnest(CAST(:edges AS text[]), CAST(:epochs AS bigint[]), CAST(:lows AS bigint[]),
                CAST(:highs AS bigint[])) AS missing (edge_id, epoch, low, high)
    JOIN arrival AS a ON a.edge_id = missing.edge_id AND a.epoch = missing.epoch
        AND a.sequence >= missing.low AND a.sequence < missing.high AND a.outcome = 'stored'
    JOIN stored_window AS w ON w.edge_id = a.edge_id AND w.start = a.start
        AND w.epoch = a.epoch AND w.sequence = a.sequence
    ORDER BY w.edge_id, w.epoch, w.sequence
"""
KNOWN, WHOLE = (text(_WINDOWS.format(raw=raw)) for raw in ("", ", w.raw"))
PRESENT = text("""
    INSERT INTO site_presence (lock_digest, site_id, days, margins)
    VALUES (:lock_digest, :site_id, CAST(:days AS datemultirange), CAST(:margins AS text[]))
    ON CONFLICT (lock_digest, site_id) DO UPDATE SET
        days = site_presence.days + excluded.days,
        margins = ARRAY(
            SELECT DISTINCT unnest(site_presence.margins || excluded.margins) ORDER BY 1
        )
""")
SUMMED = text("""
    INSERT INTO sum_cursor (edge_id, epoch, summed)
    VALUES (:edge_id, :epoch, int8multirange(int8range(:low, :high)))
    ON CONFLICT (edge_id, epoch) DO UPDATE SET summed = sum_cursor.summed + excluded.summed
""")


@dataclass(frozen=True, slots=True)
class Missing:
    """Sequence numbers from `low` to before `high` that the sums do not hold."""

    edge_id: str
    epoch: int
    low: int
    high: int


WindowRow = Row[str, int, int, str, str, datetime, str, bytes]
"""Edge, epoch, sequence, device version, site, arrival, digest, exact bytes."""


def is_ours_to_sum(session: Session) -> bool:
    """Whether nobody else sums; if so, nobody will until the transaction ends."""
    return bool(session.scalar(text("SELECT pg_try_advisory_xact_lock(:n)"), {"n": SUMMING}))


def wait_to_sum(session: Session) -> None:
    """Wait until nobody else sums; nobody will until the transaction ends."""
    session.execute(text("SELECT pg_advisory_xact_lock(:n)"), {"n": SUMMING})


def hold_still(session: Session) -> None:
    """Nothing of the sums changes until the transaction ends: what it reads of them fits."""
    session.execute(text("SELECT pg_advisory_xact_lock_shared(:n)"), {"n": SHOWING})


def wait_to_change(session: Session) -> None:
    """Wait until nobody reads the sums; nobody will until the transaction ends."""
    session.execute(text("SELECT pg_advisory_xact_lock(:n)"), {"n": SHOWING})


def missing(session: Session) -> list[Missing]:
    """Windows that have arrived and that the sums do not hold."""
    return [
        Missing(edge_id, epoch, span.lower, span.upper)
        for edge_id, epoch, spans in session.execute(BEHIND)
        for span in spans
    ]


def windows(session: Session, some: Sequence[Missing], *, raw: bool) -> Sequence[WindowRow]:
    """The stored ones of these, with their bytes or without."""
    return session.execute(WHOLE if raw else KNOWN, _given(some)).all()


def each_window(session: Session, some: Sequence[Missing]) -> Iterator[WindowRow]:
    """The same with their bytes, some hundred in memory at a time."""
    for one in some:
        for low in range(one.low, one.high, AT_A_TIME):
            part = Missing(one.edge_id, one.epoch, low, min(low + AT_A_TIME, one.high))
            yield from windows(session, [part], raw=True)


def _given(some: Sequence[Missing]) -> dict[str, list[str] | list[int]]:
    return {
        "edges": [m.edge_id for m in some],
        "epochs": [m.epoch for m in some],
        "lows": [m.low for m in some],
        "highs": [m.high for m in some],
    }


def summed(session: Session) -> list[Missing]:
    """Windows that the sums hold."""
    c = SumCursor
    found = session.execute(select(c.edge_id, c.epoch, c.summed))
    return [
        Missing(edge_id, epoch, span.lower, span.upper)
        for edge_id, epoch, spans in found
        for span in spans
        if span.lower is not None and span.upper is not None
    ]


def mark_summed(session: Session, some: Sequence[Missing]) -> None:
    """From now on the sums hold these."""
    rows = [{"edge_id": m.edge_id, "epoch": m.epoch, "low": m.low, "high": m.high} for m in some]
    if rows:
        session.execute(SUMMED, rows)


def add(session: Session, lock_digest: str, sums: Sums) -> None:
    """Add to what is kept of a device version. `wait_to_change` comes first."""
    for (span, kind, day), table in blocks_of(sums).items():
        before = session.get(SumBlock, (lock_digest, kind, span, day))
        if before is None:
            content = packed(table)
            session.add(
                SumBlock(lock_digest=lock_digest, kind=kind, span=span, start=day, content=content)
            )
        else:
            before.content = packed(merged(kind, [unpacked(before.content), table]))
    session.flush()
    if sums.presence:
        session.execute(PRESENT, [_present(lock_digest, *one) for one in sums.presence.items()])


Block = tuple[str, Kind, date]


def blocks_of(sums: Sums) -> dict[Block, Table]:
    """What is kept of sums: each part, and those of days again by month."""
    made: dict[Block, Table] = {}
    months: dict[Dated, list[Table]] = {}
    for (kind, day), rows in sums.parts.items():
        table = table_of(rows)
        months.setdefault((kind, month_of(day)), []).append(table)
        if kind in DAILY:
            made["day", kind, day] = table
    made |= {("month", k, day): merged(k, tables) for (k, day), tables in months.items()}
    return made


def _present(lock_digest: str, site_id: str, here: Presence) -> dict[str, object]:
    spans = sorted(here.days)
    return {
        "lock_digest": lock_digest,
        "site_id": site_id,
        "days": "{" + ",".join(f"[{a},{b})" for a, b in spans) + "}",
        "margins": sorted(here.margins),
    }


def kept_blocks(session: Session, lock_digest: str) -> dict[Block, Table]:
    """Every block of a device version."""
    b = SumBlock
    found = session.execute(
        select(b.span, b.kind, b.start, b.content).where(b.lock_digest == lock_digest)
    )
    return {(span, Kind(kind), start): unpacked(content) for span, kind, start, content in found}


def kept_presence(session: Session, lock_digest: str) -> dict[str, Presence]:
    """What every site has sent, as it is kept: adjoining days are one span."""
    p = SitePresence
    found = session.execute(
        select(p.site_id, p.days, p.margins).where(p.lock_digest == lock_digest)
    )
    return {
        site: Presence(
            {(d.lower, d.upper) for d in days if d.lower is not None and d.upper is not None},
            set(margins),
        )
        for site, days, margins in found
    }


RECEIVED = text("""
    SELECT p.site_id, lower(span), upper(span)
    FROM site_presence AS p,
         unnest(p.days * datemultirange(daterange(:first, :until))) AS span
    WHERE p.lock_digest = :lock_digest ORDER BY p.site_id, span
""")


def received(session: Session, lock_digest: str, start: date, end: date) -> dict[str, list[Span]]:
    """Of the days from `start` to before `end`, those of which each site has sent cases."""
    found: dict[str, list[Span]] = {}
    given = {"lock_digest": lock_digest, "first": start, "until": end}
    for site, first, last in session.execute(RECEIVED, given):
        found.setdefault(site, []).append((first, last))
    return found


def sites(session: Session, lock_digest: str, *, margin: str | None = None) -> set[str]:
    """Sites that have sent cases, or, where a `margin` is named, that margin."""
    p = SitePresence
    sent = ~func.isempty(p.days) if margin is None else p.margins.contains([margin])
    return set(session.scalars(select(p.site_id).where(p.lock_digest == lock_digest, sent)))


def forget(session: Session, lock_digest: str) -> None:
    """Drop the sums of a device version."""
    for table in (SumBlock, SitePresence):
        session.execute(delete(table).where(table.lock_digest == lock_digest))
