"""Faults of the link, the database and the accounts, as numbered in the fault catalogue.

Those that one refusal covers stand with their part (`tests/central`); here are the ones that
need several processes, real commits or a database that fails.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Engine, func, inspect, select, text
from sqlalchemy.exc import DBAPIError

from app import clock
from app.central.accounts.models import Role
from app.central.database import migrate, open_engine
from app.central.fleet.models import EdgeAction
from app.central.intake.models import Arrival, StoredWindow
from app.central.tables import metadata
from tests.support.fleet import FakeEdge, World, assert_balance
from tests.support.postgres import Databases


def count(world: World, table: type[Arrival] | type[StoredWindow]) -> int:
    with world.sessions() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def test_l1_l2_a_window_sent_eight_times_at_once_is_one_row(committed: World) -> None:
    edge = committed.an_edge()
    edge.get("/edge/v1/state")  # so that noting the time of the call does not serialise them
    window = edge.window()

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: edge.send(window), range(8)))

    outcomes = sorted(edge.receipt(a).windows[0].outcome for a in answers)
    assert outcomes == ["duplicate"] * 7 + ["stored"]
    assert count(committed, StoredWindow) == 1
    assert_balance(committed, edge)


def test_l2_of_two_windows_under_one_number_at_once_one_is_stored(committed: World) -> None:
    edge = committed.an_edge()
    edge.get("/edge/v1/state")
    first = edge.window()
    edge.sequence, edge.previous = 0, "0" * 64
    second = edge.window(date(2026, 3, 7))

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(edge.send, [first, second] * 4))

    statuses = sorted(a.status_code for a in answers)
    assert statuses == [200] * 4 + [409] * 4
    assert count(committed, StoredWindow) == 1
    assert_balance(committed, edge)


@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4), (4, 3, 2, 1, 0), (2, 0, 4, 1, 3)])
def test_l3_the_order_of_arrival_does_not_change_what_is_stored(
    world: World, order: tuple[int, ...]
) -> None:
    edge = world.an_edge()
    windows = [edge.window(date(2026, 1, 1) + timedelta(days=15 * i)) for i in range(5)]

    for i in order:
        edge.send(windows[i])

    with world.sessions() as session:
        stored = session.scalars(select(StoredWindow.digest).order_by(StoredWindow.sequence))
        assert list(stored) == [w.digest for w in windows]
    assert edge.receipt(edge.get("/edge/v1/receipt")).acked_through == 5
    assert_balance(world, edge)


def test_l12_a_body_of_single_bytes_is_read_as_one(world: World) -> None:
    edge = world.an_edge()
    raw = edge.window().raw
    headers = edge.headers("POST", "/edge/v1/windows", raw)

    answer = world.client.post(
        "/edge/v1/windows", content=(raw[i : i + 1] for i in range(len(raw))), headers=headers
    )

    assert edge.receipt(answer).windows[0].outcome == "stored"


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b'{"code": NaN}',
        b'{"code": "\\u0000"}',
        b'{"code": "\\ud800"}',
        b'{"code": ' + b"9" * 5000 + b"}",
        b'{"code": "a", "code": "b"}',
        b"\xff\xfe",
        b"",
    ],
)
def test_l14_poisoned_json_is_refused_and_never_an_error_of_ours(world: World, body: bytes) -> None:
    assert world.client.post("/edge/v1/enrol", content=body).status_code == 422
    for path in ("/api/v1/session", "/api/v1/sites"):
        kind = {"content-type": "application/json"}
        answer = world.client.post(path, content=body, headers=kind)
        assert answer.status_code in {400, 401, 422}


def test_l14_nul_in_a_reported_text_does_not_reach_the_database(world: World) -> None:
    edge = world.an_edge()

    answer = edge.send(edge.window(agent_version="0.1\x00.0"))

    assert edge.receipt(answer).windows[0].outcome == "stored"
    with world.sessions() as session:
        assert session.scalar(text("SELECT agent_version FROM edge")) == "0.1.0"


def test_c1_a_window_whose_transaction_was_lost_is_new_again(committed: World) -> None:
    edge = committed.an_edge()
    window = edge.window()
    with committed.sessions.begin() as session:
        session.execute(
            text(
                "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS "
                "$$ BEGIN RAISE EXCEPTION 'killed'; END $$"
            )
        )
        session.execute(
            text(
                "CREATE CONSTRAINT TRIGGER killed AFTER INSERT ON arrival "
                "DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION fail()"
            )
        )

    failed = edge.send(window)
    left = count(committed, Arrival)
    with committed.sessions.begin() as session:
        session.execute(text("DROP TRIGGER killed ON arrival"))
    again = edge.send(window)

    assert failed.status_code == 500  # the failure came with the commit, and before the answer
    assert left == 0
    assert edge.receipt(again).windows[0].outcome == "stored"
    assert_balance(committed, edge)


def test_c2_connections_that_the_server_dropped_are_opened_again(
    own_server: tuple[Path, World],
) -> None:
    home, world = own_server
    edge = world.an_edge()
    edge.send(edge.window(date(2026, 3, 7)))
    with psycopg.connect(
        host=str(home / "socket"), dbname="postgres", user="lockwatch", autocommit=True
    ) as other:
        other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'lockwatch'"
        )

    answer = edge.send(edge.window(date(2026, 3, 8)))

    assert edge.receipt(answer).acked_through == 2
    assert_balance(world, edge)


def backend(engine: Engine) -> object:
    """The server process behind the pool's next connection."""
    with engine.connect() as connection:
        return connection.scalar(text("SELECT pg_backend_pid()"))


def test_c3_a_primary_that_became_read_only_is_left(own_server: tuple[Path, World]) -> None:
    _, world = own_server
    assert isinstance(world.bind, Engine)
    edge = world.an_edge()
    with world.sessions.begin() as session:
        session.execute(text("ALTER DATABASE lockwatch SET default_transaction_read_only = on"))
    world.bind.dispose()

    before = backend(world.bind)
    refused = edge.send(edge.window())
    after = backend(world.bind)
    with world.bind.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("SET default_transaction_read_only = off"))
        connection.execute(text("ALTER DATABASE lockwatch RESET default_transaction_read_only"))
    world.bind.dispose()
    edge.sequence, edge.previous = 0, "0" * 64
    accepted = edge.send(edge.window())

    assert refused.status_code == 503
    assert after != before
    assert edge.receipt(accepted).windows[0].outcome == "stored"


def test_c7_a_month_without_a_partition_goes_to_the_default(world: World) -> None:
    edge = world.an_edge()

    edge.send(edge.window())

    with world.sessions() as session:
        where = session.scalar(text("SELECT tableoid::regclass::text FROM stored_window"))
    assert where == "stored_window_default"
    assert_balance(world, edge)


def test_c13_of_several_processes_that_migrate_at_once_one_does_it(
    databases: Databases,
) -> None:
    with databases.copy("template0") as engine:
        urls = [engine.url] * 4

        def bring_up(url: object) -> None:
            one = open_engine(str(engine.url.render_as_string(hide_password=False)))
            migrate(one)
            one.dispose()

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(bring_up, urls))

        with engine.connect() as connection:
            assert connection.scalar(text("SELECT count(*) FROM alembic_version")) == 1
        assert set(metadata.tables) <= set(inspect(engine).get_table_names())


def test_c16_every_route_about_a_site_hides_it_from_another(world: World) -> None:
    other = world.an_edge("H02")
    world.add_site("H01")
    browser = world.browser("ann", Role.SITE_ADMIN, "H01")
    other.send(other.window())

    paths = [f"/api/v1/edges/{other.edge_id}", f"/api/v1/edges/{other.edge_id}/windows"]
    lists = ["/api/v1/sites", "/api/v1/balances", "/api/v1/signals"]

    assert [browser.get(p).status_code for p in paths] == [404, 404]
    assert all("H02" not in browser.get(p).text for p in lists)
    assert all(other.edge_id not in browser.get(p).text for p in lists)


def test_a8_a_change_that_cannot_be_audited_does_not_happen(committed: World) -> None:
    edge = committed.an_edge()
    with committed.sessions.begin() as session:
        session.execute(text("ALTER TABLE audit_entry RENAME TO audit_entry_gone"))

    with pytest.raises(DBAPIError):
        committed.act(edge, EdgeAction.SUSPEND)

    with committed.sessions.begin() as session:
        session.execute(text("ALTER TABLE audit_entry_gone RENAME TO audit_entry"))
        assert session.scalar(text("SELECT state FROM edge")) == "active"


def test_b4_an_edge_that_serves_an_old_release_is_noticed(world: World) -> None:
    from app.central.fleet.jobs import concerns
    from app.central.fleet.repository import find_edge

    edge = world.an_edge()
    edge.send(edge.window())

    with world.sessions.begin() as session:
        row = find_edge(session, edge.edge_id)
        assert row is not None
        row.reported_lock = "cd" * 32
        assert [c.event for c in concerns(row, clock.now())] == ["lock"]


def test_e12_a_cloned_edge_is_seen_and_nothing_is_merged(committed: World) -> None:
    edge = committed.an_edge()
    clone = FakeEdge(committed, key=edge.key, edge_id=edge.edge_id)

    mine = edge.send(edge.window(date(2026, 3, 7)))
    theirs = clone.send(clone.window(date(2026, 3, 8)))

    assert edge.receipt(mine).windows[0].outcome == "stored"
    assert (theirs.status_code, theirs.json()["reason"]) == (409, "equivocation")
    assert count(committed, StoredWindow) == 1
    assert_balance(committed, edge)
