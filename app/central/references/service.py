"""Reference periods: a candidate from an interval, frozen, approved by a second person."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Any

from sqlalchemy.orm import Session

from app.central.audit import service as audit
from app.central.errors import NotAllowed, NotFound, Unusable
from app.central.fleet import service as fleet
from app.central.numbering import next_number
from app.central.references import checks, repository
from app.central.references.cohort import cohort_of
from app.central.references.freezing import freeze, thaw
from app.central.references.models import Reference, ReferenceState
from app.central.surveillance import plans
from app.central.surveillance.history import Assembled, assemble
from app.contracts.signing import sha256
from monitors.observations import History
from monitors.reference import Reference as FrozenReference
from monitors.reference import build_reference


@dataclass(frozen=True, slots=True)
class ReferenceView:
    """A reference period as a page shows it. `contents` says what it consists of."""

    id: str
    lock_digest: str
    device: str
    version: str
    until: date
    state: ReferenceState
    digest: str
    windows: int
    contents: dict[str, Any]
    proposed_by: str
    proposed_at: datetime
    approved_by: str | None
    approved_at: datetime | None


def propose(
    session: Session, lock_digest: str, until: date, *, by: str, now: datetime
) -> Reference:
    """A candidate from everything up to and including the day `until`.

    Frozen here: windows that arrive later never change it.
    """
    if until >= now.date():
        raise Unusable(f"reference period: a day before {now.date()} expected, got {until}")
    version = fleet.get_device_version(session, lock_digest)
    in_force = plans.in_force(session, lock_digest)
    arrived = assemble(session, lock_digest, upto=now.date(), known_by=now)
    cohort = cohort_of(fleet.manifest_of(version), fleet.layout_of(session, lock_digest))
    end = until + timedelta(days=1)
    built = build_reference(in_force.plan, arrived.history, end.toordinal(), cohort)
    frozen = freeze(built)
    reference = Reference(
        id=next_number(session, Reference.id, "R"),
        lock_digest=lock_digest,
        until=until,
        plan_digest=in_force.digest,
        state=ReferenceState.CANDIDATE,
        frozen=frozen,
        digest=sha256(frozen),
        summary=_summary(built, arrived, end)
        | {
            "stability": checks.stability(in_force.plan, arrived.history, end.toordinal(), cohort),
            "distance_to_cohort": checks.distances(arrived.history, end.toordinal(), cohort),
        },
        proposed_by=by,
        proposed_at=now,
    )
    session.add(reference)
    session.flush()
    _record(session, reference, "propose", by, now)
    return reference


def approve(session: Session, reference_id: str, *, by: str, now: datetime) -> Reference:
    """Put a candidate in force; by another person than proposed it."""
    reference = repository.find_reference(session, reference_id, lock=True)
    if reference is None:
        raise NotFound(f"no reference {reference_id[:32]}")
    if reference.state is not ReferenceState.CANDIDATE:
        raise NotAllowed(f"reference {reference.id} is {reference.state.value}")
    if reference.proposed_by == by:
        raise NotAllowed("a reference is approved by another person than proposed it")
    before = repository.in_force(session, reference.lock_digest, lock=True)
    if before is not None:
        before.state = ReferenceState.SUPERSEDED
        session.flush()
    reference.state = ReferenceState.APPROVED
    reference.approved_by, reference.approved_at = by, now
    session.flush()
    _record(session, reference, "approve", by, now)
    return reference


@lru_cache(maxsize=16)
def _thawed(digest: str, frozen: bytes) -> FrozenReference:
    if sha256(frozen) != digest:
        raise NotAllowed(f"reference {digest[:12]}… is not what was approved")
    thawed: FrozenReference = thaw(frozen)
    return thawed


def statistics_of(reference: Reference) -> FrozenReference:
    """What the engine compares with; refuses bytes that are not those that were approved."""
    return _thawed(reference.digest, reference.frozen)


def views(session: Session, *, lock_digest: str | None = None) -> tuple[ReferenceView, ...]:
    """Reference periods, newest first."""
    found = repository.references(session, lock_digest=lock_digest)
    return tuple(view(session, reference) for reference in found)


def approved(session: Session) -> dict[str, date]:
    """Last day of the reference in force, by device version."""
    return repository.approved(session)


def seen_from(view: ReferenceView, scope: str | None) -> ReferenceView:
    """The same without what is said of other sites than `scope`, where a person is bound to one."""
    if scope is None:
        return view
    contents = dict(view.contents)
    for part in ("assessability", "distance_to_cohort"):
        kept = contents.get(part, {}).items()
        contents[part] = {k: v for k, v in kept if scope in k.split(":")}
    still = dict(contents.get("stability", {}))
    still["signals"] = [s for s in still.get("signals", ()) if s["sites"] == [scope]]
    return replace(view, contents=contents | {"stability": still})


def view(session: Session, reference: Reference) -> ReferenceView:
    """One reference period."""
    version = fleet.get_device_version(session, reference.lock_digest)
    return ReferenceView(
        reference.id,
        reference.lock_digest,
        version.device,
        version.version,
        reference.until,
        reference.state,
        reference.digest,
        int(reference.summary["windows"]),
        reference.summary,
        reference.proposed_by,
        reference.proposed_at,
        reference.approved_by,
        reference.approved_at,
    )


def _summary(built: FrozenReference, arrived: Assembled, end: date) -> dict[str, Any]:
    history: History = arrived.history
    inside = history.cases.end <= end.toordinal()
    first = int(history.cases.start[inside].min())
    n = history.cases.rows[inside][:, history.schema.columns["tallies"].start]
    return {
        "windows": arrived.windows,
        "input_digest": arrived.digest,
        "first_day": date.fromordinal(first).isoformat(),
        "cases": int(n.sum()),
        "strata": len(built.units),
        "streams": len(built.streams),
        "assessability": dict(built.assessability),
    }


def _record(session: Session, reference: Reference, verb: str, by: str, now: datetime) -> None:
    audit.record(
        session,
        actor=by,
        action=f"references:reference:{verb}",
        subject=reference.id,
        at=now,
        detail={"digest": reference.digest, "until": reference.until.isoformat()},
    )
