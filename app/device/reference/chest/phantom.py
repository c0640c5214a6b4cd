"""Chest phantoms: one call makes a case as a scanner would have stored it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from app.device.reference.chest.anatomy import attenuation, draw_opacity, draw_patient
from app.device.reference.chest.physics import (
    TARGET_KERMA_UGY,
    VENDORS,
    ScannerPhysics,
    detect,
    process,
    processing_change,
    store,
)
from app.device.reference.common.phantom import Truth

__all__ = ["VENDORS", "ChestPhantom", "ScannerPhysics", "make_case", "processing_change"]

SEVERITIES = ("none", "subtle", "moderate", "marked")
_SEVERITY_EDGES = (0.75, 1.35)  # conspicuity
SUPINE_RATE = 0.2
FAILED_EXPOSURE_RATE = 0.01  # a mis-set exposure: the quality gate should refuse the image
LUNG_DEPTH = 0.35  # a pixel belongs to the lung fields from this relative depth on
KVP_SD = 3.0  # tube voltage follows the patient's size
MINOR_RATE = 0.006  # patients under 18 where adults are intended


@dataclass(frozen=True, slots=True)
class ChestPhantom:
    """One case: stored pixels (rows, columns) and what a header would say of it.

    `lungs` is where the lung fields are; `positive` is the truth; `severity` one of
    `SEVERITIES`. Units are DICOM's: kV, mAs, ms, exposure index (100 per uGy), dose-area
    product in dGy cm2.
    """

    pixels: npt.NDArray[np.uint16]
    lungs: npt.NDArray[np.bool_]
    positive: bool
    severity: str
    age: int
    sex: str
    view: str
    kvp: float
    exposure_mas: float
    exposure_ms: float
    exposure_index: float
    dose_area_product: float
    collimation: tuple[int, int, int, int]  # left, right, upper, lower edge, in pixels
    physics: ScannerPhysics

    @property
    def spacing_mm(self) -> float:
        """Of stored pixels."""
        return self.physics.spacing_mm

    @property
    def truth(self) -> Truth:
        """Where the lung fields are."""
        return Truth(masks=self.lungs[None].astype(np.float32))


def make_case(
    rng: np.random.Generator, physics: ScannerPhysics, positive: bool, severity: float = 1.0
) -> ChestPhantom:
    """A case on that scanner. `severity` scales the conspicuity of disease."""
    age, female, supine = _demography(rng)
    patient = draw_patient(rng, age, female, supine)
    conspicuity = float(severity * np.exp(rng.normal(0.0, 0.5))) if positive else 0.0
    opacities = [draw_opacity(rng, patient, conspicuity)] if positive else []
    if rng.random() < 0.25:  # scars and atelectasis look like subtle disease
        opacities.append(draw_opacity(rng, patient, float(np.exp(rng.normal(-1.1, 0.4)))))
    kerma = float(np.exp(rng.normal(0.0, physics.kerma_sd)))
    if rng.random() < FAILED_EXPOSURE_RATE:
        kerma *= float(rng.choice((0.06, 12.0)))
    kvp = float(np.round(physics.kvp + np.clip(rng.normal(0, KVP_SD), -9, 9)))
    physics = replace(physics, kvp=kvp)
    line, depth = attenuation(rng, physics, patient, tuple(opacities))
    signal = detect(rng, physics, line, kerma)
    edges = _collimation(rng, physics)
    pixels = store(physics, process(physics, signal), _open_field(physics, edges))
    mas = 2.2 * kerma * (patient.thickness_mm / 215) ** 3 * (120 / kvp) ** 3
    area_cm2 = physics.rows * physics.columns * physics.spacing_mm**2 / 100
    return ChestPhantom(
        pixels=pixels,
        lungs=depth > LUNG_DEPTH,
        positive=positive,
        severity=_severity(conspicuity),
        age=age,
        sex="F" if female else "M",
        view="AP" if supine else "PA",
        kvp=kvp,
        exposure_mas=mas,
        exposure_ms=mas * 3.1,
        exposure_index=100 * TARGET_KERMA_UGY * kerma * float(np.exp(rng.normal(0, 0.04))),
        dose_area_product=0.0004 * mas * area_cm2,
        collimation=edges,
        physics=physics,
    )


def _demography(rng: np.random.Generator) -> tuple[int, bool, bool]:
    minor = rng.random() < MINOR_RATE
    age = int(rng.integers(4, 18)) if minor else int(np.clip(rng.normal(61, 17), 18, 97))
    return age, bool(rng.random() < 0.47), bool(rng.random() < SUPINE_RATE)


def _severity(conspicuity: float) -> str:
    if conspicuity == 0:
        return SEVERITIES[0]
    return SEVERITIES[1 + int(np.searchsorted(_SEVERITY_EDGES, conspicuity, side="right"))]


def _collimation(rng: np.random.Generator, physics: ScannerPhysics) -> tuple[int, int, int, int]:
    width = np.abs(rng.normal(physics.collimation_mm, 5, size=4)) / physics.spacing_mm
    left, right, upper, lower = (int(w) for w in width)
    return left, physics.columns - right, upper, physics.rows - lower


def _open_field(physics: ScannerPhysics, edges: tuple[int, int, int, int]) -> npt.NDArray[np.bool_]:
    field = np.zeros((physics.rows, physics.columns), dtype=np.bool_)
    left, right, upper, lower = edges
    field[upper:lower, left:right] = True
    return field
