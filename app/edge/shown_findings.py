"""What a device shows beside its score, as the report says it: boxes, contours, a measured value.

Each is a measurement group of TID 1500 with a tracking identifier of its own. Coordinates of
DICOM reports begin at the corner of the first pixel (PS3.3 C.18.6.1.2), ours at its centre.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
from pydicom.dataset import Dataset

from app.contracts.manifest import Manifest
from app.device.result import CaseResult
from app.edge.sources import uid
from monitors.schema import FloatArray

SCHEME: Final = "99LOCKWATCH"
CORNER: Final = 0.5
CALIPER: Final = 2  # points
# LOINC codes of what is measured; units are UCUM.
_QUANTITIES: Final = {
    "ejection_fraction": ("10230-1", "LN", "Left ventricular Ejection fraction"),
}
_UNITS: Final = {"%": "percent", "mL": "milliliter", "mm": "millimeter"}


def groups(
    source: Dataset, result: CaseResult, manifest: Manifest, algorithm: Dataset
) -> list[Dataset]:
    """The measurement groups of a case beside that of its score; none for most devices."""
    return [
        *_measurement(source, result, manifest, algorithm),
        *_regions(source, result, manifest, algorithm),
    ]


def frames(source: Dataset, frame: int) -> list[int] | None:
    """A frame as DICOM counts; None for images of one frame, which must not name it."""
    return [frame + 1] if int(source.get("NumberOfFrames") or 1) > 1 else None


def lines(source: Dataset, result: CaseResult) -> Iterator[tuple[str, int, FloatArray]]:
    """What is drawn: a name, the frame, and points (k, 2), closed unless it is a caliper.

    A chain may see beyond the image, DICOM may not: points outside are brought to its edge.
    """
    last = np.array([int(source.get(name) or 1) - 1 for name in ("Columns", "Rows")])
    for number, box in enumerate(result.boxes, start=1):
        columns = box.left, box.right, box.right, box.left, box.left
        rows = box.upper, box.upper, box.lower, box.lower, box.upper
        yield f"region-{number}", 0, np.column_stack([columns, rows]).clip(0, last)
    for shown in result.outlines:
        is_caliper = len(shown.points) == CALIPER
        closed = shown.points if is_caliper else np.vstack([shown.points, shown.points[:1]])
        if len(shown.points):
            yield shown.name, shown.frame, closed.clip(0, last)


def tracking_uid(source: Dataset, manifest: Manifest, name: str) -> str:
    """What names a finding in the report and in the overlay alike."""
    return uid(source, manifest, f"finding {name}")


def _measurement(
    source: Dataset, result: CaseResult, manifest: Manifest, algorithm: Dataset
) -> Iterator[Dataset]:
    from highdicom.sr import (
        Measurement,
        MeasurementsAndQualitativeEvaluations,
        SourceImageForMeasurementGroup,
    )
    from highdicom.sr.coding import CodedConcept

    measured = result.measurement
    if measured is None:
        return
    name = _QUANTITIES.get(measured.name, (code(measured.name), SCHEME, measured.name[:64]))
    unit = CodedConcept(measured.unit, "UCUM", _UNITS.get(measured.unit, measured.unit))
    error = CodedConcept("SD_REFERENCE", SCHEME, "Standard deviation of error on the reference")
    yield MeasurementsAndQualitativeEvaluations(
        tracking_identifier=_tracked(source, manifest, measured.name),
        algorithm_id=algorithm,
        source_images=[SourceImageForMeasurementGroup(source.SOPClassUID, source.SOPInstanceUID)],
        measurements=[
            Measurement(CodedConcept(*name), measured.value, unit, algorithm_id=algorithm),
            Measurement(error, measured.sd, unit, algorithm_id=algorithm),
        ],
    )


def _regions(
    source: Dataset, result: CaseResult, manifest: Manifest, algorithm: Dataset
) -> Iterator[Dataset]:
    from highdicom.sr import Measurement
    from highdicom.sr.coding import CodedConcept
    from pydicom.sr.codedict import codes

    score = CodedConcept("BOX_SCORE", SCHEME, "Score of the region")
    scores = {f"region-{i}": box.score for i, box in enumerate(result.boxes, start=1)}
    for name, frame, line in lines(source, result):
        if len(line) == CALIPER:
            continue  # the overlay shows it; a report wants regions
        measured = [
            Measurement(score, value, codes.UCUM.NoUnits, algorithm_id=algorithm)
            for value in ([scores[name]] if name in scores else [])
        ]
        tracked = _tracked(source, manifest, name)
        yield _region(source, tracked, line, frame, algorithm, measured)


def _region(
    source: Dataset,
    tracked: Any,
    line: FloatArray,
    frame: int,
    algorithm: Dataset,
    measurements: Sequence[Any],
) -> Dataset:
    from highdicom.sr import (
        ImageRegion,
        PlanarROIMeasurementsAndQualitativeEvaluations,
        SourceImageForRegion,
    )

    image = SourceImageForRegion(source.SOPClassUID, source.SOPInstanceUID, frames(source, frame))
    made: Dataset = PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=tracked,
        referenced_region=ImageRegion("POLYLINE", line + CORNER, image),
        algorithm_id=algorithm,
        measurements=measurements,
    )
    return made


def _tracked(source: Dataset, manifest: Manifest, name: str) -> Any:
    from highdicom.sr import TrackingIdentifier

    return TrackingIdentifier(uid=tracking_uid(source, manifest, name), identifier=name)


def code(words: str) -> str:
    """A private code value of at most 16 characters (PS3.5, SH)."""
    return words.replace(" ", "_").upper()[:16]
