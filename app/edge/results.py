"""What the clinic gets for a flagged case: a heat map (Secondary Capture) and a priority message.

Built in the worker, from a copy of the few source elements that a result needs, because
highdicom refuses sources that lack type 2 elements or carry unreadable ones (dicom.md 2.4).
All UIDs come from the source UID and the lock digest: a repeat overwrites, it never adds.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import ExplicitVRLittleEndian
from pydicom.valuerep import DA, TM

from app import clock
from app.contracts.manifest import Manifest
from app.device.result import CaseResult
from app.edge import headers, spool
from monitors.schema import FloatArray

IMAGE, PRIORITY = ".dcm", ".hl7"
SERIES_NUMBER = 9020
NOTICE = "AI triage result, not a diagnosis"


def build(header: Dataset, result: CaseResult, manifest: Manifest, outbox: Path) -> list[str]:
    """Write the results of one flagged case to `outbox`; their file names."""
    source = usable(header)
    stem = hashlib.sha256(_uid(source, manifest, "name").encode()).hexdigest()
    made = [f"{stem}{PRIORITY}"]
    spool.replace(outbox / made[0], (priority_message(source, result, manifest).encode(),))
    if result.heat_map is not None:
        image = heat_map_image(source, result.heat_map, manifest)
        path = outbox / f"{stem}{IMAGE}"
        half = path.with_suffix(".building")
        dcmwrite(half, image, enforce_file_format=True)
        spool.replace(path, (half.read_bytes(),))
        half.unlink()
        made.append(path.name)
    return made


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
        setattr(source, name, value if _is_readable(name, value) else "")
    if source.PatientSex not in ("", "M", "F", "O"):
        source.PatientSex = ""
    source.Modality = _text(header, "Modality")
    source.SpecificCharacterSet = "ISO_IR 192"
    return source


def heat_map_image(source: Dataset, heat: FloatArray, manifest: Manifest) -> Dataset:
    """The heat map as a colour Secondary Capture in a series of its own."""
    from highdicom.sc import SCImage

    now = clock.now()
    image: Dataset = SCImage.from_ref_dataset(
        ref_dataset=source,
        pixel_array=colours(heat),
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        series_instance_uid=_uid(source, manifest, "series"),
        series_number=SERIES_NUMBER,
        sop_instance_uid=_uid(source, manifest, "image"),
        instance_number=1,
        manufacturer="lockwatch",
        manufacturer_model_name=manifest.device,
        software_versions=manifest.version,
        device_serial_number=manifest.lock_digest[:16],
        patient_orientation=("L", "F"),
        transfer_syntax_uid=ExplicitVRLittleEndian,
    )
    _complete(image, source, manifest, now)
    return image


def colours(heat: FloatArray) -> npt.NDArray[np.uint8]:
    """`heat` (rows, columns) in [0, 1] from black over red to yellow, as (rows, columns, 3)."""
    level = np.clip(np.nan_to_num(heat), 0, 1)[..., None]
    ramp = np.concatenate([2 * level, 2 * level - 1, 0 * level], axis=-1)
    return np.asarray(np.rint(255 * np.clip(ramp, 0, 1)), dtype=np.uint8)


def _complete(image: Dataset, source: Dataset, manifest: Manifest, now: datetime) -> None:
    """What highdicom leaves out and dciodvfy asks for (dicom.md 2.4)."""
    image.SeriesDescription = f"{manifest.device} heat map. {NOTICE}"[:64]
    image.BurnedInAnnotation = "NO"
    image.Laterality = ""
    image.ImageType = ["DERIVED", "SECONDARY"]
    image.ConversionType = "WSD"
    image.DerivationDescription = f"{manifest.device} {manifest.version} {manifest.lock_digest}"
    _date(image, now)
    if "BodyPartExamined" in image:
        del image.BodyPartExamined
    reference = Dataset()
    reference.ReferencedSOPClassUID = source.SOPClassUID
    reference.ReferencedSOPInstanceUID = source.SOPInstanceUID
    series = Dataset()
    series.SeriesInstanceUID = source.SeriesInstanceUID
    series.ReferencedInstanceSequence = [reference]
    image.ReferencedSeriesSequence = [series]
    image.SourceImageSequence = [reference]


def _date(image: Dataset, now: datetime) -> None:
    """One time for all: highdicom asks the system for it, several times."""
    day, time = now.strftime("%Y%m%d"), now.strftime("%H%M%S")
    image.ContentDate = image.InstanceCreationDate = image.DateOfSecondaryCapture = day
    image.ContentTime = image.InstanceCreationTime = image.TimeOfSecondaryCapture = time
    for equipment in image.get("ContributingEquipmentSequence", ()):
        equipment.ContributionDateTime = f"{day}{time}+0000"


def priority_message(source: Dataset, result: CaseResult, manifest: Manifest) -> str:
    """HL7 v2.5.1 ORU^R01 with TQ1-9 = S: read this study first. Preliminary, never final."""
    at = clock.now().strftime("%Y%m%d%H%M%S+0000")
    number = hashlib.sha256(_uid(source, manifest, "message").encode()).hexdigest()[:20]
    order = f"{hl7(source.AccessionNumber)}^RIS"
    algorithm = f"{hl7(manifest.device)}^{hl7(manifest.version)}^99LOCKWATCH"
    segments = [
        rf"MSH|^~\&|LOCKWATCH||RIS||{at}||ORU^R01^ORU_R01|{number}|P|2.5.1|||AL|NE|||UNICODE UTF-8",
        f"PID|1||{hl7(source.PatientID)}||{_person(source)}",
        "PV1|1|U",
        f"ORC|RE|{order}|{number}^LOCKWATCH",
        f"OBR|1|{order}|{number}^LOCKWATCH|{hl7(source.StudyDescription)}"
        f"|||{at}||||||||||||||||||P",
        "TQ1|1||||||||S^STAT^HL70485",
        "OBX|1|CWE|99TRI^AI triage priority^99LOCKWATCH||STAT^STAT^99LOCKWATCH"
        f"|||AA|||P|||{at}|||{algorithm}",
    ]
    for i, (stage, score) in enumerate(sorted(result.scores.items()), start=2):
        segments.append(f"OBX|{i}|NM|{stage}^Score^99LOCKWATCH||{score:.3f}|1^no units^UCUM|||||P")
    last = len(segments) - 6
    segments += [
        f"OBX|{last + 1}|ST|110180^Study Instance UID^DCM||{hl7(source.StudyInstanceUID)}||||||P",
        f"NTE|1||{NOTICE}",
    ]
    return "".join(f"{segment}\r" for segment in segments)


_ESCAPES = str.maketrans(
    {
        "\\": r"\E\\"[:3],
        "|": "\\F\\",
        "^": "\\S\\",
        "&": "\\T\\",
        "~": "\\R\\",
        "\r": "\\X0D\\",
        "\n": "\\X0A\\",
    }
)


def hl7(value: object) -> str:
    """One HL7 v2 component, escaped (HL7 2.5.1, 2.7)."""
    return str(value).translate(_ESCAPES)


def _person(source: Dataset) -> str:
    """DICOM PN is family^given^middle^prefix^suffix; HL7 XPN ends suffix^prefix."""
    parts = (str(source.PatientName).split("=")[0].split("^") + [""] * 5)[:5]
    family, given, middle, prefix, suffix = map(hl7, parts)
    return "^".join((family, given, middle, suffix, prefix)).rstrip("^")


def _uid(source: Dataset, manifest: Manifest, purpose: str) -> str:
    """A UID under 2.25 (PS3.5 B.2), the same for the same source, lock and purpose."""
    text = f"{purpose}\0{source.SOPInstanceUID}\0{manifest.lock_digest}"
    return f"2.25.{int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], 'big')}"


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
