"""Change dates: the published critical values, and coverage by simulation."""

from __future__ import annotations

import numpy as np
import pytest

from monitors.change_point import change_point, critical
from monitors.errors import DesignError, NotAssessable


@pytest.mark.parametrize(("confidence", "value"), [(0.90, 5.94), (0.95, 7.35), (0.99, 10.59)])
def test_critical_values_are_those_of_two_exponential_variables(
    confidence: float, value: float
) -> None:
    assert critical(confidence) == pytest.approx(value, abs=0.005)


def test_the_interval_holds_the_true_date_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    runs, days, change, d = 400, 60, 35, 6
    held = 0
    for _ in range(runs):
        shift = np.where(np.arange(days)[:, None] >= change, 1.2, 0.0) * np.eye(d)[0]
        value = rng.normal(shift, 1.0)
        start = np.arange(days)
        found = change_point(start, start + 1, value, np.ones((days, d)))
        held += found.low <= change <= found.high

    assert held / runs >= 0.95 - 3 * np.sqrt(0.05 * 0.95 / runs)


def test_a_clear_step_is_dated_to_the_day() -> None:
    start = np.arange(100, 140)
    value = np.where(start >= 120, 5.0, 0.0)[:, None] + np.zeros((40, 2))

    found = change_point(start, start + 1, value, np.ones((40, 2)))

    assert (found.day, found.low) == (120, 119)
    assert found.high == 120


def test_the_unit_of_a_coordinate_does_not_move_the_date() -> None:
    rng = np.random.default_rng(2)
    start = np.arange(50)
    value = rng.normal(np.where(start >= 30, 1.0, 0.0)[:, None], 1.0, (50, 3))
    unit = np.array([1.0, 1e-6, 1e6])

    one = change_point(start, start + 1, value, np.ones((50, 3)))
    other = change_point(start, start + 1, value * unit, np.ones((50, 3)) * unit**2)

    assert (one.day, one.low, one.high) == (other.day, other.low, other.high)
    assert one.statistic == pytest.approx(other.statistic)


def test_no_reading_and_no_confidence_are_refused() -> None:
    nothing = np.zeros(0, dtype=np.int64)
    with pytest.raises(NotAssessable, match="at least 1 reading expected, got none"):
        change_point(nothing, nothing, np.zeros((0, 1)), np.zeros((0, 1)))
    with pytest.raises(DesignError, match=r"between 0 and 1 expected, got 1.0"):
        critical(1.0)
