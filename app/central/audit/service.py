"""Append to the audit trail, read it, export it.

    hash = SHA-256("lockwatch/audit/v1\n" previous "\n" body),  body = canonical JSON

Appends are serialised by an advisory lock held to the end of the caller's transaction: the
entry and what it reports stand or fall together, and two writers cannot fork the chain.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from app.central.audit import repository
from app.central.audit.models import AuditEntry
from app.contracts.signing import SigningKey, canonical

DOMAIN = "lockwatch/audit/v1"
NOTHING = "0" * 64
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
VERIFIER = Path(__file__).with_name("verifier.py")


@dataclass(frozen=True, slots=True)
class AuditLine:
    """An entry as a page shows it."""

    sequence: int
    at: datetime
    actor: str
    action: str
    subject: str
    reason: str
    detail: Mapping[str, Any]
    hash: str


def record(
    session: Session,
    *,
    actor: str,
    action: str,
    subject: str,
    at: datetime,
    reason: str = "",
    detail: Mapping[str, Any] | None = None,
) -> AuditEntry:
    """Append one entry. `action` is domain:object:verb; `detail` holds old and new values."""
    repository.lock(session)
    last = repository.last(session)
    sequence, previous = (last.sequence + 1, last.hash) if last else (1, NOTHING)
    body = canonical(
        {
            "sequence": sequence,
            "at_us": (at - EPOCH) // timedelta(microseconds=1),  # whole: floats would not verify
            "actor": actor,
            "action": action,
            "subject": subject,
            "reason": reason,
            "detail": dict(detail or {}),
        }
    )
    entry = AuditEntry(
        sequence=sequence,
        previous=previous,
        hash=entry_hash(previous, body),
        body=body,
        at=at,
        actor=actor,
        action=action,
        subject=subject,
    )
    session.add(entry)
    session.flush()
    return entry


def entry_hash(previous: str, body: bytes) -> str:
    """Hash of an entry, hex."""
    return hashlib.sha256(f"{DOMAIN}\n{previous}\n".encode() + body).hexdigest()


def head(session: Session) -> str:
    """Hash of the newest entry: what receipts and reports carry away."""
    last = repository.last(session)
    return last.hash if last else NOTHING


def checkpoint(session: Session, key: SigningKey, at: datetime) -> str:
    """A signed word on how long the trail is and how it ends, as one line of JSON.

    Carried away, it shows later that the trail was cut off or written anew.
    """
    last = repository.last(session)
    sequence, newest = (last.sequence, last.hash) if last else (0, NOTHING)
    return _checkpoint(key, sequence, newest, at).decode()


def lines(
    session: Session, *, limit: int = 200, before: int | None = None, subject: str | None = None
) -> tuple[AuditLine, ...]:
    """Entries for a page, newest first."""
    return tuple(
        _line(e) for e in repository.newest(session, limit=limit, before=before, subject=subject)
    )


def export(session: Session, key: SigningKey, at: datetime) -> Iterator[bytes]:
    """The whole trail as JSON lines: one per entry, then a checkpoint signed by the centre."""
    sequence, newest = 0, NOTHING
    for entry in repository.all_in_order(session):
        sequence, newest = entry.sequence, entry.hash
        yield _json_line(
            {
                "sequence": entry.sequence,
                "previous": entry.previous,
                "hash": entry.hash,
                "body": entry.body.decode(),
            }
        )
    yield _checkpoint(key, sequence, newest, at) + b"\n"


def _checkpoint(key: SigningKey, sequence: int, newest: str, at: datetime) -> bytes:
    body = canonical({"entries": sequence, "head": newest, "at": at.isoformat()})
    signed = {
        "checkpoint": body.decode(),
        "signature": key.sign(DOMAIN, body).hex(),
        "public_key": key.public.hex(),
    }
    return _json_line(signed).rstrip()


def _json_line(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True, ensure_ascii=True).encode() + b"\n"


def _line(entry: AuditEntry) -> AuditLine:
    body = json.loads(entry.body)
    return AuditLine(
        entry.sequence,
        entry.at,
        entry.actor,
        entry.action,
        entry.subject,
        body["reason"],
        body["detail"],
        entry.hash,
    )
