from __future__ import annotations

from pathlib import Path

import httpx

from app.edge.upload import PROGRAM
from tests.edge.peer_centre import PeerCentre
from tests.edge.running_edge import START, RunningEdge, an_edge_runs, closes
from tests.edge.sender import a_chest, a_small_object, as_bytes, send
from tests.support.ports import a_free_port

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


def test_what_is_uploaded_is_analysed_like_what_is_sent(
    tmp_path: Path, bundle: Path, centre: PeerCentre
) -> None:
    port = a_free_port()
    with an_edge_runs(tmp_path, bundle, centre, upload_port=port) as edge:
        edge.ready()
        files = {"file": ("a.dcm", as_bytes(a_chest(0, DAY)))}
        answer = httpx.post(f"http://127.0.0.1:{port}/", files=files, headers={PROGRAM: "1"})
        balance = edge.settled(1)

    assert answer.status_code == 201
    assert closes(balance) and balance["failed"] == balance["outside_limits"] == 0
