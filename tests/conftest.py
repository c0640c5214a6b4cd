"""Fixtures that several parts use. See `tests/support`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from app import clock

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine
    from sqlalchemy.orm import Session

    from tests.support.postgres import Databases


def pytest_configure(config: pytest.Config) -> None:
    several = getattr(config.option, "numprocesses", None)
    if several and not hasattr(config, "workerinput"):
        from tests.support.postgres import StartServerOnce

        config.pluginmanager.register(StartServerOnce())


class Clock:
    """The simulated instant of a test."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.set(datetime(2026, 3, 10, 12, tzinfo=UTC))

    def set(self, instant: datetime) -> datetime:
        clock.set_simulated(self._path, instant)
        return instant

    def advance(self, **by: float) -> datetime:
        return self.set(clock.now() + timedelta(**by))


@pytest.fixture
def simulated_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Clock:
    """It is 2026-03-10 12:00 UTC until the test moves it."""
    made = Clock(tmp_path / "clock")
    monkeypatch.setenv(clock.VARIABLE, str(tmp_path / "clock"))
    return made


@pytest.fixture(scope="session")
def databases(request: pytest.FixtureRequest) -> Iterator[Databases]:
    from tests.support.postgres import Databases, session_server

    with session_server(request.config) as server:
        yield Databases.on(server)


@pytest.fixture(scope="session")
def _worker_engine(databases: Databases) -> Iterator[Engine]:
    with databases.copy() as engine:
        yield engine


@pytest.fixture
def connection(_worker_engine: Engine) -> Iterator[Connection]:
    """A connection in a transaction that is rolled back; bind sessions and apps to it."""
    with _worker_engine.connect() as opened:
        outer = opened.begin()
        yield opened
        outer.rollback()


@pytest.fixture
def session(connection: Connection) -> Iterator[Session]:
    """A session whose commits are savepoints of the outer transaction."""
    from app.central.database import session_factory

    with session_factory(connection)() as made:
        yield made


@pytest.fixture
def fresh_database(databases: Databases) -> Iterator[Engine]:
    """A migrated database of its own, for what needs real commits."""
    with databases.copy() as engine:
        yield engine
