"""Evaluate one device version now, by the same job, the same engine and the same day as planned.

What is evaluated is everything that had arrived at the newest 06:00 UTC, under the plan and the
reference in force: the false-signal budget is of one look a day, and asking adds none. It shows
at once what an approved reference, a new plan or a worker that was away would show tomorrow.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from app.central.audit import service as audit
from app.central.errors import NotAllowed
from app.central.fleet import service as fleet
from app.central.jobs import repository as jobs
from app.central.jobs.service import JobRunView, run_of, view_of
from app.central.references import repository as references_repository


def job_name(lock_digest: str) -> str:
    """The job that evaluates a device version, on schedule or when asked."""
    return f"surveillance.{lock_digest[:16]}"


def ask(session: Session, lock_digest: str, *, by: str, now: datetime) -> JobRunView:
    """A run of the evaluation that a worker takes up next; the one that waits, if one does."""
    fleet.get_device_version(session, lock_digest)
    if references_repository.in_force(session, lock_digest) is None:
        raise NotAllowed("nothing to evaluate: an approved reference is needed")
    job = job_name(lock_digest)
    jobs.plans(session, [job], now)  # locks the job's plan: of two who ask, one waits here
    waiting = jobs.waiting(session, job)
    if waiting is not None:
        return view_of(waiting)
    newest = jobs.newest(session, job)
    due_at = now if newest is None else max(now, newest.due_at + timedelta(microseconds=1))
    jobs.add_due(session, job, [due_at])
    detail = {"job": job, "due_at": due_at.isoformat()}
    audit.record(
        session,
        actor=by,
        action="surveillance:evaluation:ask",
        subject=lock_digest,
        at=now,
        detail=detail,
    )
    return run_of(session, job, due_at)


def last_run(session: Session, lock_digest: str) -> JobRunView | None:
    """The newest run of the evaluation of a device version, planned or asked for."""
    found = jobs.newest(session, job_name(lock_digest))
    return None if found is None else view_of(found)
