"""Image-derived characteristics of a radiograph: what a physicist would look at, cheaply.

Everything is dimensionless and relative to the image's own range, except where it says so, and
measured at about the detector's spacing (fine detectors are reduced to 1 mm first).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from app.device.pixels.canonical import Image, reduced

MEASURING_MM = 1.0
BINS = 64
GAUSSIAN_MAD = 0.6745  # median absolute deviation of a standard normal
# Standard deviation of the 3 x 3 operator below on white noise of unit variance.
NOISE_GAIN = 6.0

# Characteristic -> unit in UCUM.
UNITS: Mapping[str, str] = {
    "noise": "1",
    "sharpness": "1",
    "edge": "1",
    "contrast": "1",
    "clipped": "1",
    "field_fill": "1",
    "mean_level": "1",
    "entropy": "bit",
}


@dataclass(frozen=True, slots=True)
class Measured:
    """What the image itself says. `is_constant` images have no other value worth reading."""

    values: dict[str, float]
    is_constant: bool


def measure(image: Image, lowest: float, highest: float, spacing_mm: float) -> Measured:
    """Characteristics of a grey image (rows, columns); lowest and highest as it can express.

    noise : standard deviation of the finest detail, by the median absolute deviation of a
        3 x 3 difference operator inside the lit field (Immerkaer 1996, CVIU 64(2)).
    sharpness : gradient at one pixel over gradient at three pixels, mean magnitudes in the middle.
    edge : 99 % quantile of the gradient magnitude in the middle.
    clipped : fraction of the field within 0.5 % of either end of the scale.
    field_fill : fraction of pixels in the lit field. mean_level : mean in the field.
    contrast : difference of the 80 % and 20 % quantiles in the middle.
    entropy : of the field's histogram over the scale, in bits.
    """
    factor = int(MEASURING_MM / spacing_mm) if spacing_mm < MEASURING_MM else 1
    unit = (reduced(image, factor) - np.float32(lowest)) * np.float32(1 / (highest - lowest))
    lit = unit > unit.min() + np.float32(0.004)
    field = unit[lit]
    if min(unit.shape) < 16 or field.size < 256 or float(np.ptp(field)) < 1e-3:
        return Measured({"field_fill": float(lit.mean())}, is_constant=True)
    histogram = np.histogram(field, bins=BINS, range=(0.0, 1.0))[0]
    middle = _middle(unit)
    fine, coarse = _gradient(middle, 1), _gradient(middle, 3)
    low, high = np.quantile(middle[::2, ::2], (0.2, 0.8))
    values = {
        "noise": fine_noise(unit, lit),
        "sharpness": float(fine.mean() / max(float(coarse.mean()), 1e-9)),
        "edge": float(np.quantile(fine, 0.99)),
        "contrast": float(high - low),
        "clipped": float(((field < 0.005) | (field > 0.995)).mean()),
        "field_fill": float(lit.mean()),
        "mean_level": float(field.mean()),
        "entropy": _entropy(histogram),
    }
    return Measured(values, is_constant=False)


def fine_noise(unit: npt.NDArray[np.floating], lit: npt.NDArray[np.bool_]) -> float:
    """Standard deviation of the finest detail where all is `lit` (Immerkaer 1996); 0 if nowhere."""
    rows = unit[:-2] - 2 * unit[1:-1] + unit[2:]
    detail = rows[:, :-2] - 2 * rows[:, 1:-1] + rows[:, 2:]
    inside = np.abs(detail[lit[1:-1, 1:-1]])
    return float(np.median(inside)) / GAUSSIAN_MAD / NOISE_GAIN if inside.size else 0.0


def _gradient(unit: Image, step: int) -> Image:
    """Gradient magnitude per pixel from differences over `step` pixels, thinned to every other."""
    down = unit[step::2, :-step:2] - unit[:-step:2, :-step:2]
    across = unit[:-step:2, step::2] - unit[:-step:2, :-step:2]
    return np.asarray(np.hypot(down, across) / np.float32(step))


def _middle(unit: Image) -> Image:
    """The middle 60 % of each axis: mostly chest, and none of the collimator's border."""
    rows, columns = unit.shape
    return unit[rows // 5 : -(rows // 5), columns // 5 : -(columns // 5)]


def _entropy(counts: npt.NDArray[np.int64]) -> float:
    share = counts[counts > 0] / counts.sum()
    return float(-(share * np.log2(share)).sum())
