"""Worker rounds: everything due is done, told and visible from outside."""

from __future__ import annotations

import logging
import mailbox
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from app import clock
from app.central.accounts.models import Role
from app.central.alerts.models import Severity
from app.central.alerts.service import add_recipient
from app.central.surveillance import service, sums_repository
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


def test_the_service_is_ready_while_a_worker_keeps_up(world: World, simulated_clock: Clock) -> None:
    before = world.client.get("/ready")
    a_worker(world).round()
    during = world.client.get("/ready")
    simulated_clock.advance(minutes=16)
    after = world.client.get("/ready")

    assert (before.status_code, during.status_code, after.status_code) == (503, 200, 503)
    assert during.json() == {
        "ready": True,
        "worker": True,
        "late_runs": 0,
        "undelivered_mails": 0,
    }


def test_work_that_is_due_but_not_done_is_counted(world: World, simulated_clock: Clock) -> None:
    with world.sessions.begin() as session:
        job = {"j": "report", "at": clock.now()}
        session.execute(
            text(
                "INSERT INTO job_run (job, due_at, state, owner, attempts, last_error) "
                "VALUES (:j, :at, 'due', '', 0, '')"
            ),
            job,
        )
    simulated_clock.advance(minutes=16)

    told = world.client.get("/metrics").text

    assert world.client.get("/ready").json()["late_runs"] == 1
    assert "lockwatch_job_runs_late 1.0" in told
    assert 'lockwatch_job_runs{state="due"} 1.0' in told


def test_the_metrics_name_no_site_and_no_edge(world: World) -> None:
    edge = world.an_edge("H07")
    edge.send(edge.window())

    told = world.client.get("/metrics").text

    assert 'lockwatch_windows{state="stored"} 1.0' in told
    assert 'lockwatch_edges{state="active"} 1.0' in told
    assert "H07" not in told
    assert edge.edge_id not in told


def test_a_silent_edge_becomes_one_mail_and_is_asked_about_once_more(
    world: World, simulated_clock: Clock
) -> None:
    world.an_edge()
    with world.sessions.begin() as session:
        add_recipient(session, "ann@example.org", Severity.NOTICE, by="test", now=clock.now())
    worker = a_worker(world)
    worker.round()

    for _ in range(5):
        simulated_clock.advance(days=1, hours=1)
        worker.round()

    folder = Path(world.settings.transport.removeprefix("maildir:"))
    assert sorted(mails(folder)) == ["S-0001 silence", "S-0001 waits for 1 day, 1:00:00"]
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
    first, asked_again = sorted(mails(folder))
    assert first.startswith(f"{signal.id} acquisition")
    assert asked_again.startswith(f"{signal.id} waits")
    assert is_settled(world)


def test_a_round_longer_than_the_tick_is_alone_and_causes_no_noise(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    worker = a_worker(world)
    begun: list[int] = []
    ticked, ended = threading.Semaphore(0), threading.Event()

    def long_round() -> None:
        begun.append(1)
        ended.wait(10)

    def tick() -> None:
        Worker.tick(worker)
        ticked.release()

    monkeypatch.setattr(worker, "round", long_round)
    monkeypatch.setattr(worker, "tick", tick)
    with caplog.at_level(logging.WARNING, logger="apscheduler"):
        scheduler = worker.start()
        passed = [ticked.acquire(timeout=10) for _ in range(3)]  # while the first is at work
        at_work = len(begun)
        ended.set()
        scheduler.shutdown(wait=True)

    assert passed == [True] * 3
    assert at_work == 1
    assert not caplog.records


def test_a_round_sums_what_came_and_a_window_that_cannot_be_read_stops_nothing_else(
    world: World, simulated_clock: Clock
) -> None:
    edge = world.an_edge()
    days = [simulated_clock.advance(days=1).date() for _ in range(4)]
    for day in days[:2]:
        assert edge.send(edge.window(day - timedelta(days=1))).status_code == 200
    worker = a_worker(world)

    worker.round()

    with world.sessions() as session:
        assert sums_repository.missing(session) == []
    assert edge.send(edge.window(days[2] - timedelta(days=1))).status_code == 200
    with world.sessions.begin() as session:
        raw = session.scalar(text("SELECT raw FROM stored_window WHERE sequence = 3"))
        session.execute(text("UPDATE stored_window SET raw = 'x' WHERE sequence = 3"))
    simulated_clock.advance(days=1)
    worker.round()
    assert is_settled(world)
    with world.sessions.begin() as session:
        [left] = sums_repository.missing(session)
        session.execute(text("UPDATE stored_window SET raw = :r WHERE sequence = 3"), {"r": raw})
    assert (left.low, left.high) == (3, 4)

    worker.round()

    with world.sessions() as session:
        assert sums_repository.missing(session) == []
