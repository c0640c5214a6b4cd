from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.edge import cases
from app.edge.deliver import BATCH, TRIES
from app.edge.destinations import PEER
from app.edge.journal import Journal
from tests.conftest import Clock
from tests.edge.test_deliver import Pacs, a_deliverer, delivered, results
from tests.edge.test_deliver import listening as pacs_listening
from tests.support.mllp_receiver import MllpReceiver, listening

__all__ = ["results"]


@pytest.fixture
def ris() -> Iterator[MllpReceiver]:
    with listening(MllpReceiver()) as receiver:
        yield receiver


def to(receiver: MllpReceiver) -> dict[str, object]:
    return {"host": "127.0.0.1", "port": receiver.port}


def test_a_priority_message_is_delivered_when_it_is_acknowledged(
    tmp_path: Path, journal: Journal, results: list[str], ris: MllpReceiver
) -> None:
    deliverer = a_deliverer(tmp_path, journal, results, results_hl7=to(ris))

    assert deliverer.deliver_due() == 1

    assert b"TQ1|1||||||||S^STAT^HL70485" in ris.messages[0]
    assert delivered(journal) == (1, 1, 0)


@pytest.mark.parametrize("first", ["split", "AE", "CE", "drop", "other"])
def test_without_a_good_answer_the_same_message_is_sent_again(
    tmp_path: Path,
    journal: Journal,
    results: list[str],
    ris: MllpReceiver,
    first: str,
) -> None:
    ris.answers = [first]
    deliverer = a_deliverer(tmp_path, journal, results, results_hl7=to(ris))

    tries = [deliverer.deliver_due(), deliverer.deliver_due()]

    assert sum(tries) == 1
    assert tries[0] == (first == "split")
    assert len(set(ris.control_ids)) == 1
    assert delivered(journal) == (1, 1, 0)


@pytest.mark.parametrize("code", ["AR", "CR"])
def test_a_rejected_message_fails_in_sight(
    tmp_path: Path, journal: Journal, results: list[str], ris: MllpReceiver, code: str
) -> None:
    ris.answers = [code] * 10
    deliverer = a_deliverer(tmp_path, journal, results, results_hl7=to(ris))
    for _ in range(TRIES + 2):
        deliverer.deliver_due()

    assert len(ris.messages) == TRIES
    assert delivered(journal) == (1, 0, 1)


def test_one_message_that_is_not_taken_does_not_hold_up_the_next(
    tmp_path: Path, journal: Journal, ris: MllpReceiver
) -> None:
    names = _messages(tmp_path, 3)
    ris.answers = ["AE"]
    deliverer = a_deliverer(tmp_path, journal, names, results_hl7=to(ris))

    assert deliverer.deliver_due() == 2
    assert deliverer.deliver_due() == 1


def test_a_pacs_that_was_down_for_two_days_gets_everything_and_the_new_case_first(
    tmp_path: Path, journal: Journal, simulated_clock: Clock
) -> None:
    pacs, backlog = Pacs(), 3 * BATCH
    with pacs_listening(pacs):
        pass  # it has a port now, and is down
    peer = {"host": "127.0.0.1", "port": pacs.port, "ae": "PACS"}
    deliverer = a_deliverer(tmp_path, journal, [], results_peer=peer)
    for hour in range(48):
        if hour % 16 == 0:
            _queue(journal, PEER, _images(tmp_path, BATCH, first=100 * hour))
        simulated_clock.advance(hours=1)
        assert deliverer.deliver_due() == 0
    _queue(journal, PEER, newest := _images(tmp_path, 1, first=9999))

    with pacs_listening(pacs):
        passes = [deliverer.deliver_due() for _ in range(5)]

    assert pacs.received[0] == _uid(newest[0])
    assert sum(passes) == len(set(pacs.received)) == backlog + 1
    assert journal.do(cases.balance)["results_failed"] == 0
    assert [p for p in (tmp_path / "outbox").iterdir() if p.suffix == ".dcm"] == []


def _messages(folder: Path, n: int) -> list[str]:
    (folder / "outbox").mkdir(exist_ok=True)
    for i in range(n):
        text = f"MSH|^~\\&|LOCKWATCH||RIS||20260310||ORU^R01^ORU_R01|C{i}|P|2.5.1\r"
        (folder / "outbox" / f"{i}.hl7").write_text(text)
    return [f"{i}.hl7" for i in range(n)]


def _images(folder: Path, n: int, first: int) -> list[str]:
    from tests.edge.sender import a_small_object, as_bytes

    (folder / "outbox").mkdir(exist_ok=True)
    names = [f"{first + i}.dcm" for i in range(n)]
    for name in names:
        capture = a_small_object(_uid(name), sop_class="1.2.840.10008.5.1.4.1.1.7")
        (folder / "outbox" / name).write_bytes(as_bytes(capture))
    return names


def _uid(name: str) -> str:
    return f"2.25.{int(name.removesuffix('.dcm')) + 1}"


def _queue(journal: Journal, destination: str, names: list[str]) -> None:
    pairs = [(name, destination) for name in names]
    journal.do(
        lambda db: db.executemany("INSERT INTO deliveries (name, destination) VALUES (?, ?)", pairs)
    )
