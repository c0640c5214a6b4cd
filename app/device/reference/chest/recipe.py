"""The chest triage device: draw cohorts, train, calibrate, fit, evaluate, write, sign."""

from __future__ import annotations

import platform
import subprocess
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
    ClassHistogram,
    InputLimits,
    KnownAnswers,
    Manifest,
    OperatingPointEntry,
    Proportion,
    Range,
    SentinelSet,
    Stage,
    SubgroupRow,
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
    Recipe,
    draw,
    draw_detector_images,
)
from app.device.reference.chest.fitting import (
    CLASSIFIER,
    GATE,
    GATE_THRESHOLD,
    cases_of,
    fit_projection,
    fit_schema,
    labelled_bins,
)
from app.device.reference.chest.training import Progress, Trained, calibrate, train
from monitors.proportions import wilson
from monitors.schema import FloatArray, Schema
from monitors.summaries import joint_vector

VERSION, UDI_DI = "1.0.0", "00850001234017"
PREVALENCE = 0.14
SENSITIVITY = 0.85
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
    "full": Effort(3600, 2000, 2600, 12, 100, 16),
    "small": Effort(400, 400, 400, 3, 30, 4),
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
    training = draw(Recipe(seed, size.training, 0.4, variation=0.12))
    progress("training cohort", 1.0)
    trained = train(training, size.epochs, seed, progress)
    fitting = draw(Recipe(seed + 1, size.fitting, PREVALENCE))
    calibrate(trained, fitting)
    programs = _programs(trained)
    deterministic()
    networks = Networks(*(load_program(name, data) for name, data in programs.items()))
    read = _read(networks, fitting)
    projection = fit_projection(read.embedding)
    schema = fit_schema(fitting, read, projection, seed)
    validation = draw(Recipe(seed + 2, size.validation, PREVALENCE))
    progress("validation cohort", 1.0)
    seen = _read(networks, validation)
    schema = schema.model_copy(update={"sentinels": size.sentinels})
    files = programs | {
        "projection.npz": _packed_projection(projection),
        "known_answers.npz": _known_answers(networks, seed + 3, size.known_answers),
        "sentinel.npz": _sentinels(networks, seed + 4, size.sentinels),
    }
    threshold = _operating_threshold(schema, read.score, fitting.positive)
    manifest = _manifest(
        schema=schema,
        stages=_stages(fitting, read),
        threshold=threshold,
        validation=_evaluated(validation, seen, schema, projection, threshold, training.digest),
        size=size,
        files=files,
    )
    write_bundle(out, manifest, files, keys)
    return manifest


def _programs(trained: Trained) -> dict[str, bytes]:
    image = torch.zeros(2, 1, PREPROCESSING.rows, PREPROCESSING.columns)
    return {
        "lungs.pt2": write_program(trained.segmenter, [image]),
        "classifier.pt2": write_program(trained.classifier, [image, image]),
    }


def _read(networks: Networks, cohort: Cohort) -> Read:
    parts = [networks.read(part) for part in np.array_split(cohort.images, len(cohort) // 100 + 1)]
    return Read(
        np.concatenate([p.lungs for p in parts]),
        np.concatenate([p.score for p in parts]),
        np.concatenate([p.embedding for p in parts]),
        np.concatenate([p.activation for p in parts]),
    )


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
                "lungs_lowest": float(np.quantile(read.lungs, 0.001) * 0.6),
                "lungs_highest": float(min(np.quantile(read.lungs, 0.999) * 1.4, 1.0)),
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


def _evaluated(
    cohort: Cohort,
    read: Read,
    spec: CharacteristicSchema,
    projection: Projection,
    threshold: float,
    training_digest: str,
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
        dataset_digests=(training_digest, cohort.digest),
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


def _manifest(
    *,
    schema: CharacteristicSchema,
    stages: tuple[Stage, ...],
    threshold: float,
    validation: ValidationCohort,
    size: Effort,
    files: dict[str, bytes],
) -> Manifest:
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
        stages=stages,
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


def _commit() -> str:
    """The git commit of this code, zeros where it is not in a git checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "0" * 40
    return found
