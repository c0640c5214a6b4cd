"""Canonical pixels: one spacing, one size, one intensity scale, whatever the scanner."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

Image = npt.NDArray[np.float32]


def resampled(
    image: Image, spacing_mm: tuple[float, float], to_mm: float, rows: int, columns: int
) -> Image:
    """`image` (grey, 2-D) on `rows` x `columns` pixels of `to_mm`, around its centre.

    Every new pixel is the area-weighted mean of what it covers, so that fine detectors do not
    alias; between coarse ones it interpolates linearly. Outside the image stands its border.
    """
    down = _weights(image.shape[0], spacing_mm[0], rows, to_mm)
    across = _weights(image.shape[1], spacing_mm[1], columns, to_mm)
    return np.asarray((across @ (down @ image).T).T, dtype=np.float32)


@lru_cache(maxsize=64)
def _weights(size: int, spacing: float, new_size: int, new_spacing: float) -> csr_array:
    """(new_size, size), sparse: a triangle as wide as the coarser pixel, over the old pixels."""
    old = (np.arange(size) - (size - 1) / 2) * spacing
    new = (np.arange(new_size) - (new_size - 1) / 2) * new_spacing
    new = np.clip(new, old[0], old[-1])
    reach = max(spacing, new_spacing)
    weights = np.maximum(1 - np.abs(np.subtract.outer(new, old)) / reach, 0)
    return csr_array((weights / weights.sum(axis=1, keepdims=True)).astype(np.float32))


def reduced(image: Image, factor: int) -> Image:
    """Means of `factor` x `factor` blocks; incomplete blocks at the far borders are left out."""
    if factor < 2:
        return image
    rows, columns = (n // factor for n in image.shape)
    blocks = image[: rows * factor, : columns * factor]
    means = blocks.reshape(rows, factor, columns, factor).mean(axis=(1, 3), dtype=np.float32)
    return np.asarray(means)


def percentile_scaled(image: Image, low: float, high: float) -> Image:
    """`image` with its `low` and `high` percentiles of the lit field at 0 and 1, clipped.

    The field is what is brighter than black (the darkest value); a constant image gives zeros.
    """
    black = float(image.min())
    lit = image[image > black + 1e-3 * (float(image.max()) - black)]
    if lit.size < 16:
        return np.zeros_like(image)
    floor, top = np.percentile(lit[:: max(lit.size // 4096, 1)], (low, high))
    if not top > floor:
        return np.zeros_like(image)
    scaled = (image - np.float32(floor)) * np.float32(1 / (top - floor))
    return np.asarray(np.clip(scaled, 0, 1))
