"""Tell people about signals: who, how urgently, once each, and whether it arrived.

A message is written in the transaction that causes it and its bytes never change after that.
It is sent outside any transaction: at least once, and every repeat is byte for byte the same.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.errors import HeaderParseError
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

from sqlalchemy.orm import Session, sessionmaker

from app.central.alerts import repository
from app.central.alerts.models import MailState, OutboxMail, Recipient, Severity
from app.central.alerts.ports import Alert, RenderedMail, Renderer
from app.central.alerts.transport import DeliveryFailed, DeliveryUncertain, Transport
from app.central.audit import service as audit
from app.central.errors import NotAllowed, Unusable
from app.contracts.signals import Signal

LEASE = timedelta(minutes=5)
FIRST_WAIT = timedelta(minutes=1)
LONGEST_WAIT = timedelta(hours=6)
GIVE_UP_AFTER = timedelta(hours=72)
ORDER = {severity: rank for rank, severity in enumerate(Severity)}

# By cause: what could it mean for a patient if nobody looked?
SEVERITY_OF_CAUSE: Mapping[str, Severity] = {
    "lock": Severity.URGENT,
    "performance": Severity.URGENT,
    "scanner": Severity.WARNING,
    "population": Severity.WARNING,
    "annotation": Severity.WARNING,
    "undetermined": Severity.WARNING,
    "prevalence": Severity.NOTICE,
    "data_quality": Severity.NOTICE,
}
SEVERITY_OF_EVENT: Mapping[str, Severity] = {"lock": Severity.URGENT, "silence": Severity.WARNING}


@dataclass(frozen=True, slots=True)
class MailView:
    """A message as a page shows it."""

    id: str
    cause: str
    recipient: str
    subject: str
    state: MailState
    attempts: int
    queued_at: datetime
    sent_at: datetime | None
    last_error: str


def severity_of(signal: Signal) -> Severity:
    """How soon a person should look: the most urgent of its causes, or of its event."""
    if signal.kind == "deterministic":
        return SEVERITY_OF_EVENT.get(signal.event, Severity.INFO)
    return max((SEVERITY_OF_CAUSE[c] for c in signal.history[-1].causes), key=ORDER.__getitem__)


def add_recipient(
    session: Session,
    address: str,
    least_severity: Severity,
    *,
    by: str,
    now: datetime,
    site_id: str | None = None,
) -> Recipient:
    """Somebody more is told."""
    local, at, domain = address.rpartition("@")
    if not (local and at and domain) or not address.isascii() or not address.isprintable():
        raise Unusable("mail address: name@domain expected")
    if any(c in address for c in ' ,;:<>"'):
        raise Unusable("mail address: one plain address expected")
    if repository.find_recipient(session, address) is not None:
        raise NotAllowed("this address is told already")
    found = Recipient(
        address=address,
        least_severity=least_severity,
        site_id=site_id,
        added_by=by,
        added_at=now,
    )
    session.add(found)
    session.flush()
    audit.record(session, actor=by, action="alerts:recipient:add", subject=address, at=now)
    return found


def notify(
    session: Session,
    identifier: str,
    signal: Signal,
    *,
    device: str,
    promised: float | None,
    renderer: Renderer,
    mail_from: str,
    base_url: str,
    now: datetime,
) -> int:
    """Queue one mail about this signal to everybody concerned; returns how many."""
    severity = severity_of(signal)
    told = [r.address for r in repository.recipients(session) if _concerns(r, signal, severity)]
    queued = 0
    for address in told:
        alert = Alert(
            identifier=identifier,
            signal=signal,
            device=device,
            severity=severity,
            base_url=base_url,
            promised=promised,
            others=tuple(other for other in told if other != address),
        )
        mail = renderer.alert_mail(alert)
        queued += enqueue(session, f"signal:{identifier}", address, mail, mail_from, now)
    return queued


def _concerns(recipient: Recipient, signal: Signal, severity: Severity) -> bool:
    at_site = recipient.site_id is None or recipient.site_id in signal.sites
    return at_site and ORDER[severity] >= ORDER[recipient.least_severity]


def enqueue(
    session: Session, cause: str, recipient: str, mail: RenderedMail, sender: str, now: datetime
) -> bool:
    """Freeze a message into the outbox; False if this cause was told to this person before."""
    if repository.has_mail(session, cause, recipient):
        return False
    identifier = str(uuid.uuid4())
    message_id = f"<{identifier}@{sender.rpartition('@')[2]}>"
    session.add(
        OutboxMail(
            id=identifier,
            cause=cause,
            recipient=recipient,
            subject=mail.subject,
            message_id=message_id,
            message=compose(mail, sender, recipient, message_id, now),
            state=MailState.PENDING,
            attempts=0,
            queued_at=now,
            next_at=now,
            last_error="",
        )
    )
    session.flush()
    return True


def compose(
    mail: RenderedMail, sender: str, recipient: str, message_id: str, now: datetime
) -> bytes:
    """The exact bytes of a message. A line break in a header is refused, never folded away."""
    message = EmailMessage(policy=SMTP)
    try:
        message["From"] = sender
        message["To"] = recipient
        message["Subject"] = mail.subject
        message["Date"] = format_datetime(now)
        message["Message-ID"] = message_id
        message["Auto-Submitted"] = "auto-generated"
    except (ValueError, HeaderParseError) as error:
        raise Unusable("a mail header cannot hold a line break") from error
    message.set_content(mail.text)
    message.add_alternative(mail.html, subtype="html")
    message.set_boundary(f"=_{message_id[1:37]}")  # not random: the same mail is the same bytes
    return message.as_bytes()


def deliver(
    factory: sessionmaker[Session], transport: Transport, sender: str, now: datetime
) -> int:
    """Send what waits, one message after the other; returns how many were accepted."""
    sent = 0
    while (mail := _claim(factory, now)) is not None:
        result = _attempt(transport, sender, mail, now)
        with factory.begin() as session:
            repository.settle(session, mail, result)
        sent += result["state"] is MailState.SENT
    return sent


def _claim(factory: sessionmaker[Session], now: datetime) -> OutboxMail | None:
    with factory.begin() as session:
        return repository.claim_mail(session, now, LEASE)


def _attempt(
    transport: Transport, sender: str, mail: OutboxMail, now: datetime
) -> dict[str, object]:
    try:
        transport.send(sender, mail.recipient, mail.message)
    except DeliveryUncertain as error:
        # Sent once more, byte for byte with the same Message-ID; then left for a person to see.
        again = mail.last_error.startswith("uncertain")
        state = MailState.DEAD if again else MailState.UNCERTAIN
        return {"state": state, "last_error": f"uncertain: {error}", "next_at": now + FIRST_WAIT}
    except DeliveryFailed as error:
        is_over = error.is_permanent or now - mail.queued_at > GIVE_UP_AFTER
        return {
            "state": MailState.DEAD if is_over else MailState.PENDING,
            "last_error": str(error),
            "next_at": now + min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(mail.attempts - 1, 20)),
        }
    return {"state": MailState.SENT, "sent_at": now, "last_error": ""}


def is_quiet(session: Session, now: datetime) -> bool:
    """Nothing waits that could be sent now."""
    return repository.waiting_now(session, now) == 0


def mails(session: Session, limit: int = 100, cause: str | None = None) -> tuple[MailView, ...]:
    """Messages for a page, newest first."""
    return tuple(
        MailView(
            *(m.id, m.cause, m.recipient, m.subject, m.state),
            *(m.attempts, m.queued_at, m.sent_at, m.last_error),
        )
        for m in repository.newest(session, limit, cause)
    )
