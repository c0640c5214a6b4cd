"""Draft drift reports, sign them, and read them back as they were issued."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from app.central.accounts import service as accounts
from app.central.accounts.permissions import (
    GRANTS,
    Administrator,
    Assessor,
    Now,
    Permission,
    Viewer,
)
from app.central.accounts.service import Person
from app.central.database import DbSession
from app.central.errors import Forbidden
from app.central.openapi.media import OBJECT, file
from app.central.problems import problems
from app.central.reports import drafting, schedules, service, signing
from app.central.reports.models import Meaning, ReportSchedule
from app.central.reports.schemas import (
    NewReport,
    NewSchedule,
    NewSignature,
    ScheduleOut,
    ShownReport,
)
from app.central.reports.service import Rebuilt, ReportDetail, ReportView

router = APIRouter(prefix="/api/v1/reports", tags=["reports"])
# An issued report is a record, not a page of ours: nothing in it may run.
SANDBOX = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox"
    )
}


def whole_fleet(person: Viewer) -> Person:
    """A report is about every site: it is not there for somebody bound to one."""
    if person.site_id is not None:
        raise Forbidden("a report covers every site; your account is bound to one")
    return person


Reader = Annotated[Person, Depends(whole_fleet)]


def press_of(request: Request) -> signing.Press:
    """What this service issues reports with."""
    state = request.app.state
    return signing.Press.of(state.renderers, state.settings)


@router.get("", response_model=list[ReportView])
def list_reports(session: DbSession, _: Reader) -> tuple[ReportView, ...]:
    """Reports, newest first."""
    return service.reports(session)


@router.post("", response_model=ReportView, status_code=201, responses=problems(403, 404, 422))
def draft_report(
    body: NewReport, request: Request, session: DbSession, now: Now, by: Assessor, _: Reader
) -> ReportView:
    """Draft a report now. It is issued once two other people have signed it."""
    renderer = press_of(request).report
    made = drafting.request(
        session,
        body.lock_digest,
        body.start,
        body.end,
        by=by.name,
        now=now,
        schedule_id=body.schedule_id,
        supersedes=body.supersedes,
        reason=body.reason,
    )
    drafting.draft(session, made, renderer=renderer, now=now)
    return service.detail(session, made.number).report


@router.get("/schedules", response_model=list[ScheduleOut])
def list_schedules(session: DbSession, _: Reader) -> tuple[ReportSchedule, ...]:
    """Schedules that run."""
    return service.schedules(session)


@router.post(
    "/schedules", response_model=ScheduleOut, status_code=201, responses=problems(403, 422)
)
def add_schedule(
    body: NewSchedule, session: DbSession, now: Now, by: Administrator
) -> ReportSchedule:
    """Ask for regular reports on a device for a group."""
    return schedules.add(
        session,
        body.device,
        body.frequency,
        recipients=body.recipients,
        addresses=body.addresses,
        with_evidently=body.with_evidently,
        by=by.name,
        now=now,
    )


@router.delete(
    "/schedules/{schedule_id}",
    status_code=204,
    response_class=Response,
    responses=problems(403, 404, 409),
)
def end_schedule(schedule_id: str, session: DbSession, now: Now, by: Administrator) -> Response:
    """It asks for nothing more."""
    schedules.end(session, schedule_id, by=by.name, now=now)
    return Response(status_code=204)


@router.get("/{number}", response_model=ShownReport, responses=problems(404))
def show_report(number: str, session: DbSession, _: Reader) -> ReportDetail:
    """One report with its signatures, and the digest of the content that a signature names."""
    return service.detail(session, number)


@router.post(
    "/{number}/signatures", response_model=ReportView, responses=problems(401, 403, 404, 409, 422)
)
def sign_report(
    number: str,
    body: NewSignature,
    request: Request,
    session: DbSession,
    now: Now,
    by: Assessor,
    _: Reader,
) -> ReportView:
    """Review, approve or withdraw a report. Approval issues it."""
    check_meaning(by, body.meaning)
    password = body.password.get_secret_value()
    signing.sign(
        session,
        number,
        body.meaning,
        seen_digest=body.content_digest,
        signer=accounts.sign(request.app.state.sessions, by, password, now),
        key=request.app.state.key,
        press=press_of(request),
        reason=body.reason,
    )
    return service.detail(session, number).report


def check_meaning(person: Person, meaning: Meaning) -> None:
    """Approval needs the permission to approve."""
    if meaning is Meaning.APPROVAL and Permission.APPROVE not in GRANTS[person.role]:
        raise Forbidden(f"permission to {Permission.APPROVE.value} is needed")


@router.get(
    "/{number}/pdf",
    response_class=Response,
    responses={200: {"content": file("application/pdf")}, **problems(404)},
)
def report_pdf(number: str, session: DbSession, _: Reader) -> Response:
    """The PDF as issued."""
    report = service.issued(session, number)
    name = {"Content-Disposition": f'inline; filename="{report.number}.pdf"'}
    return Response(report.pdf, media_type="application/pdf", headers=name)


@router.get(
    "/{number}/html",
    response_class=Response,
    responses={200: {"content": file("text/html")}, **problems(404)},
)
def report_html(number: str, session: DbSession, _: Reader) -> Response:
    """The HTML as issued."""
    report = service.issued(session, number)
    return Response(report.html, media_type="text/html; charset=utf-8", headers=SANDBOX)


@router.post("/{number}/rebuild", response_model=Rebuilt, responses=problems(403, 404, 409))
def rebuild_report(
    number: str, request: Request, session: DbSession, _: Assessor, __: Reader
) -> Rebuilt:
    """Make the report again from its stored evidence and compare it with what was issued."""
    return service.rebuild(session, number, renderer=press_of(request).report)


@router.get(
    "/{number}/evidence",
    response_class=Response,
    responses={200: {"content": OBJECT}, **problems(404)},
)
def report_evidence(number: str, session: DbSession, _: Reader) -> Response:
    """The canonical JSON that the report was made from."""
    report = service.issued(session, number)
    return Response(report.evidence, media_type="application/json")
