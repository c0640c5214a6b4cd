"""Left ventricular volume over a cycle, from one apical view: the measurement stage of echo.

The single-plane area-length method: volume = 8 A^2 / (3 pi L), with the area A of the cavity and
its length L from the middle of the mitral annulus to the apex (Lang 2015, J Am Soc Echocardiogr
28(1), recommendations for cardiac chamber quantification).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from monitors.schema import FloatArray

NAME, UNIT = "ejection_fraction", "%"
SMOOTHING = np.array([0.25, 0.5, 0.25])  # over neighbouring frames: extremes are not of noise


@dataclass(frozen=True, slots=True)
class Cycle:
    """Volumes (frames,) in mL and the frames of the largest and the smallest."""

    volume_ml: FloatArray
    diastole: int
    systole: int

    @property
    def ejection_fraction(self) -> float:
        """Share of the end-diastolic volume that is ejected, in %; NaN without a cavity."""
        largest, smallest = self.volume_ml[self.diastole], self.volume_ml[self.systole]
        return float(100 * (1 - smallest / largest)) if largest > 0 else float("nan")


def cycle(cavity: FloatArray, points: FloatArray, spacing_mm: float) -> Cycle:
    """From the share of every pixel in the cavity (frames, rows, columns), and the landmarks
    (frames, 3, 2): apex and both ends of the annulus, column and row in pixels."""
    area = cavity.sum(axis=(1, 2)) * spacing_mm**2
    return cycle_of(area, length_mm(points, spacing_mm))


def cycle_of(area_mm2: FloatArray, length: FloatArray) -> Cycle:
    """The same from areas and lengths (frames,)."""
    volume = volume_ml(area_mm2, length)
    smooth = np.convolve(np.pad(volume, 1, mode="edge"), SMOOTHING, mode="valid")
    return Cycle(smooth, int(smooth.argmax()), int(smooth.argmin()))


def volume_ml(area_mm2: FloatArray, length: FloatArray) -> FloatArray:
    """Volumes (frames,) of areas in mm2 and lengths in mm."""
    return np.asarray(8 * area_mm2**2 / (3 * np.pi * np.maximum(length, 1.0)) / 1000)


def length_mm(points: FloatArray, spacing_mm: float) -> FloatArray:
    """Distance from apex to the middle of the annulus (frames,), in mm."""
    middle = points[:, 1:].mean(axis=1)
    return np.asarray(np.linalg.norm(points[:, 0] - middle, axis=1) * spacing_mm)


def probability_below(value: FloatArray, parameters: dict[str, float]) -> FloatArray:
    """Calibrated probability that the true value lies below `cut`, from the measured one."""
    logit = parameters["slope"] * (parameters["cut"] - value) / parameters["scale"]
    return np.asarray(1 / (1 + np.exp(-(logit + parameters["offset"]))))
