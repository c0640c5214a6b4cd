"""C11, C12: the schema moves while edges send, and a migration that is killed."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from pathlib import Path

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, text

import migrations
from app.central.accounts.models import Role
from app.central.database import alembic_config, migrate
from tests.support.fleet import World, assert_balance

HEAD = str(ScriptDirectory.from_config(alembic_config()).get_current_head())
NEXT = f"""
import sqlalchemy as sa
from alembic import op

revision, down_revision, branch_labels, depends_on = "next", "{HEAD}", None, None


def upgrade():
    for table in ("account", "edge"):
        op.add_column(table, sa.Column("of_the_next_version", sa.Text(), nullable=True))


def downgrade():
    for table in ("account", "edge"):
        op.drop_column(table, "of_the_next_version")
"""
MIGRATE = (
    "import sys; sys.path.insert(0, sys.argv[2]); from app.central.database import *; "
    "migrate(open_engine(sys.argv[1]))"
)
ROOT = Path(__file__).parents[2]


@pytest.fixture
def next_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, committed: World
) -> Iterator[Path]:
    """The folder of the next version's migrations, which only add, as ours do: this version's
    service has to live with its schema until it is replaced."""
    package = tmp_path / "migrations"
    ours = Path(migrations.__file__).parent
    shutil.copytree(ours, package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "versions" / "next.py").write_text(NEXT)
    monkeypatch.setattr(migrations, "__file__", str(package / "__init__.py"))
    yield tmp_path
    assert isinstance(committed.bind, Engine)
    go_back(committed.bind)


def go_back(engine: Engine) -> None:
    with engine.begin() as connection:
        config = alembic_config()
        config.attributes["connection"] = connection
        command.downgrade(config, HEAD)


def revision(engine: Engine) -> str:
    with engine.connect() as connection:
        return str(connection.scalar(text("SELECT version_num FROM alembic_version")))


@pytest.mark.usefixtures("next_version")
def test_c11_edges_send_while_the_schema_moves(committed: World) -> None:
    assert isinstance(committed.bind, Engine)
    edge = committed.an_edge()
    windows = [edge.window(date(2026, 1, 1) + timedelta(days=n)) for n in range(40)]

    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(lambda: [edge.send(w).status_code for w in windows])
        moves = 0
        while not sending.done():
            migrate(committed.bind)
            go_back(committed.bind)
            moves += 1
        statuses = sending.result()

    assert statuses == [200] * len(windows)
    assert moves > 0
    assert revision(committed.bind) == HEAD
    assert_balance(committed, edge)


def test_c12_a_migration_killed_halfway_leaves_the_schema_of_before(
    committed: World, next_version: Path
) -> None:
    engine = committed.bind
    assert isinstance(engine, Engine)
    edge = committed.an_edge()
    url = engine.url.render_as_string(hide_password=False)

    with engine.connect() as other:
        other.execute(text("LOCK TABLE account IN SHARE MODE"))
        halfway = subprocess.Popen(
            [sys.executable, "-c", MIGRATE, url, str(next_version)], cwd=ROOT
        )
        until_it_waits(engine)
        halfway.send_signal(signal.SIGKILL)
        assert halfway.wait() == -signal.SIGKILL
        killed_at = revision(engine)
        taken = edge.send(edge.window(date(2026, 3, 7)))
    migrate(engine)

    assert killed_at == HEAD
    assert edge.receipt(taken).acked_through == 1
    assert revision(engine) == "next"
    # This version's service lives with the schema of the next, and with its own after a way back.
    assert edge.receipt(edge.send(edge.window(date(2026, 3, 8)))).acked_through == 2
    committed.add_person("ann", Role.VIEWER)
    go_back(engine)
    assert revision(engine) == HEAD
    assert edge.receipt(edge.send(edge.window(date(2026, 3, 9)))).acked_through == 3
    names = committed.browser("bob", Role.ADMINISTRATOR).get("/api/v1/accounts").json()
    assert [person["name"] for person in names] == ["ann", "bob"]
    migrate(engine)
    assert edge.receipt(edge.get("/edge/v1/receipt")).acked_through == 3
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
