"""Query and retrieve against dcmtk's archive."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from app.edge import query
from app.edge.journal import Journal, meta
from app.edge.query import Query
from tests.edge.builders import TODAY, an_edge
from tests.edge.sender import NOON, a_chest, as_bytes
from tests.edge.test_receive import Door, a_door
from tests.peers.dcmtk import environment, program, run
from tests.support.ports import a_free_port, wait_for_port

pytestmark = pytest.mark.peers
MARK = TODAY.toordinal()


class Archive:
    """dcmqrscp over a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "archive"
        self.folder.mkdir()
        self.port = a_free_port()
        self.config = folder / "dcmqrscp.cfg"
        self.config.write_text(
            f"NetworkTCPPort = {self.port}\nMaxPDUSize = 16384\nMaxAssociations = 8\n"
            "HostTable BEGIN\nHostTable END\nVendorTable BEGIN\nVendorTable END\nAETable BEGIN\n"
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


def a_query(folder: Path, journal: Journal, archive: Archive, door: Door) -> Query:
    peer = {"host": "127.0.0.1", "port": archive.port, "ae": "PACS"}
    settings = an_edge(folder, query_peer=peer)
    return Query(settings, journal, door.receiver.store, door.receiver.is_here)


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
