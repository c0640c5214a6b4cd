"""Nothing that a hospital wrote into an object, a label file or a message leaves it.

Marks that occur nowhere else are planted in every value representation, standard and private,
nested and in overlays; then every byte that the agent says to anyone is searched for them.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import zstandard
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from tests.edge.planted import Marks, identities, planted, standard
from tests.edge.running_edge import START, RunningEdge
from tests.edge.sender import a_chest, send
from tests.support.chest_bundle import ROOT
from tests.support.leaks import leaks, said

DAY = START.replace(tzinfo=None)
CASES = 26


@pytest.fixture
def marks() -> Marks:
    return Marks()


@pytest.mark.parametrize("edge", [{}, {"noise_epsilon": 8.0}], indirect=True)
def test_no_mark_of_any_kind_leaves(edge: RunningEdge, marks: Marks) -> None:
    header = standard(marks, a_chest(0, DAY))
    chests = [planted(marks, seed, header, DAY) for seed in range(CASES)]
    named = identities(chests)
    assert len(marks.values) > 500 and len(marks.packed) > 100

    assert set(send(edge.port, *chests, *_broken(marks, header))) == {0x0000}
    edge.until(lambda s: s["balance"]["received"] == CASES + 2 and not s["balance"]["waiting"])
    _give_labels(edge, marks, chests)
    edge.live(days=32)

    status = edge.status()
    assert status["balance"]["analysed"] >= CASES - 6
    assert status["labels"]["joined"] > 0 and status["windows"]["acknowledged"] > 0
    places = said(edge) | _commands(edge)
    assert leaks(places, marks.values | named) == set()
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
    packed = (zstandard.compress(30 * text) for text in (b"ZQ0002XJLOVW", b"ZQ0003XJLOVW"))
    edge.centre.bodies.append(b"a window".join(packed))
    assert leaks(said(edge), {"ZQ0003XJLOVW"}) >= {("requests inflated", "ZQ0003XJLOVW")}


def _broken(marks: Marks, header: dict[str, object]) -> Iterator[Dataset]:
    """Objects that fail, and whose marks could be in what is said about the failure."""
    short = planted(marks, 90, header, DAY)
    short.PixelData = short.PixelData[:100]
    yield short
    odd = planted(marks, 91, header, DAY)
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
