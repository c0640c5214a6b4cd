"""When a job is due. Wall-clock schedules in a site's or company's zone, correct across DST.

APScheduler's cron trigger skips a whole day, or fires twice, where a zone changes its offset;
so it never computes a due time here. A local time that does not exist (spring) is due at the
first instant after the gap; one that exists twice (autumn) is due at its first occurrence.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from app.central.errors import Unusable


class CatchUp(StrEnum):
    """What to do about due times that passed while nobody worked."""

    LATEST = "latest"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Every:
    """Due at every multiple of `period` since 1970-01-01 00:00 UTC."""

    period: timedelta

    def __post_init__(self) -> None:
        if self.period < timedelta(seconds=1):
            raise Unusable(f"period: at least one second expected, got {self.period}")

    def due_times(self, after: datetime, upto: datetime) -> Iterator[datetime]:
        """Due instants in (after, upto], ascending, UTC."""
        origin = datetime(1970, 1, 1, tzinfo=UTC)
        due = origin + self.period * ((after - origin) // self.period + 1)
        while due <= upto:
            yield due
            due += self.period


@dataclass(frozen=True, slots=True)
class Daily:
    """Due at a local wall-clock time; on every day, or on the given weekdays (0 = Monday) or
    days of the month (a month without that day is due on its last day), of the given months."""

    at: time
    zone: str = "UTC"
    weekdays: frozenset[int] = field(default_factory=frozenset)
    month_days: frozenset[int] = field(default_factory=frozenset)
    months: frozenset[int] = field(default_factory=frozenset)

    def due_times(self, after: datetime, upto: datetime) -> Iterator[datetime]:
        """Due instants in (after, upto], ascending, UTC."""
        zone = ZoneInfo(self.zone)
        day = after.astimezone(zone).date() - timedelta(days=1)
        last = upto.astimezone(zone).date()
        while day <= last:
            due = _instant(day, self.at, zone)
            if self._falls_on(day) and after < due <= upto:
                yield due
            day += timedelta(days=1)

    def _falls_on(self, day: date) -> bool:
        if self.weekdays and day.weekday() not in self.weekdays:
            return False
        if self.months and day.month not in self.months:
            return False
        if not self.month_days or day.day in self.month_days:
            return True
        is_last = (day + timedelta(days=1)).month != day.month
        return is_last and any(wanted > day.day for wanted in self.month_days)


Schedule = Every | Daily


def due_times(
    schedule: Schedule, after: datetime, upto: datetime, catch_up: CatchUp = CatchUp.ALL
) -> list[datetime]:
    """Due instants of `schedule` in (after, upto]; only the newest with `CatchUp.LATEST`."""
    due = list(schedule.due_times(after, upto))
    return due[-1:] if catch_up is CatchUp.LATEST else due


def _instant(day: date, at: time, zone: ZoneInfo) -> datetime:
    local = datetime.combine(day, at, zone)  # fold=0: the first of two occurrences
    instant = local.astimezone(UTC)
    if instant.astimezone(zone).replace(tzinfo=None) == local.replace(tzinfo=None):
        return instant
    # In the gap: the offsets before and after it bracket its end, which is where time resumes.
    before, after = local.utcoffset(), local.replace(fold=1).utcoffset()
    assert before is not None
    assert after is not None
    return _first_after_gap(instant - abs(after - before), instant, zone)


def _first_after_gap(early: datetime, late: datetime, zone: ZoneInfo) -> datetime:
    """The instant in (early, late] at which the zone's offset changes, to the second."""
    offset = early.astimezone(zone).utcoffset()
    while late - early > timedelta(seconds=1):
        middle = early + (late - early) // 2
        if middle.astimezone(zone).utcoffset() == offset:
            early = middle
        else:
            late = middle
    return late.replace(microsecond=0)
