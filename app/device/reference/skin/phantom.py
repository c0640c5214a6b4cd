"""Skin with one lesion, as a dermatoscope shows it.

Skin absorbs by melanin and haemoglobin (Beer-Lambert, relative absorption per channel). What is
suspicious follows one latent number: asymmetry, border, colours, diameter (the ABCD rule,
Stolz 1994).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

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

MELANIN = np.array([0.45, 0.9, 1.35], dtype=np.float32)  # absorption: red, green, blue
HAEMOGLOBIN = np.array([0.12, 0.75, 0.5], dtype=np.float32)
HAIR = np.array([0.12, 0.09, 0.08], dtype=np.float32)
SEPARATION = 2.4
RULER_RATE, HAIR_MEAN = 0.18, 4.0
WHITE_BALANCES = ("0", "1")  # automatic, manual (EXIF)

CAMERAS: Mapping[str, Camera] = {
    "fotofinder": Camera(120, 150),
    "canfield": Camera(114, 152, red=1.06, blue=0.92, blur=0.9, vignette=0.3, gamma=0.92),
    "dermlite": Camera(128, 128, red=0.95, blue=1.08, noise=0.018, vignette=0.35, gamma=1.06),
    "heine": Camera(108, 144, red=1.02, blue=0.97, blur=0.6, sharpening=0.6, unevenness=0.1),
}


def make_case(rng: np.random.Generator, vendor: str, positive: bool, variation: float) -> Phantom:
    """A lesion under that vendor's dermatoscope; positive: it needs an urgent referral."""
    camera = CAMERAS[vendor].varied(rng, variation)
    looks = latent(rng, positive, SEPARATION)
    age, sex = demography(rng, 58 if positive else 50, 16, 0.5)
    scene = _clutter(rng, camera, _scene(rng, camera, looks))
    return Phantom(
        pixels=photograph(rng, camera, scene),
        positive=positive,
        severity=severity(positive, looks),
        age=age,
        sex=sex,
        attributes={
            "WhiteBalance": int(rng.random() < 0.2),
            "FocalLength": 60.0,
            "FNumber": 8.0,
            "ISOSpeed": int(np.round(100 * 2 ** np.clip(rng.normal(1.5, 0.6), 0, 4))),
        },
    )


def _scene(rng: np.random.Generator, camera: Camera, looks: float) -> Image:
    melanin = float(np.clip(np.exp(rng.normal(-1.0, 0.5)), 0.08, 1.4))  # tone of the skin
    shape = (camera.rows, camera.columns)
    blood = 0.25 + 0.05 * smooth_noise(rng, shape, 6)
    pigment = melanin * (1 + 0.06 * smooth_noise(rng, shape, 3))
    inside, lesion_pigment, lesion_blood = _lesion(rng, camera, looks)
    pigment = pigment + inside * lesion_pigment
    blood = blood + inside * lesion_blood
    absorbed = pigment[..., None] * MELANIN + blood[..., None] * HAEMOGLOBIN
    scene: Image = 0.95 * np.exp(-absorbed)
    if looks + rng.normal(0, 0.7) > 1.6:  # a blue-white veil
        scene = _veiled(rng, camera, scene, inside)
    return np.asarray(scene, dtype=np.float32)


def _lesion(rng: np.random.Generator, camera: Camera, looks: float) -> tuple[Image, Image, Image]:
    """Coverage, melanin and blood of the lesion (rows, columns) each."""
    y, x = axes(camera)
    y, x = y - float(rng.normal(0, 0.12)), x - float(rng.normal(0, 0.12))
    irregular = float(np.exp(0.35 * (looks + rng.normal(0, 0.5)) - 0.6))
    radius = float(np.clip(0.42 * np.exp(0.09 * looks + rng.normal(0, 0.22)), 0.2, 0.8))
    angle, border = np.arctan2(y, x), np.ones_like(x)
    for wave in range(1, 9):
        size = irregular * 0.11 / wave**0.6 * rng.standard_normal()
        border += size * np.cos(wave * angle + rng.uniform(0, 2 * np.pi))
    distance = np.hypot(y * np.exp(rng.normal(0, 0.12)), x) / (radius * np.maximum(border, 0.3))
    sharpness = float(np.exp(rng.normal(2.3 + 0.1 * looks, 0.3)))
    inside = 1 / (1 + np.exp(np.clip(sharpness * (distance - 1), -30, 30)))
    shape = (camera.rows, camera.columns)
    varied = float(np.exp(0.3 * (looks + rng.normal(0, 0.5)) - 1.0))
    kind = rng.choice(3, p=(0.7, 0.18, 0.12))  # naevus, keratosis, vascular
    pigment = float(np.exp(rng.normal(-0.2, 0.35))) * (1 + varied * smooth_noise(rng, shape, 8))
    pigment = pigment * (1 + 0.2 * smooth_noise(rng, shape, 1.2 if kind == 0 else 2.5))
    blood = 0.1 + 0.3 * varied * np.maximum(smooth_noise(rng, shape, 6), 0)
    if kind == 2:
        pigment, blood = 0.3 * pigment, blood + 1.0
    return inside.astype(np.float32), np.maximum(pigment, 0.02), blood


def _veiled(rng: np.random.Generator, camera: Camera, scene: Image, inside: Image) -> Image:
    patch = smooth_noise(rng, (camera.rows, camera.columns), 9) > 0.5
    veil = (0.6 * inside * patch)[..., None]
    return np.asarray((1 - veil) * scene + veil * np.array([0.34, 0.4, 0.5], dtype=np.float32))


def _clutter(rng: np.random.Generator, camera: Camera, scene: Image) -> Image:
    """Hairs over it, sometimes a ruler: neither says anything about the lesion."""
    shape = (camera.rows, camera.columns)
    hairs = []
    for _ in range(rng.poisson(HAIR_MEAN) if rng.random() < 0.6 else 0):
        start = (float(rng.uniform(0, shape[0])), float(rng.uniform(0, shape[1])))
        line = path(rng, start, rng.uniform(0, 2 * np.pi), int(rng.integers(30, 110)), 0.12)
        hairs.append((line, float(rng.uniform(0.6, 1.4))))
    cover = strokes(shape, hairs)[..., None]
    scene = (1 - cover) * scene + cover * HAIR
    if rng.random() < RULER_RATE:
        edge = np.zeros(shape, dtype=np.float32)
        edge[-9:, ::6] = 1.0
        edge[-14:, ::30] = 1.0
        scene = np.where(edge[..., None] > 0, np.float32(0.05), scene)
    return np.asarray(scene, dtype=np.float32)
