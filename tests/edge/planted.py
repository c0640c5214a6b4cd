"""Objects that are full of marks: values that occur nowhere else and can be searched for."""

from __future__ import annotations

import struct
from datetime import datetime

from pydicom.datadict import DicomDictionary
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from tests.edge.sender import a_chest

A_VR = 4  # standard elements of each value representation that are filled
TEXT = {"AE": 16, "CS": 16, "LO": 64, "LT": 999, "PN": 64, "SH": 16, "ST": 999, "UC": 999}
TEXT |= {"UR": 999, "UT": 999}
PACKED = {"FL": "<f", "FD": "<d", "SL": "<i", "UL": "<I", "SV": "<q", "UV": "<Q"}
BYTES = ("OB", "OD", "OF", "OL", "OV", "OW", "UN")
# Groups that steer decoding or the protocol, and what the chain reads as a number or category.
KEPT = (0x0002, 0x0004, 0x0028, 0x7FE0, 0x5400, 0x0000)
STEERING = {"AcquisitionDateTime", "TimezoneOffsetFromUTC", "NumberOfFrames"}


class Marks:
    """A new mark at each call, and all that were given out, as they would be found."""

    def __init__(self) -> None:
        self.values: set[str] = set()
        self.packed: dict[str, bytes] = {}
        self._n = 0

    def of(self, vr: str) -> object:
        self._n += 1
        n = self._n
        made = self._made(vr, n)
        if made is not None and vr not in PACKED and vr not in BYTES:
            self.values.add(str(made))
        return made

    def _made(self, vr: str, n: int) -> object:
        if vr in TEXT:
            return f"ZQ{n:04d}XJ{vr}VW"
        if vr in BYTES:
            self.values.add(f"ZQ{n:04d}XJ{vr}VWKQ12")
            return f"ZQ{n:04d}XJ{vr}VWKQ12".encode()
        if vr in PACKED:
            value = 73519000.0 + n if vr in ("FL", "FD") else 1073519000 + n
            self.packed[f"{vr} {value}"] = struct.pack(PACKED[vr], value)
            return value
        return {
            "AS": f"{n % 90 + 9:03d}W",
            "DA": f"1799{n % 12 + 1:02d}17",
            "DT": f"1798{n % 12 + 1:02d}17101112.{n:06d}",
            "TM": f"101112.7{n:05d}",
            "DS": f"73519.{n:05d}",
            "IS": f"17351{n:05d}",
            "UI": f"1.2.999.73519.{n}",
        }.get(vr)


def planted(marks: Marks, seed: int, header: dict[str, object], day: datetime) -> Dataset:
    """A chest radiograph with the marks of `header` and an identity of its own."""
    chest = a_chest(seed, day, positive=seed % 2 == 0)
    for keyword, value in header.items():
        setattr(chest, keyword, value)
    block = chest.private_block(0x0099, "ZQ PRIVATE CREATOR", create=True)
    for place, vr in enumerate((*TEXT, *PACKED, *BYTES, "DS", "IS", "DA", "DT", "TM", "UI")):
        block.add_new(place + 1, vr, marks.of(vr))
    _add_overlay(chest, marks)
    return chest


def standard(marks: Marks, without: Dataset) -> dict[str, object]:
    """By keyword, a mark for some standard elements of every value representation."""
    filled: dict[str, int] = {}
    made: dict[str, object] = {}
    for tag, (vr, vm, _, retired, keyword) in sorted(DicomDictionary.items()):
        usable = keyword and not retired and vm.startswith("1") and tag >> 16 not in KEPT
        usable = usable and keyword not in STEERING
        if not usable or tag in without or filled.get(vr, 0) >= A_VR:
            continue
        value = marks.of(vr)
        if value is not None:
            made[keyword] = value
            filled[vr] = filled.get(vr, 0) + 1
    item = Dataset()
    item.PersonName, item.TextValue = marks.of("PN"), marks.of("UT")
    return made | {"ContentSequence": Sequence([item])}


def _add_overlay(chest: Dataset, marks: Marks) -> None:
    mark = bytes(marks.of("OB"))  # type: ignore[arg-type]
    chest.add_new(0x60000010, "US", 16)
    chest.add_new(0x60000011, "US", len(mark))
    chest.add_new(0x60000022, "LO", marks.of("LO"))
    chest.add_new(0x60000040, "CS", "G")
    chest.add_new(0x60003000, "OW", mark * 2)


def identities(chests: list[Dataset]) -> set[str]:
    """What names the patients, studies, places and machines of these objects."""
    names = ("PatientName", "PatientID", "PatientBirthDate", "AccessionNumber", "PatientAddress")
    uids = ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "DeviceSerialNumber")
    more = ("InstitutionName", "ReferringPhysicianName", "StationName", "PatientComments")
    return {str(chest[name].value) for chest in chests for name in (*names, *uids, *more)}
