"""L4, L5, C14: what arrives after a report was signed, revisions, another PostgreSQL."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from sqlalchemy import Engine, select

from app import clock
from app.central import embedded_postgres
from app.central.backup import backup, restore
from app.central.database import migrate, open_engine
from app.central.embedded_postgres import open_embedded
from app.central.intake.models import StoredWindow
from app.central.reports import drafting, service, signing
from app.central.reports.assembling import read
from app.central.reports.models import Meaning
from tests.support.fleet import FakeEdge, World, assert_balance, assert_ledger
from tests.support.postgres import FAST
from tests.support.rendering import RENDERERS


def a_report(world: World) -> str:
    with world.sessions.begin() as session:
        made = drafting.request(
            session, world.lock_digest, date(2026, 3, 1), date(2026, 3, 10), by="a", now=clock.now()
        )
        drafting.draft(session, made, renderer=RENDERERS.report, now=clock.now())
        return made.number


def sign(world: World, number: str, meaning: Meaning, by: str) -> None:
    with world.sessions.begin() as session:
        signing.sign(
            session,
            number,
            meaning,
            seen_digest=service.detail(session, number).content_digest,
            signer=signing.Signer(by, by, clock.now()),
            key=world.key,
            press=signing.Press.of(RENDERERS, world.settings),
        )


def analysed(world: World, number: str) -> int:
    with world.sessions() as session:
        return read(service.issued(session, number).evidence).totals[0].analysed


def test_l4_a_window_after_the_signature_leaves_the_report_and_is_in_the_next(
    world: World,
) -> None:
    edge = world.an_edge()
    edge.send(edge.window(date(2026, 3, 7)))
    first = a_report(world)
    sign(world, first, Meaning.REVIEW, "b")
    sign(world, first, Meaning.APPROVAL, "c")
    with world.sessions() as session:
        before = service.issued(session, first).input_digest

    edge.send(edge.window(date(2026, 3, 8)))
    second = a_report(world)

    with world.sessions() as session:
        rebuilt = service.rebuild(session, first, renderer=RENDERERS.report)
        assert rebuilt.is_equal
        assert service.issued(session, first).input_digest == before
        assert service.issued(session, second).input_digest != before
    assert analysed(world, second) == 2 * analysed(world, first) > 0
    assert_balance(world, edge)


def test_l5_a_revision_stands_beside_what_it_adds_to(world: World) -> None:
    edge = world.an_edge()
    first = edge.window(date(2026, 3, 7))
    late = edge.window(date(2026, 3, 7), revision=1)
    edge.send(first)
    alone = analysed(world, a_report(world))

    answer = edge.send(late)

    assert edge.receipt(answer).windows[0].outcome == "stored"
    with world.sessions() as session:
        rows = session.execute(
            select(StoredWindow.revision, StoredWindow.digest).order_by(StoredWindow.revision)
        ).all()
    assert rows == [(0, first.digest), (1, late.digest)]
    assert analysed(world, a_report(world)) == 2 * alone > 0
    assert_balance(world, edge)


def an_older_cluster(home: Path) -> int:
    """A cluster of the oldest PostgreSQL here, and its major version."""
    installed = dict(embedded_postgres._installed())
    oldest = min(installed)
    if oldest == max(installed):
        pytest.skip(f"only PostgreSQL {oldest} is installed: no copy to bring to another")
    account = embedded_postgres._server_account(home)
    home.mkdir()
    embedded_postgres._give(home, account)
    programs = embedded_postgres._reachable_programs(
        installed[oldest], account, embedded_postgres.SHELTER
    )
    embedded_postgres._initialise(programs, home / "data", account, is_durable=False)
    return oldest


def test_c14_a_copy_of_an_older_postgresql_verifies_on_the_newest(
    tmp_path: Path, open_place: Path, fresh_database: Engine
) -> None:
    oldest = an_older_cluster(open_place / "pg")
    with open_embedded(open_place / "pg", settings=FAST) as server:
        engine = open_engine(server.url)
        migrate(engine)
        world = World(tmp_path, engine)
        edge = world.an_edge()
        edge.send(edge.window())
        said = backup(world.settings, engine, tmp_path / "copy")
        engine.dispose()
    newest = brought_to(fresh_database, world, edge, tmp_path / "copy", said)

    assert oldest < newest


def brought_to(engine: Engine, world: World, edge: FakeEdge, copy: Path, said: str) -> int:
    """Restore over an emptied database; the server's major version."""
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP SCHEMA public CASCADE")
        connection.exec_driver_sql("CREATE SCHEMA public")
        version = connection.exec_driver_sql("SHOW server_version_num").scalar()
    assert restore(world.settings, engine, copy) == said
    edge.world = World(world.settings.data_dir.parent, engine)
    assert edge.receipt(edge.get("/edge/v1/receipt")).acked_through == 1
    assert_balance(edge.world, edge)
    assert_ledger(edge.world)
    return int(version or 0) // 10_000
