"""A manager of work items: the providing side of UPS Push, with pynetdicom (PS3.4, annex CC)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import UnifiedProcedureStepPush, Verification

DUPLICATE, MISSING, WITHOUT_VALUE, NOT_SCHEDULED = 0x0111, 0x0120, 0x0121, 0xC309
# Table CC.2.5-3, column SCU/SCP for N-CREATE: what must have a value, and what must be there.
TYPE_1 = (
    "ScheduledProcedureStepPriority",
    "ProcedureStepLabel",
    "ScheduledProcedureStepStartDateTime",
    "InputReadinessState",
    "ProcedureStepState",
    "WorklistLabel",
)
TYPE_2 = (
    "TransactionUID",
    "ScheduledProcessingParametersSequence",
    "ScheduledStationNameCodeSequence",
    "ScheduledStationClassCodeSequence",
    "ScheduledStationGeographicLocationCodeSequence",
    "ScheduledWorkitemCodeSequence",
    "CommentsOnTheScheduledProcedureStep",
    "InputInformationSequence",
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "PatientBirthDate",
    "PatientSex",
    "AdmissionID",
    "IssuerOfAdmissionIDSequence",
    "AdmittingDiagnosesDescription",
    "AdmittingDiagnosesCodeSequence",
    "ReferencedRequestSequence",
    "ProcedureStepProgressInformationSequence",
    "UnifiedProcedureStepPerformedProcedureSequence",
)
NOT_ALLOWED = ("SOPClassUID", "SOPInstanceUID")


@dataclass
class Manager:
    """`answers` are used up one a request, instead of looking at it; "drop": none at all."""

    answers: list[int | str] = field(default_factory=list)
    asked: int = 0
    items: dict[str, Dataset] = field(default_factory=dict)
    port: int = 0

    def create(self, event: Any) -> tuple[int, Dataset | None]:
        self.asked += 1
        uid, item = str(event.request.AffectedSOPInstanceUID), event.attribute_list
        told = self.answers.pop(0) if self.answers else self._status(uid, item)
        if told == "drop":  # taken, and the answer is lost
            self.items[uid] = item
            event.assoc.abort()
            return 0x0000, item
        if told == 0x0000:
            self.items[uid] = item
        return int(told), item if told == 0x0000 else None

    def _status(self, uid: str, item: Dataset) -> int:
        if uid in self.items:
            return DUPLICATE
        if any(name not in item for name in (*TYPE_1, *TYPE_2)):
            return MISSING
        if any(item[name].is_empty for name in TYPE_1) or not item["TransactionUID"].is_empty:
            return WITHOUT_VALUE
        if any(name in item for name in NOT_ALLOWED):
            return 0x0105
        return 0x0000 if item.ProcedureStepState == "SCHEDULED" else NOT_SCHEDULED


@contextmanager
def managing(manager: Manager) -> Iterator[Manager]:
    entity = AE(ae_title="WORKLIST")
    entity.add_supported_context(UnifiedProcedureStepPush)
    entity.add_supported_context(Verification)
    server = entity.start_server(
        ("127.0.0.1", manager.port),
        block=False,
        evt_handlers=[(evt.EVT_N_CREATE, manager.create)],
    )
    manager.port = server.socket.getsockname()[1]
    try:
        yield manager
    finally:
        server.shutdown()
