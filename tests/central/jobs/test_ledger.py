from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, func, select, text, update
from sqlalchemy.orm import Session, sessionmaker

from app.central.audit import service as audit
from app.central.audit.models import AuditEntry
from app.central.database import session_factory
from app.central.jobs import service
from app.central.jobs.models import JobRun, RunState
from app.central.jobs.schedule import CatchUp, Every
from app.central.jobs.service import Job, is_settled, recent_runs, run_due

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def note(session: Session, due_at: datetime) -> None:
    """A job whose effect can be counted."""
    audit.record(session, actor="job", action="test:job:run", subject=str(due_at), at=due_at)


def jobs(work=note, catch_up: CatchUp = CatchUp.ALL) -> dict[str, Job]:
    return {"hourly": Job("hourly", Every(HOUR), work, catch_up)}


@pytest.fixture
def factory(fresh_database: Engine) -> sessionmaker[Session]:
    made = session_factory(fresh_database)
    run_due(made, jobs(), "first", NOON)
    return made


def effects(factory: sessionmaker[Session]) -> int:
    with factory() as session:
        return session.scalar(select(func.count()).select_from(AuditEntry)) or 0


def test_eight_workers_do_each_due_time_once(factory) -> None:
    with ThreadPoolExecutor(8) as pool:
        done = sum(pool.map(lambda i: run_due(factory, jobs(), f"w{i}", NOON + 6 * HOUR), range(8)))

    assert done == effects(factory) == 6


def test_what_was_due_while_nobody_worked_is_done_late_and_once(factory) -> None:
    assert run_due(factory, jobs(), "w", NOON + 48 * HOUR) == 48
    assert run_due(factory, jobs(), "w", NOON + 48 * HOUR) == 0


def test_catching_up_may_mean_only_the_newest(factory) -> None:
    assert run_due(factory, jobs(catch_up=CatchUp.LATEST), "w", NOON + 48 * HOUR) == 1


def test_a_failed_attempt_keeps_no_effect_and_is_tried_again(factory) -> None:
    attempts = []

    def fails_once(session: Session, due_at: datetime) -> None:
        attempts.append(due_at)
        note(session, due_at)
        if len(attempts) == 1:
            raise RuntimeError("first time")

    assert run_due(factory, jobs(fails_once), "w", NOON + HOUR) == 0
    assert effects(factory) == 0
    with factory() as session:
        assert not is_settled(session, NOON + HOUR)
        [run] = recent_runs(session)
        assert (run.state, run.last_error) == (RunState.DUE, "RuntimeError")

    forget_the_wait(factory)
    assert run_due(factory, jobs(fails_once), "w", NOON + HOUR) == 1
    assert effects(factory) == 1


def forget_the_wait(factory) -> None:
    with factory.begin() as session:
        session.execute(update(JobRun).values(not_before=None))


def test_a_job_that_always_fails_is_given_up_visibly_and_stops_nobody(factory) -> None:
    def fails(session: Session, due_at: datetime) -> None:
        raise RuntimeError("always")

    both = jobs(fails) | {"other": Job("other", Every(HOUR), note)}
    run_due(factory, {"other": both["other"]}, "w", NOON)
    for _ in range(service.MOST_ATTEMPTS + 1):
        run_due(factory, both, "w", NOON + HOUR)
        forget_the_wait(factory)

    with factory() as session:
        states = {run.job: run.state for run in recent_runs(session)}
    assert states == {"hourly": RunState.FAILED, "other": RunState.DONE}


def test_a_lost_worker_loses_its_lease_and_the_run_is_done_by_another(factory) -> None:
    with factory.begin() as session:
        service.plan(session, jobs(), NOON + HOUR)
    lost = service._claim(factory, jobs(), "lost")
    with factory.begin() as session:
        session.execute(update(JobRun).values(lease_until=text("now() - interval '1 s'")))

    assert run_due(factory, jobs(), "next", NOON + HOUR) == 1

    # The lost one comes back: its attempt is fenced out, with everything it did.
    assert lost is not None
    assert service._attempt(factory, jobs()["hourly"], lost, NOON + HOUR) is False
    assert effects(factory) == 1


def test_settled_means_planned_and_done(factory) -> None:
    with factory() as session:
        assert is_settled(session, NOON)
        assert not is_settled(session, NOON + HOUR)

    run_due(factory, jobs(), "w", NOON + HOUR)

    with factory() as session:
        assert is_settled(session, NOON + HOUR)
