"""Characteristics of a CT slice in Hounsfield units, on its own pixels."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from scipy.ndimage import binary_dilation, binary_erosion, gaussian_filter

from app.device.pixels.texture import (
    FEWEST,
    Mask,
    Plane,
    largest_region,
    local_statistics,
    mode,
)
from monitors.schema import FloatArray

# Characteristic -> unit in UCUM.
UNITS: Mapping[str, str] = {
    "tissue_noise": "[hnsf'U]",
    "noise_texture": "1",
    "tissue_level": "[hnsf'U]",
    "fat_level": "[hnsf'U]",
    "air_level": "[hnsf'U]",
    "air_noise": "[hnsf'U]",
    "skin_edge": "mm",
    "water_diameter": "mm",
    "off_centre": "mm",
    "metal_share": "1",
}
BODY_HU = -400.0
TISSUE_HU, FAT_HU = (0.0, 100.0), (-150.0, -40.0)  # in which homogeneous tissue lies
AIR_HU, METAL_HU = (-1200.0, -800.0), 2500.0
LEAST_BODY_MM2 = 1000.0
WINDOW_MM = 6.0  # squares in which noise is measured
CONSTANT_HU = 0.1  # a deviation below which nothing was measured but filled in
SKIN_MM = 6.0  # to either side of the skin
MAD = 1.4826  # standard deviation over median absolute deviation of normal values


def ct_characteristics(image: Plane, spacing_mm: tuple[float, float]) -> dict[str, float]:
    """Of one slice (rows, columns) in HU; what cannot be measured is left out.

    tissue_noise : mode of the standard deviations in squares of 6 mm of soft tissue, 0 to 100 HU
        (Christianson 2015, AJR 205(1)). noise_texture : mean square difference at one
        pixel over that at two: 1 of white noise, less with a smooth kernel, more with a sharp.
    tissue_level, fat_level : commonest mean of homogeneous squares, 0 to 100 and -150 to -40 HU.
    air_level, air_noise : median, and its deviation, of the air around the body.
    skin_edge : standard deviation of the blur between air and skin.
    water_diameter : of the disc of water that attenuates as much (AAPM report 220).
    off_centre : from the body's centroid to the image's centre. metal_share : of the body.
    """
    hu = image.astype(np.float64)
    body = largest_region(hu > BODY_HU, opened=2)
    area = spacing_mm[0] * spacing_mm[1]
    if body.sum() * area < LEAST_BODY_MM2:
        return {}
    inner = binary_erosion(body, iterations=2)
    side = 2 * max(round(WINDOW_MM / math.sqrt(area) / 2), 2) + 1
    mean, spread = local_statistics(hu, side)
    values = {
        **_tissue(hu, mean, spread, inner),
        **_air(hu, body),
        "metal_share": float((hu[body] > METAL_HU).mean()),
    }
    if not _is_cut(body):
        values |= _shape(hu, body, spacing_mm)
        values |= _skin(hu, body, spacing_mm)
    return values


def _tissue(hu: FloatArray, mean: FloatArray, spread: FloatArray, inner: Mask) -> dict[str, float]:
    soft = inner & (mean > TISSUE_HU[0]) & (mean < TISSUE_HU[1])
    if soft.sum() < FEWEST or np.median(spread[soft]) < CONSTANT_HU:
        return {}
    noise = mode(spread[soft], 0.0, 3 * float(np.median(spread[soft])), 60)
    if noise is None:
        return {}
    even = inner & (spread < 1.5 * noise)
    found = {
        "tissue_noise": noise,
        "noise_texture": _noise_texture(hu, soft & even),
        "tissue_level": mode(mean[even], *TISSUE_HU, 50),
        "fat_level": mode(mean[even], *FAT_HU, 55),
    }
    return {name: value for name, value in found.items() if value is not None}


def _noise_texture(hu: FloatArray, even: Mask) -> float | None:
    """Mean square difference at one pixel over that at two, of pixels in even tissue."""
    squares = []
    for step in (1, 2):
        down = (hu[step:] - hu[:-step])[even[step:] & even[:-step]]
        across = (hu[:, step:] - hu[:, :-step])[even[:, step:] & even[:, :-step]]
        if min(down.size, across.size) < FEWEST:
            return None
        squares.append(float(np.mean(down**2) + np.mean(across**2)))
    return squares[0] / squares[1] if squares[1] > 0 else None


def _air(hu: FloatArray, body: Mask) -> dict[str, float]:
    """Of air with noise in it: what is constant was filled in behind the scanner."""
    _, spread = local_statistics(hu, 3)
    measured = binary_erosion(spread > CONSTANT_HU)
    measured &= (hu > AIR_HU[0]) & (hu < AIR_HU[1])
    air = hu[measured & ~binary_dilation(body, iterations=4)]
    if air.size < FEWEST:
        return {}
    level = float(np.median(air))
    return {"air_level": level, "air_noise": MAD * float(np.median(np.abs(air - level)))}


def _is_cut(body: Mask) -> bool:
    """Whether the body goes on beyond the image."""
    return bool(body[0].any() or body[-1].any() or body[:, 0].any() or body[:, -1].any())


def _shape(hu: FloatArray, body: Mask, spacing_mm: tuple[float, float]) -> dict[str, float]:
    water = float((hu[body] / 1000 + 1).sum()) * spacing_mm[0] * spacing_mm[1]
    centre = [
        (where.mean() - (size - 1) / 2) * mm
        for where, size, mm in zip(np.nonzero(body), body.shape, spacing_mm, strict=True)
    ]
    return {
        "water_diameter": 2 * math.sqrt(max(water, 0.0) / math.pi),
        "off_centre": math.hypot(*centre),
    }


def _skin(hu: FloatArray, body: Mask, spacing_mm: tuple[float, float]) -> dict[str, float]:
    """An edge of height H blurred by s has the integrals H of its gradient and H^2 / (2 sqrt(pi) s)
    of the gradient's square; H is the step from around the body to just inside it. What runs along
    the edge is noise, of which as much is in the direction across it."""
    pixel = math.sqrt(spacing_mm[0] * spacing_mm[1])
    reach = max(round(SKIN_MM / pixel), 3)
    band = binary_dilation(body, iterations=reach) & ~binary_erosion(body, iterations=reach)
    down, across = _gradient(hu, band, spacing_mm)
    to_down, to_across = _gradient(gaussian_filter(hu, 1.0), band, spacing_mm)
    size = np.maximum(np.hypot(to_down, to_across), 1e-6)
    over = (down * to_down + across * to_across) / size
    along = (down * to_across - across * to_down) / size
    square = float((over**2).sum() - (along**2).sum())
    height = _step(hu, body, reach)
    if square <= 0 or height <= 0:
        return {}
    blur = float(over.sum()) * height / (2 * math.sqrt(math.pi) * square)
    # The differences over two pixels blur, too.
    return {"skin_edge": math.sqrt(max(blur**2 - pixel**2 / 3, 0.0))}


def _gradient(
    hu: FloatArray, where: Mask, spacing_mm: tuple[float, float]
) -> tuple[FloatArray, FloatArray]:
    down = np.gradient(hu, spacing_mm[0], axis=0)
    across = np.gradient(hu, spacing_mm[1], axis=1)
    return np.asarray(down)[where], np.asarray(across)[where]


def _step(hu: FloatArray, body: Mask, reach: int) -> float:
    inside = binary_erosion(body, iterations=reach) & ~binary_erosion(body, iterations=2 * reach)
    outside = binary_dilation(body, iterations=2 * reach) & ~binary_dilation(body, iterations=reach)
    if inside.sum() < FEWEST or outside.sum() < FEWEST:
        return 0.0
    return float(np.median(hu[inside]) - np.median(hu[outside]))
