"""Results from a scanner's object to a viewer's copy, each step by a program of dcmtk.

storescu sends, the agent analyses and stores in dcmqrscp, findscu finds, movescu has it sent to
storescp, and dicom3tools judges what has come.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from tests.edge.peer_centre import PeerCentre
from tests.edge.running_edge import START, RunningEdge, an_edge_runs, closes
from tests.edge.sender import a_chest, as_bytes
from tests.peers.dcmtk import environment, program, run, store
from tests.peers.test_query_peers import Archive
from tests.support.ports import a_free_port, wait_for_port

pytestmark = pytest.mark.peers
CHESTS = 8
UID = re.compile(r"\(0008,0018\) UI \[([0-9.]+)")


@contextmanager
def a_viewer(folder: Path, port: int) -> Iterator[None]:
    """storescp, where movescu has everything sent."""
    folder.mkdir()
    command = [program("storescp"), "-aet", "VIEWER", "-od", str(folder), "+B", str(port)]
    with subprocess.Popen(command, env=environment(), stderr=subprocess.DEVNULL) as process:
        try:
            wait_for_port(port)
            yield
        finally:
            process.terminate()


def asked(archive: Archive, *keys: str) -> tuple[str, ...]:
    """How a viewer asks the archive."""
    pairs = [part for key in keys for part in ("-k", key)]
    return ("-S", "-aet", "VIEWER", "-aec", "PACS", *pairs, "127.0.0.1", str(archive.port))


def found(archive: Archive, study: str) -> set[str]:
    """The UIDs of a study's objects, as findscu is told them."""
    image = ("QueryRetrieveLevel=IMAGE", f"StudyInstanceUID={study}")
    said = run("findscu", *asked(archive, *image, "SeriesInstanceUID=", "SOPInstanceUID"))
    return set(UID.findall(said))


def move(archive: Archive, study: str) -> None:
    """Ask the archive to send a study to the viewer."""
    level = asked(archive, "QueryRetrieveLevel=STUDY", f"StudyInstanceUID={study}")
    assert "Success" in run("movescu", "-v", "-aem", "VIEWER", *level)


def test_what_the_agent_stored_is_found_fetched_and_valid(
    tmp_path: Path, bundle: Path, centre: PeerCentre
) -> None:
    for name in ("dcmqrscp", "findscu", "movescu", "storescp", "storescu", "dciodvfy"):
        program(name)
    viewer, viewer_port = tmp_path / "viewer", a_free_port()
    archive = Archive(tmp_path / "pacs", viewer_port=viewer_port)
    peer = {"host": "127.0.0.1", "port": archive.port, "ae": "PACS"}
    with (
        archive.running(),
        a_viewer(viewer, viewer_port),
        an_edge_runs(tmp_path, bundle, centre, results_peer=peer) as edge,
    ):
        edge.ready()
        studies = sent(edge, tmp_path)
        balance = edge.settled(CHESTS)
        edge.until(lambda s: not any(d.get("queued") for d in s["results"].values()))
        flagged = [study for study in studies if found(archive, study)]
        there = {study: found(archive, study) for study in flagged}
        for study in flagged:
            move(archive, study)

    fetched = [dcmread(path) for path in viewer.iterdir()]
    kept = {str(one.SOPInstanceUID): one for one in made(edge)}
    assert closes(balance) and len(flagged) > 0
    assert set().union(*there.values()) == set(kept)  # found: all of them, and nothing else
    assert {str(one.SOPInstanceUID) for one in fetched} == set(kept)
    assert all(one == kept[str(one.SOPInstanceUID)] for one in fetched)
    pixels = [one for one in fetched if "PixelData" in one]
    assert pixels and all(
        one.PixelData == kept[str(one.SOPInstanceUID)].PixelData for one in pixels
    )
    said = [line for path in viewer.iterdir() for line in run("dciodvfy", str(path)).splitlines()]
    assert said and [line for line in said if line.startswith("Error")] == []


def sent(edge: RunningEdge, folder: Path) -> list[str]:
    """Chest radiographs by storescu; their studies."""
    studies = []
    for seed in range(CHESTS):
        one = a_chest(seed, START.replace(tzinfo=None), positive=True)
        path = folder / f"{seed}.dcm"
        path.write_bytes(as_bytes(one))
        assert store(path, edge.port) == "Success"
        studies.append(str(one.StudyInstanceUID))
    return studies


def made(edge: RunningEdge) -> list[Dataset]:
    """The same results as the folder got them."""
    return [dcmread(p) for k in ("sr", "sc") for p in (edge.folder / "results" / k).iterdir()]


def test_echoscu_is_answered_and_a_stranger_is_not(
    tmp_path: Path, bundle: Path, centre: PeerCentre
) -> None:
    program("echoscu")
    with an_edge_runs(tmp_path, bundle, centre) as edge:
        where = ("-aec", "EDGE", "127.0.0.1", str(edge.port))
        assert "Received Echo Response (Success)" in run("echoscu", "-v", "-aet", "ECHOSCU", *where)
        assert "Association Rejected" in run("echoscu", "-v", "-aet", "STRANGER", *where)
        elsewhere = ("-aec", "OTHER", "127.0.0.1", str(edge.port))
        assert "Association Rejected" in run("echoscu", "-v", "-aet", "ECHOSCU", *elsewhere)
