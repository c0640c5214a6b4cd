"""C4, C14: a copy of the database brought back, and what was newer than it."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from sqlalchemy import Engine

from app.central.backup import backup, restore
from app.central.errors import NotAllowed, NotFound
from tests.conftest import Clock
from tests.support.fleet import World, assert_balance
from tests.support.postgres import Databases


def test_c4_edges_refill_what_is_newer_than_the_copy(
    tmp_path: Path, fresh_database: Engine, databases: Databases, simulated_clock: Clock
) -> None:
    world = World(tmp_path, fresh_database)
    edge = world.an_edge()
    windows = [edge.window(date(2026, 3, day)) for day in range(1, 6)]
    for window in windows[:3]:
        edge.send(window)
    said = backup(world.settings, fresh_database, tmp_path / "copy")
    for window in windows[3:]:
        edge.send(window)

    with databases.copy("template0") as empty:
        again = restore(world.settings, empty, tmp_path / "copy")
        restored = World(tmp_path, empty)
        edge.world = restored
        known = edge.receipt(edge.get("/edge/v1/receipt"))
        outcomes = [edge.receipt(edge.send(w)).windows[0].outcome for w in windows[2:]]

        assert known.acked_through == 3
        assert outcomes == ["duplicate", "stored", "stored"]
        assert again == said
        assert_balance(restored, edge)
        with pytest.raises(NotAllowed, match="not empty"):
            restore(world.settings, empty, tmp_path / "copy")


def test_a_copy_overwrites_nothing_and_needs_both_of_its_parts(
    tmp_path: Path, fresh_database: Engine, simulated_clock: Clock
) -> None:
    world = World(tmp_path, fresh_database)

    with pytest.raises(NotAllowed, match="a folder of its own"):
        backup(world.settings, fresh_database, tmp_path)
    with pytest.raises(NotFound, match=r"database\.dump"):
        restore(world.settings, fresh_database, tmp_path)
