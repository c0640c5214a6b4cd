"""Nothing that a hospital wrote into an object, a label file or a message leaves it.

Marks that occur nowhere else are planted in every value representation, standard and private,
nested and in overlays; then every byte that the agent says to anyone is searched for them.
"""

from __future__ import annotations

import struct
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.datadict import DicomDictionary
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import generate_uid

from tests.edge.running_edge import START, RunningEdge
from tests.edge.sender import a_chest, send
from tests.support.chest_bundle import ROOT
from tests.support.leaks import leaks, said

DAY = START.replace(tzinfo=None)
CASES = 26
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


def planted(marks: Marks, seed: int, header: dict[str, object]) -> Dataset:
    """A chest radiograph with the marks of `header` and an identity of its own."""
    chest = a_chest(seed, DAY, positive=seed % 2 == 0)
    for keyword, value in header.items():
        setattr(chest, keyword, value)
    block = chest.private_block(0x0099, "ZQ PRIVATE CREATOR", create=True)
    for place, vr in enumerate((*TEXT, *PACKED, *BYTES, "DS", "IS", "DA", "DT", "TM", "UI")):
        block.add_new(place + 1, vr, marks.of(vr))
    _add_overlay(chest, marks)
    return chest


def _standard(marks: Marks, without: Dataset) -> dict[str, object]:
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


@pytest.fixture
def marks() -> Marks:
    return Marks()


def test_no_mark_of_any_kind_leaves(edge: RunningEdge, marks: Marks) -> None:
    header = _standard(marks, a_chest(0, DAY))
    chests = [planted(marks, seed, header) for seed in range(CASES)]
    identities = _identities(chests)
    assert len(marks.values) > 500 and len(marks.packed) > 100

    assert set(send(edge.port, *chests, *_broken(marks, header))) == {0x0000}
    edge.until(lambda s: s["balance"]["received"] == CASES + 2 and not s["balance"]["waiting"])
    _give_labels(edge, marks, chests)
    edge.live(days=32)

    status = edge.status()
    assert status["balance"]["analysed"] >= CASES - 6
    assert status["labels"]["joined"] > 0 and status["windows"]["acknowledged"] > 0
    places = said(edge) | _commands(edge)
    assert leaks(places, marks.values | identities) == set()
    assert {name for name, bits in marks.packed.items() for p in _outward(places) if bits in p} == (
        set()
    )
    _results_carry_only_what_names_the_study(edge, marks)


def test_the_search_finds_what_is_there(edge: RunningEdge) -> None:
    """A search that finds nothing anywhere proves nothing."""
    places = said(edge)
    agent = edge.centre.edge_id

    assert leaks(places, {agent}) >= {("status.json", agent)}
    edge.centre.bodies.append(b"ZQ0001XJLOVW")
    assert leaks(said(edge), {"ZQ0001XJLOVW"}) == {("requests", "ZQ0001XJLOVW")}


def _identities(chests: list[Dataset]) -> set[str]:
    names = ("PatientName", "PatientID", "PatientBirthDate", "AccessionNumber", "PatientAddress")
    uids = ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "DeviceSerialNumber")
    more = ("InstitutionName", "ReferringPhysicianName", "StationName", "PatientComments")
    return {str(chest[name].value) for chest in chests for name in (*names, *uids, *more)}


def _broken(marks: Marks, header: dict[str, object]) -> Iterator[Dataset]:
    """Objects that fail, and whose marks could be in what is said about the failure."""
    short = planted(marks, 90, header)
    short.PixelData = short.PixelData[:100]
    yield short
    odd = planted(marks, 91, header)
    odd.Modality = marks.of("CS")
    odd.SOPInstanceUID = odd.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    yield odd


def _give_labels(edge: RunningEdge, marks: Marks, chests: list[Dataset]) -> None:
    reader, policy, accession = (str(marks.of("LO")) for _ in range(3))
    rows = [
        f"{accession},{chest.SOPInstanceUID},{i % 2},random_audit,{reader},2026-03-10,{policy}"
        for i, chest in enumerate(chests)
    ]
    head = "accession_number,sop_instance_uid,label,source,reader,read_on,policy"
    name = f"{marks.of('SH')}.csv"
    (edge.folder / "labels" / name).write_text("\n".join([head, *rows]))
    (edge.folder / "labels" / f"{marks.of('SH')}-2.csv").write_text(f"{marks.of('LO')},x\n1,2\n")
    edge.at(edge.now + timedelta(minutes=1))
    edge.until(lambda s: s["labels"]["joined"] == len(chests) and s["labels"]["refused"])


def _commands(edge: RunningEdge) -> dict[str, bytes]:
    """What the command line prints of it."""
    config = str(edge.folder / "edge.toml")

    def output(command: str) -> bytes:
        line = [sys.executable, "-m", "app.cli", "edge", command, "--config", config]
        return subprocess.run(line, cwd=ROOT, capture_output=True, check=True).stdout

    return {command: output(command) for command in ("sent", "status")}


def _outward(places: dict[str, bytes]) -> list[bytes]:
    return [places[name] for name in ("requests", "requests inflated", "log", "names")]


def _results_carry_only_what_names_the_study(edge: RunningEdge, marks: Marks) -> None:
    files = [path for path in (edge.folder / "results").rglob("*.*") if path.is_file()]
    assert {path.suffix for path in files} == {".dcm", ".hl7"}
    places = {path.name: path.read_bytes() for path in files}
    named = {str(v) for p in files if p.suffix == ".dcm" for v in _named(p)}
    assert {value for _, value in leaks(places, marks.values)} <= named


def _named(path: Path) -> Iterator[object]:
    result = dcmread(path)
    for name in ("StudyDescription", "StudyID", "AccessionNumber", "ReferringPhysicianName"):
        yield result.get(name, "")
