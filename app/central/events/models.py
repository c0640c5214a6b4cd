"""Planned events (service, protocol change), and what the quality role decided about each."""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from app.central.database import Base


class EventKind(StrEnum):
    """What was done at a scanner or a site."""

    SERVICE = "service"
    PROTOCOL_CHANGE = "protocol_change"
    SOFTWARE_UPDATE = "software_update"
    REPLACED_PART = "replaced_part"
    OTHER = "other"


class EventVerdict(StrEnum):
    """What the quality role decided of an event."""

    NEW_STAGE = "new_stage"
    ANNOTATION_ONLY = "annotation_only"


class PlannedEvent(Base):
    """Something that was done to a scanner, registered by a person. Never changed or deleted."""

    __tablename__ = "planned_event"

    id: Mapped[str] = mapped_column(primary_key=True, comment="Such as E-0001")
    lock_digest: Mapped[str] = mapped_column(
        ForeignKey("device_version.lock_digest"), index=True, comment="Device version"
    )
    site_id: Mapped[str] = mapped_column(ForeignKey("site.id"), comment="Where")
    scanner: Mapped[str] = mapped_column(comment="Scanner's pseudonym; empty: every one there")
    kind: Mapped[EventKind] = mapped_column(comment="What was done")
    first_day: Mapped[date] = mapped_column(comment="First day, by the site's calendar")
    last_day: Mapped[date] = mapped_column(comment="Last day, inclusive")
    description: Mapped[str] = mapped_column(comment="In a person's words, about no patient")
    registered_by: Mapped[str] = mapped_column(comment="Account name")
    registered_at: Mapped[datetime] = mapped_column(comment="When")


class EventDecision(Base):
    """Whether an event opens a new stage; signed, one an event, never changed or deleted."""

    __tablename__ = "event_decision"

    event_id: Mapped[str] = mapped_column(
        ForeignKey("planned_event.id"), primary_key=True, comment="Event"
    )
    verdict: Mapped[EventVerdict] = mapped_column(comment="new_stage or annotation_only")
    reason: Mapped[str] = mapped_column(comment="Why, in the person's words")
    decided_by: Mapped[str] = mapped_column(comment="Account name")
    printed_name: Mapped[str] = mapped_column(comment="Name as printed, 21 CFR 11.50(a)(1)")
    meaning: Mapped[str] = mapped_column(comment="Meaning of the signature, 21 CFR 11.50(a)(3)")
    decided_at: Mapped[datetime] = mapped_column(comment="When")
    artefact_digest: Mapped[str] = mapped_column(comment="SHA-256 of the event as registered")
    signature: Mapped[str] = mapped_column(comment="Hex, by the centre's key over this record")
