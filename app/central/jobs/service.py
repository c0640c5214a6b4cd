"""Exactly-once scheduled work: the clock only asks, the ledger in PostgreSQL knows.

Every worker runs the same round: write down what has become due, claim one run at a time, do
it, and mark it done in the same transaction as its effects. A worker that dies loses its
lease; a worker that comes back late is fenced out by its attempt number and rolled back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy.orm import Session, sessionmaker

from app import clock
from app.central.errors import NotFound
from app.central.jobs import repository
from app.central.jobs.models import JobRun, RunState
from app.central.jobs.schedule import CatchUp, Schedule, due_times

log = structlog.get_logger()
LEASE = timedelta(minutes=10)
MOST_ATTEMPTS = 5
FIRST_WAIT = timedelta(seconds=2)
LATE_AFTER = timedelta(minutes=15)

Work = Callable[[Session, datetime], None]
"""What a job does, in the given transaction, for the given due time."""


@dataclass(frozen=True, slots=True)
class Job:
    """A named piece of scheduled work."""

    name: str
    schedule: Schedule
    work: Work
    catch_up: CatchUp = CatchUp.ALL


@dataclass(frozen=True, slots=True)
class JobRunView:
    """A run of a job as a page shows it."""

    job: str
    due_at: datetime
    state: RunState
    attempts: int
    finished_at: datetime | None
    last_error: str


class FencedOut(Exception):
    """Somebody else has claimed the run since: what was done here must not be kept."""


def plan(session: Session, jobs: Mapping[str, Job], now: datetime) -> None:
    """Write down every due time up to `now`; a job seen for the first time begins now."""
    for name, written in repository.plans(session, jobs, now).items():
        due = due_times(jobs[name].schedule, written.planned_to, now, jobs[name].catch_up)
        repository.add_due(session, name, due)
        written.planned_to = max(written.planned_to, now)
    repository.give_up_lost(session, MOST_ATTEMPTS)


def shared_now(factory: sessionmaker[Session]) -> datetime:
    """The instant up to which work is due: the database's, which all workers share.

    Theirs may differ; simulated time is shared already.
    """
    if clock.simulated():
        return clock.now()
    with factory() as session:
        return repository.database_now(session)


def run_due(
    factory: sessionmaker[Session], jobs: Mapping[str, Job], owner: str, now: datetime
) -> int:
    """One round: plan, then do everything that is due. Returns how many runs were done."""
    with factory.begin() as session:
        plan(session, jobs, now)
    done = 0
    while (run := _claim(factory, jobs, owner)) is not None:
        done += _attempt(factory, jobs[run.job], run, now)
    with factory.begin() as session:
        repository.beat(session, owner, now)
    return done


def is_settled(session: Session, upto: datetime) -> bool:
    """Everything due by `upto` is written down and done (or visibly given up)."""
    planned = repository.planned_to(session)
    return planned is not None and planned >= upto and repository.unfinished(session, upto) == 0


def late(session: Session, now: datetime) -> int:
    """Runs that were due a while ago and are neither done nor given up."""
    return repository.unfinished(session, now - LATE_AFTER)


def is_worked_on(session: Session, now: datetime) -> bool:
    """Whether a worker has completed a round of late, by the clock that all processes share."""
    return any(now - h.completed_to <= LATE_AFTER for h in repository.heartbeats(session))


def recent_runs(session: Session, limit: int = 100) -> tuple[JobRunView, ...]:
    """The newest runs, for a page."""
    return tuple(view_of(r) for r in repository.recent(session, limit))


def run_of(session: Session, job: str, due_at: datetime) -> JobRunView:
    """One run, or `NotFound`."""
    found = repository.get(session, job, due_at)
    if found is None:
        raise NotFound(f"no run of {job[:64]} was due then")
    return view_of(found)


def view_of(run: JobRun) -> JobRunView:
    """A run as a page shows it."""
    return JobRunView(run.job, run.due_at, run.state, run.attempts, run.finished_at, run.last_error)


def _claim(factory: sessionmaker[Session], jobs: Mapping[str, Job], owner: str) -> JobRun | None:
    with factory.begin() as session:
        return repository.claim(session, list(jobs), owner, LEASE, MOST_ATTEMPTS)


def _attempt(factory: sessionmaker[Session], job: Job, run: JobRun, now: datetime) -> bool:
    try:
        with factory.begin() as session:
            job.work(session, run.due_at)
            if not repository.finish(session, run, now):
                raise FencedOut(run.job)
    except FencedOut:
        log.warning("job.fenced_out", job=run.job)
        return False
    except Exception as error:
        log.error("job.failed", job=run.job, kind=type(error).__name__, exc_info=error)
        wait = FIRST_WAIT * 4 ** (run.attempts - 1)
        with factory.begin() as session:
            repository.fail(session, run, type(error).__name__, wait, MOST_ATTEMPTS)
        return False
    return True
