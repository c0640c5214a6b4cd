"""What the workers did, and whether all of it is done."""

from __future__ import annotations

from datetime import datetime

from fastapi import APIRouter
from pydantic import BaseModel
from sqlalchemy import text

from app.central.accounts.permissions import Anyone, Now, Viewer
from app.central.alerts import service as alerts
from app.central.database import DbSession
from app.central.errors import Unusable
from app.central.jobs import repository, service
from app.central.jobs.service import JobRunView

router = APIRouter(tags=["jobs"])


class WorkerHealth(BaseModel):
    """A worker: up to which instant it has done everything, and when it last said so."""

    worker: str
    completed_to: datetime
    beaten_at: datetime


class Health(BaseModel):
    """Whether the service can work."""

    database: str
    now: datetime
    workers: list[WorkerHealth]


class Settled(BaseModel):
    """Whether everything due by an instant is done and all mail is out."""

    settled: bool
    jobs: bool
    mail: bool


@router.get("/health", response_model=Health)
def show_health(session: DbSession, now: Now, _: Anyone) -> Health:
    """Database and workers."""
    session.execute(text("SELECT 1"))
    return Health(
        database="available",
        now=now,
        workers=[
            WorkerHealth(worker=h.worker, completed_to=h.completed_to, beaten_at=h.beaten_at)
            for h in repository.heartbeats(session)
        ],
    )


@router.get("/api/v1/jobs/settled", response_model=Settled)
def show_settled(session: DbSession, now: Now, _: Anyone, upto: datetime) -> Settled:
    """Whether every job due by `upto` is done and nothing waits to be mailed."""
    if upto.tzinfo is None:
        raise Unusable("upto: a time zone expected")
    done = service.is_settled(session, upto)
    quiet = alerts.is_quiet(session, now)
    return Settled(settled=done and quiet, jobs=done, mail=quiet)


@router.get("/api/v1/jobs", response_model=list[JobRunView])
def list_runs(session: DbSession, _: Viewer) -> tuple[JobRunView, ...]:
    """The newest runs: due, running, done or failed."""
    return service.recent_runs(session)
