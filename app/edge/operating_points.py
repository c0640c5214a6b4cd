"""Operating points of this installation: verified, kept, and applied between studies.

The journal holds every one that was accepted, in order. Only the envelope inside the edge's own
signed bundle decides what is accepted; a refusal changes nothing and is counted.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime

from app.contracts.change_control import InUse, PointRefused, check, cleared
from app.contracts.exchange import OPERATING_POINT_TYPE, OperatingPoint, parse
from app.contracts.manifest import Manifest, Threshold
from app.contracts.signing import open_sealed, sha256
from app.edge.journal import count
from app.edge.logs import log
from app.errors import ContractError, SignatureRefused

KIND = "operating_point"  # of counters


def in_use(db: sqlite3.Connection, manifest: Manifest, at: datetime | None = None) -> InUse:
    """The operating point applied last (by `at`), or the cleared one."""
    limit = 2**62 if at is None else int(at.timestamp())
    row = db.execute(
        f"{_SELECT} AND applied <= ? ORDER BY counter DESC LIMIT 1", (manifest.lock_digest, limit)
    ).fetchone()
    return _read(db, manifest, row)


def newest(db: sqlite3.Connection, manifest: Manifest) -> InUse:
    """The newest that was accepted, applied or still waiting for its day."""
    row = db.execute(f"{_SELECT} ORDER BY counter DESC LIMIT 1", (manifest.lock_digest,)).fetchone()
    return _read(db, manifest, row)


def take(
    db: sqlite3.Connection,
    manifest: Manifest,
    site: str,
    envelope: bytes,
    keys: Sequence[bytes],
) -> str:
    """Verify and keep an operating point; its id. `PointRefused` says why not, and is counted."""
    point = _verified(envelope, keys)
    known = db.execute(
        "SELECT payload FROM operating_points WHERE lock_digest = ? AND counter = ?",
        (point.lock_digest, point.counter),
    ).fetchone()
    last = newest(db, manifest)
    if known is not None and known[0] == _digest(point):
        if point.counter == last.counter:
            return point.id  # the same again changes nothing
        raise PointRefused("replayed", f"{point.id} was superseded by {last.id}")
    check(point, manifest, site, last)
    db.execute(
        "INSERT INTO operating_points"
        " (lock_digest, counter, point, payload, envelope, effective_from)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (
            point.lock_digest,
            point.counter,
            point.model_dump_json(),
            _digest(point),
            envelope,
            int(point.effective_from.timestamp()),
        ),
    )
    count(db, KIND, "accepted")
    return point.id


def apply_due(db: sqlite3.Connection, manifest: Manifest, now: datetime) -> InUse | None:
    """Note as applied what has become effective; the one now in use if that is another."""
    before = in_use(db, manifest)
    db.execute(
        "UPDATE operating_points SET applied = ?"
        " WHERE lock_digest = ? AND applied IS NULL AND effective_from <= ?",
        (int(now.timestamp()), manifest.lock_digest, int(now.timestamp())),
    )
    after = in_use(db, manifest)
    if after.counter == before.counter:
        return None
    count(db, KIND, "applied")
    log.info("operating_point.applied", id=after.id)
    return after


def refused(db: sqlite3.Connection, reason: str) -> None:
    """Count a refusal: windows carry the counters to the centre."""
    count(db, KIND, f"refused_{reason}")


def _verified(envelope: bytes, keys: Sequence[bytes]) -> OperatingPoint:
    try:
        point = parse(OperatingPoint, open_sealed(OPERATING_POINT_TYPE, envelope, keys))
    except SignatureRefused as error:
        raise PointRefused("signature", str(error)) from error
    except PointRefused:
        raise
    except ContractError as error:
        raise PointRefused("unreadable", str(error)) from error
    if point.effective_from.tzinfo is None:
        raise PointRefused("unreadable", "effective_from: an instant with its zone expected")
    return point


def _digest(point: OperatingPoint) -> str:
    return sha256(point.model_dump_json().encode())


_SELECT = "SELECT point, counter FROM operating_points WHERE lock_digest = ?"


def _read(db: sqlite3.Connection, manifest: Manifest, row: tuple[str, int] | None) -> InUse:
    if row is None:
        return cleared(manifest)
    point = OperatingPoint.model_validate(json.loads(row[0]))
    return InUse(
        point.id,
        point.thresholds,
        point.counter,
        point.effective_from.astimezone(UTC),
        _thresholds_of(db, manifest, point.rollback_to),
    )


def _thresholds_of(db: sqlite3.Connection, manifest: Manifest, name: str) -> tuple[Threshold, ...]:
    """Thresholds of an earlier operating point of this installation, () if it is not known."""
    if (found := cleared(manifest)).id == name:
        return found.thresholds
    rows = db.execute(f"{_SELECT} ORDER BY counter DESC", (manifest.lock_digest,))
    points = (OperatingPoint.model_validate(json.loads(row[0])) for row in rows)
    return next((p.thresholds for p in points if p.id == name), ())
