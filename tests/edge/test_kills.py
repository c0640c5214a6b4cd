"""Kills of the agent at any moment: what was acknowledged is counted once, and all arrives.

A scanner keeps sending, simulated days pass, windows are closed and sent, results go to a folder
and to an archive; meanwhile the agent is killed again and again, alone or with its worker. 500
kills are 20 hospitals of 25 (`-m slow`, a hospital at a time with `-k "hospital-7-"`).
"""

from __future__ import annotations

import json
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from tests.edge.forked_edge import ForkedEdge, lives_of
from tests.edge.kill_evidence import assert_nothing_lost_or_twice, found_after
from tests.edge.peer_centre import PeerCentre
from tests.edge.sender import a_chest, a_small_object, association
from tests.edge.test_deliver import Pacs, listening
from tests.support.ports import a_free_port

HOSPITALS = 20
KILLS = 25
# A kill falls within so long: of its start, of its life, or of when it listens.
START_S, LIFE_S = 0.2, 1.2
FAR_S = 0.03  # to the centre and to the archive, one way
TICK = timedelta(hours=5)  # of simulated time, every so many seconds:
TICK_S = 0.2


@pytest.mark.parametrize(
    ("hospital", "kills"),
    [
        pytest.param(0, 12, id="hospital-0"),
        *(
            pytest.param(n, KILLS, id=f"hospital-{n}-of-many", marks=pytest.mark.slow)
            for n in range(1, HOSPITALS + 1)
        ),
    ],
)
def test_kills_at_any_moment_count_every_object_once(
    tmp_path: Path, bundle: Path, centre: PeerCentre, hospital: int, kills: int
) -> None:
    rng, pacs, found = random.Random(hospital), Pacs(), Counter[str]()
    with lives_of(bundle) as lives, listening(pacs):
        peer = {"host": "127.0.0.1", "port": pacs.port, "ae": "PACS"}
        edge = ForkedEdge(tmp_path, bundle, centre, extra={"results_peer": peer}, lives=lives)
        edge.port = a_free_port()
        centre.far_s = pacs.far_s = FAR_S
        with a_scanner(edge, rng) as scanner, passing_time(edge):
            for _ in range(kills):
                _live_a_while(edge, rng)
                found.update(found_after(edge, centre))
        edge.start()
        edge.settled(len(scanner.taken))
        edge.live(days=2)
        edge.until(lambda s: not any(d.get("queued") for d in s["results"].values()))
        assert edge.stop() == 0

    _tell(hospital, kills, found)
    assert_nothing_lost_or_twice(edge, centre, pacs, scanner.taken)


def _live_a_while(edge: ForkedEdge, rng: random.Random) -> None:
    """One life: killed somewhere in its start, or in its work; often without its worker."""
    life, moment = edge.launch(), rng.choice(("start", "life", "work", "work"))
    if moment == "work":
        edge.until(lambda s: bool(s.get("port")))
    time.sleep(rng.uniform(0, START_S if moment == "start" else LIFE_S))
    (life.kill if rng.random() < 1 / 2 else life.kill_all)()
    assert life.wait() == -9


@dataclass
class Scanner:
    """Sends one object after the other, each until it is acknowledged, some of them twice."""

    edge: ForkedEdge
    rng: random.Random
    taken: dict[str, Dataset] = field(default_factory=dict)
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        for seed in range(1_000_000):
            if self.stop.is_set():
                return
            self._push(self._one(seed))
            time.sleep(0.05)

    def _one(self, seed: int) -> Dataset:
        if self.taken and seed % 9 == 0:
            return self.rng.choice(list(self.taken.values()))
        if seed % 3 == 0:
            return a_small_object()
        return a_chest(seed, self.edge.now.replace(tzinfo=None), positive=seed % 2 == 0)

    def _push(self, one: Dataset) -> None:
        while not _is_taken(self.edge.port, one):
            if self.stop.is_set() and str(one.SOPInstanceUID) in self.taken:
                return
            time.sleep(0.02)
        self.taken[str(one.SOPInstanceUID)] = one


def _is_taken(port: int, one: Dataset) -> bool:
    try:
        with association(port) as made:
            return made.is_established and made.send_c_store(one).get("Status") == 0x0000
    except (OSError, RuntimeError):
        return False


@contextmanager
def a_scanner(edge: ForkedEdge, rng: random.Random) -> Iterator[Scanner]:
    """A scanner at work. At the end its last object has been taken, by a life after the kills."""
    made = Scanner(edge, random.Random(rng.random()))
    thread = threading.Thread(target=made.run, name="scanner")
    thread.start()
    try:
        yield made
    finally:
        made.stop.set()
        edge.start()
        thread.join()
        edge.kill()


@contextmanager
def passing_time(edge: ForkedEdge) -> Iterator[None]:
    """Days that pass while somebody else looks."""
    stop = threading.Event()

    def tick() -> None:
        while not stop.wait(TICK_S):
            edge.at(edge.now + TICK)

    thread = threading.Thread(target=tick, name="time")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _tell(hospital: int, kills: int, found: Counter[str]) -> None:
    """What the kills left behind, for whoever runs all of them: one JSON line a hospital."""
    if place := os.environ.get("LOCKWATCH_KILLS_FOUND"):
        with Path(place).open("a") as file:
            file.write(json.dumps({"hospital": hospital, "kills": kills, **found}) + "\n")
