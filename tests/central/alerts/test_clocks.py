"""Regulatory clocks: days counted by hand, against published federal holidays."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.central.alerts.clocks import RULES, Obligation, due_on


@pytest.mark.parametrize(
    ("obligation", "start", "due"),
    [
        # 30 calendar days after the day of becoming aware (21 CFR 803.50).
        (Obligation.US_803_50, date(2026, 3, 10), date(2026, 4, 9)),
        (Obligation.US_803_50, date(2028, 2, 1), date(2028, 3, 2)),  # leap day within
        # 5 work days: over a week-end; over Thanksgiving (Thursday 2026-11-26).
        (Obligation.US_803_53, date(2026, 3, 10), date(2026, 3, 17)),
        (Obligation.US_803_53, date(2026, 11, 24), date(2026, 12, 2)),
        # Independence Day 2026 is a Saturday and is observed on Friday the 3rd.
        (Obligation.US_803_53, date(2026, 6, 30), date(2026, 7, 8)),
        # New Year's Day 2028 is a Saturday: observed on Friday, 31 December 2027.
        (Obligation.US_803_53, date(2027, 12, 28), date(2028, 1, 5)),
        (Obligation.US_806_10, date(2026, 3, 10), date(2026, 3, 24)),
        # Christmas (Friday) and New Year's Day (Friday) both fall within.
        (Obligation.US_806_10, date(2026, 12, 21), date(2027, 1, 6)),
        (Obligation.EU_87_3, date(2026, 3, 10), date(2026, 3, 25)),
        (Obligation.EU_87_4, date(2026, 3, 10), date(2026, 3, 12)),
        (Obligation.EU_87_5, date(2026, 3, 10), date(2026, 3, 20)),
        (Obligation.AI_73, date(2026, 3, 10), date(2026, 3, 25)),
    ],
)
def test_a_clock_ends_on_the_day_that_counting_by_hand_gives(
    obligation: Obligation, start: date, due: date
) -> None:
    assert due_on(obligation, start) == due


@given(
    obligation=st.sampled_from(Obligation),
    start=st.dates(date(2020, 1, 1), date(2060, 1, 1)),
)
def test_a_later_start_never_ends_earlier(obligation: Obligation, start: date) -> None:
    due = due_on(obligation, start)

    assert due - start >= timedelta(days=RULES[obligation].days)
    assert due <= due_on(obligation, start + timedelta(days=1))
    if RULES[obligation].working:
        assert due.weekday() < 5
