"""Things that break around a running agent. Each test ends with a balance that closes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from app.edge import installation
from tests.edge.peer_centre import PeerCentre
from tests.edge.running_edge import START, RunningEdge, an_edge_runs, closes
from tests.edge.sender import a_chest, a_small_object, send
from tests.support.chest_bundle import ROOT

DAY = START.replace(tzinfo=None)


def chests(*seeds: int) -> list[Dataset]:
    return [a_chest(seed, DAY) for seed in seeds]


def test_a_worker_that_dies_costs_one_case(edge: RunningEdge) -> None:
    worker = edge.worker
    os.kill(worker, signal.SIGSTOP)
    send(edge.port, *chests(1, 2, 3))
    edge.until(lambda s: s["balance"]["waiting"] == 3)

    os.kill(worker, signal.SIGKILL)
    balance = edge.settled(3)

    assert closes(balance)
    assert balance["failed"] == 1
    assert edge.status()["reasons"]["failed"] == {"worker_died": 1}


def test_a_worker_that_hangs_costs_one_case(
    tmp_path: Path, bundle: Path, centre: PeerCentre
) -> None:
    with an_edge_runs(tmp_path, bundle, centre, case_seconds=8) as edge:
        edge.ready()
        os.kill(edge.worker, signal.SIGSTOP)

        send(edge.port, *chests(1, 2, 3))
        balance = edge.settled(3)

        assert closes(balance)
        assert edge.status()["reasons"]["failed"] == {"time_limit": 1}


def test_a_second_agent_on_the_same_folder_goes_away(edge: RunningEdge) -> None:
    second = subprocess.run(
        [sys.executable, "-m", "app.cli", "edge", "run", "--config", edge.folder / "edge.toml"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert second.returncode == 1
    assert "one agent expected" in " ".join(second.stderr.split())
    assert edge.process is not None and edge.process.poll() is None


def test_a_broken_lock_stops_inference_and_nothing_else(
    tmp_path: Path, bundle: Path, centre: PeerCentre
) -> None:
    mine = tmp_path / "bundle"
    shutil.copytree(bundle, mine)
    with an_edge_runs(tmp_path, mine, centre) as edge:
        edge.ready()
        send(edge.port, *chests(1))
        edge.settled(1)
        whole = (mine / "projection.npz").read_bytes()
        (mine / "projection.npz").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))

        edge.live(days=1)
        send(edge.port, *chests(2, 3))
        status = edge.until(lambda s: s["balance"]["received"] == 3)

        assert (status["lock"], status["lock_reason"]) == ("broken", "hash")
        assert status["lock_detail"] == "projection.npz: not the file that was signed"
        assert status["balance"]["waiting"] == 2
        assert "broken" in {w.header.lock_state for w in centre.windows.values()}
        (mine / "projection.npz").write_bytes(whole)
        edge.live(days=1)
        balance = edge.settled(3)
        assert closes(balance) and balance["failed"] == 0


def test_an_older_release_put_in_place_by_hand_breaks_the_lock(
    tmp_path: Path, bundle: Path, centre: PeerCentre
) -> None:
    mine = tmp_path / "bundle"
    shutil.copytree(bundle, mine)
    with an_edge_runs(tmp_path, mine, centre) as edge:
        edge.ready()
        state = edge.data / installation.STATE
        known = json.loads(state.read_bytes())
        (device,) = known
        assert known[device]["release"] == 1
        edge.stop()
        known[device]["release"] = 2
        state.write_text(json.dumps(known))

        edge.start()
        status = edge.until(lambda s: s["lock"] == "broken")

        assert status["lock_reason"] == "rollback"
        assert status["lock_detail"] == f"{device}: release 2 or later expected, got 1"


@pytest.mark.parametrize("how", ["missing", "altered", "stranger"])
def test_a_bundle_that_is_not_the_cleared_one_never_runs(
    tmp_path: Path, bundle: Path, centre: PeerCentre, how: str
) -> None:
    mine = tmp_path / "bundle"
    shutil.copytree(bundle, mine)
    trusted = {}
    if how == "missing":
        (mine / "manifest.sig").unlink()
    elif how == "altered":
        raw = (mine / "manifest.json").read_bytes()
        (mine / "manifest.json").write_bytes(raw.replace(b"OP-1", b"OP-2", 1))
    else:
        trusted = {"trusted_keys": ["ab" * 32]}

    with an_edge_runs(tmp_path, mine, centre, **trusted) as edge:
        edge.until(lambda s: s["lock"] == "broken")
        send(edge.port, *chests(1))

        status = edge.until(lambda s: s["balance"]["received"] == 1)
        assert status["balance"]["waiting"] == 1
        assert len(list((edge.data / "spool").glob("*.dcm"))) == 1


def test_odd_objects_are_each_counted_and_spare_their_neighbours(edge: RunningEdge) -> None:
    ahead = a_chest(4, DAY + timedelta(days=400))
    short = a_chest(5, DAY)
    short.PixelData = short.PixelData[:1000]
    mislabelled = a_chest(6, DAY)
    mislabelled.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.90"
    mislabelled["PixelData"].is_undefined_length = False
    undated = a_chest(7, DAY)
    for kind in ("Study", "Series", "Acquisition", "Content"):
        setattr(undated, f"{kind}Date", "")
    ct = a_small_object(sop_class="1.2.840.10008.5.1.4.1.1.2")
    ct.Modality = "CT"

    statuses = send(edge.port, ahead, short, mislabelled, undated, ct, a_chest(8, DAY))
    balance = edge.settled(6)

    assert statuses == [0x0000] * 6
    assert closes(balance)
    reasons = edge.status()["reasons"]
    assert reasons["outside_limits"] == {"modality": 1}
    assert sum(reasons["failed"].values()) == 2
    assert reasons["note"]["acquired_in_the_future"] == 1
    assert reasons["note"]["acquisition_date_missing"] >= 1


def test_the_centre_may_be_away_for_days_and_the_agent_restarted_meanwhile(
    edge: RunningEdge,
) -> None:
    edge.centre.faults = ["500"] * 10_000
    send(edge.port, *chests(*range(21)))
    edge.settled(21)
    for _ in range(3):
        edge.at(edge.now + timedelta(days=1))
        edge.until(lambda s: s["as_of"] >= edge.now.isoformat())
    waiting = edge.status()["windows"]["unsent"]
    assert edge.stop() == 0
    edge.centre.faults = []

    edge.start()
    status = edge.until(lambda s: s["windows"]["unsent"] == 0)

    assert waiting >= 3
    assert status["windows"]["produced"] == status["windows"]["acknowledged"]
    assert len(edge.centre.windows) == status["windows"]["produced"]
