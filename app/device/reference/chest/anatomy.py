"""A chest as attenuation line integrals: body, lungs, ribs, heart, spine, vessels, opacities.

Lengths in mm, x to the image's right, y down, origin in the middle of the thorax. Shapes are
cut with soft edges about a pixel wide. Attenuation coefficients per mm at 120 kVp.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.fft import idctn

from app.device.reference.chest.physics import Image, ScannerPhysics, gaussian

SOFT_PER_MM = 0.0175
BONE_PER_MM = 0.040
LUNG_DENSITY = 0.28  # of soft tissue


@dataclass(frozen=True, slots=True)
class Patient:
    """One patient's build and position. `female` adds breast tissue and a smaller frame."""

    age: int
    female: bool
    supine: bool  # an AP projection: larger heart, higher diaphragm
    scale: float
    thickness_mm: float
    shift_mm: tuple[float, float]
    tilt: float  # radians
    inspiration_mm: float
    heart: float
    bone: float
    clutter: float


@dataclass(frozen=True, slots=True)
class Opacity:
    """Diseased tissue: Gaussian blobs of soft tissue (x, y, sigma x, sigma y, depth), all mm."""

    blobs: tuple[tuple[float, float, float, float, float], ...]


def draw_patient(rng: np.random.Generator, age: int, female: bool, supine: bool) -> Patient:
    """A patient of that age and sex."""
    old = (age - 60) / 30
    return Patient(
        age=age,
        female=female,
        supine=supine,
        scale=float(np.clip(rng.normal(0.93 if female else 1.0, 0.05), 0.8, 1.15)),
        thickness_mm=float(np.clip(rng.normal(225 if supine else 215, 24), 160, 320)),
        shift_mm=(float(rng.normal(0, 6)), float(rng.normal(0, 7))),
        tilt=float(rng.normal(0, 0.025)),
        inspiration_mm=float(rng.normal(-14 if supine else 0, 8)),
        heart=float(np.clip(rng.normal(1.06 + 0.05 * old + 0.1 * supine, 0.09), 0.8, 1.6)),
        bone=float(np.clip(rng.normal(1 - 0.12 * old - 0.08 * female, 0.1), 0.5, 1.4)),
        clutter=float(np.exp(rng.normal(0.12 * old, 0.35))),
    )


def draw_opacity(rng: np.random.Generator, patient: Patient, conspicuity: float) -> Opacity:
    """A focal or diffuse opacity somewhere in the lungs; `conspicuity` scales its depth."""
    side = rng.choice((-1.0, 1.0))
    x = side * rng.uniform(45, 100) * patient.scale
    y = rng.uniform(-70, 70) * patient.scale
    diffuse = rng.random() < 0.35
    count = int(rng.integers(5, 9)) if diffuse else int(rng.integers(2, 5))
    spread, size = (32.0, 17.0) if diffuse else (9.0, 11.0)
    depth = conspicuity * (60.0 if diffuse else 80.0)
    blobs = [
        (
            float(x + rng.normal(0, spread)),
            float(y + rng.normal(0, spread)),
            float(size * np.exp(rng.normal(0, 0.3))),
            float(size * np.exp(rng.normal(0, 0.3))),
            float(depth * np.exp(rng.normal(0, 0.35)) / (0.5 + 0.35 * count)),
        )
        for _ in range(count)
    ]
    return Opacity(tuple(blobs))


def attenuation(
    rng: np.random.Generator,
    physics: ScannerPhysics,
    patient: Patient,
    opacities: tuple[Opacity, ...],
) -> tuple[Image, Image]:
    """Line integrals in nepers and relative lung depth in 0..1, both (rows, columns).

    `rng` draws vessels and tissue texture.
    """
    grid = _Grid.of(physics, patient)
    body = _body(grid, patient)
    depth = _lungs(grid, patient)
    lung = depth * np.float32(patient.thickness_mm * 0.62)
    soft = body - np.float32(1 - LUNG_DENSITY) * lung
    soft += _texture(rng, physics, grid, patient) * lung
    soft += _opacity(grid, opacities) * np.minimum(lung * np.float32(1 / 80), 1)
    if patient.female:
        soft += _breasts(grid, patient)
    bone = _ribs(grid) + _spine(grid) + _clavicles(grid)
    harder = (physics.kvp / 120.0) ** -0.35
    line = np.float32(SOFT_PER_MM * harder) * soft
    line += np.float32(BONE_PER_MM * harder**2.2 * patient.bone) * bone * (body > 0)
    return np.maximum(line, 0), depth


@dataclass(frozen=True, slots=True)
class _Grid:
    """Patient coordinates of every pixel, divided by the patient's scale; `y1` is a column."""

    x: Image
    y: Image
    pixel: float
    size: tuple[int, int]

    @classmethod
    def of(cls, physics: ScannerPhysics, patient: Patient) -> _Grid:
        columns, rows = _axes(physics.rows, physics.columns, physics.spacing_mm)
        columns = (columns - np.float32(patient.shift_mm[0])) / np.float32(patient.scale)
        rows = (rows - np.float32(patient.shift_mm[1])) / np.float32(patient.scale)
        cos, sin = np.float32(np.cos(patient.tilt)), np.float32(np.sin(patient.tilt))
        return cls(
            columns * cos + rows * sin,
            rows * cos - columns * sin,
            physics.spacing_mm / patient.scale,
            (physics.rows, physics.columns),
        )


@lru_cache(maxsize=32)
def _axes(rows: int, columns: int, spacing: float) -> tuple[Image, Image]:
    x = (np.arange(columns, dtype=np.float32) - (columns - 1) / 2) * np.float32(spacing)
    y = (np.arange(rows, dtype=np.float32) - (rows - 1) / 2) * np.float32(spacing)
    return x[None, :], y[:, None]


def _soft(distance: Image, pixel: float) -> Image:
    """1 where `distance` (mm) is positive, 0 where negative, a ramp two pixels wide between."""
    return np.asarray(np.clip(np.float32(0.5) + distance * np.float32(0.5 / pixel), 0, 1))


def _body(grid: _Grid, patient: Patient) -> Image:
    """Soft tissue thickness in mm, lungs not yet taken out."""
    shoulder = np.clip((grid.y + 175) * np.float32(1 / 50), 0, 1)
    half_width = 62 + shoulder * 108 + np.clip(-grid.y - 60, 0, 70) * np.float32(0.35)
    depth = np.maximum(1 - (grid.x / half_width) ** 2, 0)
    tall = 0.72 + 0.28 * shoulder + np.clip(grid.y, 0, 200) * np.float32(0.0009)
    return np.asarray(np.sqrt(depth) * tall * np.float32(patient.thickness_mm))


def _lungs(grid: _Grid, patient: Patient) -> Image:
    """Relative lung depth in 0..1: two rounded lungs, cut by diaphragm, heart and mediastinum."""
    side = np.abs(grid.x)
    top, bottom = -138.0, 118.0 + patient.inspiration_mm
    height = (grid.y - (top + bottom) / 2) * np.float32(2 / (bottom - top + 60))
    widest = 66 - 14 * np.clip(-height, 0, 1)
    across = (side - (75 - 8 * np.clip(-height, 0, 1))) / widest
    depth = np.sqrt(np.maximum(1 - across**2 - height**4, 0))
    dome = bottom - 26 + 0.0052 * (side - 62) ** 2 + np.where(grid.x > 0, 8, 0)
    inside = _soft(dome - grid.y, grid.pixel)
    mediastinum = 25 + np.clip(grid.y + 40, 0, 60) * np.float32(0.1)
    inside *= _soft(side - mediastinum, 2 * grid.pixel)
    heart_x = (grid.x - 22) / (62 * patient.heart)
    heart_y = (grid.y - 58 - 0.3 * patient.inspiration_mm) / 58
    inside *= 1 - np.float32(0.88) * np.clip((1 - heart_x**2 - heart_y**2) * 6, 0, 1)
    return np.asarray(depth * inside, dtype=np.float32)


def _ribs(grid: _Grid) -> Image:
    """Bone thickness (mm) of posterior and, fainter, anterior ribs."""
    side = np.abs(grid.x)
    cage = _soft(148 - side, grid.pixel) * _soft(grid.y + 150, grid.pixel)
    cage *= _soft(150 - grid.y, grid.pixel)
    posterior = np.cos((grid.y - 0.42 * side + 0.0021 * side**2) * np.float32(2 * np.pi / 27))
    anterior = np.cos((grid.y + 0.55 * side) * np.float32(2 * np.pi / 30) + 1)
    bone = np.clip((posterior - 0.45) * 4, 0, 1) * 4.5
    bone += np.clip((anterior - 0.55) * 3, 0, 1) * np.clip((side - 55) * 0.05, 0, 1) * 2.2
    return np.asarray(bone * cage, dtype=np.float32)


def _spine(grid: _Grid) -> Image:
    """Bone thickness (mm) of the vertebral column."""
    column = _soft(17 - np.abs(grid.x), 2 * grid.pixel)
    return np.asarray(column * (15 + 4 * np.cos(grid.y * np.float32(2 * np.pi / 26))), np.float32)


def _clavicles(grid: _Grid) -> Image:
    """Bone thickness (mm) of the clavicles."""
    side = np.abs(grid.x)
    bar = _soft(6 - np.abs(grid.y + 112 + 0.22 * side), grid.pixel)
    return np.asarray(7 * bar * _soft(side - 14, grid.pixel) * _soft(125 - side, grid.pixel))


def _breasts(grid: _Grid, patient: Patient) -> Image:
    """Soft tissue thickness (mm) of the breasts."""
    side = (np.abs(grid.x) - 72) / 62
    down = (grid.y - 55) / 58
    depth = np.sqrt(np.maximum(1 - side**2 - down**2, 0))
    return np.asarray(depth * np.float32(0.14 * patient.thickness_mm), dtype=np.float32)


def _texture(
    rng: np.random.Generator, physics: ScannerPhysics, grid: _Grid, patient: Patient
) -> Image:
    """Vessels and parenchyma as a fraction of lung depth, denser towards the hila."""
    fine = _field(rng, grid.size, 9.0 / physics.spacing_mm)
    coarse = _field(rng, grid.size, 24.0 / physics.spacing_mm)
    hilum = np.exp(-((np.abs(grid.x) - 38) ** 2 + (grid.y * 0.8) ** 2) * np.float32(1 / 2600))
    vessels = np.maximum(fine, 0) * (np.float32(0.03) + np.float32(0.16) * hilum)
    return np.asarray(np.float32(patient.clutter) * (vessels + np.float32(0.022) * coarse))


def _field(rng: np.random.Generator, size: tuple[int, int], grain: float) -> Image:
    """A smooth Gaussian random field of unit variance, correlated over about `grain` pixels."""
    spectrum = _spectrum(*size, grain)
    rows, columns = spectrum.shape
    coefficients = np.zeros(size, dtype=np.float32)
    coefficients[:rows, :columns] = rng.standard_normal(spectrum.shape, dtype=np.float32) * spectrum
    return np.asarray(idctn(coefficients, norm="ortho"))


@lru_cache(maxsize=64)
def _spectrum(rows: int, columns: int, grain: float) -> Image:
    """Standard deviations of the low cosine coefficients; the others are negligible."""
    highest = int(1.2 * max(rows, columns) / grain) + 1
    transfer = gaussian(rows, columns, 0.6 * grain)[:highest, :highest]
    spectrum: Image = transfer * np.float32(np.sqrt(rows * columns / (transfer**2).sum()))
    spectrum.setflags(write=False)
    return spectrum


def _opacity(grid: _Grid, opacities: tuple[Opacity, ...]) -> Image:
    """Soft tissue depth in mm of all blobs; axis-aligned, so each is an outer product."""
    x, y = grid.x[grid.size[0] // 2], grid.y[:, grid.size[1] // 2]
    depth = np.zeros(grid.size, dtype=np.float32)
    for opacity in opacities:
        for at_x, at_y, width, height, thick in opacity.blobs:
            across = np.exp(-0.5 * ((x - at_x) / width) ** 2)
            down = np.exp(-0.5 * ((y - at_y) / height) ** 2)
            depth += np.float32(thick) * np.outer(down, across)
    return depth
