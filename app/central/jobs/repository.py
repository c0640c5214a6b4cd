"""Queries of the ledger. Leases run on the database's own clock, whatever time it is elsewhere."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, func, or_, select, tuple_, update
from sqlalchemy.dialects.postgresql import distinct_on, insert
from sqlalchemy.orm import Session

from app.central.jobs.models import Heartbeat, JobPlan, JobRun, RunState

DATABASE_NOW = func.clock_timestamp()


def database_now(session: Session) -> datetime:
    """The database's own clock."""
    found: datetime = session.scalars(select(DATABASE_NOW)).one()
    return found


def plans(session: Session, jobs: Iterable[str], now: datetime) -> dict[str, JobPlan]:
    """Every job's plan, locked; a job seen for the first time is planned from `now` on."""
    names = sorted(jobs)
    first = [{"job": name, "planned_to": now} for name in names]
    session.execute(insert(JobPlan).values(first).on_conflict_do_nothing())
    query = select(JobPlan).where(JobPlan.job.in_(names)).order_by(JobPlan.job).with_for_update()
    return {plan.job: plan for plan in session.scalars(query)}


def add_due(session: Session, job: str, due: Sequence[datetime]) -> None:
    """Write due times down; one that is there stays as it is."""
    rows = [
        {"job": job, "due_at": at, "state": RunState.DUE, "owner": "", "attempts": 0}
        | {"last_error": ""}
        for at in due
    ]
    if rows:
        session.execute(insert(JobRun).values(rows).on_conflict_do_nothing())


def get(session: Session, job: str, due_at: datetime) -> JobRun | None:
    """The run of a job that was due at that instant."""
    return session.get(JobRun, (job, due_at))


def waiting(session: Session, job: str) -> JobRun | None:
    """The oldest run of a job that no worker has taken up."""
    query = select(JobRun).where(JobRun.job == job, JobRun.state == RunState.DUE)
    return session.scalar(query.order_by(JobRun.due_at).limit(1))


def newest(session: Session, job: str) -> JobRun | None:
    """The run of a job that was due last."""
    query = select(JobRun).where(JobRun.job == job)
    return session.scalar(query.order_by(JobRun.due_at.desc()).limit(1))


def done(session: Session, job: str, *, limit: int) -> Sequence[datetime]:
    """Due times of the runs of a job that were done, the newest first."""
    query = select(JobRun.due_at).where(JobRun.job == job, JobRun.state == RunState.DONE)
    return session.scalars(query.order_by(JobRun.due_at.desc()).limit(limit)).all()


def claim(
    session: Session, jobs: Collection[str], owner: str, lease: timedelta, most_attempts: int
) -> JobRun | None:
    """The oldest run that is due, or whose worker was lost; ours until the lease ends."""
    oldest = (
        select(JobRun.job, JobRun.due_at)
        .where(JobRun.job.in_(jobs), _is_free(), JobRun.attempts < most_attempts)
        .order_by(JobRun.due_at, JobRun.job)
        .limit(1)
        .with_for_update(skip_locked=True)
    ).cte("oldest")
    return session.scalars(
        update(JobRun)
        .where(tuple_(JobRun.job, JobRun.due_at).in_(select(oldest.c.job, oldest.c.due_at)))
        .values(
            state=RunState.RUNNING,
            owner=owner,
            attempts=JobRun.attempts + 1,
            lease_until=DATABASE_NOW + lease,
        )
        .returning(JobRun),
        execution_options={"populate_existing": True},
    ).one_or_none()


def _is_free() -> ColumnElement[bool]:
    waited = or_(JobRun.not_before.is_(None), JobRun.not_before <= DATABASE_NOW)
    lost = and_(JobRun.state == RunState.RUNNING, JobRun.lease_until < DATABASE_NOW)
    return or_(and_(JobRun.state == RunState.DUE, waited), lost)


def finish(session: Session, run: JobRun, at: datetime) -> bool:
    """Mark our attempt done; False if the run is no longer ours (fenced out)."""
    values = {"state": RunState.DONE, "finished_at": at, "lease_until": None}
    return _update_ours(session, run, values)


def fail(session: Session, run: JobRun, error: str, wait: timedelta, most_attempts: int) -> bool:
    """Give our attempt back, to be tried again after `wait`; given up after `most_attempts`."""
    final = run.attempts >= most_attempts
    values = {
        "state": RunState.FAILED if final else RunState.DUE,
        "lease_until": None,
        "not_before": DATABASE_NOW + wait,
        "last_error": error,
    }
    return _update_ours(session, run, values)


def give_up_lost(session: Session, most_attempts: int) -> None:
    """Runs whose last permitted attempt was lost with its worker have failed."""
    session.execute(
        update(JobRun)
        .where(
            JobRun.state == RunState.RUNNING,
            JobRun.lease_until < DATABASE_NOW,
            JobRun.attempts >= most_attempts,
        )
        .values(state=RunState.FAILED, lease_until=None, last_error="worker lost")
    )


def _update_ours(session: Session, run: JobRun, values: Mapping[str, object]) -> bool:
    changed = session.execute(
        update(JobRun)
        .where(
            JobRun.job == run.job,
            JobRun.due_at == run.due_at,
            JobRun.state == RunState.RUNNING,
            JobRun.attempts == run.attempts,
            JobRun.owner == run.owner,
        )
        .values(**values)
        .returning(JobRun.job),
        execution_options={"synchronize_session": False},
    )
    return changed.first() is not None


def unfinished(session: Session, upto: datetime) -> int:
    """Runs due by `upto` that are neither done nor given up."""
    query = select(func.count()).where(
        JobRun.due_at <= upto, JobRun.state.in_((RunState.DUE, RunState.RUNNING))
    )
    return session.scalar(query) or 0


def planned_to(session: Session) -> datetime | None:
    """Every job's due times are written down at least up to here."""
    return session.scalar(select(func.min(JobPlan.planned_to)))


def recent(session: Session, limit: int) -> Sequence[JobRun]:
    """The newest runs, for a page."""
    query = select(JobRun).order_by(JobRun.due_at.desc(), JobRun.job).limit(limit)
    return session.scalars(query).all()


def newest_of_each(session: Session) -> Sequence[JobRun]:
    """The newest run of every job, by name."""
    query = select(JobRun).ext(distinct_on(JobRun.job)).order_by(JobRun.job, JobRun.due_at.desc())
    return session.scalars(query).all()


def beat(session: Session, worker: str, completed_to: datetime) -> None:
    """Say that `worker` lives and has completed a round at `completed_to`."""
    values = {"completed_to": completed_to, "beaten_at": DATABASE_NOW}
    statement = insert(Heartbeat).values(worker=worker, **values)
    session.execute(statement.on_conflict_do_update(index_elements=["worker"], set_=values))


def heartbeats(session: Session) -> Sequence[Heartbeat]:
    """Every worker that ever lived, newest first."""
    return session.scalars(select(Heartbeat).order_by(Heartbeat.beaten_at.desc()).limit(50)).all()
