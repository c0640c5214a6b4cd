"""Performance of a reference device on phantoms that it has not seen, as aggregates."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from app.contracts.characteristics import CharacteristicSchema
from app.contracts.manifest import ClassHistogram, Proportion, SubgroupRow, ValidationCohort
from app.device import ventricle
from app.device.chain import Gates, Projection
from app.device.findings import overlap, separate
from app.device.pipeline import Pipeline, Reading, scoring
from app.device.reference.common.cohort import Cohort
from app.device.reference.common.declaration import ReferenceDevice
from app.device.reference.common.fitting import cases_of, labelled_bins
from monitors.proportions import wilson
from monitors.schema import FloatArray
from monitors.summaries import joint_vector

BATCH = 50
HIT = 0.2  # overlap from which a mark is on the lesion: a small lesion is hit by its centre
CALIBRATION_BINS = 10
JUDGED = (ventricle.NAME, "boxes", "box_scores")  # outputs that are held against the truth


def read_cohort(pipeline: Pipeline, cohort: Cohort) -> Reading:
    """What the programs say about every case of a cohort; of their outputs only the `JUDGED`."""
    parts = [
        _judged(pipeline.read(cohort.images_at(slice(at, at + BATCH))))
        for at in range(0, len(cohort), BATCH)
    ]
    return Reading(
        np.concatenate([p.score for p in parts]),
        np.concatenate([p.embedding for p in parts]),
        _joined([p.outputs for p in parts]),
        _joined([p.areas for p in parts]),
    )


def _judged(read: Reading) -> Reading:
    """Without the masks and maps: those of thousands of cases would fill the memory."""
    return replace(read, outputs={n: read.outputs[n] for n in JUDGED if n in read.outputs})


def _joined(parts: Sequence[Mapping[str, FloatArray]]) -> dict[str, FloatArray]:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def with_areas(device: ReferenceDevice, cohort: Cohort, read: Reading) -> FloatArray:
    """The cohort's measurements (n, F) with those that programs make."""
    numeric, names = cohort.numeric.copy(), list(device.units)
    for name, values in read.areas.items():
        numeric[:, names.index(name)] = values
    return numeric


def answered_cases(
    device: ReferenceDevice, cohort: Cohort, read: Reading, gates: Gates, projection: Projection
) -> tuple[Cohort, Reading]:
    """The cases that the chain neither rejects nor abstains from, and what it reads in them."""
    names = list(device.units)
    rows = [dict(zip(names, row, strict=True)) for row in cohort.numeric.tolist()]
    sound = np.array([not gates.quality(row) for row in rows])
    answered = sound & ~gates.abstains(projection.strangeness(read.embedding))
    return cohort.take(answered), read.take(answered)


@dataclass(frozen=True, slots=True)
class Evaluated:
    """Answered cases, and what the locked device makes of them."""

    device: ReferenceDevice
    cohort: Cohort
    read: Reading
    schema: CharacteristicSchema
    projection: Projection
    threshold: float

    def validation(self, digests: tuple[str, ...]) -> ValidationCohort:
        """Anchor A: histograms and moments per class, sub-groups with intervals."""
        positive = self.cohort.positive
        layout = self.schema.layout()
        cases = cases_of(self.device, layout, self.cohort, self.read, self.projection)
        phi = joint_vector(layout.joint, layout, cases)
        complete = np.isfinite(phi).all(axis=1)
        classes = [phi[complete & (positive == label)] for label in (False, True)]
        upper = np.triu_indices(phi.shape[1])
        commit = _commit()
        return ValidationCohort(
            dataset_digests=digests,
            training_commit=commit,
            evaluation_commit=commit,
            prevalence=float(positive.mean()),
            cases=len(self.cohort),
            histograms=tuple(
                ClassHistogram(
                    stage=stage.stage,
                    label=label,
                    counts=labelled_bins(found[positive == bool(label)], stage.edges),
                )
                for stage, found in zip(layout.scores, cases.scores.T, strict=True)
                for label in (0, 1)
            ),
            joint_n=(len(classes[0]), len(classes[1])),
            joint_mean=tuple(tuple(c.mean(axis=0).tolist()) for c in classes),
            joint_covariance=tuple(tuple(np.cov(c.T)[upper].tolist()) for c in classes),
            subgroups=self._subgroups(),
        )

    def report(self, drawn: int) -> bytes:
        """`evaluation.json`: what a sub-group table does not say. `drawn` cases were offered."""
        found = {
            "cases_offered": drawn,
            "cases_answered": len(self.cohort),
            **calibration(self.read.score, self.cohort.positive),
        }
        stage = scoring(self.device.stages)
        if stage.kind == "detector":
            found |= marks(self.cohort, self.read, self.threshold)
        if stage.kind == "measurement":
            value = self.read.outputs[ventricle.NAME] - stage.parameters["bias"]
            found |= agreement(value, self.cohort.value)
        return json.dumps(found, indent=1, sort_keys=True).encode()

    def _subgroups(self) -> tuple[SubgroupRow, ...]:
        everyone = np.ones(len(self.cohort), dtype=np.bool_)
        rows = [self._subgroup("all", "all", everyone)]
        for margin, levels in sorted(self.cohort.groups.items()):
            for level in np.unique(levels):
                inside = levels == level
                if margin == "severity":  # a property of disease: beside all without it
                    inside |= ~self.cohort.positive
                if level != "none":
                    rows.append(self._subgroup(margin, str(level), inside))
        return tuple(rows)

    def _subgroup(self, margin: str, level: str, inside: npt.NDArray[np.bool_]) -> SubgroupRow:
        score, positive = self.read.score[inside], self.cohort.positive[inside]
        ill, well = score[positive], score[~positive]
        area, low, high = auc(ill, well)
        return SubgroupRow(
            margin=margin,
            level=level,
            cases=len(score),
            positives=len(ill),
            sensitivity=proportion(ill >= self.threshold),
            specificity=proportion(well < self.threshold),
            auc=area,
            auc_low=low,
            auc_high=high,
        )


def calibration(score: FloatArray, positive: npt.NDArray[np.bool_]) -> dict[str, float]:
    """Brier score, mean predicted and observed share, and expected calibration error over
    deciles of the score."""
    order = np.array_split(np.argsort(score), CALIBRATION_BINS)
    gaps = [abs(score[at].mean() - positive[at].mean()) * at.size for at in order if at.size]
    return {
        "brier": float(((score - positive) ** 2).mean()),
        "mean_score": float(score.mean()),
        "observed_share": float(positive.mean()),
        "expected_calibration_error": float(sum(gaps) / score.size),
    }


def marks(cohort: Cohort, read: Reading, threshold: float) -> dict[str, float]:
    """Share of lesions with a mark at the threshold, and false marks an image (FROC point)."""
    lesions = hit = false = 0
    for boxes, scores, truth in zip(
        read.outputs["boxes"], read.outputs["box_scores"], cohort.boxes, strict=True
    ):
        kept = boxes[separate(boxes, scores, threshold)]
        real = truth[np.isfinite(truth[:, 0])]
        shared = np.array([overlap(box, real) for box in kept]).reshape(len(kept), len(real))
        lesions += len(real)
        hit += int((shared >= HIT).any(axis=0).sum())
        false += int((~(shared >= HIT).any(axis=1)).sum())
    return {
        "lesions": lesions,
        "lesion_sensitivity": hit / max(lesions, 1),
        "false_marks_per_image": false / max(len(cohort), 1),
    }


def agreement(measured: FloatArray, true: FloatArray) -> dict[str, float]:
    """Mean absolute error, bias, standard deviation of the difference, and limits of agreement
    (Bland 1986)."""
    difference = measured - true
    bias, sd = float(difference.mean()), float(difference.std(ddof=1))
    return {
        "mean_absolute_error": float(np.abs(difference).mean()),
        "bias": bias,
        "sd": sd,
        "limit_low": bias - 1.96 * sd,
        "limit_high": bias + 1.96 * sd,
        "correlation": float(np.corrcoef(measured, true)[0, 1]),
    }


def proportion(right: npt.NDArray[np.bool_]) -> Proportion | None:
    """Successes with their Wilson interval; None of nobody."""
    if not right.size:
        return None
    found = wilson(right.sum(), right.size)
    return Proportion(
        successes=int(right.sum()), n=right.size, low=float(found.low), high=float(found.high)
    )


def auc(ill: FloatArray, well: FloatArray) -> tuple[float, float, float] | tuple[None, None, None]:
    """Area under the curve with its 95 % interval (Hanley and McNeil 1982, Radiology 143)."""
    if ill.size < 2 or well.size < 2:
        return None, None, None
    area = float((ill[:, None] > well).mean() + 0.5 * (ill[:, None] == well).mean())
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    variance = area * (1 - area) + (ill.size - 1) * (q1 - area**2)
    variance = (variance + (well.size - 1) * (q2 - area**2)) / (ill.size * well.size)
    half = 1.96 * float(np.sqrt(max(variance, 0.0)))
    return area, max(area - half, 0.0), min(area + half, 1.0)


def _commit() -> str:
    """The git commit of this code, zeros where it is not in a git checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "0" * 40
    return found
