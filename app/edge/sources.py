"""The few source elements that a result is built on, and what names a result and its maker.

highdicom refuses sources that lack type 2 elements or carry unreadable ones (dicom.md 2.4), so
results are built on a copy. All UIDs come from the source UID and the lock digest: a repeat
overwrites, it never adds.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from datetime import datetime
from typing import Any

from pydicom.dataset import Dataset
from pydicom.valuerep import DA, TM

from app.contracts.manifest import Manifest
from app.edge import headers
from app.edge.dicom_objects import uid_of

NOTICE = "AI triage result, not a diagnosis"


def usable(header: Dataset) -> Dataset:
    """A copy that a result can be built on: type 2 present, unreadable values blank, UTF-8."""
    source = Dataset()
    for name in headers.UIDS:
        value = _text(header, name)
        if not value:
            raise ValueError(f"source without {name}")
        setattr(source, name, value)
    for name in (*headers.PATIENT, *headers.STUDY):
        value = _text(header, name)
        if name.endswith("Date"):
            value = value.replace(".", "")  # as ACR-NEMA wrote dates (PS3.5, 6.2)
        setattr(source, name, value if _is_readable(name, value) else "")
    if source.PatientSex not in ("", "M", "F", "O"):
        source.PatientSex = ""
    source.Modality = _text(header, "Modality")
    source.SpecificCharacterSet = "ISO_IR 192"
    for name in headers.DISPLAY:
        with suppress(Exception):  # an unreadable value is none
            if header[name].value not in (None, ""):
                source[name] = header[name]
    return source


def algorithm_equipment(manifest: Manifest) -> Any:
    """The algorithm as IHE AI Results 6.5.3.1 wants it described, with the lock in its Device UID.

    highdicom takes only purposes of CID 7005 and no Device UID; both are set afterwards.
    """
    from highdicom import ContributingEquipment
    from highdicom.sr.coding import CodedConcept
    from pydicom.sr.codedict import codes

    equipment = ContributingEquipment(
        manufacturer="lockwatch",
        purpose_of_reference=codes.cid7005.ProcessingEquipment,
        manufacturer_model_name=manifest.device,
        software_versions=[manifest.version, manifest.lock_digest],
    )
    purpose = CodedConcept("Newcode1", "99IHE", "Processing Algorithm")
    equipment.PurposeOfReferenceCodeSequence = [purpose]
    equipment.DeviceUID = device_uid(manifest)
    return equipment


def device_uid(manifest: Manifest) -> str:
    """The Device UID of a locked device version: another lock is another device."""
    return uid_of(bytes.fromhex(manifest.lock_digest))


def date_as(result: Dataset, now: datetime) -> None:
    """One time for all: highdicom asks the system for it, several times."""
    result.ContentDate = result.InstanceCreationDate = f"{now:%Y%m%d}"
    result.ContentTime = result.InstanceCreationTime = f"{now:%H%M%S}"
    for equipment in result.get("ContributingEquipmentSequence", ()):
        equipment.ContributionDateTime = f"{now:%Y%m%d%H%M%S}+0000"


def uid(source: Dataset, manifest: Manifest, purpose: str) -> str:
    """A UID under 2.25 (PS3.5 B.2), the same for the same source, lock and purpose."""
    text = f"{purpose}\0{source.SOPInstanceUID}\0{manifest.lock_digest}"
    return uid_of(hashlib.sha256(text.encode()).digest())


def _text(header: Dataset, name: str) -> str:
    try:
        value = str(header[name].value)
    except Exception:  # noqa: BLE001  an undecodable value is a blank one
        return ""
    return "".join(c if c.isprintable() and c != "\ufffd" else "?" for c in value)


def _is_readable(name: str, value: str) -> bool:
    parse = DA if name.endswith("Date") else TM if name.endswith("Time") else str
    try:
        parse(value)
    except ValueError:
        return False
    return True
