from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Connection

from tests.conftest import Clock
from tests.support.fleet import World


@pytest.fixture
def world(tmp_path: Path, connection: Connection, simulated_clock: Clock) -> World:
    return World(tmp_path, connection)
