from __future__ import annotations

import io
from pathlib import Path

import httpx
import numpy as np
from PIL import Image
from pydicom import dcmread

from app.device.reference.fundus.device import DEVICE as FUNDUS
from app.edge.upload import PROGRAM
from tests.edge.peer_centre import PeerCentre
from tests.edge.running_edge import START, RunningEdge, an_edge_runs, closes
from tests.edge.sender import a_chest, a_small_object, send
from tests.support.ports import a_free_port
from tests.support.reference_bundles import reference_bundle

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


def test_a_key_is_changed_while_the_agent_runs_and_is_killed(edge: RunningEdge) -> None:
    edge.centre.says_to_key = "pending"
    edge.live(days=1)
    said = edge.command("rotate-key")
    edge.until(lambda s: s["new_key"] == "pending")
    edge.kill()
    edge.start()
    edge.centre.says_to_key = "approved"

    status = edge.until(lambda s: s["new_key"] == "" and s["key_fingerprint"] in said)
    edge.live(days=1)

    assert status["new_key_fingerprint"] == ""
    ended = edge.centre.retired[0]["sequence"]
    numbers = [w.header.sequence for w in edge.centre.windows.values()]
    assert min(numbers) <= ended < max(numbers)  # windows of both keys have arrived
    assert edge.command("sent").count("digest") >= len(numbers)


def test_an_object_that_cannot_be_analysed_fails_alone(edge: RunningEdge) -> None:
    send(edge.port, a_chest(0, DAY), a_small_object(), a_chest(1, DAY))

    balance = edge.settled(3)

    assert closes(balance)
    assert balance["analysed"] + balance["abstained"] == 2
    assert edge.stop() == 0


def test_an_uploaded_picture_is_answered_with_a_report(tmp_path: Path, centre: PeerCentre) -> None:
    port, camera = a_free_port(), {"kind": "fundus", "manufacturer": "ACME", "model": "F-1"}
    form = {
        "camera": "room1",
        "patient_id": "7",
        "age": "61",
        "side": "R",
        "taken_on": str(DAY.date()),
    }
    places = {"upload_port": port, "upload_cameras": {"room1": camera}}
    with an_edge_runs(tmp_path, reference_bundle("ophthalmology"), centre, **places) as edge:
        edge.ready()
        answer = httpx.post(
            f"http://127.0.0.1:{port}/",
            data=form,
            files={"file": ("eye.jpg", _fundus_jpeg())},
            headers={PROGRAM: "1"},
        )
        balance = edge.settled(1)
        edge.until(lambda s: s["results"]["folder"].get("delivered"))

    assert answer.status_code == 201
    assert closes(balance)
    assert balance["failed"] == balance["outside_limits"] == 0
    [report] = (edge.folder / "results" / "sr").iterdir()
    assert (dcmread(report).Modality, dcmread(report).PatientID) == ("SR", "7")


def _fundus_jpeg() -> bytes:
    phantom = FUNDUS.make(np.random.default_rng(3), next(iter(FUNDUS.scanners)), False, 0.0)
    buffer = io.BytesIO()
    Image.fromarray(phantom.pixels).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()
