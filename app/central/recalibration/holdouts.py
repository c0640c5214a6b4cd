"""Freshly labelled holdouts: records that the laboratory signed, when one is due, reminders.

A record is taken in if a manufacturer's key has signed it. How often one is due stands in the
change-control plan in force.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from sqlalchemy.orm import Session

from app.central.alerts.models import Severity
from app.central.alerts.ports import Notice, Tell
from app.central.audit import service as audit
from app.central.errors import NotFound, Unusable
from app.central.fleet import service as fleet
from app.central.numbering import next_number
from app.central.recalibration import plans, repository
from app.central.recalibration.models import HoldoutEvaluation
from app.contracts.exchange import parse
from app.contracts.holdout import HOLDOUT_TYPE, HoldoutRecord
from app.contracts.signing import open_sealed, sha256
from app.errors import SignatureRefused


@dataclass(frozen=True, slots=True)
class HoldoutView:
    """A record that was taken in."""

    id: str
    digest: str
    received_by: str
    received_at: datetime
    record: HoldoutRecord


@dataclass(frozen=True, slots=True)
class HoldoutDue:
    """When the next re-evaluation of a device version is due. `last`: number of the newest."""

    lock_digest: str
    device: str
    due_on: date
    last: str

    def is_missed(self, today: date) -> bool:
        """Whether its day has passed."""
        return today > self.due_on


def take_in(
    session: Session, envelope: bytes, trusted: Sequence[bytes], *, by: str, now: datetime
) -> HoldoutView:
    """Verify and keep a signed record; the same record again changes nothing."""
    try:
        payload = open_sealed(HOLDOUT_TYPE, envelope, trusted)
    except SignatureRefused as error:
        raise Unusable(f"holdout: signed by a manufacturer's key expected: {error}") from error
    record = parse(HoldoutRecord, payload)
    version = fleet.get_device_version(session, record.lock_digest)
    if record.evaluated_at > now:
        raise Unusable("holdout: evaluated in the future")
    known = repository.find_holdout(session, sha256(payload))
    return _view(known or _store(session, version.lock_digest, record, payload, envelope, by, now))


def _store(
    session: Session,
    lock_digest: str,
    record: HoldoutRecord,
    payload: bytes,
    envelope: bytes,
    by: str,
    now: datetime,
) -> HoldoutEvaluation:
    stored = HoldoutEvaluation(
        id=next_number(session, HoldoutEvaluation.id, "HO"),
        lock_digest=lock_digest,
        digest=sha256(payload),
        document=payload,
        envelope=envelope,
        verdict=record.verdict,
        evaluated_at=record.evaluated_at,
        received_by=by,
        received_at=now,
    )
    session.add(stored)
    session.flush()
    audit.record(
        session,
        actor=by,
        action="recalibration:holdout:take_in",
        subject=stored.id,
        at=now,
        detail={"digest": stored.digest, "verdict": record.verdict},
    )
    return stored


def evaluations(session: Session, lock_digest: str | None = None) -> tuple[HoldoutView, ...]:
    """Records, newest first."""
    return tuple(_view(h) for h in repository.holdouts(session, lock_digest))


def evaluation(session: Session, holdout_id: str) -> HoldoutView:
    """One record, or `NotFound`."""
    found = session.get(HoldoutEvaluation, holdout_id)
    if found is None:
        raise NotFound(f"no holdout {holdout_id[:32]}")
    return _view(found)


def due(session: Session) -> Iterator[HoldoutDue]:
    """The next re-evaluation of every device version with a plan."""
    for version in fleet.device_versions(session):
        stored = repository.newest_plan(session, version.lock_digest)
        if stored is None:
            continue
        plan, _ = plans.in_force(session, version.lock_digest)
        last = next(iter(repository.holdouts(session, version.lock_digest)), None)
        first = repository.first_plan(session, version.lock_digest)
        since = last.evaluated_at if last else first.created_at
        yield HoldoutDue(
            version.lock_digest,
            f"{version.device} {version.version}",
            (since + timedelta(days=plan.holdout_every_days)).date(),
            last.id if last else "",
        )


def remind(session: Session, today: date, tell: Tell) -> None:
    """Write once about every re-evaluation that was missed."""
    for one in due(session):
        if one.is_missed(today):
            cause = f"holdout:{one.lock_digest[:16]}:{one.due_on}"
            sites = [s.id for s in fleet.sites(session)]
            tell(session, cause, _notice(one), Severity.WARNING, sites, one.lock_digest)


def _notice(one: HoldoutDue) -> Notice:
    return Notice(
        subject=f"{one.device}: a freshly labelled holdout was due on {one.due_on}",
        heading=f"No freshly labelled holdout of {one.device} since {one.due_on}",
        sentences=(
            "The change-control plan asks for a re-evaluation of the locked device on newly "
            "labelled cases at fixed times. None has been received in time.",
        ),
        facts=(("Due on", str(one.due_on)), ("Last one", one.last or "none")),
        to_do=("Label a holdout, run `lockwatch lab reevaluate` and upload the signed record.",),
        path="/recalibrations",
    )


def _view(stored: HoldoutEvaluation) -> HoldoutView:
    if sha256(stored.document) != stored.digest:
        raise Unusable(f"holdout {stored.id} is not what was taken in")
    record = parse(HoldoutRecord, stored.document)
    return HoldoutView(stored.id, stored.digest, stored.received_by, stored.received_at, record)
