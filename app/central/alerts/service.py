"""Tell people about signals: who, how urgently, once each, and whether it arrived.

A message is written in the transaction that causes it and its bytes never change after that.
It is sent outside any transaction: at least once, and every repeat is byte for byte the same.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.errors import HeaderParseError
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

from sqlalchemy.orm import Session, sessionmaker

from app.central.alerts import repository, webhook
from app.central.alerts.duty import Duty
from app.central.alerts.models import MailState, OutboxMail, Recipient, Severity
from app.central.alerts.ports import Alert, Notice, RenderedMail, Renderer
from app.central.alerts.transport import DeliveryFailed, DeliveryUncertain, Transport
from app.central.audit import service as audit
from app.central.database import unless_taken
from app.central.errors import NotAllowed, NotFound, Unusable
from app.central.fleet import repository as fleet_repository
from app.central.surveillance.scoped import part_of
from app.contracts.signals import Effect, Signal

LEASE = timedelta(minutes=5)
FIRST_WAIT = timedelta(minutes=1)
LONGEST_WAIT = timedelta(hours=6)
GIVE_UP_AFTER = timedelta(hours=72)
RANKED = tuple(Severity)
ORDER = {severity: rank for rank, severity in enumerate(RANKED)}
LARGE = 0.8
SEVERAL_SITES = 3
MOST_AN_HOUR = 20  # mails about single signals to one person; what is urgent comes all the same

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
SEVERITY_OF_EVENT: Mapping[str, Severity] = {
    "lock": Severity.URGENT,
    "silence": Severity.WARNING,
    "routing": Severity.WARNING,
    "lateness": Severity.NOTICE,
    "alarm_test": Severity.WARNING,
    "stored_windows": Severity.URGENT,
}


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
    """How soon a person should look.

    The most urgent of its causes, or of its event; one step more where the change is large for
    certain or at several sites at once.
    """
    if signal.kind == "deterministic":
        return SEVERITY_OF_EVENT.get(signal.event, Severity.INFO)
    base = max((SEVERITY_OF_CAUSE[c] for c in signal.history[-1].causes), key=ORDER.__getitem__)
    is_wide = len(signal.sites) >= SEVERAL_SITES or any(
        _is_large(e) for e in signal.characteristics
    )
    return RANKED[min(ORDER[base] + is_wide, ORDER[Severity.URGENT])]


def _is_large(effect: Effect) -> bool:
    """The whole interval lies beyond a large effect (Cohen 1988: 0.8 standard deviations)."""
    low, high = effect.interval
    return effect.unit == "reference SD" and low * high > 0 and min(abs(low), abs(high)) > LARGE


def add_recipient(
    session: Session,
    address: str,
    least_severity: Severity,
    *,
    by: str,
    now: datetime,
    site_id: str | None = None,
    device: str | None = None,
    on_escalation: bool = False,
    wants_digest: bool = True,
    duty: Duty | None = None,
) -> Recipient:
    """Somebody more is told."""
    check_address(address)
    check_site(session, site_id)
    if repository.find_recipient(session, address) is not None:
        raise NotAllowed("this address is told already")
    found = Recipient(
        address=address,
        least_severity=least_severity,
        site_id=site_id,
        device=device,
        on_escalation=on_escalation,
        wants_digest=wants_digest,
        duty=duty.model_dump(mode="json") if duty else None,
        added_by=by,
        added_at=now,
    )
    with unless_taken(session, "this address is told already"):
        session.add(found)
    audit.record(session, actor=by, action="alerts:recipient:add", subject=address, at=now)
    return found


def check_site(session: Session, site_id: str | None) -> None:
    """Refuse a site that is not there; null means every site."""
    if site_id is not None and fleet_repository.find_site(session, site_id) is None:
        raise Unusable(f"site_id: no site {site_id[:32]}")


def check_address(address: str) -> None:
    """Refuse what is not one plain mail address."""
    if webhook.is_webhook(address):
        webhook.check(address)
        return
    local, at, domain = address.rpartition("@")
    if not (local and at and domain) or not address.isascii() or not address.isprintable():
        raise Unusable("mail address: name@domain expected")
    if any(c in address for c in ' ,;:<>"'):
        raise Unusable("mail address: one plain address expected")


def recipients(session: Session) -> Sequence[Recipient]:
    """Everybody who is told, by address."""
    return repository.recipients(session)


def remove_recipient(session: Session, address: str, *, by: str, now: datetime) -> None:
    """Somebody is no longer told; what was queued still goes out."""
    found = repository.find_recipient(session, address)
    if found is None:
        raise NotFound("nobody is told at this address")
    session.delete(found)
    audit.record(session, actor=by, action="alerts:recipient:remove", subject=address, at=now)


def notify(
    session: Session,
    identifier: str,
    signal: Signal,
    *,
    lock_digest: str,
    device: str,
    promised: float | None,
    renderer: Renderer,
    mail_from: str,
    base_url: str,
    now: datetime,
) -> int:
    """Queue one mail about this signal to everybody concerned; returns how many.

    Who is bound to one site reads of the others only how many they are.
    """
    severity = severity_of(signal)
    concerned = [
        r
        for r in repository.recipients(session)
        if not r.on_escalation
        and concerns(r, signal.sites, device)
        and ORDER[severity] >= ORDER[r.least_severity]
        and (severity is Severity.URGENT or not _is_flooded(session, r, now))
    ]
    queued = 0
    for recipient in concerned:
        alert = Alert(
            identifier=identifier,
            signal=part_of(session, signal, lock_digest, recipient.site_id),
            device=device,
            severity=severity,
            base_url=base_url,
            promised=promised,
            others=others_told(recipient, concerned),
        )
        mail = renderer.alert_mail(alert)
        not_before = now if severity is Severity.URGENT else on_duty_from(recipient, now)
        cause = f"signal:{identifier}"
        queued += enqueue(
            session, cause, recipient.address, mail, mail_from, now, not_before=not_before
        )
    return queued


def tell(
    session: Session,
    cause: str,
    notice: Notice,
    severity: Severity,
    *,
    sites: Collection[str],
    device: str,
    renderer: Renderer,
    mail_from: str,
    base_url: str,
    now: datetime,
) -> int:
    """Queue one mail about something that is no signal to everybody concerned, once a cause."""
    mail = renderer.notice_mail(notice, base_url)
    return sum(
        enqueue(session, cause, r.address, mail, mail_from, now, not_before=on_duty_from(r, now))
        for r in repository.recipients(session)
        if not r.on_escalation
        and ORDER[severity] >= ORDER[r.least_severity]
        and concerns(r, sites, device)
    )


def concerns(recipient: Recipient, sites: Collection[str], device: str) -> bool:
    """Whether something is of this person's site and device. `device`: name and version."""
    at_site = recipient.site_id is None or recipient.site_id in sites
    of_device = recipient.device is None or device.rpartition(" ")[0] == recipient.device
    return at_site and of_device


def others_told(recipient: Recipient, told: Sequence[Recipient]) -> tuple[str, ...]:
    """Addresses of the others, without those of other sites than the recipient's own."""
    mine = recipient.site_id
    known = [r for r in told if mine is None or r.site_id in (None, mine)]
    return tuple(r.address for r in known if r.address != recipient.address)


def _is_flooded(session: Session, recipient: Recipient, now: datetime) -> bool:
    hour = now - timedelta(hours=1)
    return repository.queued_since(session, recipient.address, hour) >= MOST_AN_HOUR


def on_duty_from(recipient: Recipient, now: datetime) -> datetime:
    """The first instant from `now` on at which this person may be written to."""
    if recipient.duty is None:
        return now
    return Duty.model_validate(recipient.duty).begins(now)


def enqueue(
    session: Session,
    cause: str,
    recipient: str,
    mail: RenderedMail,
    sender: str,
    now: datetime,
    *,
    not_before: datetime | None = None,
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
            message=_message(mail, sender, recipient, message_id, now),
            state=MailState.PENDING,
            attempts=0,
            queued_at=now,
            next_at=not_before or now,
            last_error="",
        )
    )
    session.flush()
    return True


def _message(
    mail: RenderedMail, sender: str, recipient: str, message_id: str, now: datetime
) -> bytes:
    if webhook.is_webhook(recipient):
        return webhook.compose(mail, message_id, now)
    return compose(mail, sender, recipient, message_id, now)


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


def given_up(session: Session) -> int:
    """Messages that reached nobody."""
    return repository.count_in(session, MailState.DEAD)


def mails(
    session: Session, limit: int = 100, cause: str | None = None, *, scope: str | None = None
) -> tuple[MailView, ...]:
    """Messages for a page, newest first; none to those who are told of other sites than `scope`,
    where a person is bound to one."""
    foreign = {r.address for r in recipients(session) if scope and r.site_id not in (None, scope)}
    return tuple(
        MailView(
            *(m.id, m.cause, m.recipient, m.subject, m.state),
            *(m.attempts, m.queued_at, m.sent_at, m.last_error),
        )
        for m in repository.newest(session, limit, cause)
        if m.recipient not in foreign
    )
