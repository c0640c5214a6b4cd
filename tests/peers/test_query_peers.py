"""Query and retrieve against dcmtk's archive and Orthanc."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from app.edge import query
from app.edge.journal import Journal, meta
from app.edge.query import Query
from app.edge.query_dimse import DimseArchive
from tests.edge.builders import TODAY, an_edge
from tests.edge.sender import NOON, a_chest, as_bytes
from tests.edge.test_receive import Door, a_door
from tests.peers.dcmtk import environment, program, run
from tests.peers.orthanc import Orthanc
from tests.support.ports import a_free_port, wait_for_port

pytestmark = pytest.mark.peers
MARK = TODAY.toordinal()


class Archive:
    """dcmqrscp over a folder."""

    def __init__(self, folder: Path, edge_port: int = 1, viewer_port: int = 1) -> None:
        self.folder = folder / "archive"
        self.folder.mkdir(parents=True)
        self.port = a_free_port()
        self.config = folder / "dcmqrscp.cfg"
        self.config.write_text(
            f"NetworkTCPPort = {self.port}\nMaxPDUSize = 16384\nMaxAssociations = 8\n"
            f"HostTable BEGIN\nedge = (EDGE, 127.0.0.1, {edge_port})\n"
            f"viewer = (VIEWER, 127.0.0.1, {viewer_port})\nHostTable END\n"
            "VendorTable BEGIN\nVendorTable END\nAETable BEGIN\n"
            f"PACS {self.folder} RW (500, 1024mb) ANY\nAETable END\n"
        )

    def put(self, seed: int, days_ago: int = 0) -> None:
        path = self.folder / f"{seed}.dcm"
        path.write_bytes(as_bytes(a_chest(seed, NOON - timedelta(days=days_ago))))
        run("dcmqridx", str(self.folder), str(path))

    @contextmanager
    def running(self) -> Iterator[None]:
        command = [program("dcmqrscp"), "-c", str(self.config)]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        with subprocess.Popen(command, env=environment(), **quiet) as process:  # type: ignore[call-overload]
            try:
                wait_for_port(self.port)
                yield
            finally:
                process.terminate()


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    program("dcmqrscp")
    return Archive(tmp_path)


@pytest.fixture
def door(tmp_path: Path, journal: Journal) -> Door:
    return a_door(tmp_path, journal)


def a_query(
    folder: Path, journal: Journal, archive: Archive | Orthanc, door: Door, **changes: Any
) -> Query:
    peer = {"host": "127.0.0.1", "port": archive.port, "ae": "PACS"}
    settings = an_edge(folder, query_peer=peer, **changes)
    assert settings.query_peer is not None
    asked = DimseArchive(settings, settings.query_peer, door.receiver.store)
    return Query(settings, journal, asked, door.receiver.is_settled)


def test_each_object_is_fetched_once_and_late_ones_too(
    tmp_path: Path, journal: Journal, archive: Archive, door: Door
) -> None:
    asked = a_query(tmp_path, journal, archive, door)
    archive.put(1)
    archive.put(2, days_ago=2)
    archive.put(3, days_ago=40)
    with archive.running():
        assert asked.round(MARK) == 2
        assert asked.round(MARK) == 0
    archive.put(4, days_ago=1)  # reached the archive late
    archive.put(5, days_ago=-1)
    with archive.running():
        assert asked.round(MARK + 1) == 2

    assert door.balance["received"] == 4
    assert door.balance["duplicates"] == 0
    assert {path.read_bytes()[128:132] for path in door.stored} == {b"DICM"}


def test_days_of_outage_are_caught_up(
    tmp_path: Path, journal: Journal, archive: Archive, door: Door
) -> None:
    asked = a_query(tmp_path, journal, archive, door)
    with archive.running():
        assert asked.round(MARK) == 0
    for day in range(1, 11):
        archive.put(day, days_ago=-day)
        assert asked.round(MARK + day) == 0  # the archive is down
    assert journal.do(lambda db: meta(db, query.MARK)) == MARK

    with archive.running():
        assert asked.round(MARK + 10) == 10

    assert journal.do(lambda db: meta(db, query.MARK)) == MARK + 10


@pytest.fixture
def open_to_pacs(tmp_path: Path, journal: Journal) -> Iterator[Door]:
    """A door that the archive may send to, which C-MOVE needs."""
    made = a_door(tmp_path, journal, allowed_ae_titles=("PACS",))
    made.port = made.receiver.start()
    yield made
    made.receiver.stop()


@pytest.mark.parametrize("kind", [Archive, Orthanc])
def test_what_is_moved_comes_once_and_late_ones_too(
    tmp_path: Path, journal: Journal, open_to_pacs: Door, kind: type[Archive] | type[Orthanc]
) -> None:
    program("dcmqrscp" if kind is Archive else "Orthanc")
    archive = kind(tmp_path / "pacs", open_to_pacs.port)
    asked = a_query(tmp_path, journal, archive, open_to_pacs, query_retrieve="move")
    with archive.running():
        archive.put(1)
        archive.put(2, days_ago=2)
        assert asked.round(MARK) == 2
        assert asked.round(MARK) == 0
    assert asked.round(MARK + 1) == 0  # the archive is down
    with archive.running():
        archive.put(3, days_ago=1)
        assert asked.round(MARK + 2) == 1

    assert open_to_pacs.balance["received"] == 3
    assert open_to_pacs.balance["duplicates"] == 0
    assert journal.do(lambda db: meta(db, query.MARK)) == MARK + 2


def test_what_is_moved_elsewhere_is_asked_for_again(
    tmp_path: Path, journal: Journal, open_to_pacs: Door
) -> None:
    program("Orthanc")
    archive = Orthanc(tmp_path / "pacs", edge_port=1)  # it believes the edge is somewhere else
    asked = a_query(tmp_path, journal, archive, open_to_pacs, query_retrieve="move")
    with archive.running():
        archive.put(1)
        assert asked.round(MARK) == 0
        assert asked.round(MARK + 30) == 0
    assert journal.do(lambda db: meta(db, query.MARK)) == MARK
    assert open_to_pacs.counted["query", "failed"] == 2

    archive.edge_port = open_to_pacs.port
    with archive.running():
        assert asked.round(MARK + 31) == 1
    assert journal.do(lambda db: meta(db, query.MARK)) == MARK + 31
