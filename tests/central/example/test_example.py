"""Example data comes through the real doors, stays apart from everything real, and goes wholly."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from io import BytesIO
from pathlib import Path

import pytest
from sqlalchemy import Engine, inspect, text
from sqlalchemy.orm import Session

from app import clock
from app.central.alerts import service as alerts
from app.central.audit import service as audit
from app.central.audit.verifier import verify
from app.central.database import migrate, open_engine, session_factory
from app.central.errors import NotAllowed, NotFound
from app.central.example import store
from app.central.example.loading import Example, Loader, Step
from app.central.example.store import LoadState
from app.central.fleet import service as fleet
from app.central.intake import service as intake
from app.central.references import service as references
from app.central.surveillance import service as surveillance
from app.contracts.window import decode
from app.lab.example import example
from app.lab.example_device import FLEET
from app.lab.simulate import EPOCH
from tests.conftest import Clock
from tests.support.example_world import ask, contents, load, remove, state
from tests.support.fleet import World, assert_balance, assert_ledger
from tests.support.postgres import Databases


@pytest.fixture(scope="module")
def loaded(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A fleet of one edge, with example data beside it."""
    folder = tmp_path_factory.mktemp("example")
    with pytest.MonkeyPatch.context() as patch, databases.copy() as engine:
        patch.setenv(clock.VARIABLE, str(folder / "clock"))
        Clock(folder / "clock")
        world = World(folder, engine)
        edge = world.an_edge()
        edge.send(edge.window())
        load(engine)
        yield world


@pytest.fixture
def beside(loaded: World) -> Iterator[Session]:
    """A session that sees the example."""
    engine = store.engine_beside(_engine(loaded))
    with session_factory(engine)() as session:
        yield session
    engine.dispose()


def _engine(world: World) -> Engine:
    assert isinstance(world.bind, Engine)
    return world.bind


def test_the_real_evaluation_finds_the_one_change_that_was_planted(beside: Session) -> None:
    [drift] = FLEET.drifts
    planted = date.fromordinal(EPOCH + FLEET.reference_days + drift.day)

    [found] = surveillance.signals(beside)

    assert (found.signal.sites, found.signal.scanners) == (("EX2",), ("EX2-S1",))
    assert found.signal.history[-1].causes == ("scanner",)
    assert found.signal.change_interval is not None
    first, last = found.signal.change_interval
    assert first <= planted <= last
    assert planted < found.signal.date <= date(2025, 4, 6)


def test_every_window_is_signed_by_its_edge_and_every_balance_closes(beside: Session) -> None:
    balances = intake.balances(beside)
    windows = beside.execute(text("SELECT edge_id, raw FROM stored_window")).all()
    keys = {k: bytes.fromhex(v) for k, v in beside.execute(text("SELECT id, public_key FROM edge"))}

    assert [(b.closes, b.cases_close, b.on_edge, b.quarantined) for b in balances] == [
        (True, True, 0, 0)
    ] * FLEET.sites
    assert sum(b.stored for b in balances) == len(windows) > 300
    for edge_id, raw in windows[::40]:
        assert decode(raw, keys[edge_id]).header.edge_id == edge_id


def test_two_people_stand_behind_its_reference_and_nobody_was_told(beside: Session) -> None:
    [reference] = references.views(beside)

    assert {reference.proposed_by, reference.approved_by} == {"example-analyst", "example-approver"}
    assert list(alerts.mails(beside, 10)) == []
    assert list(alerts.recipients(beside)) == []


def test_all_that_it_shows_is_called_an_example(beside: Session) -> None:
    assert [v.device for v in fleet.device_versions(beside)] == ["Example chest triage"]
    sites = fleet.sites(beside)
    assert [s.id for s in sites] == ["EX1", "EX2", "EX3"]
    assert all(s.name.startswith("Example hospital") for s in sites)


def test_the_real_installation_sees_none_of_it(loaded: World) -> None:
    with loaded.sessions() as session:
        assert [v.device for v in fleet.device_versions(session)] == [loaded.manifest.device]
        assert [s.id for s in fleet.sites(session)] == ["H01"]
        assert surveillance.signals(session) == ()
        [balance] = intake.balances(session)
        assert (balance.stored, balance.closes) == (1, True)
    assert_ledger(loaded)


def test_loading_and_removing_change_nothing_real_but_the_audit_trail(
    loaded: World, fresh_database: Engine, tmp_path: Path, simulated_clock: Clock
) -> None:
    world = World(tmp_path, fresh_database)
    edge = world.an_edge()
    edge.send(edge.window())
    before = contents(fresh_database)

    ask(fresh_database)
    loader = Loader(fresh_database, example)
    for _ in range(30):
        assert loader.step()
        assert_balance(world, edge)
    assert contents(fresh_database) == before
    while loader.step():
        pass
    assert state(fresh_database).state is LoadState.READY
    assert contents(fresh_database) == before
    assert documents(fresh_database) == documents(_engine(loaded))  # the same every time
    remove(fresh_database, by="another")

    assert contents(fresh_database) == before
    assert "example" not in inspect(fresh_database).get_schema_names()
    assert_balance(world, edge)
    assert_ledger(world)
    assert_told(world)
    loader.beside.dispose()


def documents(engine: Engine) -> list[object]:
    with engine.connect() as connection:
        found = connection.scalars(text("SELECT document FROM example.signal")).all()
    assert found
    return list(found)


def assert_told(world: World) -> None:
    """The trail verifies and says who loaded what, and who removed it."""
    with world.sessions() as session:
        lines = [a for a in audit.lines(session) if a.subject == "example"]
        exported = b"".join(audit.export(session, world.key, clock.now()))
    assert [(a.action, a.actor) for a in reversed(lines)] == [
        ("example:data:load", "lead"),
        ("example:data:ready", "lead"),
        ("example:data:remove", "another"),
    ]
    ready, removed = lines[1].detail, lines[0].detail
    assert ready["windows"] == removed["windows"] > 300
    assert ready["audit_head"] == removed["audit_head"]
    assert "unaltered" in verify(BytesIO(exported))


def test_it_is_loaded_once_and_removed_once(fresh_database: Engine, simulated_clock: Clock) -> None:
    with pytest.raises(NotFound, match="no example data"):
        remove(fresh_database)
    ask(fresh_database)
    with pytest.raises(NotAllowed, match="here already: waiting"):
        ask(fresh_database)
    remove(fresh_database)
    assert state(fresh_database).state is LoadState.ABSENT


def test_a_loader_that_went_away_is_followed_by_one_that_begins_anew(
    fresh_database: Engine, simulated_clock: Clock
) -> None:
    ask(fresh_database)
    first, second = (Loader(fresh_database, example) for _ in range(2))
    for _ in range(20):
        assert first.step()
    assert not second.step()  # the first holds it
    with fresh_database.begin() as connection:
        connection.execute(text("UPDATE example.loading SET lease_until = 'epoch'"))

    while second.step():
        pass

    assert state(fresh_database).state is LoadState.READY
    assert not first.step()  # it finds that it holds nothing any more
    engine = store.engine_beside(fresh_database)
    with session_factory(engine)() as session:
        assert all(b.closes and b.stored > 100 for b in intake.balances(session))
        assert len(surveillance.signals(session)) == 1
    for one in (engine, first.beside, second.beside):
        one.dispose()


def test_it_may_be_removed_while_it_is_loaded(
    fresh_database: Engine, simulated_clock: Clock
) -> None:
    ask(fresh_database)
    loader = Loader(fresh_database, example)
    for _ in range(5):
        assert loader.step()

    remove(fresh_database)

    assert not loader.step()
    assert not loader.step()
    assert state(fresh_database).state is LoadState.ABSENT
    loader.beside.dispose()


def test_what_fails_says_so_and_makes_room(fresh_database: Engine, simulated_clock: Clock) -> None:
    def fails(_: Session) -> None:
        raise ZeroDivisionError

    ask(fresh_database)
    broken = Loader(fresh_database, lambda: Example((Step("divides", fails),), clock.now()))
    assert broken.step()
    assert not broken.step()

    found = state(fresh_database)
    assert (found.state, found.what) == (LoadState.FAILED, "ZeroDivisionError")
    ask(fresh_database)
    assert state(fresh_database).state is LoadState.WAITING
    broken.beside.dispose()


def test_removal_is_refused_while_a_real_record_hangs_on_it(
    fresh_database: Engine, simulated_clock: Clock
) -> None:
    ask(fresh_database)
    loader = Loader(fresh_database, example)
    assert loader.step()
    with fresh_database.begin() as connection:
        connection.execute(
            text("CREATE TABLE note (signal_id text REFERENCES example.signal (id))")
        )

    with pytest.raises(NotAllowed, match="note"):
        remove(fresh_database)

    assert state(fresh_database).state is LoadState.LOADING
    loader.beside.dispose()


def test_a_schema_of_that_name_that_is_not_ours_is_left_alone(
    fresh_database: Engine, simulated_clock: Clock
) -> None:
    with fresh_database.begin() as connection:
        connection.execute(text("CREATE SCHEMA example"))

    with pytest.raises(NotAllowed, match="not ours"):
        ask(fresh_database)


def test_a_role_that_may_not_create_a_schema_is_told_what_it_lacks(
    fresh_database: Engine, simulated_clock: Clock
) -> None:
    name = fresh_database.url.database
    role = f"plain_{name}"
    with fresh_database.begin() as connection:
        connection.execute(text(f"CREATE ROLE {role} LOGIN PASSWORD 'x'"))
        connection.execute(text(f"GRANT pg_read_all_data, pg_write_all_data TO {role}"))
    plain = open_engine(fresh_database.url)
    with session_factory(plain)() as session:
        session.execute(text(f"SET LOCAL ROLE {role}"))
        with pytest.raises(NotAllowed, match="GRANT CREATE"):
            store.ask(session, by="lead", now=clock.now())
    plain.dispose()
    with fresh_database.begin() as connection:
        connection.execute(text(f"DROP OWNED BY {role}"))
        connection.execute(text(f"DROP ROLE {role}"))


def test_an_upgrade_brings_the_example_along(
    fresh_database: Engine, simulated_clock: Clock
) -> None:
    store.bring_up(fresh_database)  # nothing there: nothing to do
    assert "example" not in inspect(fresh_database).get_schema_names()
    ask(fresh_database)
    loader = Loader(fresh_database, example)
    assert loader.step()
    with fresh_database.begin() as connection:
        head = connection.scalar(text("SELECT version_num FROM alembic_version"))
        assert connection.scalar(text("SELECT version_num FROM example.alembic_version")) == head
    engine = store.engine_beside(fresh_database)
    with engine.begin() as connection:
        from alembic import command

        from app.central.database import alembic_config

        config = alembic_config()
        config.attributes["connection"] = connection
        command.downgrade(config, "-1")

    store.bring_up(fresh_database)

    with fresh_database.begin() as connection:
        assert connection.scalar(text("SELECT version_num FROM alembic_version")) == head
        assert connection.scalar(text("SELECT version_num FROM example.alembic_version")) == head
    migrate(fresh_database)
    for one in (engine, loader.beside):
        one.dispose()
