"""The cleared device as recalibration sees it: its cohort, its bins, its weights."""

from __future__ import annotations

import numpy as np

from app.contracts.manifest import Manifest, Threshold
from app.contracts.signing import canonical, sha256
from monitors.acceptance import Group
from monitors.errors import NotAssessable
from monitors.prevalence import Classes


def classes_of(manifest: Manifest) -> Classes:
    """Score counts of the validation cohort by class, on the first score stage."""
    stage = manifest.schema_.scores[0].stage
    found = {h.label: h.counts for h in manifest.validation.histograms if h.stage == stage}
    if set(found) != {0, 1}:
        raise NotAssessable(f"{stage}: the bundle holds no score histograms of its cohort")
    return Classes(np.array(found[0], dtype=float), np.array(found[1], dtype=float))


def bin_of(manifest: Manifest, threshold: Threshold) -> int:
    """The bin from which the threshold flags."""
    edges = next(s.edges for s in manifest.schema_.scores if s.stage == threshold.stage)
    return edges.index(threshold.value)


def groups_of(manifest: Manifest) -> tuple[Group, ...]:
    """Sub-groups of the cohort as they were cleared."""
    return tuple(
        Group(
            f"{row.margin} {row.level}".strip(),
            row.sensitivity.n if row.sensitivity else 0,
            row.sensitivity.successes if row.sensitivity else 0,
            row.specificity.n if row.specificity else 0,
            row.specificity.successes if row.specificity else 0,
        )
        for row in manifest.validation.subgroups
    )


def weights_digest(manifest: Manifest) -> str:
    """One hash over every program of the chain, by name: what "weights unchanged" is checked on."""
    programs = {stage.program for stage in manifest.stages if stage.program}
    named = {f.path: f.sha256 for f in manifest.files if f.path in programs}
    return sha256(canonical(named))
