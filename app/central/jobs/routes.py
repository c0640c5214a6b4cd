"""What the workers did, and whether all of it is done."""

from __future__ import annotations

from datetime import datetime

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel
from sqlalchemy import text

from app.central.accounts.permissions import Anyone, Now, Viewer
from app.central.alerts import service as alerts
from app.central.database import DbSession
from app.central.errors import Unusable
from app.central.jobs import repository, service
from app.central.jobs.service import JobRunView
from app.central.metrics import exposition
from app.central.openapi.media import file
from app.central.problems import problems
from app.central.surveillance import verification

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
    windows_verified_since: datetime | None
    workers: list[WorkerHealth]


class Settled(BaseModel):
    """Whether everything due by an instant is done and all mail is out."""

    settled: bool
    jobs: bool
    mail: bool


@router.get("/health", response_model=Health)
def show_health(session: DbSession, now: Now, _: Anyone) -> Health:
    """Database and workers, and since when every window stored by then has been verified again."""
    session.execute(text("SELECT 1"))
    return Health(
        database="available",
        now=now,
        windows_verified_since=verification.verified_since(session),
        workers=[
            WorkerHealth(worker=h.worker, completed_to=h.completed_to, beaten_at=h.beaten_at)
            for h in repository.heartbeats(session)
        ],
    )


class Readiness(BaseModel):
    """Whether the service does its work, and what is in the way."""

    ready: bool
    worker: bool
    late_runs: int
    undelivered_mails: int


@router.get("/ready", response_model=Readiness, responses={503: {"model": Readiness}})
def show_readiness(response: Response, session: DbSession, now: Now, _: Anyone) -> Readiness:
    """503 while no worker lives or scheduled work is overdue; a probe needs no body."""
    worked_on, late = service.is_worked_on(session, now), service.late(session, now)
    ready = worked_on and late == 0
    if not ready:
        response.status_code = 503
    return Readiness(
        ready=ready,
        worker=worked_on,
        late_runs=late,
        undelivered_mails=alerts.given_up(session),
    )


@router.get("/metrics", response_class=Response, responses={200: {"content": file("text/plain")}})
def show_metrics(session: DbSession, now: Now, _: Anyone) -> Response:
    """Counts for Prometheus; they name nothing and nobody."""
    return Response(exposition(session, now), media_type=CONTENT_TYPE_LATEST)


@router.get("/api/v1/jobs/settled", response_model=Settled)
def show_settled(session: DbSession, now: Now, _: Anyone, upto: datetime) -> Settled:
    """Whether every job due by `upto` is done and nothing waits to be mailed."""
    if upto.tzinfo is None:
        raise Unusable("upto: a time zone expected")
    done = service.is_settled(session, upto)
    quiet = alerts.is_quiet(session, now)
    return Settled(settled=done and quiet, jobs=done, mail=quiet)


@router.get(
    "/api/v1/jobs/{job}/{due_at}", response_model=JobRunView, responses=problems(401, 404, 422)
)
def show_run(job: str, due_at: datetime, session: DbSession, _: Viewer) -> JobRunView:
    """One run of a job: due, running, done or failed."""
    if due_at.tzinfo is None:
        raise Unusable("due at: a time zone expected")
    return service.run_of(session, job, due_at)


@router.get("/api/v1/jobs", response_model=list[JobRunView])
def list_runs(session: DbSession, _: Viewer) -> tuple[JobRunView, ...]:
    """The newest runs: due, running, done or failed."""
    return service.recent_runs(session)
