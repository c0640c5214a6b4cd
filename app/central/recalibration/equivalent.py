"""An equivalent threshold for one class of scanners after a scanner shift. Scores stay as they are.

By fresh labels: the newest holdout record with cases of that class since the change. By alignment:
the class's scores since the change against the cohort's at a prevalence that is known from
scanners of the same sites that did not change, or from audit labels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from app.central.errors import Unusable
from app.central.recalibration.cohort import bin_of
from app.central.recalibration.drift import Drift
from app.central.recalibration.holdouts import HoldoutView
from app.contracts.change_control import scanner_class
from app.contracts.manifest import Manifest, Threshold
from monitors.acceptance import Criteria, Outcome, change_size, guarantees
from monitors.equivalence import aligned, from_labels
from monitors.errors import NotAssessable
from monitors.expected import Expectation
from monitors.gate import GateLimits
from monitors.observations import Stratum
from monitors.performance import Audit, audited_prevalence
from monitors.prevalence import Classes, Estimate, label_shift_fit, mlls
from monitors.proportions import Interval, wilson
from monitors.recalibration import PER_MILLE
from monitors.schema import FloatArray, IntArray

Method = Literal["labels", "alignment"]
LEAST_CASES = 300  # of scanners that did not change


@dataclass(frozen=True, slots=True)
class Asked:
    """For which class of scanners, and how its threshold is to be found."""

    scanner_class: str
    method: Method


@dataclass(frozen=True, slots=True)
class Found:
    """The threshold, what it rests on, and what is known of it: `fresh` only by labels."""

    threshold: Threshold
    evidence: dict[str, Any]
    current: FloatArray
    fresh: Classes | None


def classes_in(drift: Drift) -> tuple[str, ...]:
    """Classes of scanners among the affected sites, by name."""
    return tuple(sorted({class_of(stratum) for stratum in drift.by_scanner}))


def class_of(stratum: Stratum) -> str:
    """The class of a stratum's scanner, as thresholds name it."""
    return scanner_class(stratum.manufacturer, stratum.model)


def find(
    asked: Asked,
    manifest: Manifest,
    classes: Classes,
    drift: Drift,
    limits: GateLimits,
    *,
    target: float,
    floor: float,
    old: Threshold,
    holdouts: tuple[HoldoutView, ...],
    design_effect: float,
) -> Found:
    """`NotAssessable` or `Unusable` where the evidence does not name a threshold."""
    edges = manifest.schema_.scores[0].edges
    current = _counts(drift, asked.scanner_class)
    evidence: dict[str, Any]
    if asked.method == "labels":
        record, fresh = _fresh(asked.scanner_class, drift, holdouts)
        at = from_labels(fresh, target, floor)
        evidence = {"method": "labels", "holdout": record.id, "holdout_digest": record.digest}
    else:
        fresh = None
        bins = np.asarray(manifest.schema_.layout().label_bins)
        known = _known(asked.scanner_class, classes, drift, limits, design_effect, bins)
        source, prevalence = known
        worth = current / design_effect
        found = aligned(classes, worth, prevalence, edges, old.value)
        at = found.threshold_bin
        evidence = {
            "method": "alignment",
            "prevalence_from": source,
            "prevalence": _plain(Interval(prevalence.value, prevalence.low, prevalence.high)),
            "equivalent": {"value": found.value, "low": found.low, "high": found.high},
        }
    if not 0 < at < len(edges) - 1:
        raise NotAssessable("no threshold between the outer edges is equivalent")
    if edges[at] == old.value:
        raise Unusable("the cleared threshold is still the equivalent one for these scanners")
    new = Threshold(stage=old.stage, scanner_class=asked.scanner_class, value=edges[at])
    return Found(new, evidence, current, fresh)


def _counts(drift: Drift, wanted: str) -> FloatArray:
    mine = [counts for s, counts in drift.by_scanner.items() if class_of(s) == wanted]
    if not mine:
        raise Unusable(f"scanner class: one of {', '.join(classes_in(drift))} expected")
    return np.asarray(np.sum(mine, axis=0), dtype=np.float64)


def _fresh(
    wanted: str, drift: Drift, holdouts: tuple[HoldoutView, ...]
) -> tuple[HoldoutView, Classes]:
    for view in holdouts:
        counts = {s.label: s.counts for s in view.record.scores if s.scanner_class == wanted}
        if view.record.evaluated_at.date() >= drift.since and len(counts) == 2:
            return view, Classes(*(np.array(counts[k], dtype=np.float64) for k in (0, 1)))
    raise NotAssessable(f"no freshly labelled holdout with {wanted} since {drift.since}")


def _known(
    wanted: str,
    classes: Classes,
    drift: Drift,
    limits: GateLimits,
    design_effect: float,
    bins: IntArray,
) -> tuple[str, Estimate]:
    """A prevalence that does not come from the scores that moved."""
    others = [counts for s, counts in drift.by_scanner.items() if class_of(s) != wanted]
    pool = np.sum(others, axis=0) if others else np.zeros(0)
    if pool.sum() >= LEAST_CASES:
        fit = label_shift_fit(classes, pool, design_effect=design_effect)
        if float(fit.p_value) >= limits.size:
            estimate = mlls(classes, pool, design_effect=design_effect)
            return "scanners of the same sites that did not change", estimate
    if drift.labels is not None and drift.labels[0].sum() >= limits.least_labels:
        return "random audit labels", _audited(drift.labels, drift.current, bins)
    raise NotAssessable(
        f"the prevalence is not known from elsewhere: {LEAST_CASES} cases of scanners that did "
        f"not change or {limits.least_labels} audit labels needed"
    )


def _audited(labels: tuple[IntArray, IntArray], current: IntArray, bins: IntArray) -> Estimate:
    """By audit labels. Labels of other weeks can outnumber the cases of a merged score bin."""
    n, y = (np.asarray(x, dtype=np.float64) for x in labels)
    cases = np.maximum(np.bincount(bins, weights=current, minlength=n.size), n)
    return audited_prevalence(Audit(cases, n, y))


def consequences(
    found: Found, manifest: Manifest, old: Threshold, design_effect: float
) -> dict[str, Any]:
    """Before and after on the class's own cases: alerts always, the rest only from fresh labels."""
    made = {}
    for name, threshold in (("original", old), ("new", found.threshold)):
        at = bin_of(manifest, threshold)
        if found.fresh is not None:
            at_this = Expectation(found.fresh, found.current, design_effect).at(at)
            made[name] = {k: _plain(getattr(at_this, k)) for k in at_this.__slots__}
        else:
            made[name] = {"alerts_per_1000": _plain(_alerts(found.current, at, design_effect))}
    return made


def _alerts(current: FloatArray, at: int, design_effect: float) -> Interval:
    flagged, n = current[at:].sum() / design_effect, current.sum() / design_effect
    x = wilson(flagged, n)
    return Interval(*(np.asarray(PER_MILLE * v) for v in (x.value, x.low, x.high)))


def outcomes(
    criteria: Criteria, found: Found, manifest: Manifest, old: Threshold, before: dict[str, Any]
) -> Iterator[Outcome]:
    """Exact bounds on the fresh labels where there are any; the size of the change always."""
    against = f"original, {found.threshold.scanner_class}"
    if found.fresh is not None:
        yield from guarantees(criteria, found.fresh, bin_of(manifest, found.threshold), against)
    rates = tuple(before[name]["alerts_per_1000"]["value"] for name in ("original", "new"))
    values = old.value, found.threshold.value
    yield from change_size(criteria, values, (rates[0], rates[1]), against)


def _plain(x: Interval) -> dict[str, float]:
    return {"value": float(x.value), "low": float(x.low), "high": float(x.high)}
