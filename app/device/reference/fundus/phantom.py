"""The fundus of one eye as a non-mydriatic camera shows it: disc, macula, vessels, lesions.

Vessels leave the disc as two arcades that branch and thin; haemoglobin darkens green most.
What must be referred follows one latent number: microaneurysms, haemorrhages, exudates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from app.device.reference.common.optics import (
    Camera,
    Image,
    axes,
    path,
    photograph,
    smooth_noise,
    strokes,
)
from app.device.reference.common.phantom import Phantom, demography, latent, severity

RETINA = np.array([0.72, 0.34, 0.14], dtype=np.float32)
DISC = np.array([0.95, 0.75, 0.45], dtype=np.float32)
EXUDATE = np.array([0.95, 0.82, 0.42], dtype=np.float32)
BLOOD = np.array([0.35, 1.5, 1.1], dtype=np.float32)  # absorption of a full vessel
MACULA = np.array([0.35, 0.7, 0.5], dtype=np.float32)
SEPARATION = 2.6
FIELD_DEGREES = 45.0


@dataclass(frozen=True, slots=True)
class Fundus:
    """One camera and the radius of its field, in half sides of the shorter side."""

    camera: Camera
    field: float
    angle: float


CAMERAS: Mapping[str, Fundus] = {
    "topcon": Fundus(Camera(144, 144, vignette=0.35), 0.96, 45.0),
    "canon": Fundus(Camera(136, 160, red=0.96, blue=1.1, blur=0.85, vignette=0.25), 0.97, 45.0),
    "zeiss": Fundus(
        Camera(140, 150, red=1.05, blue=0.85, gamma=0.94, sharpening=0.6, vignette=0.3), 0.95, 45.0
    ),
    "kowa": Fundus(Camera(152, 152, noise=0.018, vignette=0.45, gamma=1.06), 0.94, 50.0),
}


def make_case(rng: np.random.Generator, vendor: str, positive: bool, variation: float) -> Phantom:
    """An eye in front of that camera; positive: it must be referred."""
    product = CAMERAS[vendor]
    camera = product.camera.varied(rng, variation)
    looks = latent(rng, positive, SEPARATION)
    age, sex = demography(rng, 61, 12, 0.5)
    left = bool(rng.random() < 0.5)
    scene = _scene(rng, camera, looks, 1 if left else -1, age)
    y, x = axes(camera)
    outside = np.hypot(y, x) > product.field
    pixels = photograph(rng, camera, np.where(outside[..., None], 0, scene).astype(np.float32))
    pixels[outside] = np.minimum(pixels[outside], 6)
    return Phantom(
        pixels=pixels,
        positive=positive,
        severity=severity(positive, looks),
        age=age,
        sex=sex,
        attributes={
            "ImageLaterality": "L" if left else "R",
            "HorizontalFieldOfView": product.angle,
            "PupilDilated": "YES" if rng.random() < 0.35 else "NO",
            "PatientEyeMovementCommanded": "NO",
        },
    )


def _scene(rng: np.random.Generator, camera: Camera, looks: float, side: int, age: int) -> Image:
    shape = (camera.rows, camera.columns)
    y, x = axes(camera)
    tone = float(np.exp(rng.normal(0, 0.16)))  # pigment of the choroid
    scene = RETINA ** np.float32(tone) * (1 + 0.05 * smooth_noise(rng, shape, 10))[..., None]
    disc = (float(rng.normal(0, 0.06)), -side * float(rng.normal(0.48, 0.05)))
    fovea = (float(rng.normal(0.05, 0.03)), disc[1] + side * 0.55)
    macula = np.exp(-((y - fovea[0]) ** 2 + (x - fovea[1]) ** 2) / (2 * 0.13**2))
    scene = scene * np.exp(-0.6 * macula[..., None] * MACULA)
    scene = _with_disc(rng, scene, y - disc[0], x - disc[1])
    vessels = strokes(shape, _arcades(rng, camera, disc, side))
    scene = scene * np.exp(-0.55 * gaussian_filter(vessels, 0.5)[..., None] * BLOOD)
    scene = _with_lesions(rng, camera, scene, looks)
    haze = float(np.clip(rng.normal(0.002 * (age - 50), 0.06), 0, 0.35))  # of the lens
    blurred = gaussian_filter(scene, (2.5, 2.5, 0))
    return np.asarray((1 - 2 * haze) * scene + 1.6 * haze * blurred + 0.25 * haze, dtype=np.float32)


def _with_disc(rng: np.random.Generator, scene: Image, y: Image, x: Image) -> Image:
    radius = float(rng.normal(0.15, 0.015))
    edge = 1 / (1 + np.exp(np.clip((np.hypot(y, x * 1.1) - radius) * 60, -30, 30)))
    cup = np.exp(-(y**2 + x**2) / (2 * (radius * float(rng.uniform(0.3, 0.55))) ** 2))
    colour = DISC * (0.85 + 0.25 * cup[..., None])
    return np.asarray(scene * (1 - edge[..., None]) + colour * edge[..., None])


Lines = list[tuple[np.ndarray, float]]


def _arcades(
    rng: np.random.Generator, camera: Camera, disc: tuple[float, float], side: int
) -> Lines:
    """Arteries and veins: points (k, 2) in pixels, and a width each."""
    half = min(camera.rows, camera.columns) / 2
    start = np.array([disc[0], disc[1]]) * half + (np.array([camera.rows, camera.columns]) - 1) / 2
    lines: Lines = []
    for up in (-1, 1):
        for width in (2.4, 1.7):  # vein, artery
            lines += _arcade(rng, start, up, side, width, half)
        nasal = path(rng, (start[0], start[1]), up * 0.6 + (np.pi if side > 0 else 0), 40, 0.08)
        lines.append((nasal, 1.2))
    return lines


def _arcade(
    rng: np.random.Generator, start: np.ndarray, up: int, side: int, width: float, half: float
) -> Lines:
    """One vessel that bends around the macula, with branches that thin out."""
    steps = int(2.6 * half)
    along = np.linspace(0, 1, steps)
    reach = half * float(rng.normal(0.62, 0.06))
    rows = start[0] + up * reach * np.sin(np.pi * np.minimum(along, 0.62))
    columns = start[1] + side * half * 1.5 * along**1.3
    wander = np.cumsum(rng.normal(0, 0.12, size=(steps, 2)), axis=0)
    trunk = np.column_stack([rows, columns]) + wander
    lines: Lines = [(trunk, width)]
    for at in rng.integers(steps // 8, steps - 5, size=5):
        direction = np.arctan2(*(trunk[at + 4] - trunk[at])) + rng.choice((-1, 1)) * 0.8
        place = (float(trunk[at, 0]), float(trunk[at, 1]))
        branch = path(rng, place, direction, int(rng.integers(14, 34)), 0.15)
        lines.append((branch, width * float(rng.uniform(0.45, 0.65))))
    return lines


def _with_lesions(rng: np.random.Generator, camera: Camera, scene: Image, looks: float) -> Image:
    dots = rng.poisson(np.exp(0.75 * looks - 0.3))
    blots = rng.poisson(np.exp(0.8 * looks - 1.9))
    bright = rng.poisson(np.exp(0.85 * looks - 1.3))
    shape = (camera.rows, camera.columns)
    dark = strokes(shape, [*_spots(rng, camera, dots, 2.0), *_spots(rng, camera, blots, 4.8)])
    if bright and rng.random() < 0.5:  # drusen lie around the macula and are harmless
        bright = 0
    drusen = _spots(rng, camera, rng.poisson(1.2), 1.5)
    pale = strokes(shape, [*_spots(rng, camera, min(bright, 40), 2.8), *drusen])
    scene = scene * np.exp(-1.1 * gaussian_filter(dark, 0.4)[..., None] * BLOOD)
    cover = 0.8 * gaussian_filter(pale, 0.4)[..., None]
    return np.asarray((1 - cover) * scene + cover * EXUDATE)


def _spots(rng: np.random.Generator, camera: Camera, wanted: int, width: float) -> Lines:
    """Short, thick lines: spots of irregular form, anywhere in the field."""
    half = min(camera.rows, camera.columns) / 2
    centre = (np.array([camera.rows, camera.columns]) - 1) / 2
    spots: Lines = []
    for _ in range(wanted):
        radius, angle = 0.8 * half * np.sqrt(rng.random()), rng.uniform(0, 2 * np.pi)
        place = centre + radius * np.array([np.sin(angle), np.cos(angle)])
        length = 1 + int(rng.poisson(width / 2))
        size = width * float(np.exp(rng.normal(0, 0.25)))
        spots.append((path(rng, (place[0], place[1]), angle, length, 0.6), size))
    return spots
