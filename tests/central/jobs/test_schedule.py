from __future__ import annotations

import itertools
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.central.errors import Unusable
from app.central.jobs.schedule import CatchUp, Daily, Every, due_times

BERLIN = ZoneInfo("Europe/Berlin")
ZONES = st.sampled_from(
    ["UTC", "Europe/Berlin", "America/Los_Angeles", "Australia/Lord_Howe", "Asia/Kolkata"]
)
INSTANTS = st.integers(0, 4 * 365 * 24 * 3600).map(
    lambda s: datetime(2024, 1, 1, tzinfo=UTC) + timedelta(seconds=s)
)


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)


def test_a_day_that_begins_inside_the_gap_is_not_skipped() -> None:
    # Los Angeles, 2026-03-08: 02:30 does not exist; time resumes at 03:00 PDT = 10:00 UTC.
    daily = Daily(time(2, 30), "America/Los_Angeles")

    due = due_times(daily, utc(2026, 3, 7, 12), utc(2026, 3, 9, 12))

    assert due == [utc(2026, 3, 8, 10), utc(2026, 3, 9, 9, 30)]


def test_an_hour_that_comes_twice_is_due_once_at_its_first_occurrence() -> None:
    # Berlin, 2026-10-25: 02:30 CEST = 00:30 UTC, then again 02:30 CET = 01:30 UTC.
    daily = Daily(time(2, 30), "Europe/Berlin")

    assert due_times(daily, utc(2026, 10, 24, 12), utc(2026, 10, 25, 12)) == [
        utc(2026, 10, 25, 0, 30)
    ]


@given(zone=ZONES, at=st.times(), start=INSTANTS, days=st.integers(1, 40))
def test_every_local_day_is_due_exactly_once(
    zone: str, at: time, start: datetime, days: int
) -> None:
    local = ZoneInfo(zone)
    first = datetime.combine(start.astimezone(local).date(), time(0), local).astimezone(UTC)
    last = datetime.combine(
        first.astimezone(local).date() + timedelta(days=days), time(0), local
    ).astimezone(UTC)

    due = due_times(Daily(at, zone), first - timedelta(seconds=1), last - timedelta(seconds=1))

    assert len({d.astimezone(local).date() for d in due}) == len(due) == days
    assert due == sorted(due)


@given(
    schedule=st.one_of(
        st.builds(Daily, st.times(), ZONES),
        st.builds(Every, st.timedeltas(timedelta(minutes=1), timedelta(days=2))),
    ),
    cuts=st.lists(st.integers(0, 20 * 24 * 3600), max_size=5),
    start=INSTANTS,
)
def test_asking_in_pieces_gives_what_asking_once_gives(schedule, cuts, start) -> None:
    start = start.replace(microsecond=0)
    marks = [start, *(start + timedelta(seconds=c) for c in sorted(cuts))]
    marks.append(start + timedelta(days=20))

    pieces = [d for a, b in itertools.pairwise(marks) for d in due_times(schedule, a, b)]

    assert pieces == due_times(schedule, marks[0], marks[-1])


def test_the_31st_of_a_short_month_is_its_last_day() -> None:
    monthly = Daily(time(6), month_days=frozenset({31}))

    due = due_times(monthly, utc(2028, 1, 31, 12), utc(2028, 4, 1))

    assert [d.date().isoformat() for d in due] == ["2028-02-29", "2028-03-31"]


def test_mondays_only() -> None:
    weekly = Daily(time(6), weekdays=frozenset({0}))

    assert due_times(weekly, utc(2026, 3, 1), utc(2026, 3, 16)) == [
        utc(2026, 3, 2, 6),
        utc(2026, 3, 9, 6),
    ]


def test_catching_up_with_the_latest_only() -> None:
    hourly = Every(timedelta(hours=1))

    assert due_times(hourly, utc(2026, 3, 1), utc(2026, 3, 1, 5, 30), CatchUp.LATEST) == [
        utc(2026, 3, 1, 5)
    ]


def test_a_period_below_a_second_is_refused() -> None:
    with pytest.raises(Unusable, match="at least one second expected"):
        Every(timedelta(milliseconds=5))
