"""Seal a window: chain it to the one before, sign it, and keep its exact bytes.

Runs inside the transaction that marks its rows as counted; so a window and what it counted
are remembered together, or not at all.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from app.contracts.disclosure import Limits
from app.contracts.manifest import Manifest
from app.contracts.signing import SigningKey
from app.contracts.window import BALANCE, LATENCY_EDGES_S, Header, Table, encode
from app.edge import AGENT_VERSION
from app.edge.cases import balance, reasons
from app.edge.journal import meta
from app.edge.operating_points import in_use
from monitors.schema import IntArray

Tables = dict[str, Table]
NOISE_THROUGH = "noise_through"  # of the journal: the first day that was not closed with noise on
RESULTS = ("results_queued", "results_delivered", "results_failed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Closing:
    """Everything about a round of closing that is not a journal row."""

    now: datetime
    zone: ZoneInfo
    watermark: timedelta
    limits: Limits
    key: SigningKey
    edge_id: str
    epoch: int
    lock_state: str
    deviation: float
    clock_state: str = "unknown"
    clock_offset: timedelta = timedelta()
    noise_epsilon: float | None = None

    @property
    def as_of(self) -> int:
        """The first day that is not closed yet."""
        return (self.now - self.watermark).astimezone(self.zone).date().toordinal()


def seal(
    db: sqlite3.Connection,
    closing: Closing,
    manifest: Manifest,
    stream: str,
    start: int,
    end: int,
    tables: Tables,
    members: IntArray | None = None,
    *,
    count: int = 0,
    is_late: bool = False,
) -> int:
    """Chain, sign and keep one window; its sequence."""
    sequence, previous = _chain(db, closing.epoch)
    since, until = _midnight(start, closing.zone), _midnight(end, closing.zone)
    tables["balance"] = _balance(db, sequence, len(members) if members is not None else count)
    if stream == "cases":
        tables["reasons"] = _reasons(db)
        if closing.noise_epsilon is None:
            tables["latency"] = _latency(db, members)
    header = Header(
        edge_id=closing.edge_id,
        epoch=closing.epoch,
        sequence=sequence,
        previous=previous,
        stream=stream,
        start=since,
        end=until,
        revision=max(_revision(db, stream, since), int(is_late)),
        lock_digest=manifest.lock_digest,
        operating_point=in_use(db, manifest, at=until).id,
        schema_digest=manifest.schema_.digest,
        agent_version=AGENT_VERSION,
        lock_state=closing.lock_state,
        known_answer_deviation=closing.deviation,
        clock_state=closing.clock_state,
        clock_offset_ms=round(closing.clock_offset / timedelta(milliseconds=1)),
        closed_at=closing.now,
    )
    window = encode(header, tables, closing.key)
    db.execute(
        "INSERT INTO windows (epoch, sequence, digest, stream, start, revision, raw)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            header.epoch,
            sequence,
            window.digest,
            stream,
            int(since.timestamp()),
            header.revision,
            window.raw,
        ),
    )
    return sequence


def _chain(db: sqlite3.Connection, epoch: int) -> tuple[int, str]:
    """The next sequence, and the digest of the window before it."""
    row = db.execute(
        "SELECT sequence, digest FROM windows WHERE epoch = ? ORDER BY sequence DESC LIMIT 1",
        (epoch,),
    ).fetchone()
    return (int(row[0]) + 1, str(row[1])) if row else (1, "0" * 64)


def _revision(db: sqlite3.Connection, stream: str, start: datetime) -> int:
    return _one(
        db,
        "SELECT count(*) FROM windows WHERE stream = ? AND start = ?",
        stream,
        int(start.timestamp()),
    )


def _balance(db: sqlite3.Connection, sequence: int, window_cases: int) -> Table:
    values = balance(db) | {"window_cases": window_cases, "windows_produced": sequence}
    if meta(db, NOISE_THROUGH) is not None:
        # Results are of flagged cases: so far, and before, would give the flags of noisy days.
        values |= dict.fromkeys(RESULTS, 0)
    return Table((("",),), np.array([[values[name] for name in BALANCE]], dtype=np.int64))


def _reasons(db: sqlite3.Connection) -> Table:
    known = reasons(db)
    if meta(db, NOISE_THROUGH) is not None:  # notes are of cases that have a result to build
        known = {key: n for key, n in known.items() if key[0] != "note"}
    found = sorted(known.items())
    values = np.array([n for _, n in found], dtype=np.int64).reshape(len(found), 1)
    return Table(tuple(key for key, _ in found), values)


def _latency(db: sqlite3.Connection, members: IntArray | None) -> Table:
    """Seconds from last byte to result, of the cases in this window."""
    wanted = set(members.tolist() if members is not None else ())
    rows = db.execute("SELECT id, seconds FROM cases WHERE cases_window IS NULL AND seconds >= 0")
    seconds = [s for i, s in rows if i in wanted]
    place = np.searchsorted(LATENCY_EDGES_S, seconds, side="right") - 1
    return Table((("",),), np.bincount(place, minlength=len(LATENCY_EDGES_S))[None, :])


def produced(db: sqlite3.Connection) -> int:
    """How many windows there are."""
    return _one(db, "SELECT count(*) FROM windows")


def _one(db: sqlite3.Connection, query: str, *values: object) -> int:
    return int(db.execute(query, values).fetchone()[0])


def _midnight(day: int, zone: ZoneInfo) -> datetime:
    """The instant at which a site-local day begins."""
    return datetime.combine(date.fromordinal(day), time(), tzinfo=zone).astimezone(UTC)
