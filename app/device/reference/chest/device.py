"""The chest triage device: lung fields, and a classifier that looks inside them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from app.contracts.manifest import Allowed, InputLimits, Preprocessing, Range, Stage
from app.device.reference.chest.dicom import HEADERS, to_dicom
from app.device.reference.chest.phantom import VENDORS, ChestPhantom, ScannerPhysics, make_case
from app.device.reference.chest.training import learn
from app.device.reference.common.declaration import Effort, ReferenceDevice
from app.device.reference.common.phantom import around
from monitors.schema import Categorical

STORED_SIZE, STORED_MM = 160, 2.6


def make(rng: np.random.Generator, vendor: str, positive: bool, variation: float) -> ChestPhantom:
    """A case in front of that vendor's detector."""
    return make_case(rng, _varied(rng, VENDORS[vendor], variation), positive)


def make_alike(
    rng: np.random.Generator, vendor: str, positive: bool, _variation: float
) -> ChestPhantom:
    """The same with every vendor's physics on one detector: few coarse pixels of 12 bits."""
    physics = replace(
        VENDORS[vendor],
        rows=STORED_SIZE,
        columns=STORED_SIZE,
        spacing_mm=STORED_MM,
        bits_stored=12,
        monochrome1=False,
    )
    return make_case(rng, physics, positive)


def _varied(rng: np.random.Generator, physics: ScannerPhysics, amount: float) -> ScannerPhysics:
    """Another installation of the same product: dose, blur and processing a little different."""
    return replace(
        physics,
        blur_mm=around(rng, physics.blur_mm, amount),
        quanta=around(rng, physics.quanta, amount),
        enhancement=around(rng, physics.enhancement, amount),
        denoise=min(around(rng, physics.denoise, amount), 0.9),
        gamma=around(rng, physics.gamma, 0.3 * amount),
    )


DEVICE = ReferenceDevice(
    pattern="cadt_triage",
    name="Reference Chest Triage",
    udi_di="00850001234017",
    intended_use=(
        "Prioritise chest radiographs of adults with suspected consolidation on the worklist. "
        "It does not diagnose."
    ),
    finding="consolidation",
    limits=InputLimits(
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
    ),
    preprocessing=Preprocessing(
        spacing_mm=3.2,
        rows=128,
        columns=128,
        intensity="percentile",
        parameters={"low": 1, "high": 99},
    ),
    scanners=HEADERS,
    make=make,
    learn=learn,
    stages=(
        Stage(
            name="lungs",
            kind="segmenter",
            program="lungs.pt2",
            inputs=("image",),
            outputs=("lungs",),
        ),
        Stage(
            name="classifier",
            kind="classifier",
            program="classifier.pt2",
            inputs=("image", "lungs"),
            outputs=("probability", "embedding", "activation"),
        ),
    ),
    # Acquisition, not disease: what opacities in the lung would move is not among them.
    acquisition=("noise", "sharpness", "edge", "field_fill", "kvp", "exposure_index"),
    categories=(
        Categorical("view", ("PA", "AP")),
        Categorical("photometric_interpretation", ("MONOCHROME1", "MONOCHROME2")),
        Categorical("modality", ("DX", "CR")),
        Categorical("grid", tuple(sorted({h.grid for h in HEADERS.values()}))),
        Categorical("detector_type", tuple(sorted({h.detector for h in HEADERS.values()}))),
    ),
    efforts={
        "full": Effort(3600, 2000, 2600, 8, 100, 16),
        "small": Effort(500, 400, 400, 4, 30, 4),
    },
    prevalence=0.14,
    training_prevalence=0.4,
    # There its specificity is above 0.8 too, as triage of this class is expected to be.
    sensitivity=0.80,
    to_dicom=to_dicom,
    make_alike=make_alike,
    judged=(
        ("noise", "highest", 0.02),
        ("clipped", "highest", 0.02),
        ("field_fill", "lowest", 0.02),
    ),
)
