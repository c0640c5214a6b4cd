"""Hold every stored window, once a week, against the ledger of arrivals and its edge's signature.

Intake verified it when it came and evaluations keep its rows (`kept_days`): nobody else would look
at its bytes again. Every due time of the job has a share of the edges of its own, so what was done
stands in the ledger of jobs and nowhere else: a share that was lost with its worker is done again.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from sqlalchemy.orm import Session

from app.central.audit import service as audit
from app.central.fleet import repository as fleet_repository
from app.central.fleet.models import Edge
from app.central.intake import repository as intake_repository
from app.central.intake.arrival import evaluation_instant
from app.central.intake.models import Arrival, StoredWindow
from app.central.jobs import repository as jobs
from app.central.surveillance.service import Announce, raise_event
from app.contracts.keyring import KeyRing
from app.contracts.signing import sha256
from app.contracts.window import decode
from app.errors import AppError

JOB = "surveillance.verification"
PERIOD = timedelta(hours=6)
SHARES = 28  # a week of due times
ORIGIN = datetime(1970, 1, 1, tzinfo=UTC)
MOST_NAMED = 50
FIELDS = ("epoch", "sequence", "stream", "start", "end", "revision", "lock_digest", "closed_at")


def verify_share(session: Session, due_at: datetime, announce: Announce, now: datetime) -> None:
    """Verify every window of the edges whose turn it is at `due_at`."""
    share = share_at(due_at)
    for edge in fleet_repository.edges(session):
        if share_of(edge.id) == share:
            verify_edge(session, edge, announce, now)


def verify_edge(session: Session, edge: Edge, announce: Announce, now: datetime) -> tuple[str, ...]:
    """Windows of an edge, as epoch.sequence, that are not what it signed, or are gone.

    The same ones are told once: by a signal that waits for a person, and in the audit trail.
    """
    pairs = intake_repository.ledger_and_windows(session, edge.id)
    altered = tuple(sorted(_name(*pair) for pair in pairs if not _agree(*pair, edge.ring)))
    named = sha256("\n".join(altered).encode())[:16]
    if altered and raise_event(
        session,
        edge.lock_digest,
        source=f"stored_windows:{edge.id}:{named}",
        event="stored_windows",
        cause="data_quality",
        site=edge.site_id,
        announce=announce,
        now=now,
    ):
        audit.record(
            session,
            actor="lockwatch",
            action="surveillance:window:altered",
            subject=edge.id,
            at=now,
            detail={"count": len(altered), "windows": list(altered[:MOST_NAMED])},
        )
    return altered


def look_for_what_is_left_out(
    session: Session, lock_digest: str, upto: date, windows: int, announce: Announce, now: datetime
) -> None:
    """Where an evaluation of `upto` has read fewer windows than are there: find out which."""
    by_day = intake_repository.arrivals_by_day(
        session, lock_digest, arrived_before=evaluation_instant(upto)
    )
    if sum(by_day.values()) > windows:
        theirs = set(intake_repository.edges_that_sent(session, lock_digest))
        for edge in fleet_repository.edges(session):
            if edge.id in theirs:
                verify_edge(session, edge, announce, now)


def verified_since(session: Session) -> datetime | None:
    """Every window that was stored by then has been verified since; None before the first week."""
    newest: dict[int, datetime] = {}
    for due_at in jobs.done(session, JOB, limit=4 * SHARES):
        newest.setdefault(share_at(due_at), due_at)
    return min(newest.values()) if len(newest) == SHARES else None


def share_at(due_at: datetime) -> int:
    """Whose turn it is at a due time, 0 to SHARES - 1."""
    return (due_at - ORIGIN) // PERIOD % SHARES


def share_of(edge_id: str) -> int:
    """The share of an edge; the same for ever."""
    return int(sha256(edge_id.encode())[:8], 16) % SHARES


def _agree(arrival: Arrival | None, stored: StoredWindow | None, ring: KeyRing) -> bool:
    if arrival is None or stored is None or sha256(stored.raw) != arrival.content_digest:
        return False
    try:
        window = decode(stored.raw, ring.at(stored.epoch, stored.sequence))
    except AppError:
        return False
    said = window.header
    return (
        said.edge_id == stored.edge_id
        and window.digest == stored.digest == arrival.digest
        and stored.received_at == arrival.received_at
        and all(getattr(said, name) == getattr(stored, name) for name in FIELDS)
    )


def _name(arrival: Arrival | None, stored: StoredWindow | None) -> str:
    known = arrival or stored
    assert known is not None  # a full join: one of the two is there
    return f"{known.epoch}.{known.sequence}"
