"""The locked chain: quality gate, lung segmentation, classifier, out-of-distribution gate,
threshold. Everything it does is in the manifest and in the files that the manifest names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from pydicom.dataset import Dataset

from app.contracts.manifest import Manifest, Preprocessing, Stage
from app.device.bundle import Bundle, BundleRefused
from app.device.pixels import header
from app.device.pixels.canonical import Image
from app.device.pixels.decode import PixelsRefused, read_file
from app.device.programs import Program, deterministic, load_program
from app.device.result import CaseResult, Outcome
from app.device.study import Examined, canonical, examine, header_categories, outside
from monitors.schema import FloatArray

Stored = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Read:
    """What the programs say about a batch of n canonical images.

    lungs : (n,) fraction of the image in the lung fields. score : (n,) probability. embedding :
    (n, e) before projection. activation : (n, r, c) class activation, not scaled.
    """

    lungs: FloatArray
    score: FloatArray
    embedding: FloatArray
    activation: FloatArray


@dataclass(frozen=True, slots=True)
class Projection:
    """Principal axes of the embedding, and the gate that knows what was seen in training.

    mean (e,), components (k, e), scale (k,): standard deviation along each axis. distance :
    the squared distance at which the gate's score is one half.
    """

    mean: FloatArray
    components: FloatArray
    scale: FloatArray
    distance: float

    def project(self, embedding: FloatArray) -> FloatArray:
        """(n, k) coordinates along the principal axes."""
        return np.asarray((embedding - self.mean) @ self.components.T)

    def strangeness(self, embedding: FloatArray) -> FloatArray:
        """(n,) in [0, 1): squared Mahalanobis distance d2 as d2 / (d2 + distance)."""
        d2 = ((self.project(embedding) / self.scale) ** 2).sum(axis=1)
        return np.asarray(d2 / (d2 + self.distance))


class Networks:
    """The trained programs of a chain, as one function of canonical images."""

    def __init__(self, segmenter: Program, classifier: Program) -> None:
        self._segmenter = segmenter
        self._classifier = classifier

    def read(self, pixels: Image) -> Read:
        """Read canonical images (n, rows, columns)."""
        images = torch.from_numpy(np.ascontiguousarray(pixels, dtype=np.float32))[:, None]
        (lungs,) = self._segmenter(images)
        probability, embedding, activation = self._classifier(images, lungs)
        return Read(
            lungs=(lungs > 0.5).double().mean((1, 2, 3)).numpy(),
            score=probability.double().numpy(),
            embedding=embedding.double().numpy(),
            activation=activation.double().numpy(),
        )


@dataclass(frozen=True, slots=True)
class Chain:
    """A loaded chain. Loading fails unless every stage that it needs is there."""

    bundle: Bundle
    networks: Networks
    projection: Projection
    stages: Mapping[str, Stage]

    @classmethod
    def load(cls, bundle: Bundle) -> Chain:
        """The chain of a verified bundle."""
        deterministic()
        stages: dict[str, Stage] = {stage.kind: stage for stage in bundle.manifest.stages}
        for kind in ("quality_gate", "segmenter", "classifier", "out_of_distribution"):
            if kind not in stages:
                raise BundleRefused("stages", f"a {kind} stage expected, got none")
        networks = Networks(*(_program(bundle, stages[k]) for k in ("segmenter", "classifier")))
        return cls(bundle, networks, _projection(bundle), stages)

    @property
    def manifest(self) -> Manifest:
        """The verified manifest."""
        return self.bundle.manifest

    def run(self, path: Path, thresholds: Mapping[str, float]) -> CaseResult:
        """The result of one DICOM file at these thresholds, by stage name."""
        try:
            dataset = read_file(path)
        except PixelsRefused as refused:
            return CaseResult(Outcome.FAILED, refused.reason)
        return self.run_dataset(dataset, thresholds)

    def run_dataset(self, dataset: Dataset, thresholds: Mapping[str, float]) -> CaseResult:
        """The same for a data set that is already read."""
        stratum = header.stratum(dataset)
        limit = outside(dataset, self.manifest.input_limits)
        if limit:
            return CaseResult(Outcome.OUTSIDE_LIMITS, limit.lower(), stratum=stratum)
        try:
            examined = examine(dataset, self.manifest.preprocessing)
        except PixelsRefused as refused:
            return CaseResult(Outcome.FAILED, refused.reason, stratum=stratum)
        known = {f.name for f in self.manifest.schema_.numeric}
        result = CaseResult(
            Outcome.NOT_FLAGGED,
            numeric={k: v for k, v in examined.numeric.items() if k in known},
            categorical=header_categories(dataset, self.manifest.schema_),
            stratum=stratum,
        )
        reason = self._quality(examined)
        if reason:
            return replace(result, outcome=Outcome.QUALITY_REJECTED, reason=reason)
        return self._read(examined, result, thresholds)

    def _quality(self, examined: Examined) -> str:
        """Why the quality gate refuses the image, or ""."""
        if examined.is_constant:
            return "constant"
        for name, limit in self.stages["quality_gate"].parameters.items():
            measure, _, side = name.rpartition("_")
            value = examined.numeric.get(measure, limit)
            if (side == "highest" and value > limit) or (side == "lowest" and value < limit):
                return f"{measure}_{'high' if side == 'highest' else 'low'}"
        return ""

    def _read(
        self, examined: Examined, result: CaseResult, thresholds: Mapping[str, float]
    ) -> CaseResult:
        read = self.networks.read(examined.pixels[None])
        limits = self.stages["segmenter"].parameters
        if not limits["lungs_lowest"] <= read.lungs[0] <= limits["lungs_highest"]:
            return replace(result, outcome=Outcome.QUALITY_REJECTED, reason="lungs_not_found")
        classifier, gate = self.stages["classifier"].name, self.stages["out_of_distribution"]
        strange = float(self.projection.strangeness(read.embedding)[0])
        score = float(read.score[0])
        scored = replace(
            result,
            outcome=Outcome.FLAGGED if score >= thresholds[classifier] else Outcome.NOT_FLAGGED,
            scores={classifier: score, gate.name: strange},
            embedding=tuple(self.projection.project(read.embedding)[0].tolist()),
            heat_map=_heat_map(read.activation[0]),
        )
        if not np.isfinite(score):
            return replace(result, outcome=Outcome.FAILED, reason="score_not_finite")
        if strange >= gate.parameters["threshold"]:
            return replace(scored, outcome=Outcome.ABSTAINED, reason=gate.name, heat_map=None)
        return scored

    def known_answer_deviation(self) -> float:
        """Largest difference, in probability, between stored and present scores."""
        return float(np.abs(self._known_answers()).max())

    def first_wrong_answer(self) -> tuple[int, float] | None:
        """The first known-answer case beyond the tolerance and by how much, or None."""
        beyond = np.abs(self._known_answers()) > self.manifest.known_answers.tolerance
        if not beyond.any():
            return None
        at = int(np.argmax(beyond))
        return at, float(self._known_answers()[at])

    def _known_answers(self) -> FloatArray:
        stored = self.bundle.arrays(self.manifest.known_answers.file)
        expected = np.asarray(stored["scores"], dtype=np.float64)
        found = self._scores(stored) - expected
        # A score that is not a number is as far off as a probability can be.
        return np.nan_to_num(found, nan=1.0)

    def sentinel_scores(self) -> FloatArray:
        """Scores of the fixed sentinel images, in their order; empty if there are none."""
        if self.manifest.sentinel is None:
            return np.zeros(0)
        return self._scores(self.bundle.arrays(self.manifest.sentinel.file))

    def _scores(self, stored: Stored) -> FloatArray:
        return stored_scores(self.networks, stored, self.manifest.preprocessing)


def stored_scores(networks: Networks, stored: Stored, to: Preprocessing) -> FloatArray:
    """Scores of stored detector images, (k,): `pixels` (k, rows, columns) and `spacing_mm`.

    One by one and from the detector's pixels, as in a hospital: preprocessing is proved, too.
    """
    spacing = float(stored["spacing_mm"])
    found = []
    for pixels in stored["pixels"]:
        image = canonical(pixels.astype(np.float32), (spacing, spacing), to)
        found.append(networks.read(image[None]).score[0])
    return np.array(found, dtype=np.float64)


def _program(bundle: Bundle, stage: Stage) -> Program:
    if stage.program is None:
        raise BundleRefused("stages", f"stage {stage.name}: a program expected")
    return load_program(stage.program, bundle.read(stage.program))


def _projection(bundle: Bundle) -> Projection:
    if bundle.manifest.projection is None:
        raise BundleRefused("stages", "a projection of the embedding expected")
    stored = bundle.arrays(bundle.manifest.projection)
    mean, components, scale = (
        np.asarray(stored[name], dtype=np.float64) for name in ("mean", "components", "scale")
    )
    return Projection(mean, components, scale, float(np.asarray(stored["distance"])))


def _heat_map(activation: FloatArray) -> FloatArray:
    """Class activation in [0, 1]: what speaks for the finding, relative to the strongest."""
    positive = np.maximum(activation, 0)
    return np.asarray(positive / max(float(positive.max()), 1e-9))
