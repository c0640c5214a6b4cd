from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from app.edge.credible_time import STRIDE, counted_on, is_confirmed, leaps

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
TODAY = date(2026, 3, 10).toordinal()
YESTERDAY = TODAY - 1
IN_1970 = date(1970, 1, 1).toordinal()


@pytest.mark.parametrize(
    ("acquired", "today", "counted", "note"),
    [
        (TODAY, TODAY, TODAY, ""),
        (TODAY - 30, TODAY, TODAY - 30, ""),
        (TODAY + 1, TODAY, TODAY + 1, ""),
        (TODAY + 2, TODAY, TODAY, "acquired_in_the_future"),
        (None, TODAY, TODAY, "acquisition_date_missing"),
        (TODAY + 5, IN_1970, TODAY + 5, ""),  # our clock is lost, the modality's is not
        (TODAY + 500, IN_1970, YESTERDAY, "acquired_in_the_future"),
        (None, IN_1970, YESTERDAY, "acquisition_date_missing"),
    ],
)
def test_a_case_counts_on_its_day_and_never_in_1970(
    acquired: int | None, today: int, counted: int, note: str
) -> None:
    assert counted_on(acquired, today, closed_through=YESTERDAY) == (counted, note)


def test_before_anything_was_closed_no_case_counts_before_there_were_agents() -> None:
    day, note = counted_on(None, IN_1970, closed_through=None)

    assert (date.fromordinal(day).year, note) == (2026, "acquisition_date_missing")


@pytest.mark.parametrize(
    ("days", "closed", "is_leap"),
    [
        (1, YESTERDAY, False),
        (STRIDE.days, YESTERDAY, False),
        (STRIDE.days + 1, YESTERDAY, True),
        (365, YESTERDAY, True),
        (-30, YESTERDAY, False),  # behind: nothing would be closed anyway
        (365, None, False),
    ],
)
def test_days_follow_one_another_without_a_leap(
    days: int, closed: int | None, is_leap: bool
) -> None:
    assert leaps(NOW, YESTERDAY + days, closed) is is_leap


def test_no_day_is_closed_in_a_time_before_there_were_agents() -> None:
    assert leaps(datetime(1970, 1, 1, tzinfo=UTC), IN_1970, None)


def test_the_centre_confirms_the_time_of_its_last_receipt_only() -> None:
    assert is_confirmed(NOW, NOW - STRIDE)
    assert not is_confirmed(NOW + timedelta(days=365), NOW)
    assert not is_confirmed(NOW - timedelta(days=365), NOW)
    assert not is_confirmed(NOW, None)
