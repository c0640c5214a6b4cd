"""The audit trail: appended under a lock, chained by hash, never changed."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from app.central.database import Base


class AuditEntry(Base):
    """One thing that was done. `body` holds all of it, and the hash covers the body."""

    __tablename__ = "audit_entry"

    sequence: Mapped[int] = mapped_column(
        BigInteger, primary_key=True, autoincrement=False, comment="1, 2, … without gaps"
    )
    previous: Mapped[str] = mapped_column(unique=True, comment="Hash of the entry before")
    hash: Mapped[str] = mapped_column(unique=True, comment="SHA-256 of domain, previous and body")
    body: Mapped[bytes] = mapped_column(LargeBinary, comment="Canonical JSON of the entry")
    at: Mapped[datetime] = mapped_column(comment="When, for queries; also in the body")
    actor: Mapped[str] = mapped_column(comment="Who, for queries; also in the body")
    action: Mapped[str] = mapped_column(index=True, comment="What, for queries; also in the body")
    subject: Mapped[str] = mapped_column(index=True, comment="On what; also in the body")
