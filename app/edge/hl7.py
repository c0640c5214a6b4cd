"""The HL7 v2.5.1 message that moves a study up in a worklist, and text that cannot break it."""

from __future__ import annotations

import hashlib

from pydicom.dataset import Dataset

from app import clock
from app.contracts.manifest import Manifest
from app.device.result import CaseResult
from app.edge.sources import NOTICE, uid


def priority_message(source: Dataset, result: CaseResult, manifest: Manifest) -> str:
    """HL7 v2.5.1 ORU^R01 with TQ1-9 = S: read this study first. Preliminary, never final."""
    at = clock.now().strftime("%Y%m%d%H%M%S+0000")
    number = hashlib.sha256(uid(source, manifest, "message").encode()).hexdigest()[:20]
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
    report = uid(source, manifest, "report")
    segments += [
        f"OBX|{last + 1}|ST|110180^Study Instance UID^DCM||{hl7(source.StudyInstanceUID)}||||||P",
        f"OBX|{last + 2}|ST|SR^Report SOP Instance UID^99LOCKWATCH||{report}||||||P",
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
