"""Local noise, and the commonest value: what the characteristics of CT and MR slices share."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.ndimage import binary_fill_holes, binary_opening, convolve1d, label, uniform_filter

from monitors.schema import FloatArray

Mask = npt.NDArray[np.bool_]
Plane = npt.NDArray[np.floating]
FEWEST = 64  # values from which a level or a noise is believed
_SMOOTHING = np.array([1.0, 2.0, 3.0, 2.0, 1.0]) / 9


def local_statistics(image: Plane, side: int) -> tuple[FloatArray, FloatArray]:
    """Mean and standard deviation (unbiased variance) in squares of `side` pixels, an odd number,
    around every pixel."""
    values = np.asarray(image, dtype=np.float64)
    centre = float(values.mean())  # squares of small numbers keep their digits
    mean = uniform_filter(values - centre, side)
    square = uniform_filter((values - centre) ** 2, side)
    variance = np.maximum(square - mean**2, 0) * (side**2 / (side**2 - 1))
    return mean + centre, np.sqrt(variance)


def mode(values: FloatArray, low: float, high: float, bins: int) -> float | None:
    """The commonest value between `low` and `high`, from a smoothed histogram of `bins`; None
    where fewer than `FEWEST` lie there."""
    counts, edges = np.histogram(values, bins=bins, range=(low, high))
    if counts.sum() < FEWEST:
        return None
    smooth = convolve1d(counts.astype(np.float64), _SMOOTHING, mode="constant")
    at = int(np.clip(smooth.argmax(), 1, bins - 2))
    before, peak, behind = smooth[at - 1 : at + 2]
    bend = before - 2 * peak + behind
    shift = 0.5 * (before - behind) / bend if bend < 0 else 0.0
    return float(edges[at] + (0.5 + np.clip(shift, -0.5, 0.5)) * (edges[1] - edges[0]))


def largest_region(inside: Mask, opened: int) -> Mask:
    """The largest connected region after taking off what is thinner than 2 x `opened` pixels, with
    its holes filled; empty where nothing is left."""
    regions, found = label(binary_opening(inside, iterations=opened))
    if found == 0:
        return np.zeros_like(inside)
    largest = 1 + int(np.bincount(regions.ravel())[1:].argmax())
    return np.asarray(binary_fill_holes(regions == largest))
