"""dcmtk's storescp as a second receiver: what it answered with success is counted once."""

from __future__ import annotations

import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from pydicom import dcmread

from app.edge import cases, checks
from app.edge.journal import Journal
from app.edge.storescp import INTERRUPTED, Storescp
from app.edge.watched import Watched
from tests.edge.builders import an_edge
from tests.edge.peer_centre import PeerCentre
from tests.edge.running_edge import START, RunningEdge, an_edge_runs, closes
from tests.edge.sender import a_chest, a_small_object, as_bytes
from tests.edge.test_receive import a_door
from tests.peers.dcmtk import environment, program, store
from tests.support.ports import a_free_port, wait_for_port

pytestmark = pytest.mark.peers
CHESTS = 12
WITHIN_S = 60.0


@pytest.fixture
def fast(tmp_path: Path, bundle: Path, centre: PeerCentre) -> Iterator[RunningEdge]:
    program("storescp")
    with an_edge_runs(tmp_path, bundle, centre, storescp_port=a_free_port()) as edge:
        edge.ready()
        wait_for_port(edge.extra["storescp_port"])
        yield edge


@pytest.fixture
def chests(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "scanner"
    folder.mkdir()
    made = [folder / f"{seed}.dcm" for seed in range(CHESTS)]
    for seed, path in enumerate(made):
        path.write_bytes(as_bytes(a_chest(seed, START.replace(tzinfo=None))))
    return made


def test_what_storescp_takes_is_analysed_and_leaves_its_folders(
    fast: RunningEdge, chests: list[Path]
) -> None:
    port = fast.extra["storescp_port"]
    assert {store(path, port) for path in chests} == {"Success"}

    balance = fast.settled(CHESTS)

    assert balance["analysed"] >= CHESTS - 2 and closes(balance)
    assert [path for path in (fast.data / "storescp").rglob("*") if path.is_file()] == []


def test_what_was_answered_when_the_agent_died_is_counted_once(
    fast: RunningEdge, chests: list[Path]
) -> None:
    assert {store(path, fast.extra["storescp_port"]) for path in chests} == {"Success"}
    fast.kill()
    fast.start()

    balance = fast.settled(CHESTS)

    assert balance["received"] == CHESTS and closes(balance)
    assert {store(path, fast.extra["storescp_port"]) for path in chests} == {"Success"}
    fast.until(lambda s: s["balance"]["duplicates"] == CHESTS)


# The process


@pytest.fixture
def receiver(tmp_path: Path, journal: Journal) -> Iterator[Storescp]:
    program("storescp")
    made = Storescp(an_edge(tmp_path, storescp_port=a_free_port()), journal)
    made.look()
    yield made
    made.stop()


def test_it_is_started_again_when_it_has_died(receiver: Storescp, tmp_path: Path) -> None:
    assert receiver.process is not None and receiver.settings.storescp_port is not None
    wait_for_port(receiver.settings.storescp_port)
    receiver.process.send_signal(signal.SIGKILL)
    receiver.process.wait()

    receiver.look()

    wait_for_port(receiver.settings.storescp_port)
    one = tmp_path / "one.dcm"
    one.write_bytes(as_bytes(a_small_object()))
    assert store(one, receiver.settings.storescp_port) == "Success"
    assert len(list(receiver.whole.iterdir())) == 1


def test_an_object_that_stalls_is_taken_when_it_is_whole(
    receiver: Storescp, journal: Journal, tmp_path: Path
) -> None:
    """A half one would be counted, and the whole one then kept aside as other bytes."""
    port = receiver.settings.storescp_port
    assert port is not None
    wait_for_port(port)
    door = a_door(tmp_path, journal)
    watched = Watched(receiver.whole, door.receiver, journal, largest_mb=10)
    one = a_small_object(filling=bytes(range(256)) * 4096)
    (tmp_path / "one.dcm").write_bytes(as_bytes(one))

    with stalling(port, after=400_000) as (relay, go_on):
        command = [program("storescu"), "-aec", "EDGE", "127.0.0.1", str(relay)]
        with subprocess.Popen([*command, str(tmp_path / "one.dcm")], env=environment()) as sender:
            try:
                until(lambda: any(p.stat().st_size for p in _files(receiver)))
                assert [watched.look(), watched.look()] == [0, 0]
            finally:
                go_on.set()
            assert sender.wait(WITHIN_S) == 0
    until(lambda: list(receiver.whole.iterdir()))
    assert [watched.look(), watched.look()] == [0, 1]

    assert dcmread(door.stored[0]).PixelData == one.PixelData
    assert door.balance["received"] == 1


def _files(receiver: Storescp) -> list[Path]:
    return [p for folder in (receiver.incoming, receiver.whole) for p in folder.glob("*.dcm")]


def until(holds: Callable[[], object]) -> None:
    end = time.monotonic() + WITHIN_S
    while not holds():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


@contextmanager
def stalling(port: int, after: int) -> Iterator[tuple[int, threading.Event]]:
    """A relay that passes `after` bytes on and holds the rest until it is told to go on."""
    go_on = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def relay() -> None:
            client, _ = server.accept()
            reset = suppress(ConnectionError)  # by a receiver that was ended
            with reset, client, socket.create_connection(("127.0.0.1", port)) as there:
                back = threading.Thread(target=_pass_on, args=(there, client))
                back.start()
                passed = 0
                while data := client.recv(min(4096, after - passed) if passed < after else 4096):
                    there.sendall(data)
                    passed += len(data)
                    if passed >= after:
                        go_on.wait(WITHIN_S)
                there.shutdown(socket.SHUT_WR)
                back.join()

        thread = threading.Thread(target=relay)
        thread.start()
        yield server.getsockname()[1], go_on
        thread.join()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(4096):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


def test_what_nobody_will_finish_is_set_aside_and_counted(
    receiver: Storescp, journal: Journal
) -> None:
    receiver.abandoned_s = 0.0  # each look is later than the one before
    half = receiver.incoming / "half.dcm"
    half.write_bytes(b"x" * 100)
    receiver.look()
    half.write_bytes(b"x" * 200)  # it still grows
    receiver.look()
    assert half.exists()

    receiver.look()

    aside = receiver.incoming.with_name(INTERRUPTED) / "half.dcm"
    assert aside.read_bytes() == b"x" * 200 and not half.exists()
    assert journal.do(cases.counted)["refused", "interrupted"] == 1


def test_a_name_from_the_network_names_no_file(receiver: Storescp, tmp_path: Path) -> None:
    port = receiver.settings.storescp_port
    assert port is not None
    wait_for_port(port)
    one = tmp_path / "one.dcm"
    one.write_bytes(as_bytes(a_small_object("1.2.3.4.5.6.77777")))

    assert store(one, port) == "Success"

    [kept] = receiver.whole.iterdir()
    assert "77777" not in kept.name and kept.suffix == ".dcm"


def test_a_folder_may_be_called_anything(tmp_path: Path, journal: Journal) -> None:
    program("storescp")
    odd = tmp_path / 'St. Mary\'s; "X-ray" $(touch here) #p'
    receiver = Storescp(an_edge(odd, storescp_port=a_free_port()), journal)
    one = tmp_path / "one.dcm"
    one.write_bytes(as_bytes(a_small_object()))
    with listening(receiver) as port:
        assert store(one, port) == "Success"

    assert len(list(receiver.whole.glob("*.dcm"))) == 1
    assert list(receiver.incoming.iterdir()) == []
    assert not list(tmp_path.rglob("here"))


@contextmanager
def listening(receiver: Storescp) -> Iterator[int]:
    port = receiver.settings.storescp_port
    assert port is not None
    try:
        receiver.look()
        wait_for_port(port)
        yield port
    finally:
        receiver.stop()


def test_an_object_beyond_the_limit_is_not_written_to_its_end(
    tmp_path: Path, journal: Journal
) -> None:
    program("storescp")
    settings = an_edge(tmp_path, storescp_port=a_free_port(), largest_object_mb=1)
    receiver = Storescp(settings, journal)
    large, small = tmp_path / "large.dcm", tmp_path / "small.dcm"
    large.write_bytes(as_bytes(a_small_object(filling=bytes(3 << 20))))
    small.write_bytes(as_bytes(a_small_object()))
    with listening(receiver) as port:
        assert store(large, port) == "Refused: OutOfResources"  # A700, as our own port says
        assert store(small, port) == "Success"

    written = [path.stat().st_size for path in _files(receiver)]
    assert written and max(written) <= 1 << 20
    assert len(list(receiver.whole.iterdir())) == 1


def test_while_the_disk_is_full_nobody_listens_and_nobody_goes_on(
    tmp_path: Path, journal: Journal
) -> None:
    program("storescp")
    settings = an_edge(tmp_path, storescp_port=a_free_port())
    receiver = Storescp(settings, journal)
    one = tmp_path / "one.dcm"
    one.write_bytes(as_bytes(a_small_object(filling=bytes(1 << 20))))
    with listening(receiver) as port, stalling(port, after=400_000) as (relay, go_on):
        command = [program("storescu"), "-aec", "EDGE", "127.0.0.1", str(relay), str(one)]
        with subprocess.Popen(command, env=environment(), stderr=subprocess.DEVNULL) as sender:
            until(lambda: any(p.stat().st_size for p in _files(receiver)))
            receiver.settings = settings.model_copy(update={"free_disk_mb": 1 << 40})
            receiver.look()
            receiver.look()
            go_on.set()
            assert sender.wait(WITHIN_S) != 0
        assert store(one, port) == ""  # no association

        receiver.settings = settings
        receiver.look()
        wait_for_port(port)
        assert store(one, port) == "Success"

    assert journal.do(cases.counted)["refused", "disk_full"] == 1
    assert len(list(receiver.whole.iterdir())) == 1


def test_where_it_is_not_installed_the_check_says_so(tmp_path: Path, journal: Journal) -> None:
    nowhere = tmp_path / "storescp"
    settings = an_edge(tmp_path, storescp_port=a_free_port(), storescp_program=nowhere)

    found = dict(checks.checks(settings))
    without = Storescp(settings, journal)
    without.look()

    assert f"expected at {nowhere}" in found["storescp installed, its port free"]
    assert without.process is None
