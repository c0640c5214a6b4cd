"""Performance of the chest device on phantoms it has not seen: aggregates for the manifest."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from app.contracts.characteristics import CharacteristicSchema
from app.contracts.manifest import (
    ClassHistogram,
    Proportion,
    Stage,
    SubgroupRow,
    ValidationCohort,
)
from app.device.chain import Gates, Networks, Projection, Read
from app.device.pixels.characteristics import LUNG_AREA
from app.device.reference.chest.cohort import CHARACTERISTICS, Cohort
from app.device.reference.chest.fitting import cases_of, labelled_bins
from monitors.proportions import wilson
from monitors.schema import FloatArray, Schema
from monitors.summaries import joint_vector

BATCH = 100


def read_cohort(networks: Networks, cohort: Cohort) -> Read:
    """What the programs say about every case of a cohort."""
    parts = [
        networks.read(part) for part in np.array_split(cohort.images, len(cohort) // BATCH + 1)
    ]
    columns = (np.concatenate([getattr(p, field.name) for p in parts]) for field in fields(Read))
    return Read(*columns)


def answered_cases(
    cohort: Cohort, networks: Networks, projection: Projection, stages: Sequence[Stage]
) -> tuple[Cohort, Read]:
    """The cases that the chain neither rejects nor abstains from, and what it reads in them."""
    gates = Gates.of(stages)
    read = read_cohort(networks, cohort)
    numeric = cohort.numeric.copy()
    numeric[:, CHARACTERISTICS.index(LUNG_AREA)] = read.lungs
    sound = [
        not gates.quality(dict(zip(CHARACTERISTICS, row, strict=True))) for row in numeric.tolist()
    ]
    answered = np.array(sound) & ~gates.abstains(projection.strangeness(read.embedding))
    return replace(cohort, numeric=numeric).take(answered), read.take(answered)


def evaluate(
    cohort: Cohort,
    read: Read,
    spec: CharacteristicSchema,
    projection: Projection,
    threshold: float,
    digests: tuple[str, ...],
) -> ValidationCohort:
    schema = spec.layout()
    positive = cohort.positive
    names = [f.name for f in schema.numeric]
    numeric = cohort.numeric[:, [CHARACTERISTICS.index(name) for name in names]]
    phi = joint_vector(schema.joint, schema, cases_of(schema, numeric, read, projection))
    complete = np.isfinite(phi).all(axis=1)
    classes = [phi[complete & (positive == label)] for label in (False, True)]
    commit = _commit()
    return ValidationCohort(
        dataset_digests=digests,
        training_commit=commit,
        evaluation_commit=commit,
        prevalence=float(positive.mean()),
        cases=len(cohort),
        histograms=_histograms(schema, cohort, read, projection),
        joint_n=(len(classes[0]), len(classes[1])),
        joint_mean=tuple(tuple(c.mean(axis=0).tolist()) for c in classes),
        joint_covariance=tuple(_upper(np.cov(c.T)) for c in classes),
        subgroups=_subgroups(cohort, read.score, threshold),
    )


def _histograms(
    schema: Schema, cohort: Cohort, read: Read, projection: Projection
) -> tuple[ClassHistogram, ...]:
    scores = (read.score, projection.strangeness(read.embedding))
    return tuple(
        ClassHistogram(
            stage=stage.stage,
            label=label,
            counts=labelled_bins(found[cohort.positive == bool(label)], stage.edges),
        )
        for stage, found in zip(schema.scores, scores, strict=True)
        for label in (0, 1)
    )


def _upper(covariance: FloatArray) -> tuple[float, ...]:
    return tuple(covariance[np.triu_indices(len(covariance))].tolist())


def _subgroups(cohort: Cohort, score: FloatArray, threshold: float) -> tuple[SubgroupRow, ...]:
    everyone = np.ones(len(cohort), dtype=np.bool_)
    rows = [_subgroup("all", "all", everyone, cohort, score, threshold)]
    for margin, levels in sorted(cohort.groups.items()):
        for level in np.unique(levels):
            inside = levels == level
            if margin == "severity":  # severity is a property of disease: beside all without it
                inside |= ~cohort.positive
            if level != "none":
                rows.append(_subgroup(margin, str(level), inside, cohort, score, threshold))
    return tuple(rows)


def _subgroup(
    margin: str,
    level: str,
    inside: npt.NDArray[np.bool_],
    cohort: Cohort,
    score: FloatArray,
    threshold: float,
) -> SubgroupRow:
    ill, well = inside & cohort.positive, inside & ~cohort.positive
    auc, low, high = _auc(score[ill], score[well])
    return SubgroupRow(
        margin=margin,
        level=level,
        cases=int(inside.sum()),
        positives=int(ill.sum()),
        sensitivity=_proportion(score[ill] >= threshold),
        specificity=_proportion(score[well] < threshold),
        auc=auc,
        auc_low=low,
        auc_high=high,
    )


def _proportion(right: npt.NDArray[np.bool_]) -> Proportion | None:
    if not right.size:
        return None
    found = wilson(right.sum(), right.size)
    return Proportion(
        successes=int(right.sum()), n=right.size, low=float(found.low), high=float(found.high)
    )


def _auc(ill: FloatArray, well: FloatArray) -> tuple[float, float, float] | tuple[None, None, None]:
    """Area under the curve with its 95 % interval (Hanley and McNeil 1982, Radiology 143)."""
    if ill.size < 2 or well.size < 2:
        return None, None, None
    above = (ill[:, None] > well).mean() + 0.5 * (ill[:, None] == well).mean()
    q1, q2 = above / (2 - above), 2 * above**2 / (1 + above)
    variance = above * (1 - above) + (ill.size - 1) * (q1 - above**2)
    variance = (variance + (well.size - 1) * (q2 - above**2)) / (ill.size * well.size)
    half = 1.96 * float(np.sqrt(variance))
    return float(above), float(max(above - half, 0.0)), float(min(above + half, 1.0))


def _commit() -> str:
    """The git commit of this code, zeros where it is not in a git checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "0" * 40
    return found
