"""Ask a PACS for studies on a schedule, and fetch what is not here yet (C-FIND, C-GET).

What is new is decided object by object against the journal, so nothing is fetched twice. The
high-water mark is the last day that was asked for without a failure; each round starts some days
before it, because a study may reach a PACS late. It only moves when a whole round went well, so
nothing is missed while the PACS or the network was away.
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

from app.edge.dimse import NoAssociation, associated
from app.edge.journal import Journal, count, meta, set_meta
from app.edge.logs import log
from app.edge.settings import EdgeSettings

PENDING: Final = (0xFF00, 0xFF01)
MARK = "query_through"
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
IsHere = Callable[[str], bool]


class RoundFailed(Exception):
    """A closed word for why a round did not go well; the mark stays where it is."""


@dataclass(frozen=True, slots=True)
class Query:
    """One PACS. `store` keeps an object as the listening side does; `is_here` knows the journal."""

    settings: EdgeSettings
    journal: Journal
    store: Store
    is_here: IsHere

    def round(self, today: int) -> int:
        """Fetch what is new since the mark, then move the mark; how many objects were fetched."""
        mark = self.journal.do(lambda db: meta(db, MARK))
        since = (today if mark is None else int(mark)) - self.settings.query_lookback_days
        try:
            fetched = sum(self._fetch(study) for study in self._studies(since, today))
        except (NoAssociation, RoundFailed, RuntimeError, ValueError) as error:
            reason = str(error) or "no_association"
            log.warning("query.failed", reason=reason)
            self.journal.do(lambda db: count(db, "query", "failed"))
            return 0
        self.journal.do(lambda db: set_meta(db, MARK, today))
        return fetched

    def _studies(self, since: int, until: int) -> list[str]:
        asked = Dataset()
        asked.QueryRetrieveLevel = "STUDY"
        asked.StudyDate = f"{date.fromordinal(since):%Y%m%d}-{date.fromordinal(until):%Y%m%d}"
        asked.ModalitiesInStudy = list(self.settings.query_modalities)
        asked.StudyInstanceUID = ""
        return [str(found.StudyInstanceUID) for found in self._find([asked])]

    def _fetch(self, study: str) -> int:
        """Fetch what is not here of one study, a series at a time."""
        fetched = 0
        for series in self._find([_level("SERIES", study)]):
            if str(series.get("Modality", "")) not in self.settings.query_modalities:
                continue
            uid = str(series.SeriesInstanceUID)
            images = self._find([_level("IMAGE", study, uid)])
            new = [i for i in map(_instance, images) if not self.is_here(i)]
            if new:
                self._get(study, uid, new)
                fetched += len(new)
        return fetched

    def _find(self, asked: Iterable[Dataset]) -> Iterator[Dataset]:
        settings = self.settings
        assert settings.query_peer is not None
        with associated(settings.ae_title, settings.query_peer, [Find]) as association:
            for one in asked:
                found = list(association.send_c_find(one, Find))
        yield from (answer for _, answer in _complete(found) if answer is not None)

    def _get(self, study: str, series: str, instances: list[str]) -> None:
        settings = self.settings
        assert settings.query_peer is not None
        classes = [UID(c) for c in settings.query_sop_classes]
        contexts = [build_context(c, syntax) for c in classes for syntax in SYNTAXES]
        options = {
            "contexts": [build_context(Get), *contexts],
            "ext_neg": [build_role(c, scp_role=True) for c in classes],
            "evt_handlers": [(evt.EVT_C_STORE, self.store)],
        }
        with associated(settings.ae_title, settings.query_peer, [], **options) as association:
            for instance in instances:
                asked = _level("IMAGE", study, series)
                asked.SOPInstanceUID = instance
                _complete(list(association.send_c_get(asked, Get)))


def _complete(answers: list[tuple[Dataset, Dataset | None]]) -> list[tuple[Dataset, Any]]:
    """The answers, if the last of them says that all went well."""
    last = answers[-1][0] if answers else Dataset()
    if "Status" not in last:
        raise RoundFailed("no_answer")
    if int(last.Status) != 0x0000:
        raise RoundFailed(f"status_{int(last.Status):04x}")
    return [(status, answer) for status, answer in answers if int(status.Status) in PENDING]


def _level(level: str, study: str, series: str = "") -> Dataset:
    asked = Dataset()
    asked.QueryRetrieveLevel = level
    asked.StudyInstanceUID = study
    asked.SeriesInstanceUID = series
    if level == "SERIES":
        asked.Modality = ""
    else:
        asked.SOPInstanceUID = ""
    return asked


def _instance(found: Dataset) -> str:
    with suppress(AttributeError):
        return str(found.SOPInstanceUID)
    raise RoundFailed("answer_without_uid")
