"""Worker rounds: everything due is done, told and visible from outside."""

from __future__ import annotations

import mailbox
from datetime import timedelta
from pathlib import Path

from sqlalchemy import text

from app import clock
from app.central.accounts.models import Role
from app.central.alerts.models import Severity
from app.central.alerts.service import add_recipient
from app.central.surveillance import service
from app.central.worker import Worker
from tests.central.surveillance.conftest import MONITORED_FROM, Watched
from tests.central.surveillance.conftest import played as played
from tests.central.surveillance.conftest import watched as watched
from tests.conftest import Clock
from tests.support.fleet import World
from tests.support.playing import play
from tests.support.rendering import RENDERERS


def a_worker(world: World) -> Worker:
    return Worker(world.settings, world.sessions, RENDERERS)


def is_settled(world: World) -> bool:
    answer = world.client.get("/api/v1/jobs/settled", params={"upto": clock.now().isoformat()})
    return bool(answer.json()["settled"])


def mails(folder: Path) -> list[str]:
    return [str(m["Subject"]) for m in mailbox.Maildir(folder, create=False)]


def test_nothing_is_settled_before_a_worker_has_looked(world: World) -> None:
    assert not is_settled(world)

    a_worker(world).round()

    assert is_settled(world)
    [worker] = world.client.get("/health").json()["workers"]
    assert worker["completed_to"].startswith("2026-03-10T12:00:00")


def test_time_that_moves_on_is_unsettled_until_the_next_round(
    world: World, simulated_clock: Clock
) -> None:
    worker = a_worker(world)
    worker.round()
    simulated_clock.advance(days=1)
    assert not is_settled(world)

    worker.round()

    assert is_settled(world)
    browser = world.browser("ann", Role.VIEWER)
    runs = browser.get("/api/v1/jobs").json()
    assert {r["state"] for r in runs} == {"done"}
    assert {r["job"] for r in runs} >= {"fleet.watch", "intake.partitions"}


def test_a_silent_edge_becomes_one_mail_and_stays_one(world: World, simulated_clock: Clock) -> None:
    world.an_edge()
    with world.sessions.begin() as session:
        add_recipient(session, "ann@example.org", Severity.NOTICE, by="test", now=clock.now())
    worker = a_worker(world)
    worker.round()

    for _ in range(3):
        simulated_clock.advance(days=1, hours=1)
        worker.round()

    folder = Path(world.settings.transport.removeprefix("maildir:"))
    assert mails(folder) == ["S-0001 silence"]
    assert is_settled(world)


def test_the_months_get_their_partitions_and_keep_what_came_before(
    world: World, simulated_clock: Clock
) -> None:
    edge = world.an_edge()
    edge.send(edge.window())
    worker = a_worker(world)

    worker.round()
    simulated_clock.advance(days=1)
    worker.round()

    with world.sessions() as session:
        where = session.scalars(text("SELECT tableoid::regclass::text FROM stored_window")).all()
        parts = session.scalars(
            text("SELECT relname FROM pg_class WHERE relname ~ '^stored_window_[0-9]+$'")
        ).all()
    assert where == ["stored_window_202603"]
    assert set(parts) == {"stored_window_202603", "stored_window_202604"}


def test_the_daily_evaluation_runs_for_every_missed_day_and_tells(
    watched: Watched,
) -> None:
    world = watched.world
    with world.sessions.begin() as session:
        add_recipient(session, "ann@example.org", Severity.NOTICE, by="test", now=clock.now())
    worker = a_worker(world)
    worker.round()

    change = MONITORED_FROM + timedelta(days=4)
    days = play(watched.edge, watched.clock, 12, first=MONITORED_FROM, seed=2, changes_on=change)
    for i, _ in enumerate(days):
        if i % 3 == 2:  # the worker was away for two days
            watched.clock.advance(hours=4)
            worker.round()

    with world.sessions() as session:
        [signal] = service.signals(session)
        days_evaluated = session.scalars(text("SELECT upto FROM evaluation ORDER BY 1")).all()
    folder = Path(world.settings.transport.removeprefix("maildir:"))
    assert days_evaluated == [MONITORED_FROM + timedelta(days=i) for i in range(13)]
    assert signal.signal.kind == "statistical"
    [subject] = mails(folder)
    assert subject.startswith(f"{signal.id} acquisition")
    assert is_settled(world)
