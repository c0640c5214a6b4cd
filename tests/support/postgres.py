"""One embedded PostgreSQL a test session, one migrated database a worker.

Everything a test writes stands inside one outer transaction that is rolled back. What needs
real commits (threads, several processes) asks for `fresh_database`, a copy of its own.
"""

from __future__ import annotations

import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Engine

from app.central.database import migrate, open_engine
from app.central.embedded_postgres import EmbeddedPostgres, open_embedded

# A test database may be lost in a power cut.
FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class SharedServer:
    """The session's server: started by the controller when tests run on several workers."""

    def __init__(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="lw-pg-"))
        self.server = open_embedded(self.home / "postgres", settings=FAST)

    def stop(self) -> None:
        self.server.close()
        shutil.rmtree(self.home, ignore_errors=True)


class StartServerOnce:
    """A pytest plugin for the controller of xdist."""

    def __init__(self) -> None:
        self._shared: SharedServer | None = None

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: object) -> None:
        if self._shared is None:
            self._shared = SharedServer()
        node.workerinput["postgres_home"] = str(self._shared.home)  # type: ignore[attr-defined]

    def pytest_unconfigure(self) -> None:
        if self._shared is not None:
            self._shared.stop()


@contextmanager
def session_server(config: pytest.Config) -> Iterator[EmbeddedPostgres]:
    """The server of this session, joined or started."""
    given = getattr(config, "workerinput", {}).get("postgres_home")
    if given is not None:
        with open_embedded(Path(given) / "postgres") as joined:
            yield joined
        return
    shared = SharedServer()
    try:
        yield shared.server
    finally:
        shared.stop()


@dataclass
class Databases:
    """Databases on one server, copied from one migrated template."""

    server: EmbeddedPostgres
    template: str

    @classmethod
    def on(cls, server: EmbeddedPostgres) -> Databases:
        made = cls(server, f"template_{secrets.token_hex(4)}")
        made._run(f"CREATE DATABASE {made.template}")
        engine = open_engine(server.url_of(made.template))
        migrate(engine)
        engine.dispose()
        return made

    @contextmanager
    def copy(self, template: str | None = None) -> Iterator[Engine]:
        """A database of one's own, dropped afterwards. Nobody may be connected to the template."""
        name = f"copy_{secrets.token_hex(4)}"
        self._run(f"CREATE DATABASE {name} TEMPLATE {template or self.template}")
        engine = open_engine(self.server.url_of(name))
        try:
            yield engine
        finally:
            engine.dispose()
            self._run(f"DROP DATABASE {name} WITH (FORCE)")

    def _run(self, statement: str) -> None:
        url = self.server.url_of("postgres").replace("postgresql+psycopg", "postgresql")
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(statement)  # type: ignore[call-overload]
