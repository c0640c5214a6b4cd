"""What the routes of reports take."""

from __future__ import annotations

from datetime import date

from pydantic import BaseModel, ConfigDict, Field


class NewReport(BaseModel):
    """A report on [start, end)."""

    model_config = ConfigDict(extra="forbid")

    lock_digest: str = Field(pattern=r"^[0-9a-f]{64}$")
    start: date
    end: date
