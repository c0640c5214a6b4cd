"""Where a place of a stored image lies on canonical pixels, and the other way round."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from app.contracts.manifest import Preprocessing
from app.device.pixels.orientation import AS_STORED, Turn
from monitors.schema import FloatArray

FITTED = ("colour",)  # images without a length scale: fitted to the canonical size


@dataclass(frozen=True, slots=True)
class Grid:
    """An upright image of `shape` (rows, columns) at `spacing_mm` (row, column), canonical pixels
    around the same centre, and the turn that made it from the stored one. Points are (..., 2):
    column, row, in pixels."""

    shape: tuple[int, int]
    spacing_mm: tuple[float, float]
    to: Preprocessing
    turned: Turn = AS_STORED

    def canonical(self, points: FloatArray) -> FloatArray:
        """Points of the stored image, on canonical pixels."""
        scale, source, target = self._geometry()
        upright = self.turned.upright_points(points, self.shape)
        return np.asarray((upright - source) * scale + target)

    def stored(self, points: FloatArray) -> FloatArray:
        """Points on canonical pixels, in the stored image."""
        scale, source, target = self._geometry()
        return self.turned.stored((points - target) / scale + source, self.shape)

    def _geometry(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        scale = np.array(self.spacing_mm[::-1]) / self.to.spacing_mm
        source = (np.array(self.shape[::-1]) - 1) / 2
        return scale, source, (np.array([self.to.columns, self.to.rows]) - 1) / 2


def working_spacing(
    shape: tuple[int, int], spacing_mm: tuple[float, float] | None, to: Preprocessing
) -> tuple[float, float] | None:
    """The spacing to resample with: the header's, or, for photographs, the one at which the
    image fits into the canonical size (`fill` 1: covers it). None where it is not known."""
    if to.intensity not in FITTED:
        return spacing_mm
    ratios = (to.rows / shape[0], to.columns / shape[1])
    fitted = to.spacing_mm * (max(ratios) if to.parameters.get("fill") else min(ratios))
    return fitted, fitted
