"""Which way round a radiograph was stored, and back: patient's left to the right, feet down."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from app.device.pixels import header
from monitors.schema import FloatArray

RADIOGRAPHS = ("CR", "DX", "RF", "RG")
T = TypeVar("T", bound=np.generic)


@dataclass(frozen=True, slots=True)
class Turn:
    """How stored pixels become upright ones: transposed, then mirrored, then turned over."""

    transposed: bool = False
    mirrored: bool = False
    overturned: bool = False

    def upright(self, frames: npt.NDArray[T]) -> npt.NDArray[T]:
        """Frames (n, rows, columns) or (n, rows, columns, 3) as they are looked at."""
        turned = frames.swapaxes(1, 2) if self.transposed else frames
        turned = turned[:, :, ::-1] if self.mirrored else turned
        turned = turned[:, ::-1] if self.overturned else turned
        return np.ascontiguousarray(turned)

    def swapped(self, pair: tuple[Any, Any]) -> tuple[Any, Any]:
        """Something of rows and of columns, such as a spacing, in the other frame."""
        return (pair[1], pair[0]) if self.transposed else pair

    def stored(self, points: FloatArray, shape: tuple[int, int]) -> FloatArray:
        """Points (..., 2), column and row in an upright image of `shape`, in the stored one."""
        column, row = points[..., 0], points[..., 1]
        column = shape[1] - 1 - column if self.mirrored else column
        row = shape[0] - 1 - row if self.overturned else row
        return np.stack([row, column] if self.transposed else [column, row], axis=-1)

    def upright_points(self, points: FloatArray, shape: tuple[int, int]) -> FloatArray:
        """The other way: points of the stored image in the upright one of `shape`."""
        column, row = points[..., 0], points[..., 1]
        column, row = (row, column) if self.transposed else (column, row)
        column = shape[1] - 1 - column if self.mirrored else column
        row = shape[0] - 1 - row if self.overturned else row
        return np.stack([column, row], axis=-1)


AS_STORED = Turn()


def turn(dataset: Dataset) -> Turn:
    """From PatientOrientation (PS3.3 C.7.6.1.1.1): where rows, and where columns point to.

    Only frontal radiographs are turned; another kind, or an orientation that does not say left
    or right and head or feet, is taken as stored.
    """
    ways = (header.text(dataset, "PatientOrientation") or "").upper().split("\\")
    if (header.text(dataset, "Modality") or "") not in RADIOGRAPHS or len(ways) != 2:
        return AS_STORED
    along, down = (way[:1] for way in ways)
    if along in ("L", "R") and down in ("F", "H"):
        return Turn(mirrored=along == "R", overturned=down == "H")
    if along in ("F", "H") and down in ("L", "R"):
        return Turn(transposed=True, mirrored=down == "R", overturned=along == "H")
    return AS_STORED
