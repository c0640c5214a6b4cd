"""Regulatory clocks: when each would end, counted from what a person recorded.

They never decide whether anything is reportable: until a person has decided, every clock is
shown as one that may be running. Days are those of the manufacturer's time zone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from functools import lru_cache

import holidays


class Obligation(StrEnum):
    """A duty to report, by the text that sets it."""

    US_803_50 = "21 CFR 803.50"
    US_803_53 = "21 CFR 803.53"
    US_806_10 = "21 CFR 806.10"
    EU_87_3 = "EU MDR 87(3)"
    EU_87_4 = "EU MDR 87(4)"
    EU_87_5 = "EU MDR 87(5)"
    AI_73 = "EU AI Act 73"


class Start(StrEnum):
    """What a clock counts from."""

    AWARE = "awareness"
    CORRECTION = "start of the correction or removal"


class ClockState(StrEnum):
    """What people have said about an obligation."""

    POSSIBLE = "possible"  # nobody has decided: it may be running
    RUNNING = "running"
    RULED_OUT = "ruled_out"
    MET = "met"


@dataclass(frozen=True, slots=True)
class Rule:
    """The day on which a clock ends: `days` after its start, of working days or of all."""

    trigger: str
    start: Start
    days: int
    working: bool = False


RULES: Mapping[Obligation, Rule] = {
    Obligation.US_803_50: Rule(
        "may have caused or contributed to a death or serious injury, or a malfunction likely to",
        Start.AWARE,
        30,
    ),
    Obligation.US_803_53: Rule(
        "remedial action needed to prevent an unreasonable risk of substantial harm",
        Start.AWARE,
        5,
        working=True,
    ),
    Obligation.US_806_10: Rule(
        "correction or removal to reduce a risk to health", Start.CORRECTION, 10, working=True
    ),
    Obligation.EU_87_3: Rule("serious incident", Start.AWARE, 15),
    Obligation.EU_87_4: Rule("serious public health threat", Start.AWARE, 2),
    Obligation.EU_87_5: Rule(
        "death or unanticipated serious deterioration of health", Start.AWARE, 10
    ),
    Obligation.AI_73: Rule("serious incident of a high-risk AI system", Start.AWARE, 15),
}


def due_on(obligation: Obligation, start: date) -> date:
    """Last day of the clock; the day of the start itself does not count."""
    rule = RULES[obligation]
    if not rule.working:
        return start + timedelta(days=rule.days)
    day, left = start, rule.days
    while left:
        day += timedelta(days=1)
        left -= _is_federal_work_day(day)
    return day


def _is_federal_work_day(day: date) -> bool:
    return day.weekday() < 5 and day not in _federal_holidays(day.year)


@lru_cache(maxsize=8)
def _federal_holidays(year: int) -> frozenset[date]:
    # Observed days count: 21 CFR 803.3 names the days on which federal offices are closed. A 1
    # January on a Saturday is observed in the year before.
    found = holidays.country_holidays("US", years=(year, year + 1), observed=True)
    return frozenset(day for day in found if day.year == year)
