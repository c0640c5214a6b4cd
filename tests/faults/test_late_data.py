"""L4, L5, C14: what arrives after a report was signed, revisions, another PostgreSQL."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
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
from app.central.reports.ports import DriftReport
from tests.conftest import Clock
from tests.support.fleet import FakeEdge, World, assert_balance, assert_ledger
from tests.support.postgres import FAST
from tests.support.rendering import RENDERERS


def a_report(world: World) -> str:
    """Asked for by a person and drafted by a worker."""
    with world.sessions.begin() as session:
        made = drafting.request(
            session, world.lock_digest, date(2026, 3, 1), date(2026, 3, 10), by="a", now=clock.now()
        )
    assert drafting.draft_waiting(world.sessions, RENDERERS.report, clock.now()) == 1
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


def content(world: World, number: str) -> DriftReport:
    with world.sessions() as session:
        return read(service.issued(session, number).evidence)


def kept(world: World, number: str) -> tuple[bytes, ...]:
    """All the bytes of a report, and what was signed of it."""
    with world.sessions() as session:
        found = service.issued(session, number)
        signed = [s.content_digest for s in service.detail(session, number).signatures]
    said = [found.input_digest, found.pdf_digest, *signed]
    return found.evidence, found.html, found.pdf, *(text.encode() for text in said)


def test_l4_a_window_after_the_signature_leaves_the_report_and_is_in_the_next(
    committed: World, simulated_clock: Clock
) -> None:
    edge = committed.an_edge()
    edge.send(edge.window(date(2026, 3, 7)))
    first = a_report(committed)
    sign(committed, first, Meaning.REVIEW, "b")
    sign(committed, first, Meaning.APPROVAL, "c")
    before = kept(committed, first)

    simulated_clock.advance(days=60)
    late = edge.send(edge.window(date(2026, 3, 8)))  # a day that the signed report is about
    second = a_report(committed)

    assert edge.receipt(late).windows[0].outcome == "stored"
    assert kept(committed, first) == before
    with committed.sessions() as session:
        assert service.rebuild(session, first, renderer=RENDERERS.report).is_equal
    old, new = content(committed, first), content(committed, second)
    assert new.totals[0].analysed == 2 * old.totals[0].analysed > 0
    assert [b.stored for b in (*old.balances, *new.balances)] == [1, 2]
    assert_balance(committed, edge)


def test_l5_a_revision_stands_beside_what_it_adds_to(committed: World) -> None:
    edge = committed.an_edge()
    first = edge.window(date(2026, 3, 7))
    late = edge.window(date(2026, 3, 7), revision=1)
    edge.send(first)
    before = a_report(committed)

    with ThreadPoolExecutor(4) as pool:  # the first is sent again while its revision comes
        answers = list(pool.map(edge.send, [first, late, first, late]))

    outcomes = sorted(edge.receipt(a).windows[0].outcome for a in answers)
    assert outcomes == ["duplicate", "duplicate", "duplicate", "stored"]
    with committed.sessions() as session:
        rows = session.execute(
            select(StoredWindow.revision, StoredWindow.digest, StoredWindow.raw).order_by(
                StoredWindow.revision
            )
        ).all()
    assert rows == [(0, first.digest, first.raw), (1, late.digest, late.raw)]
    old, new = content(committed, before), content(committed, a_report(committed))
    assert new.totals[0].analysed == 2 * old.totals[0].analysed > 0
    assert [b.stored for b in (*old.balances, *new.balances)] == [1, 2]
    assert_balance(committed, edge)


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
