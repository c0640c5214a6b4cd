"""What a recalibration on one signal could do: the gate's word and the figures, before any form.

Nothing is stored and nothing is signed: the same gate is asked again when somebody proposes.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy.orm import Session

from app.central.errors import Unusable
from app.central.fleet import service as fleet
from app.central.recalibration import plans, releases
from app.central.recalibration.cohort import bin_of, classes_of
from app.central.recalibration.drift import Drift, read_drift
from app.central.recalibration.equivalent import classes_in
from app.central.recalibration.plans import PlanDocument
from app.central.recalibration.proposal import figures
from app.central.surveillance import service as surveillance
from app.contracts.change_control import cleared
from app.contracts.manifest import Manifest, Threshold
from monitors.errors import NotAssessable
from monitors.expected import Expectation
from monitors.gate import Reason
from monitors.prevalence import Classes


@dataclass(frozen=True, slots=True)
class SiteFigures:
    """One site: its threshold now, and what it did before the change and does since."""

    site_id: str
    threshold: float
    before: dict[str, Any]
    now: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Preview:
    """`route` is the kind of change that the cause allows; "" with the reasons if none."""

    signal_id: str
    since: date
    sites: tuple[SiteFigures, ...]
    route: str
    reasons: tuple[Reason, ...]
    prevalence_before: float
    prevalence: float
    prevalence_low: float
    prevalence_high: float
    scanner_classes: tuple[str, ...]  # of the affected sites


def preview_of(
    session: Session, signal_id: str, today: date, *, scope: str | None = None
) -> Preview:
    """The gate and the figures as of `today`; `Unusable` where the evidence does not suffice."""
    signal = surveillance.whole(session, signal_id, scope=scope)
    manifest = fleet.manifest_of(fleet.get_device_version(session, signal.lock_digest))
    plan, _ = plans.in_force(session, signal.lock_digest)
    try:
        classes = classes_of(manifest)
        drift = read_drift(session, signal, plan, classes, today)
    except NotAssessable as error:
        raise Unusable(f"nothing can be proposed: {error}") from error
    found, verdict = drift.evidence.prevalence, drift.verdict
    return Preview(
        signal.id,
        drift.since,
        tuple(_at(session, site, manifest, plan, classes, drift) for site in drift.sites),
        verdict.route,
        verdict.reasons,
        drift.evidence.before,
        float(found.value),
        float(found.low),
        float(found.high),
        classes_in(drift),
    )


def _at(
    session: Session,
    site: str,
    manifest: Manifest,
    plan: PlanDocument,
    classes: Classes,
    drift: Drift,
) -> SiteFigures:
    threshold = general(releases.in_use(session, manifest, site).thresholds, manifest)
    at = bin_of(manifest, threshold)
    pools = (Expectation(classes, x, plan.design_effect) for x in (drift.before, drift.current))
    before, now = (figures(pool, at) for pool in pools)
    return SiteFigures(site, threshold.value, before, now)


def general(thresholds: tuple[Threshold, ...], manifest: Manifest) -> Threshold:
    """The threshold of every scanner class that has none of its own."""
    stage = cleared(manifest).thresholds[0].stage
    return next(t for t in thresholds if (t.stage, t.scanner_class) == (stage, ""))
