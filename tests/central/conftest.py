from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection

from tests.conftest import Clock
from tests.support.fleet import World, assert_ledger


@pytest.fixture
def world(tmp_path: Path, connection: Connection, simulated_clock: Clock) -> Iterator[World]:
    """A world in a transaction that is rolled back. Ends in the balance of its edges."""
    made = World(tmp_path, connection)
    yield made
    assert_ledger(made)
