from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.orm import Session

from app import clock
from app.central.references import service as references
from app.central.surveillance import service
from app.central.surveillance.models import Evaluation
from app.central.surveillance.service import SignalView
from tests.conftest import Clock
from tests.support.fleet import FakeEdge, World
from tests.support.playing import FIRST_DAY, play
from tests.support.postgres import Databases

REFERENCE_DAYS = 60
MONITORED_FROM = FIRST_DAY + timedelta(days=REFERENCE_DAYS)


class Watched:
    """An edge with an approved reference of 60 days, and what was announced since."""

    def __init__(self, world: World, clock_: Clock, edge: FakeEdge, reference_id: str) -> None:
        self.world = world
        self.clock = clock_
        self.edge = edge
        self.reference_id = reference_id
        self.told: list[SignalView] = []

    def evaluate(self, day: date) -> Evaluation:
        with self.world.sessions.begin() as session:
            found = service.evaluate(
                session, self.world.lock_digest, day, announce=self._tell, now=clock.now()
            )
            assert found is not None
            assert found.evidence  # a column that is only read where it is asked for
        return found

    def go_on(self, days: int, **change: Any) -> None:
        """Play and evaluate every day at 06:00."""
        for morning in play(self.edge, self.clock, days, first=MONITORED_FROM, seed=2, **change):
            self.clock.advance(hours=3)
            self.evaluate(morning)

    def signals(self) -> tuple[SignalView, ...]:
        with self.world.sessions() as session:
            return service.signals(session)

    def _tell(self, _: Session, view: SignalView) -> None:
        self.told.append(view)


@dataclass
class Played:
    """The reference period, played once; every test goes on from a copy."""

    folder: Path
    database: str
    at: datetime
    edge: FakeEdge
    reference_id: str


@pytest.fixture(scope="session")
def played(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    folder = tmp_path_factory.mktemp("played")
    with pytest.MonkeyPatch.context() as patch, databases.copy() as engine:
        patch.setenv(clock.VARIABLE, str(folder / "clock"))
        clock_ = Clock(folder / "clock")
        clock_.set(datetime(2026, 1, 5, tzinfo=UTC))
        world = World(folder, engine)
        edge = world.an_edge()
        for _ in play(edge, clock_, REFERENCE_DAYS):
            pass
        reference_id = _approved_reference(world)
        engine.dispose()
        name = str(engine.url.database)
        yield Played(folder, name, clock.now(), edge, reference_id)


def _approved_reference(world: World) -> str:
    until = MONITORED_FROM - timedelta(days=2)
    with world.sessions.begin() as session:
        made = references.propose(session, world.lock_digest, until, by="analyst", now=clock.now())
        references.approve(session, made.id, by="approver", now=clock.now())
    return made.id


@pytest.fixture
def watched(played: Played, databases: Databases, simulated_clock: Clock) -> Iterator[Watched]:
    simulated_clock.set(played.at)
    with databases.copy(played.database) as engine:
        world = World(played.folder, engine)
        edge = replace(played.edge, world=world)
        yield Watched(world, simulated_clock, edge, played.reference_id)
