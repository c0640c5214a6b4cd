"""Queries on the audit trail."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from app.central.audit.models import AuditEntry

CHAIN_LOCK = 7_012_026  # any number, the same in every process
_NEWEST = select(AuditEntry.hash).order_by(AuditEntry.sequence.desc()).limit(1)
NEWEST_HASH = _NEWEST.scalar_subquery()
"""The head of the chain, inside another query."""


def lock(session: Session) -> None:
    """Wait for our turn to append; kept to the end of the transaction."""
    session.execute(text("SELECT pg_advisory_xact_lock(:n)"), {"n": CHAIN_LOCK})


def last(session: Session) -> AuditEntry | None:
    """The newest entry."""
    return session.scalar(select(AuditEntry).order_by(AuditEntry.sequence.desc()).limit(1))


def newest(
    session: Session, *, limit: int, before: int | None, subject: str | None
) -> Sequence[AuditEntry]:
    """A page of entries, newest first."""
    query = select(AuditEntry).order_by(AuditEntry.sequence.desc()).limit(limit)
    if before is not None:
        query = query.where(AuditEntry.sequence < before)
    if subject is not None:
        query = query.where(AuditEntry.subject == subject)
    return session.scalars(query).all()


def subjects_of(session: Session, action: str, since: datetime) -> Sequence[str]:
    """On what something was done since then, each once."""
    query = select(AuditEntry.subject).where(AuditEntry.action == action, AuditEntry.at > since)
    return session.scalars(query.distinct().order_by(AuditEntry.subject)).all()


def all_in_order(session: Session) -> Iterator[AuditEntry]:
    """Every entry, oldest first, without holding them all."""
    yield from session.scalars(
        select(AuditEntry).order_by(AuditEntry.sequence).execution_options(yield_per=1000)
    )
