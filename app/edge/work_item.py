"""The priority flag as a DICOM work item: a Unified Procedure Step that asks to read the study.

The attributes of an N-CREATE are those of PS3.4, table CC.2.5-3; what a requester must send
empty stands here empty. The item is a request, and says nothing of a diagnosis.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom.sop_class import UnifiedProcedureStepPush

from app.contracts.manifest import Manifest
from app.edge.sources import NOTICE, uid

INTERPRETATION: Final = ("110005", "DCM", "Interpretation")  # PS3.16, CID 9231
_EMPTY_SEQUENCES: Final = (
    "ScheduledProcessingParametersSequence",
    "ScheduledStationNameCodeSequence",
    "ScheduledStationClassCodeSequence",
    "ScheduledStationGeographicLocationCodeSequence",
    "IssuerOfAdmissionIDSequence",
    "AdmittingDiagnosesCodeSequence",
    "ProcedureStepProgressInformationSequence",
    "UnifiedProcedureStepPerformedProcedureSequence",
)
_EMPTY_TEXTS: Final = (
    "TransactionUID",
    "IssuerOfPatientID",
    "AdmissionID",
    "AdmittingDiagnosesDescription",
)


def work_item(source: Dataset, manifest: Manifest, now: datetime) -> Dataset:
    """The item for one flagged case, in UTC. The same case and lock have the same UID."""
    item = Dataset()
    item.SpecificCharacterSet = "ISO_IR 192"
    item.TimezoneOffsetFromUTC = "+0000"
    item.SOPClassUID = UnifiedProcedureStepPush
    item.SOPInstanceUID = uid(source, manifest, "work item")
    for name in _EMPTY_TEXTS:
        setattr(item, name, "")
    for name in _EMPTY_SEQUENCES:
        setattr(item, name, [])
    item.ScheduledProcedureStepPriority = "HIGH"
    item.ProcedureStepState = "SCHEDULED"
    item.InputReadinessState = "READY"
    item.ScheduledProcedureStepStartDateTime = f"{now:%Y%m%d%H%M%S}"
    item.ProcedureStepLabel = f"Read first: {manifest.device}"[:64]
    item.WorklistLabel = "AI triage"
    item.CommentsOnTheScheduledProcedureStep = NOTICE
    item.ScheduledWorkitemCodeSequence = [_code(*INTERPRETATION)]
    for name in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex"):
        item[name] = source[name]
    item.InputInformationSequence = [_input(source)]
    item.ReferencedRequestSequence = [_request(source)] if source.AccessionNumber else []
    item.file_meta = FileMetaDataset()
    item.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return item


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, scheme, meaning
    return code


def _input(source: Dataset) -> Dataset:
    """The image that was looked at, where the reader finds it: in its own study and series."""
    image = Dataset()
    image.ReferencedSOPClassUID = source.SOPClassUID
    image.ReferencedSOPInstanceUID = source.SOPInstanceUID
    found = Dataset()
    found.TypeOfInstances = "DICOM"
    found.StudyInstanceUID = source.StudyInstanceUID
    found.SeriesInstanceUID = source.SeriesInstanceUID
    found.ReferencedSOPSequence = [image]
    return found


def _request(source: Dataset) -> Dataset:
    """The order behind the study, by which a worklist knows it."""
    request = Dataset()
    request.StudyInstanceUID = source.StudyInstanceUID
    request.AccessionNumber = source.AccessionNumber
    request.IssuerOfAccessionNumberSequence = []
    request.RequestedProcedureID = source.StudyID
    request.RequestedProcedureDescription = source.StudyDescription
    request.RequestedProcedureCodeSequence = []
    return request
