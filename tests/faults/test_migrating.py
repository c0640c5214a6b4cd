"""C11, C12: the schema moves while edges send, and a migration that is killed."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from pathlib import Path

from alembic import command
from sqlalchemy import Engine, text

from app.central.database import alembic_config, migrate
from tests.support.fleet import World, assert_balance

BEFORE = "0720_planned_events"  # one step behind, which intake does not notice
MIGRATE = "import sys; from app.central.database import *; migrate(open_engine(sys.argv[1]))"
ROOT = Path(__file__).parents[2]


def go_back(engine: Engine) -> None:
    with engine.begin() as connection:
        config = alembic_config()
        config.attributes["connection"] = connection
        command.downgrade(config, BEFORE)


def revision(engine: Engine) -> str:
    with engine.connect() as connection:
        return str(connection.scalar(text("SELECT version_num FROM alembic_version")))


def test_c11_edges_send_while_the_schema_moves(committed: World) -> None:
    assert isinstance(committed.bind, Engine)
    edge, newest = committed.an_edge(), revision(committed.bind)
    windows = [edge.window(date(2026, 1, 1) + timedelta(days=n)) for n in range(40)]

    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(lambda: [edge.send(w).status_code for w in windows])
        moves = 0
        while not sending.done():
            go_back(committed.bind)
            migrate(committed.bind)
            moves += 1
        statuses = sending.result()

    assert statuses == [200] * len(windows)
    assert moves > 0
    assert revision(committed.bind) == newest
    assert_balance(committed, edge)


def test_c12_a_migration_killed_halfway_leaves_the_schema_of_before(committed: World) -> None:
    engine = committed.bind
    assert isinstance(engine, Engine)
    edge, newest = committed.an_edge(), revision(engine)
    go_back(engine)
    url = engine.url.render_as_string(hide_password=False)

    with engine.connect() as other:
        other.execute(text("LOCK TABLE account IN SHARE MODE"))
        halfway = subprocess.Popen([sys.executable, "-c", MIGRATE, url], cwd=ROOT)
        until_it_waits(engine)
        halfway.send_signal(signal.SIGKILL)
        assert halfway.wait() == -signal.SIGKILL
        killed_at = revision(engine)
        taken = edge.send(edge.window(date(2026, 3, 7)))
    migrate(engine)

    assert killed_at == BEFORE
    assert edge.receipt(taken).acked_through == 1
    assert revision(engine) == newest
    assert edge.receipt(edge.send(edge.window(date(2026, 3, 8)))).acked_through == 2
    assert_balance(committed, edge)


def until_it_waits(engine: Engine) -> None:
    """Until the migration has come to the table that somebody holds."""
    waiting = text("SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'account'::regclass")
    for _ in range(1000):
        with engine.connect() as connection:
            if connection.scalar(waiting):
                return
        time.sleep(0.01)
    raise AssertionError("the migration never waited")
