from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitors.errors import MonitorError, NotAssessable
from monitors.policies import Policy, bin_for_net_benefit, choose, net_benefit
from monitors.prevalence import Classes

CLASSES = Classes([500, 250, 120, 80, 40, 10], [2, 4, 14, 40, 60, 80])


def test_net_benefit_is_that_of_the_definition() -> None:
    # Vickers and Elkin (2006): true positives less false positives, these at the odds of the
    # probability from which treating pays, per case. 140 of 200, 50 of 1000, prevalence 20 %.
    found = net_benefit(CLASSES, 0.2, 0.25)[4]

    assert found == pytest.approx(0.2 * 140 / 200 - 0.8 * 50 / 1000 / 3)


def test_flagging_pays_from_the_bin_whose_cases_are_ill_enough() -> None:
    # At 20 % the odds of bin b are q1/q0/4: 0.0025*…; bin 3 has 0.2/0.08/4 = 0.625 > 1/3 > bin 2.
    assert bin_for_net_benefit(CLASSES, 0.2, 0.25) == 3


@given(st.floats(0.02, 0.6), st.floats(0.02, 0.6))
def test_more_prevalence_never_raises_the_threshold(one: float, other: float) -> None:
    low, high = sorted((one, other))
    policy = Policy("net_benefit", 0.3)

    def chosen(pi: float) -> int:
        try:
            return choose(policy, CLASSES, pi)
        except NotAssessable:
            return 99

    assert chosen(high) <= chosen(low)


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (Policy("sensitivity", 0.9), 2),
        (Policy("specificity", 0.9), 4),
        (Policy("ppv", 0.5), 3),
        (Policy("alert_rate", 0.15), 5),
    ],
)
def test_every_policy_holds_its_figure(policy: Policy, expected: int) -> None:
    assert choose(policy, CLASSES, 0.2) == expected


def test_prevalence_moves_only_what_depends_on_it() -> None:
    moved = {
        p.held
        for p in (
            Policy("sensitivity", 0.9),
            Policy("specificity", 0.9),
            Policy("ppv", 0.6),
            Policy("alert_rate", 0.2),
            Policy("net_benefit", 0.3),
        )
        if choose(p, CLASSES, 0.05) != choose(p, CLASSES, 0.35)
    }

    assert moved == {"ppv", "alert_rate", "net_benefit"}


def test_the_floor_on_sensitivity_holds_whatever_the_policy() -> None:
    with pytest.raises(NotAssessable, match="below the claim"):
        choose(Policy("alert_rate", 0.15, floor=0.9), CLASSES, 0.3)
    assert choose(Policy("alert_rate", 0.4, floor=0.84), CLASSES, 0.3) == 3


@pytest.mark.parametrize(
    ("given_", "said"),
    [
        ({"held": "f1", "target": 0.5}, "one of sensitivity"),
        ({"held": "ppv", "target": 1.0}, r"target in \(0, 1\)"),
        ({"held": "ppv", "target": 0.5, "floor": 1.0}, r"floor in \[0, 1\)"),
    ],
)
def test_policies_that_are_none_are_refused(given_: dict[str, object], said: str) -> None:
    with pytest.raises(MonitorError, match=said):
        Policy(**given_)  # type: ignore[arg-type]


def test_where_nothing_pays_nothing_is_proposed() -> None:
    useless = Classes(np.full(6, 100), np.full(6, 10))
    with pytest.raises(NotAssessable, match="flagging nobody is better"):
        choose(Policy("net_benefit", 0.5), useless, 0.05)
