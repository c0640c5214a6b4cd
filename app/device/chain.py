"""The locked chain: quality gate, programs, out-of-distribution gate, threshold.

Everything it does is in the manifest and in the files that the manifest names.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from app.contracts.manifest import Manifest, Preprocessing, Stage
from app.device.bundle import Bundle, BundleRefused
from app.device.pipeline import Pipeline, Reading, scoring
from app.device.pixels import header
from app.device.pixels.decode import PixelsRefused, read_file
from app.device.pixels.geometry import working_spacing
from app.device.programs import Program, deterministic, load_program
from app.device.result import CaseResult, Outcome
from app.device.showing import shown
from app.device.study import Examined, canonical, examine, header_categories, outside
from app.errors import AppError, ContractError
from monitors.schema import FloatArray

Stored = Mapping[str, npt.NDArray[Any]]
WITH_PROGRAM = ("segmenter", "classifier", "detector", "ensemble", "landmarks")


class LockBroken(AppError):
    """The running chain is not the one that was cleared."""

    title = "Lock broken"
    reason = "known_answers"

    def __init__(self, message: str, deviation: float) -> None:
        super().__init__(message)
        self.deviation = deviation  # the largest, in probability


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


@dataclass(frozen=True, slots=True)
class Gates:
    """The stages that may refuse a case, as limits on characteristics and on strangeness."""

    limits: Mapping[str, float]  # "<characteristic>_lowest" or "_highest"
    strangest: float

    @classmethod
    def of(cls, stages: Sequence[Stage]) -> Gates:
        """From the parameters of the quality gate, the segmenter and the gate for strangeness."""
        found = {stage.kind: stage for stage in stages}
        for kind in ("quality_gate", "out_of_distribution", "threshold"):
            if kind not in found:
                raise BundleRefused("stages", f"a {kind} stage expected, got none")
        strange = found["out_of_distribution"].parameters
        if "threshold" not in strange:
            raise BundleRefused("stages", "the out_of_distribution stage has no threshold")
        limits = dict(found["quality_gate"].parameters)
        if "segmenter" in found:
            limits |= found["segmenter"].parameters
        return cls(limits, strange["threshold"])

    def quality(self, numeric: Mapping[str, float]) -> str:
        """Why an image with these characteristics is refused, or ""; absent ones are not judged."""
        for name, limit in self.limits.items():
            measure, _, side = name.rpartition("_")
            value = numeric.get(measure, limit)
            # Written so that a value that is not a number is refused.
            if not (value <= limit if side == "highest" else value >= limit):
                return f"{measure}_{'high' if side == 'highest' else 'low'}"
        return ""

    def abstains(self, strangeness: FloatArray) -> npt.NDArray[np.bool_]:
        """Whether the chain says "I don't know", for each case."""
        return ~(np.asarray(strangeness) < self.strangest)


@dataclass(frozen=True, slots=True)
class Chain:
    """A loaded chain. Loading fails unless every stage that it needs is there."""

    bundle: Bundle
    pipeline: Pipeline
    projection: Projection
    gates: Gates
    scoring: Stage
    strangeness: str  # name of the other stage that has a score

    @classmethod
    def load(cls, bundle: Bundle) -> Chain:
        """The chain of a verified bundle. From here on torch runs on one thread."""
        deterministic()
        gates = Gates.of(bundle.manifest.stages)
        stages = bundle.manifest.stages
        kinds: dict[str, Stage] = {stage.kind: stage for stage in stages}
        programs = {s.name: _program(bundle, s) for s in stages if s.kind in WITH_PROGRAM}
        return cls(
            bundle,
            Pipeline(stages, programs, bundle.manifest.preprocessing),
            _projection(bundle),
            gates,
            scoring(stages),
            kinds["out_of_distribution"].name,
        )

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
        threshold = self._threshold(thresholds)
        stratum = header.stratum(dataset)
        limit = outside(dataset, self.manifest.input_limits)
        if limit:
            return CaseResult(Outcome.OUTSIDE_LIMITS, limit.lower(), stratum=stratum)
        try:
            examined = examine(dataset, self.manifest.preprocessing)
        except PixelsRefused as refused:
            return CaseResult(Outcome.FAILED, refused.reason, stratum=stratum)
        result = CaseResult(
            Outcome.NOT_FLAGGED,
            numeric=self._in_schema(examined.numeric),
            categorical=header_categories(dataset, self.manifest.schema_),
            stratum=stratum,
        )
        reason = "constant" if examined.is_constant else self.gates.quality(examined.numeric)
        if reason:
            return replace(result, outcome=Outcome.QUALITY_REJECTED, reason=reason)
        return self._read(examined, result, threshold)

    def _threshold(self, thresholds: Mapping[str, float]) -> float:
        value = thresholds.get(self.scoring.name, math.nan)
        if not 0 <= value <= 1:
            raise ContractError("operating_point", f"a threshold of {self.scoring.name} expected")
        return value

    def _in_schema(self, numeric: Mapping[str, float]) -> dict[str, float]:
        names = (f.name for f in self.manifest.schema_.numeric)
        return {name: numeric[name] for name in names if name in numeric}

    def _read(self, examined: Examined, result: CaseResult, threshold: float) -> CaseResult:
        try:
            read = self.pipeline.read(examined.pixels[None])
        except RuntimeError:  # what torch raises; a bug of ours would be another error
            return replace(result, outcome=Outcome.FAILED, reason="program")
        areas = {name: float(values[0]) for name, values in read.areas.items()}
        result = replace(result, numeric=result.numeric | self._in_schema(areas))
        reason = self.gates.quality(areas)
        if reason:
            return replace(result, outcome=Outcome.QUALITY_REJECTED, reason=reason)
        strange, score = float(self._strange(read)[0]), float(read.score[0])
        if not (math.isfinite(score) and math.isfinite(strange)):
            return replace(result, outcome=Outcome.FAILED, reason="score_not_finite")
        scored = replace(
            result,
            outcome=Outcome.FLAGGED if score >= threshold else Outcome.NOT_FLAGGED,
            scores={self.scoring.name: score, self.strangeness: strange},
            embedding=tuple(self.projection.project(read.embedding)[0].tolist()),
        )
        if self.gates.abstains(np.array(strange)):
            return replace(scored, outcome=Outcome.ABSTAINED, reason="out_of_distribution")
        return shown(scored, read, self.scoring, examined.grid)

    def _strange(self, read: Reading) -> FloatArray:
        return self.projection.strangeness(read.embedding)

    def known_answer_deviation(self) -> float:
        """Largest difference, in probability, between stored and present scores."""
        return float(np.abs(self._known_answers()).max())

    def prove(self) -> float:
        """The largest deviation; `LockBroken` names the first case that is beyond tolerance."""
        deviation = self._known_answers()
        largest, tolerance = float(np.abs(deviation).max()), self.manifest.known_answers.tolerance
        for case in np.flatnonzero(np.abs(deviation) > tolerance):
            raise LockBroken(
                f"known-answer case {case}: score moved by {deviation[case]:+.6f} in probability, "
                f"at most {tolerance} expected",
                largest,
            )
        return largest

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
        return stored_scores(self.pipeline, stored, self.manifest.preprocessing)


def stored_scores(pipeline: Pipeline, stored: Stored, to: Preprocessing) -> FloatArray:
    """Scores of stored images, (k,): `pixels` (k, ...) as a scanner stores them, `spacing_mm`
    and, unless it is 255, `highest`, the value that the stored bits can express.

    One by one and from the scanner's pixels, as in a hospital: preprocessing is proved, too.
    """
    spacing = float(stored["spacing_mm"])
    highest = float(stored.get("highest", np.array(255.0)))
    found = []
    for pixels in stored["pixels"]:
        size = (pixels.shape[1], pixels.shape[2]) if to.intensity == "cine" else pixels.shape[:2]
        at_mm = working_spacing(size, (spacing, spacing), to) or (spacing, spacing)
        image = canonical(pixels.astype(np.float32), at_mm, to, highest)
        found.append(pipeline.read(image[None]).score[0])
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
