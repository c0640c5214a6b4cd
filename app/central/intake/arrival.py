"""When a window counts as arrived: with the evaluation that sees it first.

Whatever arrives after 06:00 UTC counts as the next day's, so an evaluation of a day never changes
afterwards.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

EVALUATION_TIME = time(6, tzinfo=UTC)


def arrival_day(received_at: datetime) -> date:
    """The first evaluation day at whose 06:00 UTC the window had arrived."""
    passed = received_at.astimezone(UTC) - timedelta(hours=EVALUATION_TIME.hour)
    return passed.date() + timedelta(days=1)


def evaluation_instant(day: date) -> datetime:
    """When `day` is evaluated."""
    return datetime.combine(day, EVALUATION_TIME)
