"""An archive that speaks DIMSE: C-FIND to list, then C-GET, or C-MOVE where it offers no C-GET.

With C-MOVE the objects come to the listening side, over an association that the archive opens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from pydicom.dataset import Dataset
from pydicom.uid import (
    JPEG2000,
    UID,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    RLELossless,
)
from pynetdicom import build_role, evt
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import (
    StudyRootQueryRetrieveInformationModelFind as Find,
)
from pynetdicom.sop_class import (
    StudyRootQueryRetrieveInformationModelGet as Get,
)
from pynetdicom.sop_class import (
    StudyRootQueryRetrieveInformationModelMove as Move,
)

from app.edge.dimse import associated
from app.edge.query import MARK, RoundFailed
from app.edge.settings import EdgeSettings, Peer

PENDING: Final = (0xFF00, 0xFF01)
# PS3.4 C.4.3.1.4: all came, some failed, none came.
RETRIEVED: Final = (0x0000, 0xB000, 0xA702)
# One context a syntax: with several in one, Orthanc answered C000 (dicom.md 2.2).
SYNTAXES: Final = (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLosslessSV1,
    JPEG2000Lossless,
    JPEG2000,
    JPEGBaseline8Bit,
    RLELossless,
)
Store = Callable[[Any], int]  # a handler of EVT_C_STORE


@dataclass(frozen=True, slots=True)
class DimseArchive:
    """One PACS. `store` keeps an object as the listening side does."""

    settings: EdgeSettings
    peer: Peer
    store: Store
    mark: str = MARK

    def studies(self, since: int, until: int) -> list[str]:
        """Studies of these days that have one of the modalities."""
        asked = Dataset()
        asked.QueryRetrieveLevel = "STUDY"
        asked.StudyDate = f"{date.fromordinal(since):%Y%m%d}-{date.fromordinal(until):%Y%m%d}"
        asked.ModalitiesInStudy = list(self.settings.query_modalities)
        asked.StudyInstanceUID = ""
        return [_uid(found, "StudyInstanceUID") for found in self._find([asked])]

    def series(self, study: str) -> Iterator[tuple[str, str]]:
        """Series of a study, each with its modality."""
        for found in self._find([_level("SERIES", study)]):
            yield _uid(found, "SeriesInstanceUID"), str(found.get("Modality", ""))

    def instances(self, study: str, series: str) -> list[str]:
        """Objects of a series."""
        found = self._find([_level("IMAGE", study, series)])
        return [_uid(one, "SOPInstanceUID") for one in found]

    def fetch(self, study: str, series: str, instances: list[str]) -> None:
        """Bring these objects here by the operation that the settings name."""
        if self.settings.query_retrieve == "move":
            self._move(study, series, instances)
        else:
            self._get(study, series, instances)

    def _find(self, asked: Iterable[Dataset]) -> Iterator[Dataset]:
        with associated(self.settings.ae_title, self.peer, [Find]) as association:
            for one in asked:
                found = list(association.send_c_find(one, Find))
        yield from (answer for _, answer in _complete(found) if answer is not None)

    def _get(self, study: str, series: str, instances: list[str]) -> None:
        classes = [UID(c) for c in self.settings.query_sop_classes]
        contexts = [build_context(c, syntax) for c in classes for syntax in SYNTAXES]
        options = {
            "contexts": [build_context(Get), *contexts],
            "ext_neg": [build_role(c, scp_role=True) for c in classes],
            "evt_handlers": [(evt.EVT_C_STORE, self.store)],
        }
        with associated(self.settings.ae_title, self.peer, [], **options) as association:
            for instance in instances:
                asked = _level("IMAGE", study, series, instance)
                _settled(association.send_c_get(asked, Get))

    def _move(self, study: str, series: str, instances: list[str]) -> None:
        ours = self.settings.ae_title
        with associated(ours, self.peer, [Move]) as association:
            for instance in instances:
                asked = _level("IMAGE", study, series, instance)
                _settled(association.send_c_move(asked, ours, Move))


def _settled(answers: Iterable[tuple[Dataset, Dataset | None]]) -> None:
    """Hear a retrieval out. Objects that did not come are seen by what is here, not by this."""
    last = [status for status, _ in answers][-1:]
    if not last or "Status" not in last[0]:
        raise RoundFailed("no_answer")
    if int(last[0].Status) not in RETRIEVED:
        raise RoundFailed(f"status_{int(last[0].Status):04x}")


def _complete(answers: list[tuple[Dataset, Dataset | None]]) -> list[tuple[Dataset, Any]]:
    """The answers, if the last of them says that all went well."""
    last = answers[-1][0] if answers else Dataset()
    if "Status" not in last:
        raise RoundFailed("no_answer")
    if int(last.Status) != 0x0000:
        raise RoundFailed(f"status_{int(last.Status):04x}")
    return [(status, answer) for status, answer in answers if int(status.Status) in PENDING]


def _level(level: str, study: str, series: str = "", instance: str = "") -> Dataset:
    asked = Dataset()
    asked.QueryRetrieveLevel = level
    asked.StudyInstanceUID = study
    asked.SeriesInstanceUID = series
    if level == "SERIES":
        asked.Modality = ""
    else:
        asked.SOPInstanceUID = instance
    return asked


def _uid(found: Dataset, name: str) -> str:
    with suppress(KeyError):
        return str(found[name].value)
    raise RoundFailed("answer_without_uid")
