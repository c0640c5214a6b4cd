"""C2, C5, C6: a database that is full, locked, killed, or asked by too many at once."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import date, timedelta
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Engine, text
from starlette.testclient import TestClient

from app.central.accounts.models import Role
from app.central.database import open_engine
from tests.conftest import Clock
from tests.support.fleet import PASSWORD, FakeEdge, World, assert_balance, assert_ledger

TOO_MANY = 16  # more than the twelve connections of a service


@pytest.fixture
def impatient(tmp_path: Path, fresh_database: Engine, simulated_clock: Clock) -> Iterator[World]:
    """A world that waits a second for a connection or a lock. Ends in the balance of its edges."""
    engine = open_engine(fresh_database.url, wait_s=1)
    made = World(tmp_path, engine)
    yield made
    assert_ledger(made)
    engine.dispose()


def connect(world: World) -> psycopg.Connection:
    """Somebody else at the same database."""
    url = world.bind.engine.url.set(drivername="postgresql")
    return psycopg.connect(url.render_as_string(hide_password=False))


@contextmanager
def small_disk(folder: Path, owner: os.stat_result) -> Iterator[Path]:
    """A file system of a megabyte; skipped where nobody may mount one."""
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "tmpfs", folder],
        capture_output=True,
        check=False,
    )
    if done.returncode:
        pytest.skip("a small file system cannot be mounted here (needs root)")
    try:
        os.chown(folder, owner.st_uid, owner.st_gid)
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def send_until_refused(edge: FakeEdge) -> tuple[int, int]:
    """How many windows were taken in, and the status that ended it."""
    for sent in range(50):
        answer = edge.send(edge.window(date(2026, 1, 1) + timedelta(days=sent % 60)))
        if answer.status_code != 200:
            return sent, answer.status_code
    raise AssertionError("the disk never filled")


@pytest.mark.skipif(shutil.which("mount") is None, reason="no mount program")
def test_c5_a_full_disk_is_said_so_keeps_nothing_by_half_and_is_gone_on_from(
    own_server: tuple[Path, World],
) -> None:
    home, world = own_server
    edge = world.an_edge()
    with small_disk(home.parent / "small", (home / "data").stat()) as disk:
        with connect(world) as admin:
            admin.autocommit = True
            admin.execute(f"CREATE TABLESPACE small LOCATION '{disk}'".encode())
            admin.execute("ALTER TABLE stored_window_default SET TABLESPACE small")

        edge.send(edge.window(date(2026, 3, 6)))
        with suppress(OSError), (disk / "filler").open("wb", buffering=0) as filler:
            while filler.write(bytes(4096)):
                pass
        taken, status = send_until_refused(edge)
        taken += 1  # the one before
        assert status == 503
        assert_balance(world, edge, unsent=1)
        assert_ledger(world)
        read = edge.get("/edge/v1/receipt")  # those who only ask are answered
        with connect(world) as admin:
            admin.autocommit = True
            admin.execute("ALTER TABLE stored_window_default SET TABLESPACE pg_default")
            admin.execute("DROP TABLESPACE small")

        edge.sequence -= 1
        edge.previous = last_digest(world)
        again = edge.send(edge.window(date(2026, 3, 8)))

    assert edge.receipt(read).acked_through == taken
    assert edge.receipt(again).acked_through == taken + 1
    assert_balance(world, edge)


def wait_for(holds: Callable[[], object]) -> None:
    for _ in range(1000):
        if holds():
            return
        time.sleep(0.01)
    raise AssertionError("waited in vain")


def last_digest(world: World) -> str:
    with world.sessions() as session:
        return str(session.scalar(text("SELECT digest FROM arrival ORDER BY sequence DESC")))


def test_c6_without_a_free_connection_the_edge_is_asked_to_come_again(impatient: World) -> None:
    edge = impatient.an_edge()
    window = edge.window()
    assert isinstance(impatient.bind, Engine)
    held = [impatient.bind.connect() for _ in range(12)]

    refused = edge.send(window)
    for one in held:
        one.close()
    again = edge.send(window)

    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
    assert edge.receipt(again).windows[0].outcome == "stored"
    assert_balance(impatient, edge)


def test_c6_a_lock_that_somebody_holds_is_not_waited_for_without_end(impatient: World) -> None:
    edge = impatient.an_edge()
    edge.send(edge.window(date(2026, 3, 7)))
    window = edge.window(date(2026, 3, 8))
    with connect(impatient) as other:
        other.execute("SELECT * FROM edge_cursor FOR UPDATE")
        refused = edge.send(window)
        assert_balance(impatient, edge, unsent=1)

    again = edge.send(window)

    assert refused.status_code == 503
    assert edge.receipt(again).acked_through == 2
    assert_balance(impatient, edge)


def test_c6_of_two_that_wait_for_each_other_none_is_kept_by_half(committed: World) -> None:
    edge = committed.an_edge()
    edge.send(edge.window(date(2026, 3, 7)))
    window = edge.window(date(2026, 3, 8))
    with connect(committed) as other, ThreadPoolExecutor(1) as pool:
        other.execute("SET deadlock_timeout = '60s'")  # so that the service is the one to give in
        other.execute("SELECT * FROM edge_cursor FOR UPDATE")
        sending = pool.submit(edge.send, window)
        wait_for(lambda: other.execute("SELECT 1 FROM pg_locks WHERE NOT granted").fetchone())
        other.execute("LOCK TABLE request_nonce")  # which the request has written to
        refused = sending.result()
        other.rollback()

    again = edge.send(window)

    assert refused.status_code == 503
    assert edge.receipt(again).acked_through == 2
    assert_balance(committed, edge)


def test_c6_more_signers_at_once_than_connections_all_sign(committed: World) -> None:
    browsers = [committed.browser(f"p{n}", Role.VIEWER) for n in range(TOO_MANY)]

    def change(one: TestClient) -> int:
        body = {"password": PASSWORD, "new_password": "another horse battery"}
        return one.put("/api/v1/account/password", json=body).status_code

    with ThreadPoolExecutor(TOO_MANY) as pool:
        answers = list(pool.map(change, browsers))

    assert answers == [204] * TOO_MANY


def test_c2_a_server_that_is_killed_comes_back_and_what_was_acknowledged_is_there(
    own_server: tuple[Path, World],
) -> None:
    home, world = own_server
    with connect(world) as other:
        other.autocommit = True
        other.execute("ALTER DATABASE lockwatch SET synchronous_commit = on")
    assert isinstance(world.bind, Engine)
    world.bind.dispose()
    edge = world.an_edge()
    edge.send(edge.window(date(2026, 3, 7)))
    other = connect(world)
    os.kill(other.info.backend_pid, signal.SIGKILL)  # the server drops everybody and recovers
    other.close()
    window, statuses = edge.window(date(2026, 3, 8)), set()

    def is_taken() -> bool:
        statuses.add(edge.send(window).status_code)
        return 200 in statuses

    wait_for(is_taken)
    assert statuses <= {200, 503}
    assert edge.receipt(edge.get("/edge/v1/receipt")).acked_through == 2
    assert "recovery" in (home / "log").read_text()
    assert_balance(world, edge)
