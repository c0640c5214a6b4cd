"""What a run of the chain says about one case."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from app.device.findings import Box, Measurement, Outline
from monitors.schema import FloatArray


class Outcome(StrEnum):
    """How a case ended. "I don't know" (abstained) is an answer."""

    FLAGGED = "flagged"
    NOT_FLAGGED = "not_flagged"
    ABSTAINED = "abstained"
    QUALITY_REJECTED = "quality_rejected"
    OUTSIDE_LIMITS = "outside_limits"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class CaseResult:
    """One case. Of the mappings only what was measured is present.

    reason : a closed word that can be counted, "" if flagged or not flagged.
    scores : by stage, in [0, 1]. numeric : by characteristic, in its unit.
    categorical : by characteristic or margin: an approved category, or "OTHER".
    embedding : projected, () if none. heat_map : (rows, columns) in [0, 1] on canonical pixels.
    boxes, measurement, outlines : what a detector or a measurement shows; an outline with two
        points is a caliper. triage : the class, for devices that sort into several.
    stratum : raw Manufacturer, ManufacturerModelName, SoftwareVersions, DeviceSerialNumber and
        the mapped `protocol`; never leaves the edge as such.
    """

    outcome: Outcome
    reason: str = ""
    scores: dict[str, float] = field(default_factory=dict)
    numeric: dict[str, float] = field(default_factory=dict)
    categorical: dict[str, str] = field(default_factory=dict)
    embedding: tuple[float, ...] = ()
    stratum: dict[str, str] = field(default_factory=dict)
    heat_map: FloatArray | None = None
    boxes: tuple[Box, ...] = ()
    measurement: Measurement | None = None
    outlines: tuple[Outline, ...] = ()
    triage: str = ""
