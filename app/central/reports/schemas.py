"""What the routes of reports take and give."""

from __future__ import annotations

from datetime import date

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from app.central.reports.models import Frequency, Meaning
from app.central.reports.ports import SignatureView
from app.central.reports.service import ReportView


class NewReport(BaseModel):
    """A report on [start, end). `schedule_id` names whose group is told once it is issued."""

    model_config = ConfigDict(extra="forbid")

    lock_digest: str = Field(pattern=r"^[0-9a-f]{64}$")
    start: date
    end: date
    schedule_id: str | None = None
    supersedes: str | None = None
    reason: str = Field(default="", max_length=4000)


class NewSignature(BaseModel):
    """A signature on the content that was read; the password is given again."""

    model_config = ConfigDict(extra="forbid")

    meaning: Meaning
    content_digest: str = Field(pattern=r"^[0-9a-f]{64}$")
    reason: str = Field(default="", max_length=4000)
    password: SecretStr = Field(max_length=1024)


class ShownReport(BaseModel):
    """A report, what signs it, and what is to be signed; "" before it is drafted."""

    model_config = ConfigDict(from_attributes=True)

    report: ReportView
    content_digest: str
    signatures: tuple[SignatureView, ...]


class NewSchedule(BaseModel):
    """Regular reports on a device for a group."""

    model_config = ConfigDict(extra="forbid")

    device: str = Field(max_length=200)
    frequency: Frequency
    recipients: str = Field(min_length=1, max_length=100)
    addresses: tuple[str, ...] = Field(min_length=1, max_length=200)
    with_evidently: bool = False


class ScheduleOut(BaseModel):
    """A schedule that runs."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    device: str
    frequency: Frequency
    recipients: str
    addresses: tuple[str, ...]
    with_evidently: bool
