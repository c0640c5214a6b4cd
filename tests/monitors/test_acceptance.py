from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from monitors.acceptance import Criteria, Group, after, bound, overall, subgroups
from monitors.expected import Expectation
from monitors.prevalence import Classes
from monitors.proportions import clopper_pearson

CLASSES = Classes([720, 160, 90, 30], [20, 80, 300, 600])
GROUP = Group("sex F", positives=200, found=180, negatives=800, cleared=704)
CRITERIA = Criteria(sensitivity=0.85, specificity=0.85)


def test_bounds_are_exact() -> None:
    found, cleared = bound(CLASSES, 2)

    assert found == pytest.approx(float(clopper_pearson(np.array([900]), np.array([1000])).low[0]))
    assert cleared == pytest.approx(
        float(clopper_pearson(np.array([880]), np.array([1000])).low[0])
    )


def failed(criteria: Criteria, new_bin: int, new_value: float) -> set[str]:
    pool = Expectation(CLASSES, [3000, 900, 700, 700])
    bins, values = (2, new_bin), (0.25, new_value)
    expected = pool.at(2), pool.at(new_bin)
    found = [
        *overall(criteria, CLASSES, bins, values, expected, "original"),
        *subgroups(criteria, CLASSES, bins, (GROUP,)),
    ]
    return {o.criterion for o in found if not o.met}


def test_nothing_fails_where_nothing_moves() -> None:
    assert failed(CRITERIA, 2, 0.25) == set()


@pytest.mark.parametrize(
    ("criteria", "new_bin", "value", "expected"),
    [
        (CRITERIA, 3, 0.5, {"sensitivity, lower 97.5 % bound", "sensitivity lost"}),
        (CRITERIA, 1, 0.125, {"specificity, lower 97.5 % bound", "specificity lost"}),
        (CRITERIA, 2, 0.9, {"threshold step on the logit scale"}),
        (replace(CRITERIA, most_alerts_ratio=1.1), 3, 0.3, {"alert rate, ratio of change"}),
        (replace(CRITERIA, subgroup_excess=-0.04), 3, 0.5, {"sensitivity lost, 97.5 % bound"}),
    ],
)
def test_each_criterion_can_fail(
    criteria: Criteria, new_bin: int, value: float, expected: set[str]
) -> None:
    assert expected <= failed(criteria, new_bin, value)


def test_a_lower_threshold_loses_no_positive_however_small_the_group() -> None:
    few = Group("few", 3, 2, 3, 3)

    lost = {o.criterion: o.figure for o in subgroups(CRITERIA, CLASSES, (2, 1), (few,))}

    assert lost["sensitivity lost, 97.5 % bound"] == 0
    assert lost["specificity lost, 97.5 % bound"] > 0.5


def test_a_sub_group_moves_in_proportion_and_is_bounded_over_every_other_way() -> None:
    # Of the 100 positives missed, 80 are found at bin 1: so are 16 of the group's 20.
    made = after(CLASSES, (2, 1), GROUP)["sensitivity"]

    assert float(made.value) == pytest.approx((180 + 16) / 200)
    assert float(made.low) < 0.9
    assert float(made.high) == 1.0


def test_a_group_without_a_class_has_no_figure_for_it() -> None:
    alone = replace(GROUP, positives=0, found=0)

    assert set(after(CLASSES, (2, 1), alone)) == {"specificity"}
    assert not [o for o in subgroups(CRITERIA, CLASSES, (2, 1), (alone,)) if "sens" in o.criterion]
