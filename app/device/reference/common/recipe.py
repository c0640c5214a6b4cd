"""From a declaration to a signed bundle: draw cohorts, train, calibrate, fit, evaluate, write."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from app.contracts.characteristics import CharacteristicSchema
from app.contracts.manifest import (
    Bounds,
    KnownAnswers,
    Manifest,
    OperatingPointEntry,
    SentinelSet,
    Stage,
    Threshold,
    ValidationCohort,
)
from app.contracts.signing import SigningKey
from app.device import ventricle
from app.device.build import components, entries, packed_arrays, write_bundle
from app.device.chain import Gates, Projection, stored_scores
from app.device.measurable import AREAS
from app.device.pipeline import Module, Pipeline, scoring
from app.device.programs import deterministic, load_program, write_program
from app.device.reference.common import evaluation
from app.device.reference.common.cohort import Cohort, Drawing, Drawn, declared, phantom
from app.device.reference.common.declaration import Effort, Progress, ReferenceDevice
from app.device.reference.common.evaluation import Evaluated, answered_cases, read_cohort
from app.device.reference.common.fitting import GATE, fit_projection, fit_schema
from app.device.reference.common.layers import Calibrated, platt
from monitors.schema import FloatArray

VERSION = "1.0.0"
VARIATION = 0.12  # spread of the physics around each vendor's, in training
GATE_THRESHOLD = 0.5
MANY = 300  # cases from which it pays to start processes that draw them
TOLERANCE = 1e-4  # of a known answer, in probability: another instruction set rounds otherwise
ENVELOPE = 6  # score bins to either side of the threshold that a change may use


def silent(_what: str, _share: float) -> None:
    """Tell nobody about progress."""


def build(
    module: str,
    out: Path,
    keys: Sequence[SigningKey],
    seed: int,
    effort: str = "full",
    progress: Progress = silent,
) -> Manifest:
    """Train the device that `module` declares and write its signed bundle into `out`. The same
    seed gives the same bytes."""
    device = declared(module)
    size = device.efforts[effort]
    with Drawing(2 if size.training >= MANY else 0) as drawing:
        # All begin at once: while the networks train, the other cohorts are drawn.
        drawn = _cohorts(module, device, size, seed)
        training, fitting, validation = (drawing.start(each) for each in drawn)
        progress("cohorts", 0.0)
        cohort = training()
        progress("cohorts", 1.0)
        deterministic()
        torch.manual_seed(seed)
        modules = device.learn(cohort, size.epochs, progress)
        learned_from = cohort.digest
        del cohort  # hundreds of megabytes that nobody looks at again
        reference = fitting()
        progress("validation", 0.0)
        locked = lock(device, modules, reference, size, seed)
        fitted_on = reference.digest
        del reference
        unseen = validation()
        digests = (learned_from, fitted_on, unseen.digest)
        evaluated, report = locked.evaluated(unseen, digests)
        progress("validation", 1.0)
    files = locked.files(module, seed, size) | {"evaluation.json": report}
    manifest = _manifest(locked, evaluated, size, files)
    write_bundle(out, manifest, files, keys)
    return manifest


def _cohorts(
    module: str, device: ReferenceDevice, size: Effort, seed: int
) -> tuple[Drawn, Drawn, Drawn]:
    return (
        Drawn(module, seed, size.training, device.training_prevalence, VARIATION),
        Drawn(module, seed + 1, size.fitting, device.prevalence),
        Drawn(module, seed + 2, size.validation, device.prevalence),
    )


@dataclass(frozen=True, slots=True)
class Locked:
    """What is locked: programs and everything that was fitted on the reference cohort."""

    device: ReferenceDevice
    programs: dict[str, bytes]
    pipeline: Pipeline
    projection: Projection
    stages: tuple[Stage, ...]
    schema: CharacteristicSchema
    threshold: float

    def evaluated(self, cohort: Cohort, digests: tuple[str, ...]) -> tuple[ValidationCohort, bytes]:
        """Performance on unseen phantoms, of the cases that the device answers."""
        read = read_cohort(self.pipeline, cohort)
        whole = replace(cohort, numeric=evaluation.with_areas(self.device, cohort, read))
        answered = answered_cases(self.device, whole, read, Gates.of(self.stages), self.projection)
        found = Evaluated(self.device, *answered, self.schema, self.projection, self.threshold)
        return found.validation(digests), found.report(len(cohort))

    def files(self, module: str, seed: int, size: Effort) -> dict[str, bytes]:
        """Every file of the bundle, by name."""
        p = self.projection
        projection = packed_arrays(
            mean=p.mean,
            components=p.components,
            scale=p.scale,
            distance=np.array(p.distance),
        )
        return self.programs | {
            "projection.npz": projection,
            "known_answers.npz": self._known_answers(module, seed + 3, size.known_answers),
            "sentinel.npz": self._sentinels(module, seed + 4, size.sentinels),
        }

    def _known_answers(self, module: str, seed: int, wanted: int) -> bytes:
        stored, positive = _stored(self.device, Drawn(module, seed, wanted, 0.5))
        return self._answers(stored, positive, np.arange(wanted))

    def _sentinels(self, module: str, seed: int, wanted: int) -> bytes:
        """Half positive, half negative, each spread evenly over its scores."""
        stored, positive = _stored(self.device, Drawn(module, seed, 3 * wanted, 0.5))
        score = stored_scores(self.pipeline, stored, self.device.preprocessing)
        chosen = []
        for label in (True, False):
            places = np.flatnonzero(positive == label)
            places = places[np.argsort(score[places])]
            at = np.linspace(0, len(places) - 1, wanted // 2).round().astype(np.int64)
            chosen.append(places[at])
        return self._answers(stored, positive, np.sort(np.concatenate(chosen)))

    def _answers(
        self,
        stored: Mapping[str, npt.NDArray[Any]],
        positive: npt.NDArray[np.bool_],
        which: npt.NDArray[np.int64],
    ) -> bytes:
        """Images as scanners stored them, with the scores that the locked chain gave them."""
        images = dict(stored) | {"pixels": stored["pixels"][which]}
        scores = stored_scores(self.pipeline, images, self.device.preprocessing)
        return packed_arrays(**images, scores=scores, labels=positive[which].astype(np.int64))


def _stored(
    device: ReferenceDevice, drawn: Drawn
) -> tuple[dict[str, npt.NDArray[Any]], npt.NDArray[np.bool_]]:
    """Phantoms of one size and spacing, as stored: known answers and sentinels."""
    if device.make_alike is None:
        first = next(iter(device.scanners))
        alike = replace(device, scanners={first: device.scanners[first]})
    else:
        alike = replace(device, make=device.make_alike)
    cases = [phantom(alike, drawn, index)[1] for index in range(drawn.cases)]
    pixels = np.stack([case.pixels for case in cases])
    stored = {"pixels": pixels, "spacing_mm": np.array(cases[0].spacing_mm or 1.0)}
    return stored, np.array([case.positive for case in cases])


def lock(
    device: ReferenceDevice,
    modules: dict[str, nn.Module],
    reference: Cohort,
    size: Effort,
    seed: int,
) -> Locked:
    """Calibrate, export, and fit everything else on the reference cohort."""
    device = _calibrated(device, modules, reference)
    programs = _programs(device, modules)
    loaded: dict[str, Module] = {
        stage.name: load_program(stage.program, programs[stage.program])
        for stage in device.stages
        if stage.program is not None
    }
    pipeline = Pipeline(device.stages, loaded, device.preprocessing)
    everything = read_cohort(pipeline, reference)
    reference = replace(reference, numeric=evaluation.with_areas(device, reference, everything))
    projection = fit_projection(everything.embedding)
    stages = _stages(device, reference)
    answered = answered_cases(device, reference, everything, Gates.of(stages), projection)
    schema = fit_schema(device, *answered, projection, seed)
    schema = schema.model_copy(update={"sentinels": 2 * (size.sentinels // 2)})
    cohort, read = answered
    threshold = _operating_threshold(device, schema, read.score[cohort.positive])
    return Locked(device, programs, pipeline, projection, stages, schema, threshold)


def _calibrated(
    device: ReferenceDevice, modules: dict[str, nn.Module], cohort: Cohort
) -> ReferenceDevice:
    """Platt's slope and offset, into the scoring network or, for a measurement, its stage;
    there also the bias and spread of the measured value."""
    with torch.inference_mode():
        read = read_cohort(Pipeline(device.stages, dict(modules), device.preprocessing), cohort)
    score = np.clip(read.score, 1e-9, 1 - 1e-9)
    slope, offset = platt(
        torch.from_numpy(np.log(score / (1 - score))),
        torch.from_numpy(cohort.positive.astype(np.float64)),
    )
    stage = scoring(device.stages)
    network = modules.get(stage.name)
    if isinstance(network, Calibrated):
        network.calibrate(slope, offset)
        return device
    error = evaluation.agreement(read.outputs[ventricle.NAME], cohort.value)
    fitted = {"slope": slope, "offset": offset, "bias": error["bias"], "sd": error["sd"]}
    new = stage.model_copy(update={"parameters": stage.parameters | fitted})
    return replace(device, stages=tuple(new if s is stage else s for s in device.stages))


def _programs(device: ReferenceDevice, modules: Mapping[str, nn.Module]) -> dict[str, bytes]:
    """Every stage's network as an archive; what it looks at beside the image is a mask."""
    return {
        stage.program: write_program(
            modules[stage.name], [_example(device, name) for name in stage.inputs]
        )
        for stage in device.stages
        if stage.program is not None
    }


def _example(device: ReferenceDevice, name: str) -> torch.Tensor:
    channels = 3 if name == "image" and device.preprocessing.intensity == "colour" else 1
    return torch.zeros(2, channels, device.preprocessing.rows, device.preprocessing.columns)


def _operating_threshold(
    device: ReferenceDevice, schema: CharacteristicSchema, ill: FloatArray
) -> float:
    """The highest score-bin edge that keeps the wanted sensitivity on the fitting cohort."""
    edges = np.array(schema.scores[0].edges)
    kept = (ill[:, None] >= edges).mean(axis=0) >= device.sensitivity
    return float(edges[kept].max())


def _stages(device: ReferenceDevice, cohort: Cohort) -> tuple[Stage, ...]:
    return (
        Stage(name="quality_gate", kind="quality_gate", parameters=_quality_limits(device, cohort)),
        *(_with_area_limits(device, stage, cohort) for stage in device.stages),
        Stage(name=GATE, kind="out_of_distribution", parameters={"threshold": GATE_THRESHOLD}),
        Stage(name="threshold", kind="threshold", inputs=("probability",)),
    )


def _with_area_limits(device: ReferenceDevice, stage: Stage, cohort: Cohort) -> Stage:
    """The stage with limits on the area of its mask, well outside what the reference shows."""
    limits = dict(stage.parameters)
    for name in (AREAS[output] for output in stage.outputs if output in AREAS):
        area = cohort.numeric[:, list(device.units).index(name)]
        limits[f"{name}_lowest"] = float(np.quantile(area, 0.001) * 0.6)
        limits[f"{name}_highest"] = float(min(np.quantile(area, 0.999) * 1.4, 1.0))
    return stage.model_copy(update={"parameters": limits})


def _quality_limits(device: ReferenceDevice, cohort: Cohort) -> dict[str, float]:
    """Far outside what the reference shows: median and ten times its median deviation."""
    limits, names = {}, list(device.units)
    for name, side, least in device.judged:
        values = cohort.numeric[:, names.index(name)]
        middle = np.nanmedian(values)
        reach = 10 * max(float(np.nanmedian(np.abs(values - middle))), least)
        limits[f"{name}_{side}"] = float(middle + (reach if side == "highest" else -reach))
    return limits


def _manifest(
    locked: Locked, validation: ValidationCohort, size: Effort, files: dict[str, bytes]
) -> Manifest:
    device, schema, threshold = locked.device, locked.schema, locked.threshold
    stage, edges = scoring(device.stages).name, locked.schema.scores[0].edges
    at = edges.index(threshold)
    lowest, highest = edges[max(at - ENVELOPE, 1)], edges[min(at + ENVELOPE, len(edges) - 2)]
    return Manifest(
        device=device.name,
        udi_di=device.udi_di,
        version=VERSION,
        release_counter=1,
        pattern=device.pattern,
        intended_use=device.intended_use,
        finding=device.finding,
        input_limits=device.limits,
        preprocessing=device.preprocessing,
        stages=locked.stages,
        operating_points=(
            OperatingPointEntry(id="OP-1", thresholds=(Threshold(stage=stage, value=threshold),)),
        ),
        default_operating_point="OP-1",
        change_control=(
            Bounds(
                stage=stage,
                lowest=lowest,
                highest=highest,
                largest_step=float(highest - lowest) / 2,
                fewest_days_between=90,
            ),
        ),
        schema_=schema,
        projection="projection.npz",
        known_answers=KnownAnswers(
            file="known_answers.npz", cases=size.known_answers, tolerance=TOLERANCE
        ),
        sentinel=SentinelSet(file="sentinel.npz", cases=schema.sentinels, tolerance=TOLERANCE),
        validation=validation,
        minimum_agent="0.1.0",
        environment={"python": platform.python_version(), "torch": torch.__version__},
        components=components(),
        files=entries(files),
    )
