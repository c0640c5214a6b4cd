"""Drift reports: what is on record, one report on its way to the issue, and its files."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date, datetime, timedelta

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from sqlalchemy.orm import Session

from app.central.accounts.permissions import (
    Administrator,
    Assessor,
    Now,
)
from app.central.accounts.service import Person, Signer
from app.central.database import DbSession
from app.central.errors import NotFound, Unusable
from app.central.fleet import service as fleet
from app.central.reports import drafting, schedules, service, signing
from app.central.reports.assembling import against_reference
from app.central.reports.models import Frequency, Meaning
from app.central.reports.routes import Reader, check_meaning, press_of
from app.errors import AppError
from dashboards import wording
from dashboards.pages.frame import page
from dashboards.pages.report_views import list_view, report_page
from dashboards.pages.requests import SEE_OTHER, Form, PageRoute, signed
from dashboards.reports.content import SECTIONS
from dashboards.reports.evidently_report import binned, evidently_html

router = APIRouter(route_class=PageRoute, include_in_schema=False)
HERE = "/reports"
REPORT_DAYS = 28
# An issued report is a record: nothing in it may run, and its own style sheet is inside it.
# Evidently's page is one large inline script: it runs in a sandbox of its own origin, without
# our cookies and without a network.
FOREIGN_POLICY = (
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline'; "
    "style-src 'unsafe-inline'; img-src data: blob:; font-src data:; frame-ancestors 'none'"
)
RECORD_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox"


@router.get("/devices/{lock_digest}/evidently")
def evidently(
    lock_digest: str, session: DbSession, _: Assessor, __: Reader, now: Now
) -> HTMLResponse:
    """Evidently's drift report on the same windows: the last weeks against the reference."""
    fleet.device_version(session, lock_digest)
    end = now.date() + timedelta(1)
    found = against_reference(session, lock_digest, end - timedelta(REPORT_DAYS + 1), end, now)
    policy = {"Content-Security-Policy": FOREIGN_POLICY}
    return HTMLResponse(evidently_html(binned(c) for c in found), headers=policy)


@router.get(HERE)
def report_list(session: DbSession, person: Reader, now: Now) -> HTMLResponse:
    """Every report, the schedules, and the form to draft one."""
    return _list(session, person, now)


def _list(
    session: Session, person: Person, now: datetime, error: str = "", schedule_error: str = ""
) -> HTMLResponse:
    view = list_view(session, person, now.date(), REPORT_DAYS)
    view = replace(view, error=error, schedule_error=schedule_error)
    return page(
        session, person, HERE, "reports.html", view, 422 if error or schedule_error else 200
    )


@router.post(HERE)
def request_report(
    fields: Form, session: DbSession, person: Assessor, _: Reader, now: Now
) -> Response:
    """Ask for a draft on the days asked for; a worker writes it."""
    try:
        start, end = (date.fromisoformat(fields.get(name, "")) for name in ("start", "end"))
        made = drafting.request(
            session,
            fields.get("device", ""),
            start,
            end + timedelta(1),  # the form's last day is part of the period
            by=person.name,
            now=now,
            schedule_id=fields.get("schedule") or None,
            supersedes=fields.get("supersedes") or None,
            reason=fields.get("reason", "").strip()[: signing.LONGEST_REMARK],
        )
    except (ValueError, AppError) as error:
        return _list(session, person, now, error=str(error))
    return RedirectResponse(f"{HERE}/{made.number}", SEE_OTHER)


@router.post(HERE + "/schedules")
def add_schedule(
    fields: Form, session: DbSession, person: Administrator, _: Reader, now: Now
) -> Response:
    """Regular reports on a device for a group of people."""
    frequency = fields.get("frequency", "")
    try:
        if frequency not in set(Frequency):
            raise Unusable(wording.CHOOSE_FREQUENCY)
        schedules.add(
            session,
            fields.get("device_name", ""),
            Frequency(frequency),
            recipients=fields.get("recipients", "").strip(),
            addresses=re.split(r"[\s,;]+", fields.get("addresses", "").strip()),
            with_evidently=bool(fields.get("with_evidently")),
            by=person.name,
            now=now,
        )
    except AppError as error:
        return _list(session, person, now, schedule_error=str(error))
    return RedirectResponse(HERE, SEE_OTHER)


@router.post(HERE + "/schedules/{schedule_id}/end")
def end_schedule(
    schedule_id: str, session: DbSession, person: Administrator, _: Reader, now: Now, __: Form
) -> Response:
    """It asks for nothing more."""
    schedules.end(session, schedule_id, by=person.name, now=now)
    return RedirectResponse(HERE, SEE_OTHER)


@router.post(HERE + "/{number}/again")
def draft_again(
    number: str, session: DbSession, person: Assessor, _: Reader, now: Now, __: Form
) -> Response:
    """Ask once more for a report whose drafting failed."""
    drafting.again(session, number, by=person.name, now=now)
    return RedirectResponse(f"{HERE}/{number}", SEE_OTHER)


@router.post(HERE + "/{number}/remarks")
def write_remark(
    number: str,
    request: Request,
    fields: Form,
    session: DbSession,
    person: Assessor,
    _: Reader,
    now: Now,
) -> Response:
    """Write to a section of a draft."""
    section = fields.get("section", "")
    try:
        if section not in SECTIONS:
            raise Unusable(wording.CHOOSE_SECTION)
        text, press = fields.get("text", ""), press_of(request)
        signing.remark(session, number, section, text, by=person, press=press, now=now)
    except AppError as error:
        return _report(session, person, number, (str(error),), fields)
    return RedirectResponse(f"{HERE}/{number}", SEE_OTHER)


@router.post(HERE + "/{number}/signatures")
def sign_report(
    number: str,
    request: Request,
    fields: Form,
    session: DbSession,
    person: Assessor,
    _: Reader,
    now: Now,
) -> Response:
    """Review, approve or withdraw; a refusal keeps what was typed."""
    meaning = fields.get("meaning", "")
    if meaning not in set(Meaning):
        return _report(session, person, number, (wording.CHOOSE_MEANING,), fields)
    check_meaning(person, Meaning(meaning))
    key, press = request.app.state.key, press_of(request)

    def run(signer: Signer) -> None:
        signing.sign(
            session,
            number,
            Meaning(meaning),
            seen_digest=fields.get("digest", ""),
            signer=signer,
            key=key,
            press=press,
            reason=fields.get("reason", "")[: signing.LONGEST_REMARK],
        )

    errors = signed(request, session, person, fields, now, run)
    if errors:
        return _report(session, person, number, errors, fields)
    return RedirectResponse(f"{HERE}/{number}", SEE_OTHER)


def _report(
    session: Session,
    person: Person,
    number: str,
    errors: tuple[str, ...] = (),
    typed: dict[str, str] | None = None,
    notice: str = "",
) -> HTMLResponse:
    view = report_page(service.detail(session, number), person, errors, typed or {}, notice)
    return page(session, person, HERE, "report.html", view, 422 if errors else 200)


@router.post(HERE + "/{number}/rebuild")
def rebuild_report(
    number: str, request: Request, session: DbSession, person: Assessor, _: Reader, __: Form
) -> Response:
    """Rebuild and compare: the answer stands above the report."""
    found = service.rebuild(session, number, renderer=press_of(request).report)
    return _report(session, person, number, notice=wording.rebuilt(found))


@router.get(HERE + "/{number}/evidently")
def kept_evidently(number: str, session: DbSession, _: Reader) -> HTMLResponse:
    """Evidently's report that the schedule keeps beside ours."""
    policy = {"Content-Security-Policy": FOREIGN_POLICY}
    return HTMLResponse(service.evidently(session, number), headers=policy)


@router.get(HERE + "/{name}")
def report(name: str, session: DbSession, person: Reader) -> Response:
    """A report's page, or its file as written: `DR-0001.pdf`, `.html` or `.json`."""
    found = re.fullmatch(r"(DR-\d+)(?:\.(pdf|html|json))?", name)
    if found is None:
        raise NotFound(f"no report {name[:32]}")
    number, kind = found.groups()
    if kind is None:
        return _report(session, person, number)
    written = service.issued(session, number)
    match kind:
        case "pdf":
            inline = {"Content-Disposition": f'inline; filename="{number}.pdf"'}
            return Response(written.pdf, media_type="application/pdf", headers=inline)
        case "html":
            policy = {"Content-Security-Policy": RECORD_POLICY}
            return Response(written.html, media_type="text/html; charset=utf-8", headers=policy)
    return Response(written.evidence, media_type="application/json")
