"""Work of the clock: the daily digest, and asking again where nobody has acknowledged."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from app.central.alerts import repository, service
from app.central.alerts.assessments import unacknowledged
from app.central.alerts.models import Recipient, Severity
from app.central.alerts.ports import Alert, Digest, DigestLine, Escalation, Renderer
from app.central.surveillance import service as surveillance
from app.central.surveillance.service import SignalView
from app.contracts.signals import Signal

DIGEST_SPAN = timedelta(days=1)
ESCALATES_AFTER = {Severity.URGENT: timedelta(hours=4), Severity.WARNING: timedelta(hours=24)}
LOOKED_THROUGH = 1000


def send_digests(
    session: Session,
    due_at: datetime,
    *,
    renderer: Renderer,
    mail_from: str,
    base_url: str,
    now: datetime,
) -> int:
    """Tell everybody who wants it what was raised in the day before and not told singly."""
    raised = [
        s
        for s in surveillance.signals(session, limit=LOOKED_THROUGH)
        if due_at - DIGEST_SPAN < s.raised_at <= due_at
    ]
    queued = 0
    for recipient in repository.recipients(session):
        lines = _untold(session, recipient, raised)
        if lines:
            digest = Digest(day=due_at.date(), lines=lines, base_url=base_url)
            queued += service.enqueue(
                session,
                f"digest:{due_at.date()}",
                recipient.address,
                renderer.digest_mail(digest),
                mail_from,
                now,
                not_before=service.on_duty_from(recipient, now),
            )
    return queued


def _untold(
    session: Session, recipient: Recipient, raised: list[SignalView]
) -> tuple[DigestLine, ...]:
    if recipient.on_escalation or not recipient.wants_digest:
        return ()
    told = repository.told_causes(session, recipient.address, [f"signal:{s.id}" for s in raised])
    return tuple(
        DigestLine(s.id, _part(session, recipient, s), _device(s), s.severity)
        for s in reversed(raised)
        if f"signal:{s.id}" not in told and service.concerns(recipient, s.signal.sites, _device(s))
    )


def escalate(
    session: Session, *, renderer: Renderer, mail_from: str, base_url: str, now: datetime
) -> int:
    """Write once more, and to those kept for it, about every signal that waits too long."""
    waiting = [
        s
        for s in surveillance.signals(session, only_open=True, limit=LOOKED_THROUGH)
        if s.severity in ESCALATES_AFTER and now - s.raised_at >= ESCALATES_AFTER[s.severity]
    ]
    queued = 0
    for found in unacknowledged(session, waiting):
        told = [
            r
            for r in repository.recipients(session)
            if service.concerns(r, found.signal.sites, _device(found))
            and service.ORDER[found.severity] >= service.ORDER[r.least_severity]
        ]
        for recipient in told:
            seen = surveillance.seen_from(session, found, recipient.site_id)
            others = service.others_told(recipient, told)
            mail = renderer.escalation_mail(_escalation(seen, base_url, others, now))
            cause = f"escalation:{found.id}"
            queued += service.enqueue(session, cause, recipient.address, mail, mail_from, now)
    return queued


def _escalation(
    found: SignalView, base_url: str, others: tuple[str, ...], now: datetime
) -> Escalation:
    alert = Alert(
        identifier=found.id,
        signal=found.signal,
        device=_device(found),
        severity=found.severity,
        base_url=base_url,
        promised=None,
        others=others,
    )
    return Escalation(alert=alert, waited=now - found.raised_at)


def _part(session: Session, recipient: Recipient, found: SignalView) -> Signal:
    return surveillance.seen_from(session, found, recipient.site_id).signal


def _device(found: SignalView) -> str:
    return f"{found.device} {found.version}"
