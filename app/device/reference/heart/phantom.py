"""An apical four-chamber clip: a sector of speckle in which a left ventricle beats for one cycle.

The cavity is half an ellipse between apex and mitral annulus. Its volume follows the cycle, its
walls thicken as it empties, and part of the speckle moves with them. The plane shows two walls of
six: the true ejection fraction is that of both apical planes (biplane, Lang 2015), each from true
areas and lengths by the area-length formula that the device uses, and only one of them is seen.
In part of the patients the acoustic window is poor: reverberation fills the cavity, the lateral
wall drops out, clutter lies over the apex.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from app.device.reference.common.optics import Image, smooth_noise
from app.device.reference.common.phantom import Phantom, Pixels, Truth, demography
from app.device.reference.common.sound import Ultrasound, header, picture, speckle, stored
from app.device.ventricle import length_mm, volume_ml
from monitors.schema import FloatArray

FRAMES = 10
REDUCED = 50.0  # % ejection fraction below which the heart pumps too little
STILL = 0.75  # share of the speckle's amplitude that stays from frame to frame
HALF_ANGLE = np.radians(38)
BLOOD_DB, MUSCLE_DB, OUTSIDE_DB = -26.0, -7.0, -15.0
REGIONAL_SD = 4.0  # points by which the seen plane's ejection is off that of both
POOR_WINDOWS = 0.35  # share of patients
_BANDS = ((45.0, "subtle"), (35.0, "moderate"), (0.0, "marked"))

SCANNERS: Mapping[str, Ultrasound] = {
    "ge": Ultrasound(112, 112, 1.40, lateral=1.3, frequency=2.5, range_db=60),
    "philips": Ultrasound(
        120, 112, 1.35, frequency=2.2, range_db=65, smoothing=0.5, edges=0.35, gamma=0.94
    ),
    "siemens": Ultrasound(108, 116, 1.45, axial=0.7, lateral=1.5, frequency=2.8, range_db=55),
    "canon": Ultrasound(
        112, 120, 1.40, axial=0.75, frequency=2.4, range_db=62, smoothing=0.45, gamma=1.06
    ),
}


@dataclass(frozen=True, slots=True)
class Heart:
    """Geometry in mm and degrees. apex: depth and offset of the apex at the end of diastole."""

    ejection: float  # wanted, %
    length: float  # apex to annulus at the end of diastole
    width: float  # of the annulus
    apex_row: float
    apex_column: float
    tilt: float
    wall: float
    regional: float  # points by which this plane ejects more than both together


@dataclass(frozen=True, slots=True)
class Window:
    """How well the ribs let look, in dB: reverberation over the blood, loss over the lateral wall,
    and clutter near the probe, relative to muscle."""

    haze: float = 0.0
    lateral: float = 0.0
    clutter: float = -40.0


def make_case(rng: np.random.Generator, vendor: str, positive: bool, variation: float) -> Phantom:
    """A clip of one beat; positive: the true ejection fraction is below `REDUCED`."""
    scanner = replace(
        SCANNERS[vendor].varied(rng, variation),
        gain_db=float(rng.normal(0, 2.0)),
        tgc_db=float(rng.normal(0, 4.0)),
    )
    heart = _heart(rng, positive)
    truth = _truth(scanner, heart)
    age, sex = demography(rng, 66, 14, 0.45)
    rate = float(np.clip(rng.normal(72, 12), 45, 130))
    return Phantom(
        pixels=np.stack(_frames(rng, scanner, heart, _window(rng))),
        positive=truth.value < REDUCED,
        severity=_severity(truth.value),
        age=age,
        sex=sex,
        spacing_mm=scanner.spacing_mm,
        attributes=header(rng, scanner)
        | {
            "TransducerType": "SECTOR_PHASED",
            "HeartRate": round(rate),
            "FrameTime": f"{60000 / rate / FRAMES:.1f}",
            "FrameIncrementPointer": 0x00181063,
        },
        truth=truth,
    )


def _heart(rng: np.random.Generator, positive: bool) -> Heart:
    low = float(np.clip(rng.normal(39, 8), 15, 49))
    normal = float(np.clip(rng.normal(60, 5.5), 51, 76))
    dilated = 1.08 if positive else 1.0
    return Heart(
        ejection=low if positive else normal,
        length=float(rng.normal(84, 6)) * dilated,
        width=float(rng.normal(42, 4)) * dilated,
        apex_row=float(rng.normal(28, 4)),
        apex_column=float(rng.normal(0, 6)),
        tilt=float(np.radians(rng.normal(0, 7))),
        wall=float(rng.normal(10, 1.2)),
        regional=float(rng.normal(0, REGIONAL_SD)),
    )


def _window(rng: np.random.Generator) -> Window:
    if rng.random() >= POOR_WINDOWS:
        return Window(haze=float(rng.uniform(0, 3)))
    return Window(
        haze=float(rng.uniform(3, 10)),
        lateral=float(rng.uniform(4, 15)),
        clutter=float(rng.uniform(-14, -2)),
    )


def _filling(heart: Heart) -> FloatArray:
    """Length and width over the cycle (FRAMES, 2), as shares of those at the end of diastole."""
    phase = np.arange(FRAMES) / FRAMES
    empty = np.sin(np.pi * np.clip(phase / 0.75, 0, 1)) ** 2
    volume = 1 - np.clip(heart.ejection + heart.regional, 8, 85) / 100 * empty
    # Volume goes with the square of width and with length: most of it is width.
    return np.column_stack([volume**0.24, volume**0.38])


def _truth(scanner: Ultrasound, heart: Heart) -> Truth:
    """Outlines and landmarks of the plane that is seen, the value of it and of the one across."""
    seen = _of_plane(scanner, heart)
    across = _of_plane(scanner, replace(heart, regional=-heart.regional))
    return replace(seen, value=(seen.value + across.value) / 2)


def _of_plane(scanner: Ultrasound, heart: Heart) -> Truth:
    places = [_place(scanner, heart, *share) for share in _filling(heart)]
    masks = np.stack([inside for inside, _, _ in places])
    points = np.stack([corners for _, corners, _ in places])
    length = length_mm(points, scanner.spacing_mm)
    area = masks.sum(axis=(1, 2)) * scanner.spacing_mm**2
    volume = volume_ml(area, length)
    return Truth(masks=masks, points=points, value=float(100 * (1 - volume.min() / volume.max())))


def _place(
    scanner: Ultrasound, heart: Heart, long: float, wide: float
) -> tuple[Image, FloatArray, Image]:
    """Cavity (rows, columns), landmarks (3, 2) in pixels, and the muscle around it."""
    length, width = heart.length * long, heart.width * wide
    down, right = _frame(scanner, heart, length)
    bulge = 1 + 0.25 * np.clip(down / length, 0, 1)  # widest above the annulus
    half = width / 2 * bulge
    inside = _ellipse(down, right, length, half)
    thick = heart.wall * (1 + 0.6 * (1 - wide) / 0.3)
    outer = _ellipse(down - thick, right, length + thick, half + thick)
    along = np.array([np.cos(heart.tilt), np.sin(heart.tilt)])  # row, column in mm
    across = np.array([-along[1], along[0]])
    base = np.array([heart.apex_row + heart.length * 0.97, heart.apex_column])
    base = base - along * heart.length * (1 - long) * 0.8  # the annulus moves to the apex
    corners = np.stack(
        [base - along * length, base - across * width / 2, base + across * width / 2]
    )
    columns = corners[:, 1] / scanner.spacing_mm + (scanner.columns - 1) / 2
    landmarks = np.column_stack([columns, corners[:, 0] / scanner.spacing_mm])
    return inside, landmarks, np.maximum(outer - inside, 0)


def _frame(scanner: Ultrasound, heart: Heart, length: float) -> tuple[Image, Image]:
    """For every pixel: mm above the annulus toward the apex, and mm to the right of the axis."""
    row = np.arange(scanner.rows, dtype=np.float32)[:, None] * scanner.spacing_mm
    column = (np.arange(scanner.columns) - (scanner.columns - 1) / 2) * scanner.spacing_mm
    cosine, sine = np.cos(heart.tilt), np.sin(heart.tilt)
    long = length / heart.length
    base_row = heart.apex_row + heart.length * 0.97 - cosine * heart.length * (1 - long) * 0.8
    base_column = heart.apex_column - sine * heart.length * (1 - long) * 0.8
    y, x = row - base_row, column.astype(np.float32) - base_column
    return np.asarray(-(y * cosine + x * sine)), np.asarray(x * cosine - y * sine)


def _ellipse(up: Image, right: Image, length: float, half: Image) -> Image:
    """Coverage of half an ellipse above its base, its border a pixel wide."""
    inside = 1 - np.hypot(np.maximum(up, 0) / length, right / half)
    cover = np.clip(inside * length / 2 + 0.5, 0, 1) * np.clip(up + 0.5, 0, 1)
    return np.asarray(cover, dtype=np.float32)


def _frames(
    rng: np.random.Generator, scanner: Ultrasound, heart: Heart, window: Window
) -> list[Pixels]:
    shape = (scanner.rows, scanner.columns)
    still, texture = speckle(rng, shape), 2.0 * smooth_noise(rng, shape, 6)
    dropout = np.maximum(4.0 * smooth_noise(rng, (1, shape[1]), 7), 0) * np.ones(shape)
    sector, depth, angle = _sector(scanner)
    lateral = window.lateral / (1 + np.exp((np.radians(13) - angle) / np.radians(3)))
    loss = (4.0 * depth + dropout + lateral).astype(np.float32)
    clutter = 10 ** ((MUSCLE_DB + window.clutter - 30 * np.maximum(depth - 0.2, 0)) / 10)
    frames = []
    for share in _filling(heart):
        inside, _, muscle = _place(scanner, heart, *share)
        echo = OUTSIDE_DB + texture
        echo = echo + muscle * (MUSCLE_DB - OUTSIDE_DB)
        echo = _with_atria_and_right_heart(scanner, heart, share, echo)
        echo = echo * (1 - inside) + inside * (BLOOD_DB + window.haze)
        echo = 10 * np.log10(10 ** (echo / 10) + clutter)
        moved = STILL * still + np.float32(np.sqrt(1 - STILL**2)) * speckle(rng, shape)
        image = picture(scanner, moved, echo.astype(np.float32), loss)
        frames.append(stored(image * sector))
    return frames


def _with_atria_and_right_heart(
    scanner: Ultrasound, heart: Heart, share: FloatArray, echo: Image
) -> Image:
    """The other three chambers: what a segmenter could take for the left ventricle."""
    up, right = _frame(scanner, heart, heart.length * share[0])
    for row, column, long, wide in ((-22, 0, 18, 19), (34, -46, 40, 13), (-22, -42, 17, 16)):
        away = np.hypot((up - row) / long, (right - column) / wide)
        cover = np.clip((1 - away) * 12 + 0.5, 0, 1)
        echo = echo * (1 - cover) + cover * (BLOOD_DB + 1)
    valve = np.exp(-0.5 * (up / 1.6) ** 2) * (np.abs(right) < heart.width * share[1] / 2 + 4)
    return np.asarray(echo + valve * (MUSCLE_DB - echo) * 0.8)


def _sector(scanner: Ultrasound) -> tuple[Image, Image, Image]:
    """Where the sector is, relative depth, and angle to the right in radians (rows, columns)."""
    row = np.arange(scanner.rows, dtype=np.float32)[:, None] + 2
    column = np.arange(scanner.columns, dtype=np.float32) - (scanner.columns - 1) / 2
    radius = np.hypot(row, column)
    angle = np.arctan2(column, row)
    inside = (np.abs(angle) < HALF_ANGLE) & (radius < scanner.rows)
    return inside.astype(np.float32), np.asarray(radius / scanner.rows), np.asarray(angle)


def _severity(ejection: float) -> str:
    if ejection >= REDUCED:
        return "none"
    return next(name for above, name in _BANDS if ejection >= above)
