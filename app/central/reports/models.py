"""Drift reports from the request to the issued bytes: drafts, remarks, signatures, schedules."""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ForeignKey, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from app.central.database import Base


class ReportState(StrEnum):
    """Where a report stands. An issued one is superseded by another, never changed."""

    REQUESTED = "requested"
    FAILED = "failed"  # drafting failed; the reason is in `progress`
    DRAFT = "draft"
    REVIEWED = "reviewed"
    ISSUED = "issued"
    SUPERSEDED = "superseded"
    WITHDRAWN = "withdrawn"


class Meaning(StrEnum):
    """What a signature on a report means, 21 CFR 11.50(a)(3)."""

    REVIEW = "review"
    APPROVAL = "approval"
    WITHDRAWAL = "withdrawal"


class Frequency(StrEnum):
    """How often a schedule asks for a report."""

    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"
    QUARTERLY = "quarterly"


class ReportSchedule(Base):
    """Regular reports on every version of a device in the field, for one group of people."""

    __tablename__ = "report_schedule"

    id: Mapped[str] = mapped_column(primary_key=True, comment="Such as RS-0001")
    device: Mapped[str] = mapped_column(comment="Device, by name")
    frequency: Mapped[Frequency] = mapped_column(comment="daily, weekly, monthly or quarterly")
    recipients: Mapped[str] = mapped_column(comment="Name of the group, such as Hospital H01")
    addresses: Mapped[list[Any]] = mapped_column(comment="Mail addresses told of an issued report")
    with_evidently: Mapped[bool] = mapped_column(comment="Whether Evidently's report is kept too")
    added_by: Mapped[str] = mapped_column(comment="Account name")
    added_at: Mapped[datetime] = mapped_column(comment="When")
    ended_by: Mapped[str | None] = mapped_column(comment="Account name of who ended it")
    ended_at: Mapped[datetime | None] = mapped_column(comment="Asks for nothing from then on")


class Report(Base):
    """A drift report. Its bytes are empty until it is drafted, and final once it is issued."""

    __tablename__ = "report"

    number: Mapped[str] = mapped_column(primary_key=True, comment="Such as DR-0001")
    lock_digest: Mapped[str] = mapped_column(
        ForeignKey("device_version.lock_digest"), index=True, comment="Device version"
    )
    start: Mapped[date] = mapped_column(comment="First day reported on")
    end: Mapped[date] = mapped_column(comment="Day after the last")
    state: Mapped[ReportState] = mapped_column(
        index=True, comment="requested, failed, draft, reviewed, issued, superseded or withdrawn"
    )
    progress: Mapped[str] = mapped_column(comment="What drafting does now, or why it failed")
    requested_by: Mapped[str] = mapped_column(comment="Account name, or the schedule")
    requested_at: Mapped[datetime] = mapped_column(comment="When")
    lease_until: Mapped[datetime | None] = mapped_column(
        comment="Database time; a worker drafts it until then"
    )
    schedule_id: Mapped[str | None] = mapped_column(
        ForeignKey("report_schedule.id"), comment="Whose group is told; null: nobody"
    )
    supersedes: Mapped[str | None] = mapped_column(
        ForeignKey("report.number"), comment="The issued report it takes the place of"
    )
    supersedes_reason: Mapped[str] = mapped_column(comment="Why; empty where it supersedes none")
    evidence: Mapped[bytes] = mapped_column(LargeBinary, comment="Canonical JSON it was made from")
    input_digest: Mapped[str] = mapped_column(comment="SHA-256 of the evidence")
    html: Mapped[bytes] = mapped_column(LargeBinary, comment="As issued, or as it stands")
    pdf: Mapped[bytes] = mapped_column(LargeBinary, comment="As issued, or as it stands")
    pdf_digest: Mapped[str] = mapped_column(comment="SHA-256 of the PDF")
    evidently: Mapped[bytes | None] = mapped_column(
        LargeBinary, comment="Evidently's report on the same windows, HTML, zstd"
    )
    issued_by: Mapped[str | None] = mapped_column(comment="Account name; null until issued")
    issued_at: Mapped[datetime | None] = mapped_column(comment="When; null until issued")


class ReportRemark(Base):
    """What a person wrote to a section of a draft; it is printed there."""

    __tablename__ = "report_remark"

    id: Mapped[str] = mapped_column(primary_key=True, comment="UUID")
    number: Mapped[str] = mapped_column(ForeignKey("report.number"), index=True, comment="Report")
    section: Mapped[str] = mapped_column(comment="Title of the section")
    text: Mapped[str] = mapped_column(comment="As written")
    written_by: Mapped[str] = mapped_column(comment="Account name")
    printed_name: Mapped[str] = mapped_column(comment="Name as printed")
    written_at: Mapped[datetime] = mapped_column(comment="When")


class ReportSignature(Base):
    """A signature on a report's content."""

    __tablename__ = "report_signature"

    id: Mapped[str] = mapped_column(primary_key=True, comment="UUID")
    number: Mapped[str] = mapped_column(ForeignKey("report.number"), index=True, comment="Report")
    meaning: Mapped[Meaning] = mapped_column(comment="review, approval or withdrawal")
    reason: Mapped[str] = mapped_column(comment="Of a withdrawal")
    content_digest: Mapped[str] = mapped_column(
        comment="SHA-256 of the canonical content, without status and signatures"
    )
    signed_by: Mapped[str] = mapped_column(comment="Account name")
    printed_name: Mapped[str] = mapped_column(comment="Name as printed, 21 CFR 11.50(a)(1)")
    signed_at: Mapped[datetime] = mapped_column(comment="When")
    signature: Mapped[str] = mapped_column(comment="Hex, by the centre's key over this record")
