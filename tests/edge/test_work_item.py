"""The priority flag as a work item, to a manager that checks what DICOM asks of one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread

from app.edge import checks
from app.edge.deliver import TRIES
from app.edge.destinations import kinds
from app.edge.journal import Journal
from app.edge.results import IMAGE, MESSAGE, OVERLAY, REPORT, WORK_ITEM, build
from app.edge.sources import NOTICE
from tests.conftest import Clock
from tests.edge.builders import an_edge
from tests.edge.peer_centre import PeerCentre
from tests.edge.running_edge import START, an_edge_runs
from tests.edge.sender import a_chest, send
from tests.edge.test_deliver import a_deliverer, delivered
from tests.edge.test_results import FLAGGED, MANIFEST, a_header
from tests.support.work_item_manager import Manager, managing


@pytest.fixture
def manager() -> Iterator[Manager]:
    with managing(Manager()) as made:
        yield made


@pytest.fixture
def items(tmp_path: Path, simulated_clock: Clock) -> list[str]:
    (tmp_path / "outbox").mkdir()
    return an_item(tmp_path)


def an_item(folder: Path, **header: str) -> list[str]:
    made = build(a_header(**header), FLAGGED, MANIFEST, folder / "outbox", kinds=(WORK_ITEM,))
    assert made.notes == []
    return made.names


def to(manager: Manager) -> dict[str, object]:
    return {"host": "127.0.0.1", "port": manager.port, "ae": "WORKLIST"}


def test_a_flagged_case_asks_to_be_read_first(
    tmp_path: Path, journal: Journal, items: list[str], manager: Manager
) -> None:
    header = a_header()
    deliverer = a_deliverer(tmp_path, journal, items, results_ups=to(manager))

    assert deliverer.deliver_due() == 1

    [item] = manager.items.values()
    assert item.ScheduledProcedureStepPriority == "HIGH"
    assert item.CommentsOnTheScheduledProcedureStep == NOTICE
    assert (item.PatientID, item.PatientName) == (header.PatientID, header.PatientName)
    [image] = item.InputInformationSequence
    assert image.StudyInstanceUID == header.StudyInstanceUID
    [reference] = image.ReferencedSOPSequence
    assert reference.ReferencedSOPInstanceUID == header.SOPInstanceUID
    [order] = item.ReferencedRequestSequence
    assert order.AccessionNumber == header.AccessionNumber != ""
    assert delivered(journal) == (1, 1, 0)
    assert list((tmp_path / "outbox").iterdir()) == []


def test_a_case_without_an_order_or_a_name_is_asked_for_too(
    tmp_path: Path, journal: Journal, items: list[str], manager: Manager
) -> None:
    odd = an_item(tmp_path, AccessionNumber="", PatientName="", StudyID="")
    deliverer = a_deliverer(tmp_path, journal, odd, results_ups=to(manager))

    assert deliverer.deliver_due() == 1
    assert all(item.ReferencedRequestSequence == [] for item in manager.items.values())


def test_a_lost_answer_does_not_make_a_second_item(
    tmp_path: Path, journal: Journal, items: list[str], manager: Manager
) -> None:
    manager.answers = ["drop"]
    deliverer = a_deliverer(tmp_path, journal, items, results_ups=to(manager))

    assert [deliverer.deliver_due(), deliverer.deliver_due()] == [0, 1]

    assert (manager.asked, len(manager.items)) == (2, 1)  # the second was answered "duplicate"
    assert delivered(journal) == (1, 1, 0)


@pytest.mark.parametrize("busy", [0x0110, 0x0213])
def test_a_manager_that_cannot_now_is_asked_again(
    tmp_path: Path, journal: Journal, items: list[str], manager: Manager, busy: int
) -> None:
    manager.answers = [busy] * (TRIES + 1)
    deliverer = a_deliverer(tmp_path, journal, items, results_ups=to(manager))

    assert [deliverer.deliver_due() for _ in range(TRIES + 2)] == [0] * (TRIES + 1) + [1]


@pytest.mark.parametrize("refusal", [0x0120, 0x0124, 0xC309])
def test_a_refused_item_fails_in_sight(
    tmp_path: Path, journal: Journal, items: list[str], manager: Manager, refusal: int
) -> None:
    manager.answers = [refusal] * 10
    deliverer = a_deliverer(tmp_path, journal, items, results_ups=to(manager))
    for _ in range(TRIES + 2):
        deliverer.deliver_due()

    assert (manager.asked, manager.items) == (TRIES, {})
    assert delivered(journal) == (1, 0, 1)


def test_a_manager_that_is_away_holds_nothing_up(
    tmp_path: Path, journal: Journal, items: list[str], manager: Manager
) -> None:
    away = {"host": "127.0.0.1", "port": 9, "ae": "WORKLIST"}
    deliverer = a_deliverer(tmp_path, journal, items, results_ups=away)

    assert deliverer.deliver_due() == 0
    assert delivered(journal) == (1, 0, 0)


def test_only_what_some_destination_takes_is_written(
    tmp_path: Path, simulated_clock: Clock
) -> None:
    """Nothing else would ever leave the outbox again."""
    peer = {"host": "h", "port": 104, "ae": "PACS"}
    archive, both = an_edge(tmp_path, results_peer=peer), {"host": "h", "port": 1}
    assert set(kinds(archive)) == {IMAGE, REPORT, OVERLAY}
    assert set(kinds(an_edge(tmp_path, results_ups=peer, results_hl7=both))) == {MESSAGE, WORK_ITEM}

    (tmp_path / "outbox").mkdir()
    made = build(a_header(), FLAGGED, MANIFEST, tmp_path / "outbox", kinds=kinds(archive))

    assert {Path(name).suffix for name in made.names} == {IMAGE, REPORT}
    assert sorted(made.names) == sorted(path.name for path in (tmp_path / "outbox").iterdir())


def test_the_same_case_has_the_same_item(tmp_path: Path, items: list[str]) -> None:
    first = dcmread(tmp_path / "outbox" / items[0])

    assert an_item(tmp_path) == items
    assert dcmread(tmp_path / "outbox" / items[0]).SOPInstanceUID == first.SOPInstanceUID


def test_a_manager_is_tried_before_the_agent_runs(tmp_path: Path, manager: Manager) -> None:
    here = dict(checks.checks(an_edge(tmp_path, results_ups=to(manager))))
    away = dict(checks.checks(an_edge(tmp_path, results_ups=to(Manager(port=9)))))

    assert here["work-item manager answers"] == ""
    assert "WORKLIST expected" in away["work-item manager answers"]


def test_a_running_edge_tells_the_manager_of_flagged_cases_only(
    tmp_path: Path, bundle: Path, centre: PeerCentre, manager: Manager
) -> None:
    with an_edge_runs(tmp_path, bundle, centre, results_ups=to(manager)) as edge:
        edge.ready()
        day = START.replace(tzinfo=None)
        chests = [a_chest(seed, day, positive=seed % 2 == 0) for seed in range(8)]
        assert set(send(edge.port, *chests)) == {0x0000}
        edge.settled(len(chests))
        edge.until(lambda s: sum(s["results"]["folder"].values()) and _is_delivered(s))
        told = edge.status()["results"]

    assert len(manager.items) == told["ups"]["delivered"] > 0
    assert len(list((tmp_path / "results" / "priority").iterdir())) == len(manager.items)
    assert not (tmp_path / "results" / "ups").exists()


def _is_delivered(status: dict[str, Any]) -> bool:
    return all("queued" not in found for found in status["results"].values())
