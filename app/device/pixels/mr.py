"""Characteristics of an MR magnitude slice: its scale is arbitrary, so everything is relative."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from scipy.ndimage import binary_dilation, binary_erosion

from app.device.pixels.characteristics import fine_noise
from app.device.pixels.texture import FEWEST, Mask, Plane, largest_region, local_statistics
from monitors.schema import FloatArray

# Characteristic -> unit in UCUM.
UNITS: Mapping[str, str] = {
    "air_snr": "1",
    "tissue_snr": "1",
    "ghosting": "1",
    "bias_field": "1",
    "entropy_focus": "1",
    "foreground_share": "1",
}
RAYLEIGH_SD = math.sqrt(2 - math.pi / 2)  # of the magnitude of complex noise of unit deviation
LEAST_SHARE, MOST_SHARE = 0.02, 0.98
BINS = 128
CONSTANT = 1e-5  # of the brightest value: a deviation below which there is none


def mr_characteristics(image: Plane) -> dict[str, float]:
    """Of one slice (rows, columns); what cannot be measured is left out.

    air_snr : median of the foreground over the noise, from the standard deviation of air in the
        corners (Dietrich 2007, J Magn Reson Imaging 26(2)). tissue_snr : over that of the finest
        detail in the foreground. ghosting : |top + bottom - left - right| / 2 of the means of air
        over the foreground's (ACR MRI quality control). bias_field : standard deviation of the
        smooth field, a quadratic in the logarithm, over the foreground. entropy_focus : Atkinson
        (1997, IEEE TMI 16(6)), 0 for one bright pixel, 1 for a constant. foreground_share.
    """
    level = np.asarray(image, dtype=np.float64)
    level = level - min(float(level.min()), 0.0)
    foreground = largest_region(level > _otsu(level), opened=1)
    share = float(foreground.mean())
    if not LEAST_SHARE <= share <= MOST_SHARE:
        return {}
    signal = float(np.median(level[foreground]))
    air = _air(level, foreground)
    return {
        "foreground_share": share,
        "entropy_focus": _entropy_focus(level),
        **_snr(level, foreground, air, signal),
        **_ghosting(level, air, signal),
        **_bias_field(level, foreground),
    }


def _otsu(level: FloatArray) -> float:
    """The threshold that parts the histogram best (Otsu 1979), without the brightest 0.5 %."""
    top = float(np.quantile(level[::2, ::2], 0.995))
    counts, edges = np.histogram(level, bins=BINS, range=(0.0, max(top, 1e-9)))
    middle = (edges[:-1] + edges[1:]) / 2
    below, sums = np.cumsum(counts), np.cumsum(counts * middle)
    above = below[-1] - below
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = below * above * (sums / below - (sums[-1] - sums) / above) ** 2
    return float(edges[1:][np.nan_to_num(apart, nan=-1.0).argmax()])


def _air(level: FloatArray, foreground: Mask) -> Mask:
    """Background with noise in it: what is constant was filled in behind the scanner."""
    _, spread = local_statistics(level, 3)
    reach = max(min(level.shape) // 64, 2)
    measured = spread > CONSTANT * level.max()
    return np.asarray(measured & ~binary_dilation(foreground, iterations=reach))


def _snr(level: FloatArray, foreground: Mask, air: Mask, signal: float) -> dict[str, float]:
    found = {}
    corners = np.zeros_like(foreground)
    rows, columns = (n // 8 for n in level.shape)
    for down in (slice(0, rows), slice(-rows, None)):
        for across in (slice(0, columns), slice(-columns, None)):
            corners[down, across] = True
    noisy = level[corners & air]
    if noisy.size >= FEWEST and noisy.std() > CONSTANT * level.max():
        found["air_snr"] = signal * RAYLEIGH_SD / float(noisy.std())
    noise = fine_noise(level, binary_erosion(foreground, iterations=2))
    if noise > 0:
        found["tissue_snr"] = signal / noise
    return found


def _ghosting(level: FloatArray, air: Mask, signal: float) -> dict[str, float]:
    rows, columns = level.shape
    down, across = slice(rows // 4, -(rows // 4)), slice(columns // 4, -(columns // 4))
    high, wide = rows // 10, columns // 10
    sides = (
        (slice(0, high), across),
        (slice(-high, None), across),
        (down, slice(0, wide)),
        (down, slice(-wide, None)),
    )
    if any(air[side].sum() < FEWEST // 2 for side in sides):
        return {}
    top, bottom, left, right = (float(level[side][air[side]].mean()) for side in sides)
    return {"ghosting": abs(top + bottom - left - right) / (2 * signal)}


def _bias_field(level: FloatArray, foreground: Mask) -> dict[str, float]:
    """A quadratic through the logarithms of the foreground; what lies far off it (other tissue,
    vessels) is left out step by step."""
    inner = np.argwhere(binary_erosion(foreground, iterations=2) & (level > 0))
    inner = inner[:: max(len(inner) // 20_000, 1)]
    if len(inner) < 4 * FEWEST:
        return {}
    y, x = (2 * inner / np.array(level.shape) - 1).T
    terms = np.column_stack([np.ones_like(x), x, y, x * x, x * y, y * y])
    logs = np.log(level[inner[:, 0], inner[:, 1]])
    kept = np.ones(len(logs), dtype=bool)
    for _ in range(4):
        fitted = terms @ np.linalg.lstsq(terms[kept], logs[kept], rcond=None)[0]
        off = np.abs(logs - fitted)
        kept = off <= 4 * max(float(np.median(off)), 1e-9)
    return {"bias_field": float(fitted.std())}


def _entropy_focus(level: FloatArray) -> float:
    energy = math.sqrt(float((level**2).sum()))
    share = level[level > 0] / energy
    most = math.sqrt(level.size) * math.log(math.sqrt(level.size))
    return float(-(share * np.log(share)).sum()) / most
