"""When a window counts as arrived: with the evaluation that sees it first.

Whatever arrives after 06:00 UTC counts as the next day's, so an evaluation of a day never changes
afterwards.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

EVALUATION_TIME = time(6, tzinfo=UTC)


def arrival_day(received_at: datetime) -> date:
    """The first evaluation day at whose 06:00 UTC the window had arrived."""
    return evaluation_day(received_at) + timedelta(days=1)


def evaluation_day(at: datetime) -> date:
    """The newest day whose evaluation is due at that instant."""
    return (at.astimezone(UTC) - timedelta(hours=EVALUATION_TIME.hour)).date()


def evaluation_instant(day: date) -> datetime:
    """When `day` is evaluated."""
    return datetime.combine(day, EVALUATION_TIME)
