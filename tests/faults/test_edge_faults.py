"""What can go wrong around an edge agent: its disk, memory and clock. Each ends in its balance."""

from __future__ import annotations

import errno
import json
import os
import resource
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from app import clock
from app.edge import cases, orders
from app.edge.journal import Journal, JournalRefused
from app.edge.windows import close_due
from tests.edge.builders import TODAY, put_cases
from tests.edge.conftest import bundle, centre, journal
from tests.edge.forked_edge import ForkedEdge, Lives, lives_of
from tests.edge.peer_centre import PeerCentre
from tests.edge.running_edge import START, RunningEdge, closes
from tests.edge.sender import a_chest, a_small_object, send
from tests.edge.test_receive import a_door
from tests.edge.test_windows import closing
from tests.support.chest_bundle import ROOT
from tests.support.ports import a_free_port

__all__ = ["bundle", "centre", "journal"]
DAY = START.replace(tzinfo=None)
ALWAYS = 100_000


@pytest.fixture(scope="module")
def lives(bundle: Path) -> Iterator[Lives]:
    with lives_of(bundle) as made:
        yield made


@pytest.fixture
def edge(tmp_path: Path, bundle: Path, centre: PeerCentre, lives: Lives) -> Iterator[ForkedEdge]:
    """An edge that is not started yet. Ends in its balance, and in that of its windows."""
    made = ForkedEdge(tmp_path, bundle, centre, lives=lives)
    yield made
    try:
        assert_balance(made)
    finally:
        if made.life.poll() is None:
            made.life.kill_all()
            made.life.wait()


def assert_balance(edge: ForkedEdge) -> None:
    """received = every end + waiting; produced = at the centre + set aside here + still to send."""
    status = edge.status()
    assert closes(status["balance"])
    windows = status["windows"]
    assert windows["produced"] == sum(windows[n] for n in ("acknowledged", "dead", "unsent"))
    assert windows["acknowledged"] <= len(edge.centre.windows)


@contextmanager
def mounted(folder: Path, *how: str) -> Iterator[Path]:
    """Something mounted there; skipped where nobody may."""
    folder.mkdir(exist_ok=True)
    done = subprocess.run(["mount", *how, folder], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("nothing can be mounted here (needs root)")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


SMALL = ("-t", "tmpfs", "-o", "size=1m,mode=0700", "tmpfs")


def fill(folder: Path) -> Path:
    """A file that leaves no byte free."""
    with suppress(OSError), (folder / "filler").open("wb", buffering=0) as filler:
        while filler.write(bytes(4096)):
            pass
    return folder / "filler"


# The disk ------------------------------------------------------------------------------------


def test_e3_a_damaged_object_fails_alone(edge: ForkedEdge) -> None:
    edge.start()
    edge.ready()
    orders.pause(edge.data)
    edge.until(lambda s: s["paused"])
    send(edge.port, *(a_chest(seed, DAY) for seed in range(4)))
    edge.until(lambda s: s["balance"]["waiting"] == 4)
    flipped, shorter, empty = sorted((edge.data / "spool").glob("*.dcm"))[:3]
    raw = flipped.read_bytes()
    flipped.write_bytes(raw[:-10] + bytes([raw[-10] ^ 1]) + raw[-9:])
    shorter.write_bytes(shorter.read_bytes()[:5000])
    empty.write_bytes(b"")

    orders.pause(edge.data, off=True)
    balance = edge.settled(4)

    assert balance["failed"] == 3
    assert edge.status()["reasons"]["failed"] == {"object_damaged": 3}


@pytest.mark.parametrize("place", ["header", "body", "signature"])
def test_e3_a_damaged_window_is_set_aside_and_holds_nothing_up(
    edge: ForkedEdge, place: str
) -> None:
    edge.start()
    edge.ready()
    edge.live(days=2)
    edge.centre.faults = ["500"] * ALWAYS
    for _ in range(3):
        edge.at(edge.now + timedelta(days=1))
        edge.until(lambda s: s["as_of"] >= edge.now.isoformat())
    assert edge.stop() == 0
    damage(edge.data / "journal.db", place)
    edge.centre.faults = []

    edge.start()
    status = edge.until(lambda s: s["as_of"] and s["windows"]["unsent"] == 0)

    assert status["windows"]["dead"] == 1
    assert status["windows"]["acknowledged"] == status["windows"]["produced"] - 1 >= 2
    edge.live(days=1)  # what comes later goes as before


def damage(path: Path, place: str) -> None:
    """Flip a bit of the first window that waits."""
    db = sqlite3.connect(path)
    number, raw = db.execute(
        "SELECT sequence, raw FROM windows WHERE state = 'unsent' ORDER BY sequence LIMIT 1"
    ).fetchone()
    at = {"header": 20, "body": len(raw) - 80, "signature": len(raw) - 1}[place]
    changed = raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]
    db.execute("UPDATE windows SET raw = ? WHERE sequence = ?", (changed, number))
    db.commit()
    db.close()


def test_e4_a_damaged_journal_stops_the_agent_and_a_new_one_begins_a_new_epoch(
    edge: ForkedEdge,
) -> None:
    edge.start()
    edge.ready()
    send(edge.port, *(a_chest(seed, DAY) for seed in range(2)))
    edge.settled(2)
    edge.live(days=2)
    before = set(edge.centre.windows)
    edge.life.kill_all()
    edge.life.wait()
    path = edge.data / "journal.db"
    damaged = b"\0" * 4096 + path.read_bytes()[4096:]
    path.write_bytes(damaged)

    assert edge.launch().wait() == 1
    assert "a readable journal expected" in " ".join(edge.log.read_text().split())
    assert path.read_bytes() == damaged  # nothing was made of it
    path.rename(path.with_suffix(".damaged"))
    edge.start()
    edge.ready()
    send(edge.port, a_chest(3, edge.now.replace(tzinfo=None)))
    edge.settled(1)
    edge.live(days=2)

    after = set(edge.centre.windows) - before
    assert before and {epoch for epoch, _ in before} == {1}
    assert after and {epoch for epoch, _ in after} == {2}
    assert sorted(number for _, number in after) == list(range(1, len(after) + 1))


def test_e5_a_disk_that_is_full_when_a_window_is_closed_delays_it(tmp_path: Path) -> None:
    with mounted(tmp_path / "small", *SMALL) as disk:
        opened = Journal(disk)
        put_cases(opened, [TODAY] * 25)
        opened.do(lambda db: close_due(db, closing(TODAY, 1)))
        filler = fill(disk)
        later = closing(TODAY + timedelta(days=2))

        with pytest.raises(sqlite3.OperationalError, match="full"):
            opened.do(lambda db: close_due(db, later))
        kept = opened.do(cases.balance)
        [(state,)] = opened.do(lambda db: db.execute("PRAGMA integrity_check").fetchall())
        filler.unlink()
        made = opened.do(lambda db: close_due(db, later))
        balance = opened.do(cases.balance)
        opened.close()

    assert (kept["windows_produced"], state) == (0, "ok")
    assert made == balance["windows_produced"] == 1
    assert closes(balance) and balance["received"] == 25


def test_e6_a_full_disk_for_logs_and_for_temporary_files_stops_no_counting(
    tmp_path: Path, bundle: Path, centre: PeerCentre
) -> None:
    with mounted(tmp_path / "tmp", *SMALL) as disk:
        fill(disk)
        edge = Mute(tmp_path, bundle, centre, extra={"watched_folder": "in"})
        (tmp_path / "in").mkdir()
        (tmp_path / "in" / "odd").write_bytes(b"not an object: something to log")
        try:
            edge.start()
            edge.ready()
            assert set(send(edge.port, *(a_chest(seed, DAY) for seed in range(3)))) == {0x0000}
            balance = edge.settled(3)
            edge.until(lambda s: s["balance"]["refused_objects"] == 1)
            edge.live(days=2)
            windows = edge.status()["windows"]
            assert edge.stop() == 0
        finally:
            if edge.process is not None and edge.process.poll() is None:
                edge.kill()

    assert closes(balance) and balance["analysed"] >= 1
    assert windows["produced"] == windows["acknowledged"] == len(centre.windows) > 0


class Mute(RunningEdge):
    """An agent whose words and temporary files find no place."""

    def _launch(self) -> None:
        environment = os.environ | {
            clock.VARIABLE: str(self.folder / "clock"),
            "OMP_NUM_THREADS": "1",
            "TMPDIR": str(self.folder / "tmp"),
        }
        environment.pop("PYTHONUNBUFFERED", None)  # a buffer keeps what the disk refused
        with Path("/dev/full").open("ab") as full:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "app.cli", "edge", "run", "--config", self._settings],
                cwd=ROOT,
                env=environment,
                stdout=full,
                stderr=full,
            )


def test_e7_a_folder_that_turns_read_only_is_said_so_and_gone_on_from(edge: ForkedEdge) -> None:
    edge.extra["status_port"] = a_free_port()
    edge.start()
    edge.ready()
    assert send(edge.port, a_chest(1, DAY)) == [0x0000]
    edge.settled(1)

    with mounted(edge.data, "--bind", str(edge.data)):
        read_only = ["mount", "-o", "remount,bind,ro", edge.data]
        subprocess.run(read_only, check=True)
        assert send(edge.port, a_chest(2, DAY), a_chest(3, DAY)) == [0xA700, 0xA700]
        until(lambda: page(edge)["data_dir"] == "not_writable")
        assert edge.life.poll() is None

    assert send(edge.port, a_chest(2, DAY), a_chest(3, DAY)) == [0x0000, 0x0000]
    balance = edge.settled(3)
    assert page(edge)["data_dir"] == "writable"
    assert balance["refused_objects"] in (0, 2)  # counted if the journal could be written
    edge.live(days=2)


def page(edge: RunningEdge) -> dict[str, Any]:
    """What the edge's own page knows."""
    url = f"http://127.0.0.1:{edge.extra['status_port']}/status.json"
    with urllib.request.urlopen(url, timeout=20) as answer:
        found: dict[str, Any] = json.loads(answer.read())
    return found


def until(holds: Any) -> None:
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def test_e7_an_agent_on_a_read_only_folder_says_so_and_ends(tmp_path: Path) -> None:
    Journal(tmp_path / "data").close()
    with mounted(tmp_path / "data", "--bind", str(tmp_path / "data")) as data:
        subprocess.run(["mount", "-o", "remount,bind,ro", data], check=True)
        with pytest.raises(JournalRefused, match="can be written expected, got Read-only"):
            Journal(data)

    again = Journal(tmp_path / "data")
    assert closes(again.do(cases.balance))
    again.close()


@pytest.mark.parametrize("step", [0, 1])
def test_e8_a_sync_that_failed_is_never_trusted(
    tmp_path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """Of the bytes, or of the name: the object is refused, and written anew when it comes again."""
    door, one = a_door(tmp_path, journal), a_small_object()
    real, left = os.fsync, [step]

    def failing(handle: int) -> None:
        left[0] -= 1
        if left[0] == -1:
            raise OSError(errno.EIO, "Input/output error")
        real(handle)

    port = door.receiver.start()
    monkeypatch.setattr(os, "fsync", failing)
    assert send(port, one) == [0xA700]
    assert door.balance["received"] == 0
    refused = [path.open("rb") for path in door.stored]  # held open: its number is not used again
    synced = left[0]

    assert send(port, one) == [0x0000]
    door.receiver.stop()

    assert left[0] <= synced - 2  # bytes and name were synced again
    [kept] = door.stored
    assert all(os.fstat(file.fileno()).st_ino != kept.stat().st_ino for file in refused)
    assert len(refused) == step
    assert door.new == [bytes.fromhex(kept.stem)]  # it will be analysed
    assert door.balance["received"] == 1 and closes(door.balance)
    for file in refused:
        file.close()


# The clock -----------------------------------------------------------------------------------


def test_e9_a_clock_that_leaps_a_year_and_goes_back_an_hour_closes_no_day_twice(
    edge: ForkedEdge,
) -> None:
    edge.start()
    edge.ready()
    edge.live(days=2)
    produced, right = edge.status()["windows"]["produced"], edge.now
    edge.centre.faults = ["500"] * ALWAYS  # the centre refuses requests of another time
    edge.at(right + timedelta(days=365))
    edge.until(lambda s: s["clock"] == "not_believed")
    send(edge.port, a_chest(1, right.replace(tzinfo=None)))
    edge.settled(1)
    assert edge.status()["windows"]["produced"] == produced

    edge.centre.faults = []
    edge.at(right - timedelta(hours=1))
    edge.until(lambda s: s["clock"] == "believed")
    for _ in range(25):  # over the night in which clocks are put forward
        edge.live(days=1)

    windows = [w.header for _, w in sorted(edge.centre.windows.items())]
    assert [w.sequence for w in windows] == list(range(1, len(windows) + 1))
    assert all(w.start < w.end <= edge.now for w in windows)
    days = [(w.start, w.end) for w in windows if w.stream == "cases" and w.revision == 0]
    assert all(a[1] == b[0] for a, b in pairwise(days))


def test_e10_a_clock_stuck_in_1970_dates_nothing(edge: ForkedEdge) -> None:
    edge.now = datetime(1970, 1, 1, tzinfo=UTC)
    edge.start()
    edge.until(lambda s: s["enrolment"] == "active" and s["as_of"])
    send(edge.port, *(a_chest(seed, DAY) for seed in range(30)), a_small_object())
    edge.settled(31)
    edge.at(edge.now + timedelta(days=3))
    status = edge.until(lambda s: s["as_of"] >= edge.now.isoformat())
    assert (status["clock"], status["windows"]["produced"]) == ("not_believed", 0)

    edge.at(START)
    edge.live(days=1)
    edge.live(days=2)

    windows = list(edge.centre.windows.values())
    assert {w.header.start.year for w in windows} == {2026}
    dates = {key[0] for w in windows for key in _strata(w)}
    assert dates and min(dates) >= "2026"
    counted = sum(int(w.tables["balance"].values[0, 0]) for w in windows if _strata(w))
    assert counted >= 20


def _strata(window: Any) -> tuple[tuple[str, ...], ...]:
    table = window.tables.get("strata")
    return table.keys if table is not None else ()


# What is set and what is asked for -------------------------------------------------------------


def test_e15_less_room_than_the_backlog_takes_is_no_reason_to_drop_it(edge: ForkedEdge) -> None:
    edge.start()
    edge.ready()
    orders.pause(edge.data)
    edge.until(lambda s: s["paused"])
    send(edge.port, *(a_chest(seed, DAY) for seed in range(3)))
    edge.until(lambda s: s["balance"]["waiting"] == 3)
    assert edge.stop() == 0
    edge.extra["free_disk_mb"] = 1 << 40

    edge.start()
    orders.pause(edge.data, off=True)
    assert send(edge.port, a_chest(9, DAY)) == [0xA700]
    balance = edge.settled(3)

    assert balance["received"] == 3 and balance["failed"] == 0


def test_e19_a_case_that_needs_too_much_memory_fails_alone(edge: ForkedEdge) -> None:
    edge.start()
    edge.ready()
    worker = worker_of(edge)
    resource.prlimit(worker, resource.RLIMIT_AS, (1 << 20, 1 << 20))  # nothing more for it

    large = a_chest(0, DAY)
    large.Rows = large.Columns = 3000
    large.PixelData = bytes(2 * 3000 * 3000)

    send(edge.port, large, a_chest(1, DAY), a_chest(2, DAY))
    balance = edge.settled(3)

    assert balance["failed"] == 1
    assert edge.status()["reasons"]["failed"] == {"memory_limit": 1}


def worker_of(edge: ForkedEdge) -> int:
    """The process that holds the chain: a child of a child."""

    def children(pid: int) -> list[int]:
        tasks = Path(f"/proc/{pid}/task").iterdir()
        return [int(c) for t in tasks for c in (t / "children").read_text().split()]

    [server] = children(edge.life.pid)
    [worker] = children(server)
    return worker
