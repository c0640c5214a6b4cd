"""What the routes of planned events take."""

from __future__ import annotations

from datetime import date

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from app.central.events.models import EventKind, EventVerdict
from app.central.events.service import LONGEST_DESCRIPTION
from app.central.texts import LONGEST_REASON


class NewEvent(BaseModel):
    """An event at a site, of one scanner or (`scanner` empty) of every one there."""

    model_config = ConfigDict(extra="forbid")

    lock_digest: str = Field(pattern=r"^[0-9a-f]{64}$")
    site_id: str = Field(min_length=1, max_length=32)
    scanner: str = Field(default="", max_length=128)
    kind: EventKind
    first_day: date
    last_day: date
    description: str = Field(min_length=1, max_length=LONGEST_DESCRIPTION)


class EventDecisionIn(BaseModel):
    """A decision on what was shown (`seen_digest`), signed with the password."""

    model_config = ConfigDict(extra="forbid")

    verdict: EventVerdict
    reason: str = Field(min_length=1, max_length=LONGEST_REASON)
    seen_digest: str = Field(pattern=r"^[0-9a-f]{64}$")
    password: SecretStr
