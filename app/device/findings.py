"""What a chain shows beside its score: boxes, contours, calipers, and a measured quantity."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from monitors.schema import FloatArray

OVERLAP = 0.3  # boxes that share more than this (intersection over union) are one finding
MOST_BOXES = 8


@dataclass(frozen=True, slots=True)
class Box:
    """A found region: left, upper, right, lower edge in pixels of the stored image, and score."""

    left: float
    upper: float
    right: float
    lower: float
    score: float


@dataclass(frozen=True, slots=True)
class Measurement:
    """A measured quantity in `unit` (UCUM); `sd`: its error on the reference, same unit."""

    name: str
    value: float
    unit: str
    sd: float


@dataclass(frozen=True, slots=True)
class Outline:
    """A contour (k, 2) or a caliper (2, 2), column and row in pixels of the stored image."""

    name: str
    frame: int
    points: FloatArray


def overlap(one: FloatArray, others: FloatArray) -> FloatArray:
    """Intersection over union of a box (4,) with boxes (k, 4): left, upper, right, lower."""
    low = np.maximum(one[:2], others[:, :2])
    high = np.minimum(one[2:], others[:, 2:])
    shared = np.prod(np.maximum(high - low, 0), axis=1)
    areas = np.prod(one[2:] - one[:2]) + np.prod(others[:, 2:] - others[:, :2], axis=1)
    return np.asarray(shared / np.maximum(areas - shared, 1e-9))


def separate(boxes: FloatArray, scores: FloatArray, lowest: float) -> npt.NDArray[np.int64]:
    """Places of the boxes that stay, best first: each overlaps none that is better than it."""
    kept: list[int] = []
    for place in np.argsort(-scores, kind="stable"):
        if scores[place] < lowest or len(kept) == MOST_BOXES:
            break
        if not kept or overlap(boxes[place], boxes[kept]).max() <= OVERLAP:
            kept.append(int(place))
    return np.array(kept, dtype=np.int64)


def outline(mask: npt.NDArray[np.bool_]) -> FloatArray:
    """The border of a mask (rows, columns) as points (k, 2), ordered around its middle."""
    inner = mask.copy()
    inner[1:-1, 1:-1] &= mask[:-2, 1:-1] & mask[2:, 1:-1] & mask[1:-1, :-2] & mask[1:-1, 2:]
    inner[[0, -1]] = inner[:, [0, -1]] = False
    rows, columns = np.nonzero(mask & ~inner)
    if not rows.size:
        return np.zeros((0, 2))
    around = np.arctan2(rows - rows.mean(), columns - columns.mean())
    order = np.argsort(around, kind="stable")
    return np.column_stack([columns[order], rows[order]]).astype(np.float64)
