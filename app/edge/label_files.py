"""Files in the label inbox, as rows of the same columns: CSV, HL7 v2 ORU^R01, DICOM SR.

A message or report says a read with codes of the scheme 99LOCKWATCH, which an interface engine
maps from what the reporting system has: `LABEL` (0 or 1), `SOP` (SOP Instance UID), `SOURCE`,
and, where wanted, `POLICY`. In HL7 the status says what happened to it: F or C final or corrected,
D or W deleted or wrong, which withdraws the read.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

COLUMNS: Final = (
    "accession_number",
    "sop_instance_uid",
    "sentinel_id",
    "label",
    "source",
    "reader",
    "read_on",
    "policy",
)
NEEDED: Final = ("label", "source", "reader", "read_on")
SCHEME: Final = "99LOCKWATCH"
LARGEST_FILE: Final = 16 << 20
_CODED = {"LABEL": "label", "SOP": "sop_instance_uid", "SOURCE": "source", "POLICY": "policy"}
_VALID, _WITHDRAWN = ("F", "C"), ("D", "W")

Row = Mapping[str, str]


class RowRefused(Exception):
    """A row, or a whole file, that is not counted, with a closed word for why."""


def contents(path: Path) -> bytes:
    """The bytes of a file that is not too large."""
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise RowRefused("file_too_large")
        return path.read_bytes()
    except OSError:
        raise RowRefused("file_unreadable") from None


def rows(suffix: str, raw: bytes) -> list[Row]:
    """The rows of one file; `RowRefused` if it is not understood as a whole."""
    if suffix == ".dcm":
        return [_report(raw)]
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise RowRefused("file_unreadable") from None
    return list(_messages(text) if suffix == ".hl7" else _table(text))


def _table(text: str) -> Iterator[Row]:
    """CSV rows by column, every value stripped; refused as a whole if it is not CSV."""
    table = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        names = [name.strip() for name in table.fieldnames or ()]
        if set(names) - set(COLUMNS) or set(NEEDED) - set(names) or len(set(names)) != len(names):
            raise RowRefused("unknown_columns")
        table.fieldnames = names
        for row in table:
            # A row of another length has None as a key or as a value.
            if None in row or None in row.values():
                raise RowRefused("uneven_rows")
            yield {name: value.strip() for name, value in row.items()}
    except csv.Error:
        raise RowRefused("not_csv") from None


def _messages(text: str) -> Iterator[Row]:
    """A row for each OBR of each message (HL7 v2.5.1, 7.3.1)."""
    segments = [line.split("|") for line in text.replace("\n", "\r").split("\r") if line.strip()]
    if not segments or segments[0][0] != "MSH":
        raise RowRefused("not_hl7")
    row: dict[str, str] = {}
    for segment in segments:
        if segment[0] in ("MSH", "OBR"):
            if "label" in row:
                yield _whole(row)
            row = {"reader": _component(segment, 32) if segment[0] == "OBR" else ""}
        elif segment[0] == "OBX":
            _observe(row, segment)
    if "label" in row:
        yield _whole(row)


def _observe(row: dict[str, str], segment: list[str]) -> None:
    code, scheme = _component(segment, 3), _component(segment, 3, 2)
    column = _CODED.get(code) if scheme == SCHEME else None
    if column is None:
        return
    row[column] = _component(segment, 5)
    if column == "label":
        status = _field(segment, 11)
        if status not in (*_VALID, *_WITHDRAWN):
            raise RowRefused("status_not_final")
        row["label"] = "" if status in _WITHDRAWN else row["label"]
        day = _component(segment, 14)
        row["read_on"] = f"{day[:4]}-{day[4:6]}-{day[6:8]}"
        row["reader"] = _component(segment, 16) or row.get("reader", "")


def _report(raw: bytes) -> Row:
    """One structured report: coded items of our scheme, one source image, one observer."""
    from pydicom import dcmread

    try:
        report = dcmread(io.BytesIO(raw), stop_before_pixels=True)
        day = str(report.ContentDate)
        row = {"read_on": f"{day[:4]}-{day[4:6]}-{day[6:8]}", **_coded(report)}
        row["reader"] = row.get("reader") or _verifier(report)
    except Exception:  # noqa: BLE001  whatever a damaged report does to the parser
        raise RowRefused("not_a_report") from None
    return _whole(row)


def _coded(item: Mapping[str, object] | object) -> dict[str, str]:
    """What the content items below `item` say, by column."""
    found: dict[str, str] = {}
    for child in getattr(item, "ContentSequence", ()):
        name = _code(child, "ConceptNameCodeSequence")
        column = _CODED.get(name[0]) if name[1] == SCHEME else None
        if column is not None:
            found[column] = _code(child, "ConceptCodeSequence")[0] or str(
                getattr(child, "TextValue", getattr(child, "UID", ""))
            )
        elif name == ("121008", "DCM"):  # Person Observer Name
            found["reader"] = str(child.PersonName)
        elif getattr(child, "ValueType", "") == "IMAGE":
            image = child.ReferencedSOPSequence[0]
            found["sop_instance_uid"] = str(image.ReferencedSOPInstanceUID)
        found |= _coded(child)
    return found


def _code(item: object, sequence: str) -> tuple[str, str]:
    for code in getattr(item, sequence, ()):
        return str(code.CodeValue), str(code.CodingSchemeDesignator)
    return "", ""


def _verifier(report: object) -> str:
    for observer in getattr(report, "VerifyingObserverSequence", ()):
        return str(observer.VerifyingObserverName)
    return ""


def _whole(row: dict[str, str]) -> Row:
    if not all(name in row for name in NEEDED):
        raise RowRefused("incomplete_read")
    return row


def _field(segment: list[str], place: int) -> str:
    return segment[place].strip() if len(segment) > place else ""


def _component(segment: list[str], place: int, which: int = 0) -> str:
    parts = _field(segment, place).split("^")
    return parts[which].strip() if len(parts) > which else ""
