"""The proposal as one document: what is asked for, why, on which evidence, and what it would do.

Everything is computed here, from windows and the signed manifest, and frozen as canonical JSON;
pages, dossier and signatures use that document and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from app.central.errors import Unusable
from app.central.plain import plain
from app.central.recalibration import equivalent
from app.central.recalibration.cohort import bin_of, groups_of, weights_digest
from app.central.recalibration.drift import Drift
from app.central.recalibration.equivalent import Asked
from app.central.recalibration.holdouts import HoldoutView
from app.central.recalibration.plans import Modification, PlanDocument
from app.central.recalibration.releases import LAST_AT
from app.contracts.change_control import (
    InUse,
    PointRefused,
    bounds_of,
    check_thresholds,
    cleared,
    thresholds_for,
)
from app.contracts.manifest import Manifest, Threshold
from monitors.acceptance import Outcome, after, overall, subgroups
from monitors.errors import NotAssessable
from monitors.expected import Expectation
from monitors.gate import Reason
from monitors.policies import Policy, choose
from monitors.prevalence import Classes, mlls
from monitors.proportions import Interval, wilson

LEAST_SCANNER_CASES = 100
RETRAINING = "not applicable, weights unchanged"
INSTALLED = (
    "The installed device remains locked. Nothing changes at any site until this is approved and "
    "a release is installed."
)


@dataclass(frozen=True, slots=True)
class Request:
    """What the author asks for: the plan's modification and the policy to hold."""

    modification: str
    policy: Policy
    equivalence: Asked | None = None


@dataclass(frozen=True, slots=True)
class Basis:
    """What a proposal is computed from. `last`: the newest operating point of each site;
    `holdouts`: freshly labelled ones of this device version, newest first."""

    manifest: Manifest
    classes: Classes
    plan: PlanDocument
    plan_digest: str
    drift: Drift
    last: dict[str, InUse]
    audit_head: str
    holdouts: tuple[HoldoutView, ...] = ()


def document(basis: Basis, asked: Request) -> dict[str, Any]:
    """The whole record; `state` says refused, failed or submitted."""
    made = _opening(basis, asked)
    route, reasons = basis.drift.verdict.route, list(basis.drift.verdict.reasons)
    if not reasons and (route == "scanner") != (asked.equivalence is not None):
        reasons = [NO_REMAPPING if route == "scanner" else NOT_A_SCANNER]
    if reasons:
        return made | {"state": "refused", "reasons": plain(reasons)}
    try:
        if asked.equivalence is not None:
            return made | _equivalent(basis, asked, asked.equivalence)
        threshold = _new_threshold(basis, asked)
        _inside(basis, asked, threshold)
    except (NotAssessable, PointRefused, Unusable) as refused:
        return made | {"state": "refused", "reasons": [_no_threshold(refused)]}
    return made | _change(basis, threshold)


NO_REMAPPING = Reason(
    "scanner",
    "a scanner shift: scores are never remapped",
    "a proposal of an equivalent threshold for the class of scanners: from a freshly labelled "
    "holdout, or by alignment at a prevalence known from elsewhere",
)

NOT_A_SCANNER = Reason(
    "not_a_scanner_shift",
    "an equivalent threshold answers a scanner shift alone",
    "a policy, which answers a shift of prevalence",
)


def _no_threshold(refused: Exception) -> dict[str, str]:
    would = "another policy or target of the plan, or more labelled cases"
    return {
        "code": getattr(refused, "reason", "no_threshold"),
        "found": str(refused),
        "would_change": would,
    }


def _opening(basis: Basis, asked: Request) -> dict[str, Any]:
    """Trigger, data and gate: present whatever comes of it."""
    drift, weights = basis.drift, weights_digest(basis.manifest)
    e = drift.evidence
    return {
        "contract": "lockwatch/recalibration/v1",
        "device": basis.manifest.device,
        "version": basis.manifest.version,
        "udi_di": basis.manifest.udi_di,
        "lock_digest": basis.manifest.lock_digest,
        "weights": {"before": weights, "after": weights},
        "statement": INSTALLED,
        "sites": list(drift.sites),
        "since": drift.since.isoformat(),
        "signal": {"id": drift.signal.id, "digest": drift.signal.digest, "causes": list(e.named)},
        "plan": _plan(basis, asked),
        "policy": plain(asked.policy),
        "equivalence": plain(asked.equivalence) if asked.equivalence else None,
        "prevalence": _prevalence(basis),
        "gate": {
            "route": drift.verdict.route,
            "candidates": dict(e.candidates),
            "mixture_p": float(e.fit.p_value),
            "mixture_residual": float(e.fit.residual_high),
            "labels": e.labelled,
            "label_difference": None if e.labels is None else float(e.labels.value),
            "label_p": None if e.labels is None else float(e.labels.p_value),
        },
        "evidence": {
            "evaluation": drift.signal.evaluation or "",
            "windows": drift.windows_digest,
            "reference": drift.reference_digest,
            "validation_datasets": list(basis.manifest.validation.dataset_digests),
            "evaluation_commit": basis.manifest.validation.evaluation_commit,
            "audit_head": basis.audit_head,
            "cases_before": int(drift.before.sum()),
            "cases_since": int(drift.current.sum()),
        },
        "traceability": _traceability(basis.plan),
    }


def _plan(basis: Basis, asked: Request) -> dict[str, Any]:
    return {
        "digest": basis.plan_digest,
        "title": basis.plan.title,
        "version": basis.plan.version,
        "authorisation": basis.plan.authorisation,
        "modification": asked.modification,
        "notice": basis.plan.notice,
        "post_change_cases": basis.plan.post_change_cases,
    }


def _prevalence(basis: Basis) -> dict[str, Any]:
    e = basis.drift.evidence
    value, low, high = (float(x) for x in (e.prevalence.value, e.prevalence.low, e.prevalence.high))
    cohort = basis.manifest.validation.prevalence
    return {
        "value": value,
        "low": low,
        "high": high,
        "before": e.before,
        "validation": cohort,
        "statement": (
            f"The prevalence used, {value:.1%} (95 % interval {low:.1%} to {high:.1%}), is that of "
            f"the sites since {basis.drift.since.isoformat()}, estimated from scores. It differs "
            f"from the {cohort:.1%} of the validation cohort."
        ),
    }


def _traceability(plan: PlanDocument) -> list[dict[str, str]]:
    """Modification by the four components of the modification protocol."""
    return [
        {
            "modification": f"{m.id} {m.title}",
            "data_management": m.data_management,
            "retraining": RETRAINING,
            "performance_evaluation": m.performance_evaluation,
            "update_procedures": m.update_procedures,
            "impact": m.impact,
        }
        for m in plan.modifications
    ]


def _modification(plan: PlanDocument, asked: Request) -> Modification:
    found = next((m for m in plan.modifications if m.id == asked.modification), None)
    if found is None or asked.policy.held not in found.policies:
        raise Unusable(f"{asked.modification}: the plan allows no policy on {asked.policy.held}")
    if (found.kind == "equivalence") != (asked.equivalence is not None):
        raise Unusable(f"{asked.modification}: a modification of another kind expected")
    return found


def _new_threshold(basis: Basis, asked: Request) -> Threshold:
    _modification(basis.plan, asked)
    pi = float(basis.drift.evidence.prevalence.value)
    chosen = choose(asked.policy, basis.classes, pi)
    score = basis.manifest.schema_.scores[0]
    new = Threshold(stage=score.stage, value=score.edges[chosen])
    if all(new in point.thresholds for point in basis.last.values()):
        raise Unusable("the operating point in use already holds the target")
    return new


def _inside(basis: Basis, asked: Request, new: Threshold) -> None:
    """Inside the envelope, inside the plan's own bounds, and not too far in one step."""
    general = () if not new.scanner_class else cleared(basis.manifest).thresholds
    check_thresholds((new, *general), basis.manifest)
    mine = {new.scanner_class, ""}
    own = [
        b
        for b in _modification(basis.plan, asked).bounds
        if b.stage == new.stage and b.scanner_class in mine
    ]
    bounds = [bounds_of(basis.manifest, (new.stage, new.scanner_class)), *own]
    old = [thresholds_for(p.thresholds, new.scanner_class)[new.stage] for p in basis.last.values()]
    for b in bounds:
        if not b.lowest <= new.value <= b.highest:
            raise PointRefused(
                "outside_envelope", f"{b.lowest} to {b.highest} cleared, {new.value} asked for"
            )
        if any(abs(new.value - value) > b.largest_step + 1e-12 for value in old):
            raise PointRefused("step", f"a step of at most {b.largest_step} is cleared")


def _change(basis: Basis, new: Threshold) -> dict[str, Any]:
    """Old and new with their consequences, the criteria, and so whether it may go on."""
    original = cleared(basis.manifest).thresholds[0]
    pool = Expectation(basis.classes, basis.drift.current, basis.plan.design_effect)
    olds = {"original": original} | {
        f"{LAST_AT}{site}": next(t for t in p.thresholds if t.stage == new.stage)
        for site, p in basis.last.items()
    }
    outcomes = [o for name, old in olds.items() for o in _accepted(basis, pool, name, old, new)]
    return {
        "state": "submitted" if all(o.met for o in outcomes) else "failed",
        "reasons": [],
        "thresholds": {
            "original": original.model_dump(),
            "last": {site: plain(p.thresholds) for site, p in basis.last.items()},
            "new": new.model_dump(),
        },
        "consequences": {
            name: figures(pool, bin_of(basis.manifest, t))
            for name, t in (olds | {"new": new}).items()
        },
        "scanners": _scanners(basis, original, new),
        "subgroups": _subgroups(basis, original, new),
        "acceptance": plain(outcomes),
    }


def _equivalent(basis: Basis, asked: Request, wanted: Asked) -> dict[str, Any]:
    """The same for one class of scanners, on its own cases."""
    _modification(basis.plan, asked)
    original, effect = cleared(basis.manifest).thresholds[0], basis.plan.design_effect
    found = equivalent.find(
        wanted,
        basis.manifest,
        basis.classes,
        basis.drift,
        basis.plan.gate,
        target=asked.policy.target,
        floor=asked.policy.floor,
        old=original,
        holdouts=basis.holdouts,
        design_effect=effect,
    )
    _inside(basis, asked, found.threshold)
    figures_ = equivalent.consequences(found, basis.manifest, original, effect)
    criteria = basis.plan.criteria
    outcomes = list(equivalent.outcomes(criteria, found, basis.manifest, original, figures_))
    return {
        "state": "submitted" if all(o.met for o in outcomes) else "failed",
        "reasons": [],
        "thresholds": {
            "original": original.model_dump(),
            "last": {site: plain(p.thresholds) for site, p in basis.last.items()},
            "new": found.threshold.model_dump(),
        },
        "equivalent": found.evidence,
        "consequences": figures_,
        "scanners": [],
        "subgroups": [],
        "acceptance": plain(outcomes),
    }


def _accepted(
    basis: Basis, pool: Expectation, name: str, old: Threshold, new: Threshold
) -> list[Outcome]:
    bins = bin_of(basis.manifest, old), bin_of(basis.manifest, new)
    expected = pool.at(bins[0]), pool.at(bins[1])
    criteria, classes = basis.plan.criteria, basis.classes
    values = old.value, new.value
    found = list(overall(criteria, classes, bins, values, expected, name))
    if name == "original":
        found += subgroups(criteria, classes, bins, groups_of(basis.manifest))
    return found


def figures(pool: Expectation, threshold_bin: int) -> dict[str, Any]:
    """Every figure of an operating point with its interval."""
    return {name: _interval(x) for name, x in _items(pool.at(threshold_bin))}


def _items(consequence: Any) -> list[tuple[str, Interval]]:
    return [(name, getattr(consequence, name)) for name in consequence.__slots__]


def _interval(x: Interval) -> dict[str, float]:
    return {"value": float(x.value), "low": float(x.low), "high": float(x.high)}


def _scanners(basis: Basis, old: Threshold, new: Threshold) -> list[dict[str, Any]]:
    """Each scanner by its own scores since the change."""
    rows = []
    for stratum, counts in sorted(basis.drift.by_scanner.items(), key=lambda kv: str(kv[0])):
        row: dict[str, Any] = {
            "site": stratum.site,
            "scanner": stratum.scanner,
            "model": stratum.model,
            "cases": int(counts.sum()),
            "old": old.value,
            "new": new.value,
        }
        if counts.sum() >= LEAST_SCANNER_CASES:
            pool = Expectation(basis.classes, counts, basis.plan.design_effect)
            pi = mlls(basis.classes, counts, design_effect=basis.plan.design_effect)
            row["prevalence"] = _interval(Interval(pi.value, pi.low, pi.high))
            for name, t in (("before", old), ("after", new)):
                row[name] = figures(pool, bin_of(basis.manifest, t))
        rows.append(row)
    return rows


def _subgroups(basis: Basis, old: Threshold, new: Threshold) -> list[dict[str, Any]]:
    bins = bin_of(basis.manifest, old), bin_of(basis.manifest, new)
    rows = []
    for group in groups_of(basis.manifest):
        then = {
            "sensitivity": wilson(group.found, group.positives) if group.positives else None,
            "specificity": wilson(group.cleared, group.negatives) if group.negatives else None,
        }
        now = after(basis.classes, bins, group)
        rows.append(
            {
                "name": group.name,
                "positives": group.positives,
                "negatives": group.negatives,
                "before": {k: _interval(v) for k, v in then.items() if v is not None},
                "after": {k: _interval(v) for k, v in now.items()},
            }
        )
    return rows
