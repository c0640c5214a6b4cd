"""Issue drift reports and read them back as they were issued."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from app.central.accounts.permissions import Assessor, Now, Viewer
from app.central.database import DbSession
from app.central.errors import NotAllowed
from app.central.problems import problems
from app.central.reports import service
from app.central.reports.schemas import NewReport
from app.central.reports.service import Rebuilt, ReportView

router = APIRouter(prefix="/api/v1/reports", tags=["reports"])
# An issued report is a record, not a page of ours: nothing in it may run.
SANDBOX = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox"
    )
}


@router.get("", response_model=list[ReportView])
def list_reports(session: DbSession, _: Viewer) -> tuple[ReportView, ...]:
    """Issued reports, newest first."""
    return service.reports(session)


@router.post("", response_model=ReportView, status_code=201, responses=problems(403, 404, 422))
def issue_report(
    body: NewReport, request: Request, session: DbSession, now: Now, by: Assessor
) -> ReportView:
    """Issue a report and keep its exact bytes."""
    renderers = request.app.state.renderers
    if renderers is None:
        raise NotAllowed("this service was started without a report renderer")
    return service.issue(
        session,
        body.lock_digest,
        body.start,
        body.end,
        renderer=renderers.report,
        by=by.name,
        now=now,
    )


@router.get("/{number}/pdf", response_class=Response, responses=problems(404))
def report_pdf(number: str, session: DbSession, _: Viewer) -> Response:
    """The PDF as issued."""
    report = service.issued(session, number)
    name = {"Content-Disposition": f'inline; filename="{report.number}.pdf"'}
    return Response(report.pdf, media_type="application/pdf", headers=name)


@router.get("/{number}/html", response_class=Response, responses=problems(404))
def report_html(number: str, session: DbSession, _: Viewer) -> Response:
    """The HTML as issued."""
    report = service.issued(session, number)
    return Response(report.html, media_type="text/html; charset=utf-8", headers=SANDBOX)


@router.post("/{number}/rebuild", response_model=Rebuilt, responses=problems(403, 404, 409))
def rebuild_report(number: str, request: Request, session: DbSession, _: Assessor) -> Rebuilt:
    """Make the report again from its stored evidence and compare it with what was issued."""
    renderers = request.app.state.renderers
    if renderers is None:
        raise NotAllowed("this service was started without a report renderer")
    return service.rebuild(session, number, renderer=renderers.report)


@router.get("/{number}/evidence", response_class=Response, responses=problems(404))
def report_evidence(number: str, session: DbSession, _: Viewer) -> Response:
    """The canonical JSON that the report was made from."""
    report = service.issued(session, number)
    return Response(report.evidence, media_type="application/json")
