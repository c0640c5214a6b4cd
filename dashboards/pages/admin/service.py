"""The service itself: jobs, mails, storage, copies, what is kept how long, versions."""

from __future__ import annotations

from datetime import datetime

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from sqlalchemy.orm import Session

from app.central import upkeep
from app.central.accounts.permissions import Administrator, Now
from app.central.accounts.service import Person
from app.central.alerts import service as alerts
from app.central.database import DbSession
from app.central.jobs import repository as jobs_repository
from app.central.jobs import service as jobs
from app.central.settings import CentralSettings
from app.central.upkeep import Storage, Versions
from dashboards import filters
from dashboards import wording_admin as words
from dashboards.pages.admin.common import SERVICE, area
from dashboards.pages.admin.views import ServicePage
from dashboards.pages.frame import ADMIN, page
from dashboards.pages.requests import PageRoute
from dashboards.pages.views import Fact, Grid

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get(SERVICE)
def show(request: Request, session: DbSession, person: Administrator, now: Now) -> HTMLResponse:
    """How it stands."""
    view = service_view(session, person, request.app.state.settings, now)
    return page(session, person, ADMIN, "admin/service.html", view)


def service_view(
    session: Session, person: Person, settings: CentralSettings, now: datetime
) -> ServicePage:
    """Everything that an administrator wants to know of it before a user does."""
    found = upkeep.versions(session)
    kept = upkeep.storage(session, settings.data_dir)
    copy = upkeep.last_copy(session)
    return ServicePage(
        title="Service",
        sentences=words.service_sentences(
            jobs.is_worked_on(session, now), jobs.late(session, now), alerts.given_up(session)
        ),
        area=area(person, SERVICE),
        facts=(*_versions(found), *_room(kept), Fact("Last copy", words.copied(copy, now))),
        grids=(_jobs(session), _workers(session), _mails(session), _sizes(kept), _rules()),
    )


def _versions(found: Versions) -> tuple[Fact, ...]:
    schema = found.schema if found.is_current else f"{found.schema}, {found.newest_schema} needed"
    return (
        Fact("lockwatch", found.program),
        Fact("Schema of the database", schema),
        Fact("PostgreSQL", found.database),
    )


def _room(kept: Storage) -> tuple[Fact, ...]:
    free = f"{words.bytes_of(kept.disk_free)} of {words.bytes_of(kept.disk)}"
    return (
        Fact("Database", words.bytes_of(kept.database)),
        Fact("Disk, free", f"{free}, where the service keeps its folder"),
    )


def _jobs(session: Session) -> Grid:
    return Grid(
        "Scheduled jobs, the newest run of each",
        ("Job", "Due", "State", "Attempts", "Done", "Last error"),
        tuple(
            (
                run.job,
                filters.instant(run.due_at),
                run.state.value,
                str(run.attempts),
                filters.instant(run.finished_at),
                run.last_error or "–",
            )
            for run in jobs_repository.newest_of_each(session)
        ),
        numeric=frozenset({3}),
        empty="No job has been due yet: is a worker running?",
    )


def _workers(session: Session) -> Grid:
    return Grid(
        "Workers that have lived, newest first",
        ("Worker", "Everything done up to", "Last heard"),
        tuple(
            (h.worker, filters.instant(h.completed_to), filters.instant(h.beaten_at))
            for h in jobs_repository.heartbeats(session)
        ),
        empty="No worker has ever run.",
    )


def _mails(session: Session) -> Grid:
    return Grid(
        "Mails",
        ("State", "Mails", "Oldest queued"),
        tuple(
            (words.MAIL_STATES[q.state], filters.whole(q.mails), filters.instant(q.oldest))
            for q in upkeep.mail_queues(session)
        ),
        numeric=frozenset({1}),
        empty="Nothing has been sent yet.",
    )


def _sizes(kept: Storage) -> Grid:
    rows = tuple((name.replace("_", " "), words.bytes_of(size)) for name, size in kept.tables)
    return Grid("Largest tables", ("Table", "Size"), rows, frozenset({1}))


def _rules() -> Grid:
    return Grid(
        "What is kept, and for how long",
        ("What", "Kept", "Removed by"),
        tuple((r.what, words.kept(r.kept), r.removed_by or "nothing") for r in upkeep.RULES),
    )
