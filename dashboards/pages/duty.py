"""The duty to report one signal: who is aware, which times run until when, what was assessed."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import ValidationError
from sqlalchemy.orm import Session

from app.central.accounts.permissions import GRANTS, Assessor, Now, Permission, Reporter
from app.central.accounts.service import Person
from app.central.alerts import assessments
from app.central.alerts.assessments import Answers, ClockView
from app.central.alerts.clocks import ClockState, Obligation
from app.central.database import DbSession
from app.central.surveillance import service as surveillance
from app.errors import AppError
from dashboards import wording
from dashboards.pages import signal as signal_page
from dashboards.pages.frame import page
from dashboards.pages.requests import SEE_OTHER, Form, PageRoute, signed, utc
from dashboards.pages.views import DutyView, Grid, SignedAnswers

router = APIRouter(route_class=PageRoute, include_in_schema=False)


def duty_view(
    request: Request,
    session: Session,
    signal_id: str,
    person: Person,
    now: datetime,
    *,
    typed: dict[str, str] | None = None,
    errors: tuple[str, ...] = (),
) -> DutyView:
    """What the signal page shows of the duty to report; `typed` is kept after a refusal."""
    zone = request.app.state.settings.timezone
    known = assessments.vigilance(session, signal_id, scope=person.site_id, zone=zone, now=now)
    one = surveillance.signal(session, signal_id, scope=person.site_id)
    granted = GRANTS[person.role]
    return DutyView(
        aware=tuple(wording.aware(a.person, a.aware_at, a.how) for a in known.awareness),
        clocks=Grid(
            f"Times to report, in days of {zone}",
            ("Duty", "Due", "Assessment", "Applies to"),
            tuple(_clock_row(c) for c in known.clocks),
        ),
        assessed=tuple(
            SignedAnswers(a.version, a.answers, a.printed_name, a.decided_at, a.artefact_digest)
            for a in known.assessments
        ),
        obligations=tuple(o.value for o in Obligation),
        action=f"/signals/{signal_id}",
        digest=known.digest,
        may_note=Permission.ASSESS in granted,
        may_sign=Permission.REPORT in granted and not one.other_sites,
        typed={k: v for k, v in (typed or {}).items() if k != "password"},
        errors=errors,
    )


def _clock_row(clock: ClockView) -> tuple[str, ...]:
    said = wording.CLOCK_STATES[clock.state.value]
    said += f": {clock.why}" if clock.why else ""
    said += f" ({clock.submission})" if clock.submission else ""
    due = wording.due(clock.due_on, clock.days_left, clock.starts_with.value)
    shown = "–" if clock.state in {ClockState.RULED_OUT, ClockState.MET} else due
    return clock.obligation.value, shown, said, clock.trigger


@router.post("/signals/{signal_id}/awareness")
def note_awareness(
    signal_id: str, request: Request, fields: Form, session: DbSession, person: Assessor, now: Now
) -> Response:
    """Record awareness; times to report count from the earliest."""
    try:
        since = fields.get("aware_at", "").strip()
        how = fields.get("how", "").strip()[:500] or wording.READ_HERE
        at = utc(since, "aware since") if since else now
        assessments.note_awareness(session, signal_id, person, aware_at=at, how=how, now=now)
    except AppError as error:
        return _again(signal_id, request, fields, session, person, now, (str(error),))
    return RedirectResponse(f"/signals/{signal_id}", SEE_OTHER)


@router.post("/signals/{signal_id}/reportability")
def assess(
    signal_id: str, request: Request, fields: Form, session: DbSession, person: Reporter, now: Now
) -> Response:
    """Sign an assessment of the duty to report; a refusal keeps what was typed."""
    surveillance.whole(session, signal_id, scope=person.site_id)
    try:
        answers = answers_of(fields)
    except ValidationError:
        return _again(signal_id, request, fields, session, person, now, (wording.DUTY_INCOMPLETE,))
    key, seen = request.app.state.key, fields.get("digest", "")

    def run(signer: Any) -> None:
        assessments.assess(session, signal_id, answers, seen_digest=seen, signer=signer, key=key)

    errors = signed(request, session, person, fields, now, run)
    if errors:
        return _again(signal_id, request, fields, session, person, now, errors)
    return RedirectResponse(f"/signals/{signal_id}", SEE_OTHER)


def answers_of(fields: dict[str, str]) -> Answers:
    """The form as answers; nothing is answered for the person."""
    trend = fields.get("trend", "")
    return Answers.model_validate(
        {
            "facts": fields.get("facts", "").strip(),
            "judgements": {
                o.value: {
                    "applies": fields.get(f"applies-{i}", ""),
                    "why": fields.get(f"why-{i}", "").strip(),
                    "submission": fields.get(f"submission-{i}", "").strip(),
                }
                for i, o in enumerate(Obligation, 1)
            },
            "remedial_action_considered": fields.get("remedial", ""),
            "correction_started_on": fields.get("correction_started_on") or None,
            "trend_indicator_crossed": trend or None,
            "other_countries": fields.get("other_countries", "").strip(),
            "hazard": fields.get("hazard", "").strip(),
        }
    )


def _again(
    signal_id: str,
    request: Request,
    fields: dict[str, str],
    session: Session,
    person: Person,
    now: datetime,
    errors: tuple[str, ...],
) -> Response:
    one = surveillance.signal(session, signal_id, scope=person.site_id)
    duty = duty_view(request, session, one.id, person, now, typed=fields, errors=errors)
    may = Permission.ASSESS in GRANTS[person.role]
    view = signal_page.signal_view(session, one, duty=duty, scope=person.site_id, may_assess=may)
    return page(session, person, "/signals", "signal.html", view, 422)
