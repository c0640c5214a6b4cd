from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from monitors.annotation import Difference
from monitors.gate import Evidence, GateLimits, evidence_of, gate
from monitors.prevalence import Classes, Estimate, LabelShiftFit


def a(value: float) -> Any:
    return np.array(value)


GOOD = Evidence(
    named=("prevalence",),
    candidates={"prevalence": 0.93},
    before=0.12,
    prevalence=Estimate(a(0.25), a(0.01), a(0.23), a(0.27)),
    fit=LabelShiftFit(a(0.25), a(9.0), a(8.0), a(0.4), a(0.0), a(0.006)),
    labels=Difference(a(0.1), a(0.2), a(0.5), a(0.62)),
    labelled=120,
)


def codes(evidence: Evidence, limits: GateLimits | None = None) -> set[str]:
    verdict = gate(evidence, limits)
    assert verdict.is_open is (not verdict.reasons)
    assert all(r.would_change for r in verdict.reasons)
    return {r.code for r in verdict.reasons}


def test_a_proved_prevalence_shift_passes() -> None:
    assert gate(GOOD).route == "prevalence"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"named": ("annotation",), "candidates": {"annotation": 0.99}}, "cause_annotation"),
        ({"named": ("performance",), "candidates": {"performance": 0.99}}, "cause_performance"),
        ({"named": ("lock",), "candidates": {"lock": 1.0}}, "cause_lock"),
        ({"named": ("population",), "candidates": {"population": 0.9}}, "cause_population"),
        ({"named": ("undetermined",)}, "cause_undetermined"),
        ({"named": ("prevalence", "scanner")}, "cause_scanner"),
        ({"candidates": {"prevalence": 0.79}}, "cause_not_sure"),
        ({"lock": False}, "lock"),
        ({"sentinel": False}, "sentinel"),
        ({"acquisition": ("noise",)}, "acquisition_moved"),
        ({"fit": replace(GOOD.fit, p_value=a(0.009))}, "not_only_prevalence"),
        ({"fit": replace(GOOD.fit, residual_high=a(0.021))}, "not_only_prevalence"),
        ({"before": 0.24}, "no_shift"),
        # Outside the 95 % interval, but p is 0.025.
        ({"before": 0.2276}, "no_shift"),
        ({"prevalence": Estimate(a(0.25), a(0.04), a(0.18), a(0.32))}, "prevalence_not_known"),
        ({"labelled": 59}, "too_few_labels"),
        ({"labels": None}, "too_few_labels"),
        ({"labels": replace(GOOD.labels, p_value=a(0.04))}, "labels_disagree"),
    ],
)
def test_each_doubt_refuses_by_itself(change: dict[str, Any], code: str) -> None:
    assert code in codes(replace(GOOD, **change))


def test_a_scanner_shift_has_a_route_of_its_own() -> None:
    scanner = replace(
        GOOD, named=("scanner",), candidates={"scanner": 0.97}, acquisition=("noise",), labels=None
    )

    assert gate(scanner).route == "scanner"
    assert codes(replace(scanner, candidates={"scanner": 0.6})) == {"cause_not_sure"}


def test_the_limits_are_those_of_the_plan() -> None:
    strict = GateLimits(least_labels=121)

    assert codes(GOOD, strict) == {"too_few_labels"}


def test_the_evidence_is_taken_from_counts() -> None:
    q0, q1 = np.array([0.5, 0.3, 0.15, 0.05]), np.array([0.05, 0.15, 0.3, 0.5])
    classes = Classes(q0 * 4000, q1 * 1000)
    current = (0.75 * q0 + 0.25 * q1) * 4000
    labelled = np.array([60.0, 60.0, 60.0, 60.0])
    odds = q1 / q0 * 0.25 / 0.75
    labels = labelled, labelled * odds / (1 + odds)

    found = evidence_of(
        classes,
        current,
        labels,
        np.arange(4),
        named=("prevalence",),
        candidates={"prevalence": 0.9},
        before=0.1,
    )

    assert float(found.prevalence.value) == pytest.approx(0.25, abs=0.002)
    assert found.labels is not None
    assert float(found.labels.value) == pytest.approx(0.0, abs=0.02)
    assert gate(found).route == "prevalence"
