"""Issued reports: the input, and the exact bytes that were issued."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import ForeignKey, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from app.central.database import Base


class Report(Base):
    """An issued drift report. Superseded, never changed."""

    __tablename__ = "report"

    number: Mapped[str] = mapped_column(primary_key=True, comment="Such as DR-0001")
    lock_digest: Mapped[str] = mapped_column(
        ForeignKey("device_version.lock_digest"), index=True, comment="Device version"
    )
    start: Mapped[date] = mapped_column(comment="First day reported on")
    end: Mapped[date] = mapped_column(comment="Day after the last")
    evidence: Mapped[bytes] = mapped_column(LargeBinary, comment="Canonical JSON it was made from")
    input_digest: Mapped[str] = mapped_column(comment="SHA-256 of the evidence")
    html: Mapped[bytes] = mapped_column(LargeBinary, comment="As issued")
    pdf: Mapped[bytes] = mapped_column(LargeBinary, comment="As issued")
    pdf_digest: Mapped[str] = mapped_column(comment="SHA-256 of the PDF")
    issued_by: Mapped[str] = mapped_column(comment="Account name")
    issued_at: Mapped[datetime] = mapped_column(comment="When")
