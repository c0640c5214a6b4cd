"""What the pages of recipients show, and how their form becomes a routing."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from pydantic import ValidationError
from sqlalchemy.orm import Session

from app.central.accounts.service import Person
from app.central.alerts import service as alerts
from app.central.alerts.duty import Duty
from app.central.alerts.models import Recipient, Severity
from app.central.errors import Unusable
from app.central.fleet import service as fleet
from app.central.reports import repository as reports
from dashboards import filters
from dashboards import wording_admin as words
from dashboards.pages.admin.common import EMPTY, RECIPIENTS, Typed, area
from dashboards.pages.admin.views import RecipientPage, RecipientsView, RoutingForm
from dashboards.pages.views import Choice, Grid

ONE = RECIPIENTS + "/recipient"
NEWEST = 20
NEW = {"least_severity": Severity.NOTICE.value, "digest": "yes", "hours": "always"}
WEEKDAYS = tuple(Choice(f"weekday-{i}", day) for i, day in enumerate(words.WEEKDAYS))


def recipients_view(
    session: Session, person: Person, *, notice: str = "", typed: Typed = EMPTY
) -> RecipientsView:
    """Everybody who is told, and what became of the newest messages."""
    people = alerts.recipients(session)
    return RecipientsView(
        title="Recipients",
        sentences=words.recipients_sentences(len(people), alerts.given_up(session)),
        area=area(person, RECIPIENTS),
        people=Grid(
            "Alerts and digests",
            ("Address", "From severity", "Site", "Device", "Told", "Digest", "Hours"),
            tuple(_row(r) for r in people),
            links=tuple(f"{ONE}?address={quote(r.address, safe='')}" for r in people),
            empty="Nobody is told about signals yet.",
        ),
        groups=_groups(session),
        mails=_mails(session),
        form=_form(session, dict(typed.fields) if typed.errors else NEW),
        notice=notice,
        typed=typed,
    )


def _row(recipient: Recipient) -> tuple[str, ...]:
    return (
        recipient.address,
        recipient.least_severity.value,
        recipient.site_id or words.EVERY_SITE,
        recipient.device or words.EVERY_DEVICE,
        words.told_when(recipient),
        "yes" if recipient.wants_digest else "no",
        words.duty(recipient),
    )


def _groups(session: Session) -> Grid:
    return Grid(
        "Reports",
        ("Schedule", "Device", "How often", "Group", "Addresses"),
        tuple(
            (s.id, s.device, s.frequency.value, s.recipients, ", ".join(map(str, s.addresses)))
            for s in reports.schedules(session)
        ),
        empty="No schedule of reports tells anybody.",
    )


def _mails(session: Session) -> Grid:
    return Grid(
        "Newest messages",
        ("Queued", "To", "Subject", "State", "Last error"),
        tuple(
            (
                filters.instant(m.queued_at),
                m.recipient,
                m.subject,
                words.MAIL_STATES[m.state],
                m.last_error or "–",
            )
            for m in alerts.mails(session, NEWEST)
        ),
        empty="Nothing has been sent yet.",
    )


def recipient_page(
    session: Session, person: Person, recipient: Recipient, typed: Typed = EMPTY
) -> RecipientPage:
    """One address, and what reaches it."""
    return RecipientPage(
        title=recipient.address,
        address=recipient.address,
        sentences=(f"Added {filters.instant(recipient.added_at)} by {recipient.added_by}.",),
        area=area(person, ""),
        form=_form(session, dict(typed.fields) if typed.errors else values_of(recipient)),
        typed=typed,
    )


def _form(session: Session, values: dict[str, str]) -> RoutingForm:
    devices = {v.device for v in fleet.device_versions(session)} | {values.get("device", "")}
    start = {"zone": "UTC", "start": "08:00", "until": "18:00"}
    start |= {f"weekday-{i}": "yes" for i in range(5)} if values.get("hours") != "duty" else {}
    return RoutingForm(
        severities=tuple(Choice(s.value, text) for s, text in words.SEVERITIES.items()),
        sites=tuple(Choice(i, f"{i}, {name}") for i, name in fleet.site_names(session).items()),
        devices=tuple(Choice(d, d) for d in sorted(devices - {""})),
        weekdays=WEEKDAYS,
        values=start | values,
    )


def values_of(recipient: Recipient) -> dict[str, str]:
    """The fields of the form, as they would be filled for this recipient."""
    values = {
        "least_severity": recipient.least_severity.value,
        "site": recipient.site_id or "",
        "device": recipient.device or "",
        "told": "escalation" if recipient.on_escalation else "once",
        "digest": "yes" if recipient.wants_digest else "no",
        "hours": "always",
    }
    if recipient.duty is None:
        return values
    hours = Duty.model_validate(recipient.duty)
    days = {f"weekday-{day}": "yes" for day in hours.weekdays}
    times = {"start": f"{hours.start:%H:%M}", "until": f"{hours.until:%H:%M}"}
    return values | days | times | {"hours": "duty", "zone": hours.zone}


def routing_of(fields: dict[str, str]) -> dict[str, Any]:
    """The form as the service takes it."""
    severity = fields.get("least_severity", "")
    if severity not in set(Severity):
        raise Unusable(words.CHOOSE_SEVERITY)
    return {
        "least_severity": Severity(severity),
        "site_id": fields.get("site") or None,
        "device": fields.get("device", "")[:200] or None,
        "on_escalation": fields.get("told") == "escalation",
        "wants_digest": fields.get("digest") == "yes",
        "duty": duty_of(fields) if fields.get("hours") == "duty" else None,
    }


def duty_of(fields: dict[str, str]) -> Duty:
    """The hours of the form."""
    days = [i for i in range(len(words.WEEKDAYS)) if fields.get(f"weekday-{i}")]
    if not days:
        raise Unusable(words.CHOOSE_WEEKDAY)
    given = {name: fields.get(name, "").strip() for name in ("zone", "start", "until")}
    try:
        return Duty.model_validate({"weekdays": days} | given)
    except ValidationError as error:
        first = error.errors()[0]
        raise Unusable(f"Duty hours, {first['loc'][0]}: {first['msg']}") from error
