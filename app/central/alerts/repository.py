"""Queries of recipients and of the outbox."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, func, or_, select, update
from sqlalchemy.orm import Session

from app.central.alerts.models import (
    Awareness,
    MailState,
    OutboxMail,
    Recipient,
    ReportabilityAssessment,
)

DATABASE_NOW = func.clock_timestamp()


def recipients(session: Session) -> Sequence[Recipient]:
    """Everybody who may be told, by address."""
    return session.scalars(select(Recipient).order_by(Recipient.address)).all()


def find_recipient(session: Session, address: str) -> Recipient | None:
    """The recipient at `address`."""
    return session.get(Recipient, address)


def has_mail(session: Session, cause: str, recipient: str) -> bool:
    """Whether this cause was already told to this person."""
    query = select(OutboxMail.id).where(
        OutboxMail.cause == cause, OutboxMail.recipient == recipient
    )
    return session.scalar(query) is not None


def claim_mail(session: Session, now: datetime, lease: timedelta) -> OutboxMail | None:
    """The message that has waited longest, ours until the lease ends."""
    oldest = (
        select(OutboxMail.id)
        .where(_is_free(now))
        .order_by(OutboxMail.next_at, OutboxMail.queued_at, OutboxMail.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    return session.scalars(
        update(OutboxMail)
        # "=", not "IN": a sub-select under IN may run again for each row and lock another one.
        .where(OutboxMail.id == oldest.scalar_subquery())
        .values(
            state=MailState.SENDING,
            attempts=OutboxMail.attempts + 1,
            lease_until=DATABASE_NOW + lease,
        )
        .returning(OutboxMail),
        execution_options={"populate_existing": True},
    ).one_or_none()


def _is_free(now: datetime) -> ColumnElement[bool]:
    ready = and_(
        OutboxMail.state.in_((MailState.PENDING, MailState.UNCERTAIN)), OutboxMail.next_at <= now
    )
    lost = and_(OutboxMail.state == MailState.SENDING, OutboxMail.lease_until < DATABASE_NOW)
    return or_(ready, lost)


def settle(session: Session, mail: OutboxMail, values: Mapping[str, object]) -> None:
    """Write the result of our attempt, unless somebody has claimed the message since."""
    session.execute(
        update(OutboxMail)
        .where(OutboxMail.id == mail.id, OutboxMail.attempts == mail.attempts)
        .values(lease_until=None, **values),
        execution_options={"synchronize_session": False},
    )


def waiting_now(session: Session, now: datetime) -> int:
    """Messages that could be sent now, or are being sent."""
    query = select(func.count()).where(or_(_is_free(now), OutboxMail.state == MailState.SENDING))
    return session.scalar(query) or 0


def count_in(session: Session, state: MailState) -> int:
    """Messages in one state."""
    query = select(func.count()).select_from(OutboxMail).where(OutboxMail.state == state)
    return session.scalar(query) or 0


def newest(session: Session, limit: int, cause: str | None = None) -> Sequence[OutboxMail]:
    """Messages for a page, newest first."""
    query = select(OutboxMail).order_by(OutboxMail.queued_at.desc(), OutboxMail.id).limit(limit)
    return session.scalars(query if cause is None else query.where(OutboxMail.cause == cause)).all()


def queued_since(session: Session, recipient: str, since: datetime) -> int:
    """How many mails about single signals one person was sent since then."""
    query = select(func.count()).where(
        OutboxMail.recipient == recipient,
        OutboxMail.queued_at > since,
        OutboxMail.cause.startswith("signal:"),
    )
    return session.scalar(query) or 0


def told_causes(session: Session, recipient: str, causes: Collection[str]) -> set[str]:
    """Which of these causes one person has been told."""
    query = select(OutboxMail.cause).where(
        OutboxMail.recipient == recipient, OutboxMail.cause.in_(causes)
    )
    return set(session.scalars(query))


def awareness(session: Session, signal_id: str) -> Sequence[Awareness]:
    """Who became aware of a signal, in the order of becoming so."""
    query = select(Awareness).where(Awareness.signal_id == signal_id)
    return session.scalars(query.order_by(Awareness.aware_at, Awareness.id)).all()


def aware_of(session: Session, signal_ids: Collection[str]) -> set[str]:
    """Which of these signals somebody is aware of."""
    query = select(Awareness.signal_id).where(Awareness.signal_id.in_(signal_ids))
    return set(session.scalars(query))


def assessments(session: Session, signal_id: str) -> Sequence[ReportabilityAssessment]:
    """Assessments of reportability, oldest first."""
    query = select(ReportabilityAssessment).where(ReportabilityAssessment.signal_id == signal_id)
    return session.scalars(query.order_by(ReportabilityAssessment.version)).all()
