"""What the routes of alerts take."""

from __future__ import annotations

from datetime import datetime

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, SecretStr

from app.central.alerts.assessments import Answers
from app.central.alerts.duty import Duty
from app.central.alerts.models import Severity


class _In(BaseModel):
    model_config = ConfigDict(extra="forbid")


class AwarenessIn(_In):
    """Since when the person is aware (null: now), and how it came about."""

    aware_at: AwareDatetime | None = None
    how: str = Field(default="read in lockwatch", min_length=1, max_length=1000)


class AssessmentIn(_In):
    """A signed answer to what was shown (`seen_digest`)."""

    answers: Answers
    seen_digest: str = Field(pattern=r"^[0-9a-f]{64}$")
    password: SecretStr = Field(max_length=1024)


class Routing(_In):
    """What reaches somebody, and when."""

    least_severity: Severity = Severity.NOTICE
    site_id: str | None = None
    device: str | None = Field(default=None, max_length=200)
    on_escalation: bool = False
    wants_digest: bool = True
    duty: Duty | None = None


class NewRecipient(Routing):
    """Somebody to tell."""

    address: str = Field(max_length=254)


class RecipientOut(NewRecipient):
    """Somebody who is told."""

    model_config = ConfigDict(from_attributes=True)

    added_by: str
    added_at: datetime


class RecipientTest(_In):
    """Where a test message is to go."""

    address: str = Field(max_length=254)
