"""The surveillance plan of a device version: a versioned document, signed by the centre."""

from __future__ import annotations

import dataclasses
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict
from sqlalchemy.orm import Session

from app.central.audit import service as audit
from app.central.errors import NotAllowed, NotFound
from app.central.fleet import service as fleet
from app.central.surveillance import repository
from app.central.surveillance.models import SurveillancePlan
from app.contracts.exchange import parse
from app.contracts.signing import SigningKey, canonical, seal, sha256
from monitors.plan import Plan

PAYLOAD_TYPE = "application/vnd.lockwatch.plan.v1+json"


class PlanDocument(BaseModel):
    """What is signed. `parameters` are the fields of `monitors.plan.Plan`."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    contract: Literal["lockwatch/plan/v1"] = "lockwatch/plan/v1"
    lock_digest: str
    version: int
    parameters: dict[str, float | int]


def put_in_force(
    session: Session, lock_digest: str, plan: Plan, key: SigningKey, *, by: str, now: datetime
) -> SurveillancePlan:
    """A new version of a device version's plan; evaluations use it from now on."""
    fleet.get_device_version(session, lock_digest)
    before = repository.newest_plan(session, lock_digest, lock=True)
    document = PlanDocument(
        lock_digest=lock_digest,
        version=before.version + 1 if before else 1,
        parameters=dataclasses.asdict(plan),
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
        detail={"version": stored.version, "digest": stored.digest},
    )
    return stored


def ensure(
    session: Session, lock_digest: str, key: SigningKey, *, by: str, now: datetime
) -> SurveillancePlan:
    """The plan in force; the default one is put in force where there is none."""
    known = repository.newest_plan(session, lock_digest)
    return known or put_in_force(session, lock_digest, Plan(), key, by=by, now=now)


def in_force(session: Session, lock_digest: str) -> tuple[Plan, str]:
    """The plan in force and its digest."""
    stored = repository.newest_plan(session, lock_digest)
    if stored is None:
        raise NotFound(f"no surveillance plan for {lock_digest[:12]}…")
    return read(stored), stored.digest


def read(stored: SurveillancePlan) -> Plan:
    """The parameters of a stored plan; refuses bytes that are not those of its digest."""
    if sha256(stored.document) != stored.digest:
        raise NotAllowed(f"plan {stored.digest[:12]}… is not what was put in force")
    document = parse(PlanDocument, stored.document)
    return Plan(**document.parameters)  # type: ignore[arg-type]
