from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pynetdicom import AE, evt
from pynetdicom.sop_class import Comprehensive3DSRStorage, SecondaryCaptureImageStorage

from app.edge import cases
from app.edge.deliver import TRIES, Deliverer, settle
from app.edge.destinations import DESTINATIONS, addressed
from app.edge.http import BackOff
from app.edge.journal import Journal
from app.edge.results import build
from tests.conftest import Clock
from tests.edge.builders import an_edge
from tests.edge.test_results import FLAGGED, MANIFEST, a_header


class Pacs:
    """A DICOM destination that answers with the statuses it is given, then with success."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.received: list[str] = []
        self.port = 0
        self.far_s = 0.0  # how long an object, and its answer, are on their way

    def store(self, event: Any) -> int:
        time.sleep(self.far_s)
        self.received.append(str(event.request.AffectedSOPInstanceUID))
        time.sleep(self.far_s)
        return self.statuses.pop(0) if self.statuses else 0x0000


@contextmanager
def listening(pacs: Pacs) -> Iterator[Pacs]:
    entity = AE(ae_title="PACS")
    entity.add_supported_context(SecondaryCaptureImageStorage)
    entity.add_supported_context(Comprehensive3DSRStorage)
    server = entity.start_server(
        ("127.0.0.1", pacs.port), block=False, evt_handlers=[(evt.EVT_C_STORE, pacs.store)]
    )
    pacs.port = server.socket.getsockname()[1]
    try:
        yield pacs
    finally:
        server.shutdown()


@pytest.fixture
def results(tmp_path: Path, simulated_clock: Clock) -> list[str]:
    (tmp_path / "outbox").mkdir()
    return build(a_header(), FLAGGED, MANIFEST, tmp_path / "outbox").names


def a_deliverer(folder: Path, journal: Journal, results: list[str], **changes: Any) -> Deliverer:
    settings = an_edge(folder, **changes)
    pairs = addressed(settings, results)
    journal.do(
        lambda db: db.executemany("INSERT INTO deliveries (name, destination) VALUES (?, ?)", pairs)
    )
    eager = {name: BackOff(first_s=0.0) for name in DESTINATIONS}
    return Deliverer(settings, journal, folder / "outbox", eager)


def delivered(journal: Journal) -> tuple[int, int, int]:
    found = journal.do(cases.balance)
    return found["results_queued"], found["results_delivered"], found["results_failed"]


def test_results_reach_the_folder_and_leave_the_outbox(
    tmp_path: Path, journal: Journal, results: list[str]
) -> None:
    deliverer = a_deliverer(tmp_path, journal, results, results_folder=tmp_path / "results")

    assert deliverer.deliver_due() == 3

    assert len(list((tmp_path / "results" / "sc").glob("*.dcm"))) == 1
    assert len(list((tmp_path / "results" / "sr").glob("*.dcm"))) == 1
    assert len(list((tmp_path / "results" / "priority").glob("*.hl7"))) == 1
    assert list((tmp_path / "outbox").iterdir()) == []
    assert delivered(journal) == (3, 3, 0)


def test_a_folder_that_is_away_delays_and_loses_nothing(
    tmp_path: Path, journal: Journal, results: list[str]
) -> None:
    (tmp_path / "results").write_bytes(b"")  # not a folder: the share is not mounted
    deliverer = a_deliverer(tmp_path, journal, results, results_folder=tmp_path / "results")

    assert deliverer.deliver_due() == 0
    (tmp_path / "results").unlink()
    assert deliverer.deliver_due() == 3


def test_a_pacs_gets_the_image_once_it_is_up(
    tmp_path: Path, journal: Journal, results: list[str]
) -> None:
    pacs = Pacs()
    with listening(pacs):
        pass  # it has a port now, and is down
    peer = {"host": "127.0.0.1", "port": pacs.port, "ae": "PACS"}
    deliverer = a_deliverer(tmp_path, journal, results, results_peer=peer)

    assert deliverer.deliver_due() == 0
    with listening(pacs):
        assert deliverer.deliver_due() == 2

    assert len(set(pacs.received)) == 2
    assert delivered(journal) == (2, 2, 0)


def test_a_full_pacs_is_tried_again(tmp_path: Path, journal: Journal, results: list[str]) -> None:
    with listening(Pacs(0xA700, 0xA700)) as pacs:
        peer = {"host": "127.0.0.1", "port": pacs.port, "ae": "PACS"}
        deliverer = a_deliverer(tmp_path, journal, results, results_peer=peer)

        assert [deliverer.deliver_due() for _ in range(3)] == [0, 0, 2]

    assert len(set(pacs.received)) == 2  # a repeat overwrites


def test_what_a_pacs_refuses_for_good_fails_after_a_few_tries_in_sight(
    tmp_path: Path, journal: Journal, results: list[str]
) -> None:
    with listening(Pacs(*[0x0122] * 20)) as pacs:
        peer = {"host": "127.0.0.1", "port": pacs.port, "ae": "PACS"}
        deliverer = a_deliverer(tmp_path, journal, results, results_peer=peer)
        for _ in range(TRIES + 2):
            deliverer.deliver_due()

    assert len(pacs.received) == 2 * TRIES
    assert delivered(journal) == (2, 0, 2)
    assert any((tmp_path / "outbox").glob("*.dcm"))


def test_one_destination_down_does_not_hold_up_the_other(
    tmp_path: Path, journal: Journal, results: list[str]
) -> None:
    peer = {"host": "127.0.0.1", "port": 9, "ae": "PACS"}
    deliverer = a_deliverer(
        tmp_path, journal, results, results_peer=peer, results_folder=tmp_path / "results"
    )

    assert deliverer.deliver_due() == 3

    assert delivered(journal) == (5, 3, 0)
    assert sorted(p.suffix for p in (tmp_path / "outbox").iterdir()) == [".dcm", ".sr"]


def test_what_a_kill_left_behind_its_delivery_goes_at_the_next_start(
    tmp_path: Path, journal: Journal, results: list[str]
) -> None:
    """Told and not removed, refused for good, to be told, and of a case without an end."""
    told, failed, queued = sorted(results)
    deliverer = a_deliverer(tmp_path, journal, results, results_folder=tmp_path / "results")
    journal.do(lambda db: settle(db, "folder", [told], "delivered"))
    journal.do(lambda db: settle(db, "folder", [failed], "failed"))
    (tmp_path / "outbox" / "of-a-case-that-runs-again.sr").write_bytes(b"half of the truth")
    (tmp_path / "results" / "sr").mkdir(parents=True)
    (tmp_path / "results" / "sr" / "whole.dcm").write_bytes(b"the truth")
    (tmp_path / "results" / "sr" / ".half-0123").write_bytes(b"half of the truth")

    deliverer.sweep()

    assert [p.name for p in (tmp_path / "results" / "sr").iterdir()] == ["whole.dcm"]

    assert sorted(p.name for p in (tmp_path / "outbox").iterdir()) == sorted([failed, queued])


def test_what_one_destination_refused_stays_when_another_took_it(
    tmp_path: Path, journal: Journal, results: list[str]
) -> None:
    with listening(Pacs(*[0x0122] * 20)) as pacs:
        peer = {"host": "127.0.0.1", "port": pacs.port, "ae": "PACS"}
        folder = tmp_path / "results"
        folder.write_bytes(b"")  # not mounted yet
        deliverer = a_deliverer(
            tmp_path, journal, results, results_peer=peer, results_folder=folder
        )
        for _ in range(TRIES):
            deliverer.deliver_due()
    folder.unlink()

    assert deliverer.deliver_due() == 3

    assert delivered(journal) == (5, 3, 2)
    assert sorted(p.suffix for p in (tmp_path / "outbox").iterdir()) == [".dcm", ".sr"]
