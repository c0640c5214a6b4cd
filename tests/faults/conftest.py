from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine

from app.central.database import migrate, open_engine
from app.central.embedded_postgres import open_embedded
from tests.conftest import Clock
from tests.support.fleet import World, assert_ledger
from tests.support.postgres import FAST


@pytest.fixture
def world(tmp_path: Path, connection: Connection, simulated_clock: Clock) -> Iterator[World]:
    """A world in a transaction that is rolled back. Ends in the balance of its edges."""
    made = World(tmp_path, connection)
    yield made
    assert_ledger(made)


@pytest.fixture
def committed(tmp_path: Path, fresh_database: Engine, simulated_clock: Clock) -> Iterator[World]:
    """A world whose transactions are real. Ends in the balance of its edges."""
    made = World(tmp_path, fresh_database)
    yield made
    assert_ledger(made)


@pytest.fixture
def open_place(simulated_clock: Clock) -> Iterator[Path]:
    """A folder that the account of a server may enter, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp(prefix="lw-own-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def own_server(tmp_path: Path, open_place: Path) -> Iterator[tuple[Path, World]]:
    """A server of its own, to be mistreated: its folder, and a world on it."""
    home = open_place
    with open_embedded(home / "pg", settings=FAST) as server:
        engine = open_engine(server.url)
        migrate(engine)
        made = World(tmp_path, engine)
        yield home / "pg", made
        assert_ledger(made)
        engine.dispose()
