"""What the routes of references take."""

from __future__ import annotations

from datetime import date

from pydantic import BaseModel, ConfigDict, Field


class NewReference(BaseModel):
    """Everything up to and including `until` becomes a candidate."""

    model_config = ConfigDict(extra="forbid")

    lock_digest: str = Field(pattern=r"^[0-9a-f]{64}$")
    until: date
