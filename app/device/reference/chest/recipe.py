"""The chest triage device: draw cohorts, train, calibrate, fit, evaluate, write, sign."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from app.contracts.characteristics import CharacteristicSchema
from app.contracts.manifest import (
    Allowed,
    Bounds,
    InputLimits,
    KnownAnswers,
    Manifest,
    OperatingPointEntry,
    Range,
    SentinelSet,
    Stage,
    Threshold,
    ValidationCohort,
)
from app.contracts.signing import SigningKey
from app.device.build import components, entries, packed_arrays, write_bundle
from app.device.chain import Networks, Projection, Read, stored_scores
from app.device.programs import deterministic, load_program, write_program
from app.device.reference.chest.cohort import (
    CHARACTERISTICS,
    PREPROCESSING,
    STORED_MM,
    Cohort,
    DetectorImages,
    Drawing,
    Recipe,
    draw_detector_images,
)
from app.device.reference.chest.evaluation import answered_cases, evaluate, read_cohort
from app.device.reference.chest.fitting import (
    CLASSIFIER,
    GATE,
    GATE_THRESHOLD,
    fit_projection,
    fit_schema,
)
from app.device.reference.chest.training import Progress, Trained, calibrate, train
from monitors.schema import FloatArray

VERSION, UDI_DI = "1.0.0", "00850001234017"
PREVALENCE, TRAINING_PREVALENCE = 0.14, 0.4
VARIATION = 0.12  # spread of the physics around each vendor's, in training
SENSITIVITY = (
    0.80  # there its specificity is above 0.8 too, as triage of this class is expected to be
)
TOLERANCE = 1e-4  # of a known answer, in probability: another instruction set rounds otherwise


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is spent: cases to train on, to calibrate and fit on, to validate on."""

    training: int
    fitting: int
    validation: int
    epochs: int
    sentinels: int
    known_answers: int


EFFORTS = {
    "full": Effort(3600, 2000, 2600, 8, 100, 16),
    "small": Effort(500, 400, 400, 4, 30, 4),
}


def silent(_what: str, _share: float) -> None:
    """Tell nobody about progress."""


def build(
    out: Path,
    keys: Sequence[SigningKey],
    seed: int,
    effort: str = "full",
    progress: Progress = silent,
) -> Manifest:
    """Train the device and write its signed bundle into `out`. The same seed gives the same."""
    size = EFFORTS[effort]
    with Drawing() as drawing:
        # All begin at once: while the networks train, the other cohorts are drawn.
        training = drawing.start(Recipe(seed, size.training, TRAINING_PREVALENCE, VARIATION))
        fitting = drawing.start(Recipe(seed + 1, size.fitting, PREVALENCE))
        validation = drawing.start(Recipe(seed + 2, size.validation, PREVALENCE))
        progress("training cohort", 0.0)
        cohort = training()
        progress("training cohort", 1.0)
        trained = train(cohort, size.epochs, seed, progress)
        reference = fitting()
        calibrate(trained, reference)
        progress("validation", 0.0)
        device = _fitted(_programs(trained), reference, size, seed)
        unseen = validation()
        digests = (cohort.digest, reference.digest, unseen.digest)
        evaluation = device.evaluated(unseen, digests)
        progress("validation", 1.0)
    files = device.files(seed, size)
    manifest = _manifest(device, evaluation, size, files)
    write_bundle(out, manifest, files, keys)
    return manifest


@dataclass(frozen=True, slots=True)
class _Device:
    """What is locked: programs and everything that was fitted on the reference cohort."""

    programs: dict[str, bytes]
    networks: Networks
    projection: Projection
    stages: tuple[Stage, ...]
    schema: CharacteristicSchema
    threshold: float

    def evaluated(self, cohort: Cohort, digests: tuple[str, ...]) -> ValidationCohort:
        """Performance on unseen phantoms, of the cases that the device answers."""
        answered, read = answered_cases(cohort, self.networks, self.projection, self.stages)
        return evaluate(answered, read, self.schema, self.projection, self.threshold, digests)

    def files(self, seed: int, size: Effort) -> dict[str, bytes]:
        """Every file of the bundle, by name."""
        return self.programs | {
            "projection.npz": _packed_projection(self.projection),
            "known_answers.npz": _known_answers(self.networks, seed + 3, size.known_answers),
            "sentinel.npz": _sentinels(self.networks, seed + 4, size.sentinels),
        }


def _fitted(programs: dict[str, bytes], reference: Cohort, size: Effort, seed: int) -> _Device:
    deterministic()
    networks = Networks(*(load_program(name, data) for name, data in programs.items()))
    everything = read_cohort(networks, reference)
    projection = fit_projection(everything.embedding)
    stages = _stages(reference, everything)
    answered, read = answered_cases(reference, networks, projection, stages)
    schema = fit_schema(answered, read, projection, seed)
    schema = schema.model_copy(update={"sentinels": size.sentinels})
    threshold = _operating_threshold(schema, read.score, answered.positive)
    return _Device(programs, networks, projection, stages, schema, threshold)


def _programs(trained: Trained) -> dict[str, bytes]:
    image = torch.zeros(2, 1, PREPROCESSING.rows, PREPROCESSING.columns)
    return {
        "lungs.pt2": write_program(trained.segmenter, [image]),
        "classifier.pt2": write_program(trained.classifier, [image, image]),
    }


def _packed_projection(projection: Projection) -> bytes:
    return packed_arrays(
        mean=projection.mean,
        components=projection.components,
        scale=projection.scale,
        distance=np.array(projection.distance),
    )


def _known_answers(networks: Networks, seed: int, wanted: int) -> bytes:
    images = draw_detector_images(Recipe(seed, wanted, 0.5))
    return _answers(networks, images, np.arange(wanted))


def _sentinels(networks: Networks, seed: int, wanted: int) -> bytes:
    """Half positive, half negative, each spread evenly over its scores."""
    images = draw_detector_images(Recipe(seed, 4 * wanted, 0.5))
    score = stored_scores(networks, _stored(images.pixels), PREPROCESSING)
    chosen = []
    for positive in (True, False):
        places = np.flatnonzero(images.positive == positive)
        places = places[np.argsort(score[places])]
        chosen.append(places[np.linspace(0, len(places) - 1, wanted // 2).round().astype(np.int64)])
    return _answers(networks, images, np.sort(np.concatenate(chosen)))


def _stored(pixels: npt.NDArray[np.uint16]) -> dict[str, npt.NDArray[Any]]:
    return {"pixels": pixels, "spacing_mm": np.array(STORED_MM)}


def _answers(networks: Networks, images: DetectorImages, which: npt.NDArray[np.int64]) -> bytes:
    """Images as they came from the detector, with the scores that the locked chain gave them."""
    stored = _stored(images.pixels[which])
    return packed_arrays(
        **stored,
        scores=stored_scores(networks, stored, PREPROCESSING),
        labels=images.positive[which].astype(np.int64),
    )


def _operating_threshold(
    schema: CharacteristicSchema, score: FloatArray, positive: npt.NDArray[np.bool_]
) -> float:
    """The highest score-bin edge that keeps `SENSITIVITY` on the fitting cohort."""
    edges = np.array(schema.scores[0].edges)
    sensitivity = (score[positive][:, None] >= edges).mean(axis=0)
    return float(edges[sensitivity >= SENSITIVITY].max())


def _stages(cohort: Cohort, read: Read) -> tuple[Stage, ...]:
    return (
        Stage(name="quality_gate", kind="quality_gate", parameters=_quality_limits(cohort)),
        Stage(
            name="lungs",
            kind="segmenter",
            program="lungs.pt2",
            inputs=("image",),
            outputs=("lungs",),
            parameters={
                "lung_area_lowest": float(np.quantile(read.lungs, 0.001) * 0.6),
                "lung_area_highest": float(min(np.quantile(read.lungs, 0.999) * 1.4, 1.0)),
            },
        ),
        Stage(
            name=CLASSIFIER,
            kind="classifier",
            program="classifier.pt2",
            inputs=("image", "lungs"),
            outputs=("probability", "embedding", "activation"),
        ),
        Stage(name=GATE, kind="out_of_distribution", parameters={"threshold": GATE_THRESHOLD}),
        Stage(name="threshold", kind="threshold", inputs=("probability",)),
    )


def _quality_limits(cohort: Cohort) -> dict[str, float]:
    """Far outside what the reference shows: median and ten times its median deviation."""
    limits = {}
    for name, side in (("noise", "highest"), ("clipped", "highest"), ("field_fill", "lowest")):
        values = cohort.numeric[:, CHARACTERISTICS.index(name)]
        middle = np.median(values)
        reach = 10 * max(float(np.median(np.abs(values - middle))), 0.02)
        limits[f"{name}_{side}"] = float(middle + reach if side == "highest" else middle - reach)
    return limits


def _manifest(
    device: _Device, validation: ValidationCohort, size: Effort, files: dict[str, bytes]
) -> Manifest:
    schema, threshold = device.schema, device.threshold
    edges = schema.scores[0].edges
    at = edges.index(threshold)
    lowest, highest = edges[max(at - 6, 1)], edges[min(at + 6, len(edges) - 2)]
    return Manifest(
        device="Reference Chest Triage",
        udi_di=UDI_DI,
        version=VERSION,
        release_counter=1,
        pattern="cadt_triage",
        intended_use=(
            "Prioritise chest radiographs of adults with suspected consolidation on the "
            "worklist. It does not diagnose."
        ),
        finding="consolidation",
        input_limits=_limits(),
        preprocessing=PREPROCESSING,
        stages=device.stages,
        operating_points=(
            OperatingPointEntry(
                id="OP-1", thresholds=(Threshold(stage=CLASSIFIER, value=threshold),)
            ),
        ),
        default_operating_point="OP-1",
        change_control=(
            Bounds(
                stage=CLASSIFIER,
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


def _limits() -> InputLimits:
    return InputLimits(
        allowed=(
            Allowed(attribute="Modality", values=("DX", "CR")),
            Allowed(attribute="BodyPartExamined", values=("CHEST", "THORAX")),
            Allowed(attribute="ViewPosition", values=("PA", "AP")),
        ),
        ranges=(
            Range(attribute="PatientAge", lowest=18, highest=120),
            Range(attribute="KVP", lowest=60, highest=150),
        ),
        may_be_missing=("KVP",),
    )
