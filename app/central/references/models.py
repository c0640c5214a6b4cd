"""Reference periods: what `as expected` means, frozen and approved."""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ForeignKey, Index, LargeBinary, text
from sqlalchemy.orm import Mapped, mapped_column

from app.central.database import Base


class ReferenceState(StrEnum):
    """One reference of a device version is in force; it is replaced, never edited."""

    CANDIDATE = "candidate"
    APPROVED = "approved"
    SUPERSEDED = "superseded"


class Reference(Base):
    """A frozen reference of one device version."""

    __tablename__ = "reference"
    __table_args__ = (
        Index(
            "uq_reference_in_force",
            "lock_digest",
            unique=True,
            postgresql_where=text("state = 'approved'"),
        ),
    )

    id: Mapped[str] = mapped_column(primary_key=True, comment="Such as R-0001")
    lock_digest: Mapped[str] = mapped_column(
        ForeignKey("device_version.lock_digest"), index=True, comment="Device version"
    )
    until: Mapped[date] = mapped_column(comment="Last day of the reference period")
    plan_digest: Mapped[str] = mapped_column(comment="Plan it was built with")
    state: Mapped[ReferenceState] = mapped_column(comment="candidate, approved or superseded")
    frozen: Mapped[bytes] = mapped_column(
        LargeBinary, deferred=True, comment="Canonical JSON naming every window it consists of"
    )
    digest: Mapped[str] = mapped_column(unique=True, comment="SHA-256 of the frozen bytes")
    summary: Mapped[dict[str, Any]] = mapped_column(comment="What it contains, for display")
    proposed_by: Mapped[str] = mapped_column(comment="Account name")
    proposed_at: Mapped[datetime] = mapped_column(comment="When")
    approved_by: Mapped[str | None] = mapped_column(comment="Account name of a second person")
    approved_at: Mapped[datetime | None] = mapped_column(comment="When")
