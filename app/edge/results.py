"""What the clinic gets for a flagged case: report (SR), heat map (SC) and priority message (HL7).

Built in the worker. One that cannot be built is counted, and spares the others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from pydicom.dataset import Dataset
from pydicom.filewriter import dcmwrite

from app.contracts.manifest import Manifest
from app.device.result import CaseResult
from app.edge import spool
from app.edge.heat_map import heat_map_image
from app.edge.hl7 import priority_message
from app.edge.sources import uid, usable
from app.edge.structured_report import report

IMAGE, REPORT, MESSAGE = ".dcm", ".sr", ".hl7"
NOT_BUILT = "result_not_built"


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
) -> Built:
    """Write the results of one flagged case to `outbox`. One that cannot be built spares the rest.

    thresholds : the ones the case was read with, by stage; the report says them.
    """
    source = usable(header)
    stem = hashlib.sha256(uid(source, manifest, "name").encode()).hexdigest()
    makers: dict[str, Callable[[], bytes]] = {
        MESSAGE: lambda: priority_message(source, result, manifest).encode(),
        REPORT: lambda: as_file(report(source, result, manifest, thresholds)),
    }
    if result.heat_map is not None:
        heat = result.heat_map
        makers[IMAGE] = lambda: as_file(heat_map_image(source, heat, manifest))
    built = Built([], [])
    for kind, make in makers.items():
        try:
            content = make()
        except MemoryError:
            raise
        except Exception:  # noqa: BLE001  highdicom meets values that nobody has thought of
            built.notes.append(NOT_BUILT)
            continue
        spool.replace(outbox / f"{stem}{kind}", (content,))
        built.names.append(f"{stem}{kind}")
    return built


def as_file(dataset: Dataset) -> bytes:
    """The object as the bytes of a DICOM file."""
    buffer = BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()
