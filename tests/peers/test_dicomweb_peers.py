"""DICOMweb against Orthanc's plug-in: the same rounds, and the same bytes."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from app.edge.journal import Journal, meta
from app.edge.query import Query
from app.edge.query_web import WebArchive
from tests.edge.builders import TODAY, an_edge
from tests.edge.test_receive import Door, a_door
from tests.peers.dcmtk import program
from tests.peers.orthanc import Orthanc, needs_dicomweb

pytestmark = pytest.mark.peers
MARK = TODAY.toordinal()


@pytest.fixture
def orthanc(tmp_path: Path) -> Orthanc:
    program("Orthanc")
    needs_dicomweb()
    return Orthanc(tmp_path / "pacs")


@pytest.fixture
def door(tmp_path: Path, journal: Journal) -> Door:
    return a_door(tmp_path, journal)


def a_query(folder: Path, journal: Journal, orthanc: Orthanc, door: Door) -> Query:
    settings = an_edge(folder, query_url=orthanc.url)
    archive = WebArchive(settings, str(settings.query_url), door.receiver)
    return Query(settings, journal, archive, door.receiver.is_settled)


def test_each_object_is_fetched_once_and_late_ones_too(
    tmp_path: Path, journal: Journal, orthanc: Orthanc, door: Door
) -> None:
    asked = a_query(tmp_path, journal, orthanc, door)
    with orthanc.running():
        orthanc.put(1)
        orthanc.put(2, days_ago=2)
        orthanc.put(3, days_ago=40)
        assert asked.round(MARK) == 2
        assert asked.round(MARK) == 0
    assert asked.round(MARK + 1) == 0  # the archive is down
    with orthanc.running():
        orthanc.put(4, days_ago=1)
        assert asked.round(MARK + 2) == 1

    assert door.balance["received"] == 3
    assert door.balance["duplicates"] == 0
    assert journal.do(lambda db: meta(db, asked.archive.mark)) == MARK + 2


def test_objects_are_kept_as_the_archive_sends_them(
    tmp_path: Path, journal: Journal, orthanc: Orthanc, door: Door
) -> None:
    with orthanc.running():
        orthanc.put(1)
        assert a_query(tmp_path, journal, orthanc, door).round(MARK) == 1
        rest = f"http://127.0.0.1:{orthanc.http_port}/instances"
        [instance] = httpx.get(rest).json()
        sent = httpx.get(f"{rest}/{instance}/file").content

    assert [path.read_bytes() for path in door.stored] == [sent]
