from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from app import clock
from app.edge.completeness import Studies
from app.edge.workers import WorkerLost
from tests.edge.peer_centre import PeerCentre
from tests.edge.running_edge import START, an_edge_runs, closes
from tests.edge.sender import a_chest, send

DAY = START.replace(tzinfo=None)


@dataclass
class Bench:
    """Studies at an hour that the test sets, and what was released."""

    studies: Studies = field(init=False)
    released: list[tuple[bytes, float | None]] = field(default_factory=list)
    now: float = 1000.0

    def open(self, quiet_s: float, objects: int = 0) -> Studies:
        self.studies = Studies(quiet_s, objects, self._study, self._release)
        return self.studies

    def _study(self, key: bytes) -> str:
        """The first letter of a key names its study."""
        if key.startswith(b"!"):
            raise WorkerLost("worker_died")
        return key[:1].decode().strip()

    def _release(self, key: bytes, stored: float | None) -> None:
        self.released.append((key, stored))

    def come(self, *keys: bytes) -> None:
        for key in keys:
            self.studies.arrived(key, self.now)
        self.studies.look()

    def wait(self, seconds: float) -> list[bytes]:
        """What has been released when that time is over."""
        self.now += seconds
        self.studies.look()
        return [key for key, _ in self.released]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    made = Bench()
    monkeypatch.setattr(clock, "elapsed", lambda: made.now)
    return made


def test_a_study_is_complete_when_it_has_been_quiet(bench: Bench) -> None:
    bench.open(quiet_s=5)
    bench.come(b"a1", b"b1")
    assert bench.wait(4) == []
    bench.come(b"a2")

    assert bench.wait(1) == [b"b1"]
    assert bench.wait(4) == [b"b1", b"a1", b"a2"]
    # The time to a result counts from the last object of the study.
    assert bench.released == [(b"b1", 1000.0), (b"a1", 1004.0), (b"a2", 1004.0)]


def test_a_study_of_the_known_size_does_not_wait(bench: Bench) -> None:
    bench.open(quiet_s=60, objects=2)
    bench.come(b"a1", b"b1")
    assert bench.wait(1) == []

    bench.come(b"a2")

    assert bench.wait(0) == [b"a1", b"a2"]
    assert bench.wait(60) == [b"a1", b"a2", b"b1"]  # never whole, never lost


def test_late_objects_are_released_too(bench: Bench) -> None:
    bench.open(quiet_s=5)
    bench.come(b"a1")
    bench.wait(5)
    bench.come(b"a2")

    assert bench.wait(4) == [b"a1"]
    assert bench.wait(1) == [b"a1", b"a2"]


def test_what_names_no_study_or_kills_its_reader_is_not_held(bench: Bench) -> None:
    bench.open(quiet_s=60)
    bench.come(b" 1", b"!2", b"a3")

    assert bench.wait(0) == [b" 1", b"!2"]


def test_what_came_in_an_earlier_life_has_no_time(bench: Bench) -> None:
    studies = bench.open(quiet_s=5)
    studies.arrived(b"a1")
    bench.come(b"a2")

    assert bench.wait(5) == [b"a1", b"a2"]
    assert {stored for _, stored in bench.released} == {None}


def test_an_agent_holds_a_study_until_it_is_whole_and_over_a_restart(
    tmp_path: Path, bundle: Path, centre: PeerCentre
) -> None:
    first, second, third, fourth = (a_chest(seed, DAY) for seed in range(4))
    second.StudyInstanceUID = first.StudyInstanceUID
    fourth.StudyInstanceUID = third.StudyInstanceUID
    limits = {"study_quiet_seconds": 600, "study_objects": 2}
    with an_edge_runs(tmp_path, bundle, centre, **limits) as edge:
        edge.ready()
        send(edge.port, first, third, fourth)
        edge.until(lambda s: s["balance"]["received"] == 3 and s["balance"]["waiting"] == 1)
        edge.kill()
        edge.start()
        send(edge.port, second)
        balance = edge.settled(4)

    assert closes(balance) and balance["failed"] == 0
