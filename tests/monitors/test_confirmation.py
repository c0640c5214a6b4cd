"""Criteria of confirmation: published sizes, exact bounds, refusals."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from monitors.annotation import recalibrate
from monitors.confirmation import (
    chance_of_acceptance,
    confirm_calibration,
    confirm_change,
    confirm_rate,
    confirm_subgroups,
)
from monitors.errors import MonitorError, NotAssessable


@pytest.mark.parametrize(
    ("claim", "truth", "n"), [(0.80, 0.90, 113), (0.85, 0.92, 185), (0.90, 0.95, 255)]
)
def test_the_published_numbers_of_positives_are_accepted_in_four_of_five(
    claim: float, truth: float, n: int
) -> None:
    # statistics of exact one-sided 97.5% bounds, as in the tests of `positives_needed`.
    now, before = chance_of_acceptance([n, n - 1], truth, claim, margin=0.0)
    assert before < 0.8 <= now  # a saw-tooth: 0.84 at the first n from which on 0.8 holds


def test_a_rate_is_confirmed_by_its_exact_bound() -> None:
    bound = stats.beta.ppf(0.025, 95, 6)  # Clopper and Pearson (1934), 95 of 100
    found = confirm_rate("sensitivity", 95, 100, claim=0.90, margin=0.03)

    assert found.found == pytest.approx(bound)
    assert found.passed
    assert not confirm_rate("sensitivity", 90, 100, claim=0.90, margin=0.03).passed


def test_calibration_passes_only_where_it_was_shown() -> None:
    at, n = np.array([-3.0, -1.0, 1.0, 3.0]), np.full(4, 2000)
    rate = 1 / (1 + np.exp(-at))
    good = recalibrate((n, np.rint(n * rate)), at)
    flat = recalibrate((n, np.rint(n / (1 + np.exp(-0.6 * at)))), at)
    few = recalibrate((n / 100, np.rint(n / 100 * rate)), at)

    assert all(c.passed for c in confirm_calibration(good))
    assert [c.passed for c in confirm_calibration(flat)][1] is False
    assert not all(c.passed for c in confirm_calibration(few))  # too few labels prove nothing
    with pytest.raises(MonitorError, match="one scope expected"):
        confirm_calibration(recalibrate((n[None], np.rint(n * rate)[None]), at))


def test_subgroups_and_size_of_a_change() -> None:
    criteria = confirm_subgroups(
        ("women", "men"), (np.array([450, 440]), np.array([500, 500])), ([445, 380], [500, 500])
    )
    assert [c.passed for c in criteria] == [True, True, False, False]
    assert criteria[2].found == pytest.approx(0.12)
    assert all(c.passed for c in confirm_change(0.15, 0.25, 0.10, 0.08, 120))
    assert [c.passed for c in confirm_change(0.15, 0.5, 0.10, 0.25, 30)] == [False, False, False]
    with pytest.raises(MonitorError, match=r"threshold must lie in \(0, 1\)"):
        confirm_change(0.0, 0.5, 0.1, 0.1)
    with pytest.raises(NotAssessable, match="some case flagged before"):
        confirm_change(0.1, 0.2, 0.0, 0.1)
    with pytest.raises(MonitorError, match="sub-groups: 2 expected, got 1"):
        confirm_subgroups(("a", "b"), (1, 2), (1, 2))
    with pytest.raises(MonitorError, match="0 <= margin < claim"):
        confirm_rate("x", 1, 2, claim=0.5, margin=0.6)
