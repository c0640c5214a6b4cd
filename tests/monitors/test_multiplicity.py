from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from monitors.errors import MonitorError
from monitors.multiplicity import (
    benjamini_hochberg,
    benjamini_yekutieli,
    e_benjamini_hochberg,
    lord_plus_plus,
)

# Benjamini and Hochberg (1995), section 4.1: 15 comparisons of two treatments.
TREATMENTS = (
    "0.0001 0.0004 0.0019 0.0095 0.0201 0.0278 0.0298 0.0344 "
    "0.0459 0.3240 0.4262 0.5719 0.6528 0.7590 1.0"
)
P = np.array([float(p) for p in TREATMENTS.split()])

p_values = hnp.arrays(np.float64, st.integers(1, 12), elements=st.floats(0, 1))


def test_four_of_fifteen_comparisons_are_rejected_as_in_1995() -> None:
    assert (benjamini_hochberg(P) <= 0.05).tolist() == [True] * 4 + [False] * 11


@settings(max_examples=60, deadline=None)
@given(p_values)
def test_adjusted_p_values_are_scipys(p: np.ndarray) -> None:
    assert benjamini_hochberg(p) == pytest.approx(stats.false_discovery_control(p), abs=1e-12)
    assert benjamini_yekutieli(p) == pytest.approx(
        stats.false_discovery_control(p, method="by"), abs=1e-12
    )


def test_each_row_is_a_family_of_its_own() -> None:
    families = np.stack([P, P[::-1], np.sqrt(P)])

    adjusted = benjamini_hochberg(families)

    assert adjusted[1].tolist() == adjusted[0][::-1].tolist()
    assert adjusted[2].tolist() == benjamini_hochberg(np.sqrt(P)).tolist()


@settings(max_examples=60, deadline=None)
@given(p_values)
def test_e_values_of_one_over_p_reject_as_the_p_values_do(p: np.ndarray) -> None:
    # Wang and Ramdas (2022), section 4: e-BH on 1/p is BH on p.
    p = np.maximum(p, 1e-9)
    alpha = 0.0999  # off the lattice on which rounding decides

    assert e_benjamini_hochberg(1 / p, alpha).tolist() == (benjamini_hochberg(p) <= alpha).tolist()


def test_a_single_large_e_value_must_exceed_hypotheses_over_alpha() -> None:
    assert e_benjamini_hochberg([41.0, 0.0, 0.0, 0.0], 0.1).tolist() == [True, False, False, False]
    assert not e_benjamini_hochberg([39.0, 0.0, 0.0, 0.0], 0.1).any()
    assert e_benjamini_hochberg([20.0, 20.0, 0.0, 0.0], 0.1).tolist() == [True, True, False, False]


def test_the_levels_of_lord_are_those_of_its_reference_implementation() -> None:
    # onlineFDR (Robertson et al. 2019): its test of four p values, and the first levels of its
    # vignette; w0 = alpha/10 and the spending sequence of Javanmard and Montanari (2018).
    levels, rejected = lord_plus_plus([1e-7, 0.1, 0.00025, 0.07])
    after_one, _ = lord_plus_plus([2.9e-14, 0.06743, 0.01514])

    assert rejected.tolist() == [True, False, True, False]
    assert levels[0] == pytest.approx(0.0002675839, abs=5e-11)
    assert after_one[1] == pytest.approx(0.0024664457, abs=5e-11)


def test_wealth_spent_and_earned_is_the_papers_formula() -> None:
    j = np.arange(1, 5)
    share = 0.07720838 * np.log(np.maximum(j, 2)) / (j * np.exp(np.sqrt(np.log(j))))

    levels, rejected = lord_plus_plus([0.0, 0.0, 0.9, 0.9], alpha=0.1, initial=0.02)

    assert rejected.tolist() == [True, True, False, False]
    assert levels == pytest.approx(
        [
            0.02 * share[0],
            0.02 * share[1] + 0.08 * share[0],
            0.02 * share[2] + 0.08 * share[1] + 0.1 * share[0],
            0.02 * share[3] + 0.08 * share[2] + 0.1 * share[1],
        ]
    )


def test_without_discoveries_the_levels_starve() -> None:
    levels, _ = lord_plus_plus(np.ones(20_000))

    assert levels[-1] < 1e-8
    assert levels.sum() < 0.005


def test_values_of_no_test_are_refused() -> None:
    with pytest.raises(MonitorError, match=r"p values must lie in \[0, 1\]"):
        benjamini_hochberg([0.5, 1.5])
    with pytest.raises(MonitorError, match=r"p values must lie in \[0, 1\]"):
        benjamini_yekutieli([np.nan])
    with pytest.raises(MonitorError, match="e values must not be negative"):
        e_benjamini_hochberg([-1.0], 0.1)
    with pytest.raises(MonitorError, match=r"alpha must lie in \(0, 1\), got 1"):
        e_benjamini_hochberg([1.0], 1)
    with pytest.raises(MonitorError, match=r"initial wealth must lie in \(0, alpha\), got 0.05"):
        lord_plus_plus([0.5], initial=0.05)
    with pytest.raises(MonitorError, match=r"one sequence expected, got shape \(1, 2\)"):
        lord_plus_plus([[0.1, 0.2]])
