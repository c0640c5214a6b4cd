"""What an administrator does to somebody who is told already: change what reaches them, and try."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from app.central.alerts import repository
from app.central.alerts.duty import Duty
from app.central.alerts.models import Recipient, Severity
from app.central.alerts.ports import Notice
from app.central.alerts.service import check_site, enqueue
from app.central.audit import service as audit
from app.central.errors import NotAllowed, NotFound
from app.central.renderers import Renderers
from app.central.settings import CentralSettings

TEST = Notice(
    subject="Test message",
    heading="Test message",
    sentences=("This message tests the way to this address. No signal stands behind it.",),
    facts=(),
    to_do=("Nothing is to be done. Who is told what is set here:",),
    path="/admin/recipients",
)


def get(session: Session, address: str) -> Recipient:
    """The recipient at `address`, or `NotFound`."""
    found = repository.find_recipient(session, address)
    if found is None:
        raise NotFound("nobody is told at this address")
    return found


def change(
    session: Session,
    address: str,
    least_severity: Severity,
    *,
    site_id: str | None,
    device: str | None,
    on_escalation: bool,
    wants_digest: bool,
    duty: Duty | None,
    by: str,
    now: datetime,
) -> Recipient:
    """Tell somebody other things from now on; what was queued still goes out."""
    found = get(session, address)
    check_site(session, site_id)
    before = _routing(found)
    found.least_severity, found.site_id, found.device = least_severity, site_id, device
    found.on_escalation, found.wants_digest = on_escalation, wants_digest
    found.duty = duty.model_dump(mode="json") if duty else None
    if _routing(found) != before:
        audit.record(
            session,
            actor=by,
            action="alerts:recipient:change",
            subject=address,
            at=now,
            detail={"from": before, "to": _routing(found)},
        )
    return found


def _routing(recipient: Recipient) -> dict[str, Any]:
    return {
        "least_severity": recipient.least_severity.value,
        "site": recipient.site_id,
        "device": recipient.device,
        "on_escalation": recipient.on_escalation,
        "wants_digest": recipient.wants_digest,
        "duty": recipient.duty,
    }


def send_test(
    session: Session,
    address: str,
    *,
    renderers: Renderers | None,
    settings: CentralSettings,
    by: str,
    now: datetime,
) -> None:
    """Queue one message that says it is a test, by the same outbox as every other."""
    get(session, address)
    if renderers is None:
        raise NotAllowed("this service was started without a writer of mails")
    mail = renderers.mail.notice_mail(TEST, settings.base_url)
    if not enqueue(session, f"test:{now:%FT%TZ}", address, mail, settings.mail_from, now):
        raise NotAllowed("a test message was queued a moment ago")
    audit.record(session, actor=by, action="alerts:recipient:test", subject=address, at=now)
