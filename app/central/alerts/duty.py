"""The hours in which somebody may be written to."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo, available_timezones

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from app.central.jobs.schedule import Daily


class Duty(BaseModel):
    """On these weekdays (0 = Monday), local time; `until` is exclusive."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    zone: str = "UTC"
    weekdays: tuple[Annotated[int, Field(ge=0, le=6)], ...] = Field((0, 1, 2, 3, 4), min_length=1)
    start: time = time(8)
    until: time = time(18)

    @field_validator("zone")
    @classmethod
    def _is_known(cls, zone: str) -> str:
        if zone not in available_timezones():
            raise ValueError("an IANA time zone expected")
        return zone

    @field_validator("start", "until")
    @classmethod
    def _is_local(cls, at: time) -> time:
        if at.tzinfo is not None:
            raise ValueError("a local time expected, without an offset")
        return at

    @field_validator("until")
    @classmethod
    def _follows(cls, until: time, info: ValidationInfo) -> time:
        if "start" in info.data and until <= info.data["start"]:
            raise ValueError("until: after start expected")
        return until

    def begins(self, now: datetime) -> datetime:
        """The first instant from `now` on that is on duty."""
        local = now.astimezone(ZoneInfo(self.zone))
        if local.weekday() in self.weekdays and self.start <= local.time() < self.until:
            return now
        shifts = Daily(self.start, self.zone, frozenset(self.weekdays))
        return next(shifts.due_times(now, now + timedelta(days=8)))
