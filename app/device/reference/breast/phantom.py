"""Breast ultrasound: skin, fat, gland and muscle; lesions that cast shadows or let sound through.

Suspicion follows one latent number, as in BI-RADS: taller than wide, irregular or spiculated
margin, echo-poor and mixed inside, shadow behind.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from app.device.reference.common.optics import Image, smooth_noise
from app.device.reference.common.phantom import Phantom, Truth, demography, latent, severity
from app.device.reference.common.sound import Ultrasound, header, picture, speckle, stored

SEPARATION = 2.5
LOBULE_RATE = 0.5  # fat lobules look a little like lesions

SCANNERS: Mapping[str, Ultrasound] = {
    "ge": Ultrasound(136, 136, 0.30),
    "philips": Ultrasound(
        144, 128, 0.29, lateral=0.9, range_db=60, smoothing=0.5, edges=0.35, gamma=0.92
    ),
    "samsung": Ultrasound(
        128, 144, 0.31, axial=0.7, lateral=1.3, range_db=50, smoothing=0.15, gamma=1.08
    ),
    "mindray": Ultrasound(132, 140, 0.32, axial=0.75, range_db=65, smoothing=0.4, edges=0.5),
}


@dataclass(frozen=True, slots=True)
class Lesion:
    """Coverage (rows, columns), its echo and what it takes from the sound behind it, in dB."""

    inside: Image
    echo_db: Image
    loss_db: Image
    box: tuple[float, float, float, float]


def detection_case(
    rng: np.random.Generator, vendor: str, positive: bool, variation: float
) -> Phantom:
    """A screening image; positive: there is a lesion, of any kind."""
    looks = float(rng.normal(0.9, 1.0))
    contrast = float(np.exp(rng.normal(2.4, 0.4)))  # dB below the tissue around it
    count = 1 + int(rng.random() < 0.12) if positive else 0
    band = severity(positive, contrast / 8) if positive else "none"
    return _case(rng, vendor, variation, positive, [(looks, contrast)] * count, band)


def assessment_case(
    rng: np.random.Generator, vendor: str, positive: bool, variation: float
) -> Phantom:
    """An image of a known lesion; positive: it is malignant."""
    looks = latent(rng, positive, SEPARATION)
    contrast = float(np.exp(rng.normal(2.3 + 0.05 * looks, 0.25)))
    return _case(rng, vendor, variation, positive, [(looks, contrast)], severity(positive, looks))


def _case(
    rng: np.random.Generator,
    vendor: str,
    variation: float,
    positive: bool,
    lesions: list[tuple[float, float]],
    band: str,
) -> Phantom:
    scanner = replace(
        SCANNERS[vendor].varied(rng, variation),
        gain_db=float(rng.normal(0, 2.0)),
        tgc_db=float(rng.normal(0, 4.0)),
    )
    echo, loss = _tissue(rng, scanner)
    boxes: list[tuple[float, float, float, float]] = []
    for looks, contrast in lesions:
        lesion = _lesion(rng, scanner, looks, contrast, boxes)
        echo = (1 - lesion.inside) * echo + lesion.inside * lesion.echo_db
        loss = loss + lesion.loss_db
        boxes.append(lesion.box)
    age, sex = demography(rng, 57 if positive else 51, 12, 0.99)
    shape = (scanner.rows, scanner.columns)
    return Phantom(
        pixels=stored(picture(scanner, speckle(rng, shape), echo, loss)),
        positive=positive,
        severity=band,
        age=age,
        sex=sex,
        spacing_mm=scanner.spacing_mm,
        attributes=header(rng, scanner)
        | {"TransducerType": "LINEAR", "ImageLaterality": "L" if rng.random() < 0.5 else "R"},
        truth=Truth(boxes=np.array(boxes).reshape(-1, 4)),
    )


def _tissue(rng: np.random.Generator, scanner: Ultrasound) -> tuple[Image, Image]:
    """Echo and remaining loss of skin, fat, gland, muscle (rows, columns), in dB."""
    shape = (scanner.rows, scanner.columns)
    depth = np.linspace(0, 1, shape[0], dtype=np.float32)[:, None] + np.zeros(shape, np.float32)
    wave = 0.05 * smooth_noise(rng, shape, 18)
    gland_at, muscle_at = rng.uniform(0.15, 0.35), rng.uniform(0.72, 0.92)
    echo = np.full(shape, -14.0, dtype=np.float32)  # fat
    gland = depth + wave > gland_at
    echo = np.where(gland, -7.0 + 2.0 * smooth_noise(rng, shape, 5), echo)
    if rng.random() < LOBULE_RATE:
        echo = np.where(gland & (smooth_noise(rng, shape, 9) > 1.5), -13.0, echo)
    echo = np.where(depth + wave > muscle_at, -11.0 + 3.0 * np.sin(60 * (depth + wave)), echo)
    echo = np.where(depth < 0.035, 0.0, echo)
    loss = 3.0 * depth + 1.2 * smooth_noise(rng, (1, shape[1]), 5)  # uneven coupling
    return echo.astype(np.float32), np.asarray(loss, dtype=np.float32)


def _lesion(
    rng: np.random.Generator,
    scanner: Ultrasound,
    looks: float,
    contrast: float,
    others: list[tuple[float, float, float, float]],
) -> Lesion:
    shape = (scanner.rows, scanner.columns)
    row, column = _place(rng, shape, others)
    width = float(np.clip(np.exp(rng.normal(2.75, 0.25)), 9, 26))  # half, in pixels
    # Benign lesions lie along the layers; malignant ones grow across them.
    height = width * float(np.clip(np.exp(0.16 * (looks + rng.normal(0, 0.7)) - 0.62), 0.35, 1.4))
    y = np.arange(shape[0], dtype=np.float32)[:, None] - row
    x = np.arange(shape[1], dtype=np.float32) - column
    angle = np.arctan2(y / height, x / width)
    irregular = 0.05 * float(np.exp(0.36 * (looks + rng.normal(0, 0.6))))
    border = np.ones_like(angle)
    for wave in range(2, 10):
        turn = rng.uniform(0, 2 * np.pi)
        border += irregular * rng.standard_normal() * np.cos(wave * angle + turn) / wave**0.4
    distance = np.hypot(y / height, x / width) / np.maximum(border, 0.35)
    softness = 0.04 * float(np.exp(0.3 * (looks + rng.normal(0, 0.6))))
    inside = 1 / (1 + np.exp(np.clip((distance - 1) / softness, -30, 30)))
    mixed = 1.2 * float(np.exp(0.25 * looks)) * smooth_noise(rng, shape, 3)
    echo = np.asarray(-8.0 - contrast + mixed, dtype=np.float32)
    # Solid tumours shadow; cysts and fibroadenomas let sound through.
    shadow = 4.0 * (0.55 * (looks + rng.normal(0, 0.9)) - 0.6)
    behind = np.clip(y / height, 0, 1.5) * np.exp(-0.5 * (x / (0.8 * width)) ** 2)
    at = np.nonzero(inside > 0.5)
    edges = (at[1].min(), at[0].min(), at[1].max() + 1, at[0].max() + 1)
    left, upper, right, lower = (float(e) for e in edges)
    loss = np.asarray(shadow * behind, dtype=np.float32)
    return Lesion(inside.astype(np.float32), echo, loss, (left, upper, right, lower))


def _place(
    rng: np.random.Generator,
    shape: tuple[int, int],
    others: list[tuple[float, float, float, float]],
) -> tuple[float, float]:
    """Away from the borders and, where it can be, from other lesions."""
    for _ in range(20):
        row = float(rng.uniform(0.3, 0.7) * shape[0])
        column = float(rng.uniform(0.25, 0.75) * shape[1])
        if all(abs((left + right) / 2 - column) > 40 for left, _, right, _ in others):
            break
    return row, column
