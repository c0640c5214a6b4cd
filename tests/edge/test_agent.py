from __future__ import annotations

from tests.edge.running_edge import START, RunningEdge, closes
from tests.edge.sender import a_chest, a_small_object, send

DAY = START.replace(tzinfo=None)


def test_a_day_of_radiographs_becomes_a_signed_window(edge: RunningEdge) -> None:
    chests = [a_chest(seed, DAY) for seed in range(24)]

    assert set(send(edge.port, *chests)) == {0x0000}
    balance = edge.settled(24)
    edge.live(days=2)

    assert closes(balance)
    assert balance["analysed"] >= 20
    windows = list(edge.centre.windows.values())
    assert any(w.tables["strata"].keys for w in windows if w.header.stream == "cases")
    assert {w.header.lock_state for w in windows} == {"holds"}
    assert edge.status()["windows"]["unsent"] == 0
    assert list((edge.data / "spool").glob("*.dcm")) == []


def test_an_object_that_cannot_be_analysed_fails_alone(edge: RunningEdge) -> None:
    send(edge.port, a_chest(0, DAY), a_small_object(), a_chest(1, DAY))

    balance = edge.settled(3)

    assert closes(balance)
    assert balance["analysed"] + balance["abstained"] == 2
    assert edge.stop() == 0
