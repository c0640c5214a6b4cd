"""What the journal says of cases: each is received once and ends in exactly one state.

    received = analysed + quality_rejected + abstained + outside_limits + failed + waiting

Every function takes the open transaction (`Journal.do`). Flagged cases are analysed cases.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from app.contracts.manifest import Manifest, parse_manifest
from app.edge.journal import count, meta
from app.edge.pseudonyms import Stratum

WAITING = "waiting"
OUTCOMES = (
    "analysed",
    "flagged",
    "abstained",
    "quality_rejected",
    "outside_limits",
    "failed",
)


class Arrival(StrEnum):
    """What an object turned out to be when it was written down."""

    NEW = "new"
    DUPLICATE = "duplicate"
    OTHER_BYTES = "same_uid_other_bytes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """Everything the journal keeps of a finished case; nothing here identifies a patient."""

    state: str  # one of OUTCOMES
    reason: str  # a closed word
    version: int
    stratum: Stratum
    day: int
    measures: bytes
    seconds: float | None
    results: Sequence[tuple[str, str]] = ()  # file in the outbox, destination
    notes: Sequence[str] = ()  # counted closed words, such as a missing acquisition date


def arrive(db: sqlite3.Connection, key: bytes, content: bytes, day: int) -> Arrival:
    """Write an object down; only a new one is a case."""
    row = db.execute("SELECT content FROM cases WHERE key = ?", (key,)).fetchone()
    if row is None:
        db.execute(
            "INSERT INTO cases (key, content, received_on) VALUES (?, ?, ?)", (key, content, day)
        )
        return Arrival.NEW
    if row[0] == content:
        count(db, "object", "duplicate")
        return Arrival.DUPLICATE
    count(db, "refused", Arrival.OTHER_BYTES)
    return Arrival.OTHER_BYTES


def finish(db: sqlite3.Connection, key: bytes, done: Finished) -> bool:
    """Give a waiting case its end. False if it had one already: it is counted once."""
    changed = db.execute(
        "UPDATE cases SET state = ?, reason = ?, version = ?, stratum = ?, day = ?, seen = ?,"
        " measures = ?, seconds = ? WHERE key = ? AND state = 'waiting'",
        (
            done.state,
            done.reason,
            done.version,
            _stratum_id(db, done.stratum),
            done.day,
            meta(db, "closed_through"),
            done.measures,
            done.seconds,
            key,
        ),
    ).rowcount
    if not changed:
        return False
    db.executemany(
        "INSERT OR IGNORE INTO deliveries (name, destination) VALUES (?, ?)", done.results
    )
    for note in done.notes:
        count(db, "note", note)
    return True


def waiting(db: sqlite3.Connection) -> list[bytes]:
    """Keys of the cases that have no end yet, oldest first."""
    rows = db.execute("SELECT key FROM cases WHERE state = 'waiting' ORDER BY id")
    return [bytes(key) for (key,) in rows]


def content(db: sqlite3.Connection, key: bytes) -> bytes:
    """The SHA-256 of the object of a case, as it was received."""
    row = db.execute("SELECT content FROM cases WHERE key = ?", (key,)).fetchone()
    return bytes(row[0]) if row else b""


def is_waiting(db: sqlite3.Connection, key: bytes) -> bool | None:
    """Whether a case waits; None if the journal does not know it."""
    row = db.execute("SELECT state FROM cases WHERE key = ?", (key,)).fetchone()
    return None if row is None else row[0] == WAITING


def remember_refusal(db: sqlite3.Connection, key: bytes) -> None:
    """Note that an object was refused for a reason that will not change by itself."""
    db.execute("INSERT OR IGNORE INTO refusals VALUES (?)", (key,))


def was_refused(db: sqlite3.Connection, key: bytes) -> bool:
    """Whether an object was refused for good."""
    return db.execute("SELECT 1 FROM refusals WHERE key = ?", (key,)).fetchone() is not None


def balance(db: sqlite3.Connection) -> dict[str, int]:
    """The edge's balance, by the names of the window contract, without `window_cases`."""
    states = dict(db.execute("SELECT state, count(*) FROM cases GROUP BY state"))
    deliveries = dict(db.execute("SELECT state, count(*) FROM deliveries GROUP BY state"))
    counters = counted(db)
    refused = sum(n for (kind, _), n in counters.items() if kind == "refused")
    return {
        "received": sum(states.values()),
        "analysed": states.get("analysed", 0) + states.get("flagged", 0),
        **{name: states.get(name, 0) for name in _OTHER_ENDS},
        "waiting": states.get(WAITING, 0),
        "duplicates": counters.get(("object", "duplicate"), 0),
        "refused_objects": refused,
        "results_queued": sum(deliveries.values()),
        "results_delivered": deliveries.get("delivered", 0),
        "results_failed": deliveries.get("failed", 0),
        "cases_held_back": _one(db, "SELECT count(*) FROM cases WHERE cases_window = 0"),
        "labels_held_back": _one(db, _LABELS_HELD),
        "windows_produced": _one(db, "SELECT count(*) FROM windows"),
    }


def reasons(db: sqlite3.Connection) -> dict[tuple[str, str], int]:
    """Cases by (outcome, reason), objects refused and notes by (kind, reason), so far."""
    found = {
        (outcome, reason): n
        for outcome, reason, n in db.execute(
            "SELECT state, reason, count(*) FROM cases WHERE reason <> '' GROUP BY state, reason"
        )
    }
    return found | counted(db)


def counted(db: sqlite3.Connection) -> dict[tuple[str, str], int]:
    """All counters by (kind, reason)."""
    return {(kind, reason): n for kind, reason, n in db.execute("SELECT * FROM counters")}


def version_of(db: sqlite3.Connection, manifest: Manifest) -> int:
    """The journal's number of a device version, remembered with its manifest."""
    digest = manifest.lock_digest
    db.execute(
        "INSERT OR IGNORE INTO versions (lock_digest, manifest) VALUES (?, ?)",
        (digest, manifest.canonical),
    )
    return _one(db, "SELECT id FROM versions WHERE lock_digest = ?", digest)


def versions(db: sqlite3.Connection) -> Iterator[tuple[int, Manifest]]:
    """Every device version that ever ran here, oldest first."""
    for number, raw in db.execute("SELECT id, manifest FROM versions ORDER BY id"):
        yield int(number), parse_manifest(bytes(raw))


_OTHER_ENDS = ("quality_rejected", "abstained", "outside_limits", "failed")
_LABELS_HELD = (
    "SELECT count(*) FROM labels JOIN cases USING (key)"
    " WHERE (window IS NULL OR window = 0) AND state IN ('analysed', 'flagged')"
)


def _stratum_id(db: sqlite3.Connection, stratum: Stratum) -> int:
    db.execute(
        "INSERT OR IGNORE INTO strata (scanner, manufacturer, model, software_version, protocol)"
        " VALUES (?, ?, ?, ?, ?)",
        stratum,
    )
    return _one(
        db,
        "SELECT id FROM strata WHERE (scanner, manufacturer, model, software_version, protocol)"
        " = (?, ?, ?, ?, ?)",
        *stratum,
    )


def _one(db: sqlite3.Connection, query: str, *values: object) -> int:
    return int(db.execute(query, values).fetchone()[0])
