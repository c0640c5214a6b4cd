"""From a reading to what a clinician sees: heat map, boxes, contours, calipers, triage class."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from app.contracts.manifest import Stage
from app.device import ventricle
from app.device.findings import Box, Measurement, Outline, outline, separate
from app.device.pipeline import Reading
from app.device.pixels.geometry import Grid
from app.device.result import CaseResult, Outcome
from monitors.schema import FloatArray

MOMENTS = ("end_diastole", "end_systole")
TRIAGE = ("urgent", "soon", "routine")


def shown(result: CaseResult, read: Reading, scoring: Stage, grid: Grid) -> CaseResult:
    """The result of the one case in `read`, with what its kind of device shows."""
    if scoring.kind == "detector":
        return replace(result, boxes=_boxes(read, scoring.parameters, grid))
    if scoring.kind == "measurement":
        return replace(
            result,
            measurement=_measurement(read, scoring.parameters),
            outlines=_outlines(read, grid),
        )
    result = replace(result, heat_map=_heat_map(read.outputs["activation"][0]))
    if "soon" in scoring.parameters:
        return replace(result, triage=_triage(result, read, scoring.parameters["soon"]))
    return result


def _boxes(read: Reading, parameters: dict[str, float], grid: Grid) -> tuple[Box, ...]:
    boxes, scores = read.outputs["boxes"][0], read.outputs["box_scores"][0]
    kept = separate(boxes, scores, parameters["lowest_score"])
    corners = grid.stored(boxes[kept].reshape(-1, 2, 2)).reshape(-1, 4)
    return tuple(Box(*row) for row in np.column_stack([corners, scores[kept]]).tolist())


def _measurement(read: Reading, parameters: dict[str, float]) -> Measurement:
    value = float(read.outputs[ventricle.NAME][0]) - parameters["bias"]
    return Measurement(ventricle.NAME, value, ventricle.UNIT, parameters["sd"])


def _outlines(read: Reading, grid: Grid) -> tuple[Outline, ...]:
    """Contour and long axis of the cavity at the end of diastole and of systole."""
    found = []
    for moment, frame in zip(MOMENTS, read.outputs["frames"][0].astype(int).tolist(), strict=True):
        cavity = read.outputs["ventricle"][0, frame, 0] > 0.5
        points = read.outputs["landmarks"][0, frame]
        axis = np.stack([points[0], points[1:].mean(axis=0)])
        found.append(Outline(f"{moment}_contour", frame, grid.stored(outline(cavity))))
        found.append(Outline(f"{moment}_length", frame, grid.stored(axis)))
    return tuple(found)


def _triage(result: CaseResult, read: Reading, soon: float) -> str:
    if result.outcome is Outcome.FLAGGED:
        return TRIAGE[0]
    return TRIAGE[1] if read.score[0] >= soon else TRIAGE[2]


def _heat_map(activation: FloatArray) -> FloatArray:
    """Class activation in [0, 1]: what speaks for the finding, relative to the strongest."""
    positive = np.maximum(activation, 0)
    return np.asarray(positive / max(float(positive.max()), 1e-9))
