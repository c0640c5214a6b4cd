"""The surveillance plan of a device version: a versioned document, signed by the centre."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict
from sqlalchemy.orm import Session

from app.central.audit import service as audit
from app.central.errors import NotAllowed, NotFound, Unusable
from app.central.fleet import service as fleet
from app.central.surveillance import repository
from app.central.surveillance.models import SurveillancePlan
from app.contracts.exchange import parse
from app.contracts.signing import SigningKey, canonical, seal, sha256
from monitors.plan import Plan

PAYLOAD_TYPE = "application/vnd.lockwatch.plan.v1+json"


class Mode(StrEnum):
    """What a monitor's findings are for. The budget promised is that of all monitors active."""

    ACTIVE = "active"  # findings are signals
    TRIAL = "trial"  # findings are kept in the evidence and raise nothing
    OFF = "off"  # findings are not kept


Monitor = Literal["acquisition", "score", "embedding", "labels"]
"""The monitors a plan may choose among. What tells of a broken lock cannot be turned off."""


class PlanDocument(BaseModel):
    """What is signed. `parameters` are the fields of `monitors.plan.Plan`."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    contract: Literal["lockwatch/plan/v1"] = "lockwatch/plan/v1"
    lock_digest: str
    version: int
    parameters: dict[str, float | int]
    modes: dict[Monitor, Mode] = {}  # a monitor that is not named is active
    reason: str = ""


@dataclass(frozen=True, slots=True)
class InForce:
    """The plan in force: what the engine takes, its digest, and what each monitor is for."""

    plan: Plan
    digest: str
    document: PlanDocument

    def mode_of(self, stream: str) -> Mode:
        """The mode of the monitor that a stream belongs to: the first word of its name."""
        modes = {str(monitor): mode for monitor, mode in self.document.modes.items()}
        return modes.get(stream.partition(":")[0], Mode.ACTIVE)


def put_in_force(
    session: Session,
    lock_digest: str,
    plan: Plan,
    key: SigningKey,
    *,
    by: str,
    now: datetime,
    modes: Mapping[Monitor, Mode] | None = None,
    reason: str = "",
) -> SurveillancePlan:
    """A new version of a device version's plan; evaluations use it from now on."""
    fleet.get_device_version(session, lock_digest)
    before = repository.newest_plan(session, lock_digest, lock=True)
    document = PlanDocument(
        lock_digest=lock_digest,
        version=before.version + 1 if before else 1,
        parameters=dataclasses.asdict(plan),
        modes=dict(modes or {}),
        reason=reason,
    ).model_dump(mode="json")
    stored = SurveillancePlan(
        digest=sha256(canonical(document)),
        lock_digest=lock_digest,
        version=document["version"],
        document=canonical(document),
        envelope=seal(PAYLOAD_TYPE, document, [key]),
        created_by=by,
        created_at=now,
    )
    session.add(stored)
    session.flush()
    audit.record(
        session,
        actor=by,
        action="surveillance:plan:put_in_force",
        subject=lock_digest,
        at=now,
        reason=reason,
        detail={"version": stored.version, "digest": stored.digest},
    )
    return stored


def ensure(
    session: Session, lock_digest: str, key: SigningKey, *, by: str, now: datetime
) -> SurveillancePlan:
    """The plan in force; the default one is put in force where there is none."""
    known = repository.newest_plan(session, lock_digest)
    return known or put_in_force(session, lock_digest, Plan(), key, by=by, now=now)


def in_force(session: Session, lock_digest: str) -> InForce:
    """The plan in force."""
    stored = repository.newest_plan(session, lock_digest)
    if stored is None:
        raise NotFound(f"no surveillance plan for {lock_digest[:12]}…")
    return read(stored)


def get(session: Session, digest: str) -> InForce:
    """The plan of a digest: what an evaluation names."""
    stored = repository.find_plan(session, digest)
    if stored is None:
        raise NotFound(f"no surveillance plan {digest[:12]}…")
    return read(stored)


def read(stored: SurveillancePlan) -> InForce:
    """A stored plan; refuses bytes that are not those of its digest."""
    if sha256(stored.document) != stored.digest:
        raise NotAllowed(f"plan {stored.digest[:12]}… is not what was put in force")
    document = parse(PlanDocument, stored.document)
    return InForce(plan_of(document.parameters), stored.digest, document)


def plan_of(parameters: Mapping[str, float | int]) -> Plan:
    """A plan of named parameters; those that are not named have their defaults."""
    defaults = dataclasses.asdict(Plan())
    for name, value in parameters.items():
        if name not in defaults:
            raise Unusable(f"parameters: one of {sorted(defaults)} expected, got {name[:40]!r}")
        if isinstance(defaults[name], int) and not isinstance(value, int):
            raise Unusable(f"{name}: a whole number expected, got {value}")
    return Plan(**(defaults | dict(parameters)))
