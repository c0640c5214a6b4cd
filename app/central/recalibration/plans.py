"""The predetermined change-control plan of a device version: bounds, triggers, criteria.

What FDA's guidance (final, December 2024) asks of each modification is part of the document.
Bounds may be narrower than the envelope in the signed bundle, never wider.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from app.central.audit import service as audit
from app.central.errors import NotAllowed, NotFound, Unusable
from app.central.fleet import service as fleet
from app.central.recalibration import repository
from app.central.recalibration.cohort import bin_of, classes_of
from app.central.recalibration.models import ChangePlan
from app.contracts.change_control import bounds_of, cleared
from app.contracts.exchange import parse
from app.contracts.manifest import Bounds, Manifest
from app.contracts.signing import SigningKey, canonical, seal, sha256
from monitors.acceptance import Criteria, bound
from monitors.errors import NotAssessable
from monitors.gate import GateLimits
from monitors.policies import Held

TRADED = 0.15  # specificity that the default plan lets a policy trade
PAYLOAD_TYPE = "application/vnd.lockwatch.change-plan.v1+json"


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Modification(_Closed):
    """One kind of change: manual, local, threshold only; the weights stay."""

    id: str = Field(pattern=r"^M[0-9]{1,3}$")
    title: str = Field(min_length=1, max_length=200)
    kind: Literal["policy", "equivalence"] = "policy"
    policies: tuple[Held, ...] = Field(min_length=1)
    bounds: tuple[Bounds, ...] = Field(min_length=1)
    triggers: tuple[str, ...] = Field(min_length=1)
    data_management: str
    performance_evaluation: str
    update_procedures: str
    impact: str
    labelling: tuple[str, ...]


class PlanDocument(_Closed):
    """What is signed."""

    contract: Literal["lockwatch/change-plan/v1"] = "lockwatch/change-plan/v1"
    lock_digest: str
    title: str = Field(min_length=1, max_length=200)
    version: int = Field(ge=1)
    authorisation: str = Field(min_length=1, max_length=200)
    modifications: tuple[Modification, ...] = Field(min_length=1)
    gate: GateLimits = GateLimits()
    criteria: Criteria
    design_effect: float = Field(default=1.5, ge=1)
    post_change_cases: int = Field(default=1000, ge=100)
    holdout_every_days: int = Field(default=365, ge=1)
    notice: str = Field(min_length=1)


def default_document(manifest: Manifest) -> PlanDocument:
    """A plan to begin with: one modification, bounds as cleared, claims from the cohort."""
    classes = classes_of(manifest)
    found, right = bound(classes, bin_of(manifest, cleared(manifest).thresholds[0]))
    threshold = Modification(
        id="M1",
        title="Operating point after a shift of prevalence",
        policies=("sensitivity", "specificity", "ppv", "alert_rate", "net_benefit"),
        bounds=manifest.change_control,
        triggers=("a confirmed signal with cause prevalence",),
        data_management="Aggregate windows of the affected sites since the change; audit labels "
        "read at random; the validation cohort as cleared. No raw data leave a hospital.",
        performance_evaluation="Expected figures with intervals at the present prevalence, and "
        "the acceptance criteria below, against the original and the last version.",
        update_procedures="Two signatures; signed operating point, site by site; notice to users; "
        "comparison after the change; roll-back in one step.",
        impact="Sensitivity and specificity trade within the cleared bounds; scores do not change.",
        labelling=("Performance at the operating point in use", "Version history"),
    )
    return PlanDocument(
        lock_digest=manifest.lock_digest,
        title="Operating-point change control",
        version=1,
        authorisation="not authorised: a change under this plan is a recommendation",
        modifications=(threshold, _equivalence(threshold)),
        criteria=Criteria(
            sensitivity=found,
            specificity=max(right - TRADED, 0.05),
            subgroup_specificity_loss=TRADED + 0.05,
        ),
        notice="The operating point of the device was changed for your site within its cleared "
        "bounds. The device's scores and its software are the same.",
    )


def _equivalence(of: Modification) -> Modification:
    """The second modification of the default plan: a threshold for one class of scanners."""
    return of.model_copy(
        update={
            "id": "M2",
            "title": "Equivalent threshold of a scanner class after a scanner shift",
            "kind": "equivalence",
            "policies": ("sensitivity",),
            "triggers": ("a confirmed signal with cause scanner alone",),
            "data_management": "A freshly labelled holdout with that class of scanners; or its "
            "scores since the change, with a prevalence known from scanners that did not change "
            "or from audit labels. No raw data leave a hospital.",
            "performance_evaluation": "Exact bounds on the fresh labels; without labels the "
            "interval of the equivalent threshold; the size of the change.",
            "impact": "The class of scanners is flagged as before its shift; scores do not change.",
        }
    )


def draft(session: Session, lock_digest: str) -> PlanDocument:
    """A plan to edit for a registered device version."""
    try:
        return default_document(fleet.manifest_of(fleet.get_device_version(session, lock_digest)))
    except NotAssessable as error:
        raise Unusable(f"no plan can be drafted: {error}") from error


def put_in_force(
    session: Session, document: PlanDocument, key: SigningKey, *, by: str, now: datetime
) -> ChangePlan:
    """A new version of a device version's plan; proposals use it from now on."""
    version = fleet.get_device_version(session, document.lock_digest)
    before = repository.newest_plan(session, document.lock_digest, lock=True)
    document = document.model_copy(update={"version": before.version + 1 if before else 1})
    _check_bounds(document, fleet.manifest_of(version))
    content = document.model_dump(mode="json")
    stored = ChangePlan(
        digest=sha256(canonical(content)),
        lock_digest=document.lock_digest,
        version=document.version,
        document=canonical(content),
        envelope=seal(PAYLOAD_TYPE, content, [key]),
        created_by=by,
        created_at=now,
    )
    session.add(stored)
    session.flush()
    audit.record(
        session,
        actor=by,
        action="recalibration:plan:put_in_force",
        subject=document.lock_digest,
        at=now,
        detail={"version": stored.version, "digest": stored.digest},
    )
    return stored


def _check_bounds(document: PlanDocument, manifest: Manifest) -> None:
    for bounds in (b for m in document.modifications for b in m.bounds):
        outer = bounds_of(manifest, (bounds.stage, bounds.scanner_class))
        inside = outer.lowest <= bounds.lowest <= bounds.highest <= outer.highest
        slower = bounds.fewest_days_between >= outer.fewest_days_between
        if not (inside and slower and bounds.largest_step <= outer.largest_step):
            raise Unusable(
                f"{bounds.stage}: bounds inside the cleared {outer.lowest} to {outer.highest}, "
                f"steps up to {outer.largest_step}, {outer.fewest_days_between} days expected"
            )
    stages = {t.stage for t in cleared(manifest).thresholds}
    named = {b.stage for m in document.modifications for b in m.bounds}
    if not named <= stages:
        raise Unusable(f"bounds of {', '.join(sorted(stages))} expected")


def in_force(session: Session, lock_digest: str) -> tuple[PlanDocument, str]:
    """The plan in force and its digest; without one, nothing can be proposed."""
    stored = repository.newest_plan(session, lock_digest)
    if stored is None:
        raise NotFound(f"no change-control plan for {lock_digest[:12]}…")
    if sha256(stored.document) != stored.digest:
        raise NotAllowed(f"plan {stored.digest[:12]}… is not what was put in force")
    return parse(PlanDocument, stored.document), stored.digest
