"""Criteria of confirmation: published sizes, exact bounds, refusals."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from monitors.confirmation import (
    chance_of_acceptance,
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


def test_no_subgroup_may_lose() -> None:
    criteria = confirm_subgroups(
        ("women", "men"), (np.array([450, 440]), np.array([500, 500])), ([445, 380], [500, 500])
    )
    assert [c.passed for c in criteria] == [True, True, False, False]
    assert criteria[2].found == pytest.approx(0.12)
    with pytest.raises(MonitorError, match="sub-groups: 2 expected, got 1"):
        confirm_subgroups(("a", "b"), (1, 2), (1, 2))
    with pytest.raises(MonitorError, match="0 <= margin < claim"):
        confirm_rate("x", 1, 2, claim=0.5, margin=0.6)
    with pytest.raises(NotAssessable, match="at least 1 case"):
        chance_of_acceptance(0, 0.9, 0.8)
