"""Who is told, and every message on its way to one person."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, LargeBinary, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.central.database import Base


class Severity(StrEnum):
    """How soon a person should look; in rising order."""

    INFO = "info"
    NOTICE = "notice"
    WARNING = "warning"
    URGENT = "urgent"


class MailState(StrEnum):
    """Where a message to one recipient stands."""

    PENDING = "pending"
    SENDING = "sending"
    SENT = "sent"
    UNCERTAIN = "uncertain"  # the connection ended after the text: sent once more, byte for byte
    DEAD = "dead"


class Recipient(Base):
    """Somebody who wants mail about signals of at least some severity."""

    __tablename__ = "recipient"

    address: Mapped[str] = mapped_column(primary_key=True, comment="Mail address")
    least_severity: Mapped[Severity] = mapped_column(comment="Nothing below it is sent")
    site_id: Mapped[str | None] = mapped_column(
        ForeignKey("site.id"), comment="Only signals of this site; null: of all"
    )
    device: Mapped[str | None] = mapped_column(comment="Only this device, by name; null: all")
    on_escalation: Mapped[bool] = mapped_column(
        server_default="false", comment="Told only when nobody has acknowledged in time"
    )
    wants_digest: Mapped[bool] = mapped_column(
        server_default="true", comment="Once a day, what was not worth a mail of its own"
    )
    duty: Mapped[dict[str, Any] | None] = mapped_column(
        comment="Hours in which mail may come: zone, weekdays, from, to; null: always"
    )
    added_by: Mapped[str] = mapped_column(comment="Account name")
    added_at: Mapped[datetime] = mapped_column(comment="When")


class OutboxMail(Base):
    """One message to one recipient, frozen in the transaction that caused it."""

    __tablename__ = "outbox_mail"
    __table_args__ = (UniqueConstraint("cause", "recipient"),)

    id: Mapped[str] = mapped_column(primary_key=True, comment="UUID; part of the Message-ID")
    cause: Mapped[str] = mapped_column(comment="Such as signal:S-0001; one mail a cause and person")
    recipient: Mapped[str] = mapped_column(comment="Mail address")
    subject: Mapped[str] = mapped_column(comment="For display")
    message_id: Mapped[str] = mapped_column(unique=True, comment="Message-ID header")
    message: Mapped[bytes] = mapped_column(LargeBinary, comment="The exact bytes that are sent")
    state: Mapped[MailState] = mapped_column(index=True, comment="Where it stands")
    attempts: Mapped[int] = mapped_column(BigInteger, comment="Deliveries tried")
    queued_at: Mapped[datetime] = mapped_column(comment="When it was caused")
    next_at: Mapped[datetime] = mapped_column(comment="Not tried before")
    lease_until: Mapped[datetime | None] = mapped_column(comment="Database time; then reclaimed")
    last_error: Mapped[str] = mapped_column(comment="What the last attempt met")
    sent_at: Mapped[datetime | None] = mapped_column(comment="When it was accepted")


class Awareness(Base):
    """A person has become aware of a signal: what acknowledges it, and what clocks count from."""

    __tablename__ = "awareness"

    id: Mapped[str] = mapped_column(primary_key=True, comment="UUID")
    signal_id: Mapped[str] = mapped_column(ForeignKey("signal.id"), index=True, comment="Signal")
    person: Mapped[str] = mapped_column(comment="Account name of who became aware")
    aware_at: Mapped[datetime] = mapped_column(comment="When, in the person's own word")
    how: Mapped[str] = mapped_column(comment="How, in the person's words")
    recorded_at: Mapped[datetime] = mapped_column(comment="When it was written here")


class ReportabilityAssessment(Base):
    """What a person decided about the duties to report, signed. A change is a new version."""

    __tablename__ = "reportability_assessment"
    __table_args__ = (UniqueConstraint("signal_id", "version"),)

    id: Mapped[str] = mapped_column(primary_key=True, comment="UUID")
    signal_id: Mapped[str] = mapped_column(ForeignKey("signal.id"), comment="Signal")
    version: Mapped[int] = mapped_column(BigInteger, comment="1, 2, …; the highest holds")
    document: Mapped[bytes] = mapped_column(
        LargeBinary, comment="Canonical JSON of the answers: what was signed"
    )
    artefact_digest: Mapped[str] = mapped_column(
        comment="SHA-256 of the signal document that was on the screen"
    )
    decided_by: Mapped[str] = mapped_column(comment="Account name")
    printed_name: Mapped[str] = mapped_column(comment="Name as printed, 21 CFR 11.50(a)(1)")
    decided_at: Mapped[datetime] = mapped_column(comment="When")
    signature: Mapped[str] = mapped_column(comment="Hex, by the centre's key over this record")


class SiteLetter(Base):
    """A letter to a site about a signal, as it was signed and sent. Never changed."""

    __tablename__ = "site_letter"

    id: Mapped[str] = mapped_column(primary_key=True, comment="Such as L-0001")
    signal_id: Mapped[str] = mapped_column(
        ForeignKey("signal.id"), index=True, comment="Signal it is about"
    )
    site_id: Mapped[str] = mapped_column(ForeignKey("site.id"), comment="Whom it is written to")
    document: Mapped[bytes] = mapped_column(
        LargeBinary,
        comment="Canonical JSON of its words, and of the digest of the signal as it was seen",
    )
    digest: Mapped[str] = mapped_column(comment="SHA-256 of the document")
    addresses: Mapped[list[Any]] = mapped_column(
        comment="Mail addresses it was sent to; none: it was printed"
    )
    sent_by: Mapped[str] = mapped_column(comment="Account name")
    printed_name: Mapped[str] = mapped_column(comment="Name as printed, 21 CFR 11.50(a)(1)")
    sent_at: Mapped[datetime] = mapped_column(comment="When")
    signature: Mapped[str] = mapped_column(comment="Hex, by the centre's key over this record")
