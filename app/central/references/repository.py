"""Queries on references."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.central.references.models import Reference, ReferenceState


def find_reference(session: Session, reference_id: str, *, lock: bool = False) -> Reference | None:
    """The reference of that id."""
    return session.get(Reference, reference_id, with_for_update=lock)


def in_force(session: Session, lock_digest: str, *, lock: bool = False) -> Reference | None:
    """The approved reference of a device version."""
    query = select(Reference).where(
        Reference.lock_digest == lock_digest, Reference.state == ReferenceState.APPROVED
    )
    return session.scalar(query.with_for_update() if lock else query)


def approved(session: Session) -> dict[str, date]:
    """Last day of the reference in force of every device version that has one."""
    query = select(Reference.lock_digest, Reference.until)
    found = session.execute(query.where(Reference.state == ReferenceState.APPROVED))
    return {row[0]: row[1] for row in found}


def references(
    session: Session, *, lock_digest: str | None = None, limit: int = 200
) -> Sequence[Reference]:
    """References, newest first."""
    query = select(Reference).order_by(Reference.proposed_at.desc(), Reference.id).limit(limit)
    if lock_digest is not None:
        query = query.where(Reference.lock_digest == lock_digest)
    return session.scalars(query).all()


def count(session: Session) -> int:
    """How many there have been."""
    return session.scalar(select(func.count()).select_from(Reference)) or 0
