"""Whether this machine's clock may close days and date cases.

A clock that leaps a year ahead would close a year that has not happened, and everything after it
would be late; one that starts in 1970 would date cases so. Until the time is right again cases
are received, analysed and kept, and no day is closed. Nothing is dated anew afterwards.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

EARLIEST: Final = datetime(2026, 1, 1, tzinfo=UTC)  # no agent is older
STRIDE: Final = timedelta(days=3)  # over which days follow one another without the centre's word
AHEAD_DAYS: Final = 1  # a modality's clock may be ahead of midnight, not of tomorrow
UNKNOWN_DAYS: Final = 366  # how far a modality is believed when our own clock says nothing


def is_confirmed(now: datetime, confirmed: datetime | None) -> bool:
    """Whether the centre, which refuses requests of another time, took one at about this time."""
    return confirmed is not None and abs(now - confirmed) <= STRIDE


def leaps(now: datetime, as_of: int, closed_through: int | None) -> bool:
    """Whether closing the days before `as_of` (ordinals) would be a leap, or before any agent."""
    if now < EARLIEST:
        return True
    return closed_through is not None and as_of - closed_through > STRIDE.days


def counted_on(acquired: int | None, today: int, closed_through: int | None) -> tuple[int, str]:
    """The day (ordinal) a case counts in, that of its acquisition if that can be true, and a note.

    A clock that is behind the days it has closed is wrong; then the modality's is believed.
    """
    first_open = max(EARLIEST.toordinal(), closed_through or 0)
    ahead = AHEAD_DAYS if today >= first_open else UNKNOWN_DAYS
    today = max(today, first_open)
    if acquired is None:
        return today, "acquisition_date_missing"
    if acquired > today + ahead:
        return today, "acquired_in_the_future"
    return acquired, ""
