"""What the clinic gets: report (SR), heat map (SC), overlay (GSPS), and the priority flag as a
message (HL7) or a work item (UPS).

Devices that move a study up or mark it say nothing of the others. Those whose answer stands in a
report (refer or not, a class, a measured value) answer for every case, "I don't know" included.

Built in the worker. One that cannot be built is counted, and spares the others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from pydicom.dataset import Dataset

from app import clock
from app.contracts.manifest import Manifest
from app.device.result import CaseResult, Outcome
from app.edge import spool
from app.edge.dicom_objects import as_file
from app.edge.heat_map import heat_map_image
from app.edge.hl7 import priority_message
from app.edge.overlay import presentation
from app.edge.sources import uid, usable
from app.edge.structured_report import report
from app.edge.work_item import work_item

IMAGE, REPORT, OVERLAY, MESSAGE, WORK_ITEM = ".dcm", ".sr", ".pr", ".hl7", ".ups"
SHOWN = (IMAGE, REPORT, OVERLAY, MESSAGE)
NOT_BUILT = "result_not_built"


_ANSWER_ALWAYS = ("cadx", "ophthalmology", "echo", "dermatology")
_ANSWERS = (Outcome.NOT_FLAGGED, Outcome.ABSTAINED, Outcome.QUALITY_REJECTED)


def is_told(manifest: Manifest, outcome: Outcome) -> bool:
    """Whether the clinic gets anything for a case of this device that ended so."""
    answers = outcome in _ANSWERS and manifest.pattern in _ANSWER_ALWAYS
    return outcome is Outcome.FLAGGED or answers


class Built(NamedTuple):
    """Files in the outbox, and notes to count about what could not be built."""

    names: list[str]
    notes: list[str]


def build(
    header: Dataset,
    result: CaseResult,
    manifest: Manifest,
    outbox: Path,
    thresholds: Mapping[str, float] = MappingProxyType({}),
    kinds: Collection[str] = SHOWN,
) -> Built:
    """Write the results of one case to `outbox`. One that cannot be built spares the rest.

    thresholds : the ones the case was read with, by stage; the report says them.
    kinds : the kinds of result that some destination takes; no other is written.
    """
    source = usable(header)
    stem = hashlib.sha256(uid(source, manifest, "name").encode()).hexdigest()
    makers: dict[str, Callable[[], bytes]] = {
        REPORT: lambda: as_file(report(source, result, manifest, thresholds))
    }
    if result.outcome is Outcome.FLAGGED:
        makers = {
            MESSAGE: lambda: priority_message(source, result, manifest).encode(),
            WORK_ITEM: lambda: as_file(work_item(source, manifest, clock.now())),
        } | makers
        if result.heat_map is not None:
            heat = result.heat_map
            makers[IMAGE] = lambda: as_file(heat_map_image(source, heat, manifest))
    if result.boxes or result.outlines:
        makers[OVERLAY] = lambda: as_file(presentation(source, result, manifest))
    built = Built([], [])
    for kind in (kind for kind in makers if kind in kinds):
        try:
            content = makers[kind]()
        except MemoryError:
            raise
        except Exception:  # noqa: BLE001  highdicom meets values that nobody has thought of
            built.notes.append(NOT_BUILT)
            continue
        spool.replace(outbox / f"{stem}{kind}", (content,))
        built.names.append(f"{stem}{kind}")
    return built
