from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from monitors.errors import MonitorError, NotAssessable
from monitors.quadratic_forms import (
    covariance_dof,
    hotelling,
    kernel_mean_test,
    weighted_chi_square_tail,
)

LEVELS = [1 - 1e-6, 0.999, 0.9, 0.5, 0.1, 1e-3, 1e-6, 1e-12, 1e-30]


# Published numbers ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weights", "x", "tail"),
    [
        ([0.6, 0.3, 0.1], [0.1, 0.7, 2.0], [0.9458, 0.5064, 0.1240]),
        ([0.6, 0.6, 0.3, 0.3, 0.1, 0.1], [0.2, 2.0, 6.0], [0.9936, 0.3998, 0.0161]),
    ],
)
def test_tails_are_those_of_imhof_table_1(
    weights: list[float], x: list[float], tail: list[float]
) -> None:
    # Imhof (1961), Biometrika 48, 419-426, table 1: Q1 and Q2.
    assert weighted_chi_square_tail(weights, x) == pytest.approx(tail, abs=6e-5)


def test_tails_are_those_of_the_cramer_von_mises_limit() -> None:
    # Anderson and Darling (1952), table 1: 0.34730, 0.46136, 0.74346 for 10, 5 and 1 per cent.
    weights = 1 / (np.pi * np.arange(1, 3000)) ** 2

    tail = weighted_chi_square_tail(weights, [0.34730, 0.46136, 0.74346])

    assert tail == pytest.approx([0.10, 0.05, 0.01], rel=1e-3)


# Other routes to the same number -------------------------------------------------------------


@pytest.mark.parametrize("df", [1, 2, 3, 10, 64, 128])
def test_equal_weights_are_a_chi_square_far_into_both_tails(df: int) -> None:
    x = stats.chi2.isf(LEVELS, df)

    tail = weighted_chi_square_tail(np.full(df, 2.5), 2.5 * x)

    assert tail == pytest.approx(stats.chi2.sf(x, df), rel=1e-11)


@pytest.mark.parametrize("ratio", [0.9, 0.5, 1e-3, 1e-6])
def test_pairs_of_weights_are_a_sum_of_exponentials(ratio: float) -> None:
    x = np.array([1e-9, 1e-5, 0.01, 1.0, 10.0, 60.0])
    exact = (np.exp(-x / 2) - ratio * np.exp(-x / 2 / ratio)) / (1 - ratio)

    tail = weighted_chi_square_tail([1.0, 1.0, ratio, ratio], x)

    assert tail == pytest.approx(exact, rel=1e-12)


def imhof_integral(weights: np.ndarray, x: float) -> float:
    def integrand(u: float) -> float:
        theta = 0.5 * np.arctan(weights * u).sum() - 0.5 * x * u
        return float(np.sin(theta) / (u * np.prod((1 + (weights * u) ** 2) ** 0.25)))

    value, _ = integrate.quad(integrand, 1e-12, 400.0, limit=4000, epsabs=1e-11)
    return 0.5 + value / np.pi


def test_the_parabola_and_imhofs_own_path_give_the_same_tail() -> None:
    weights = np.array([2.0, 1.3, 1.1, 0.7, 0.6, 0.4, 0.3, 0.2, 0.1, 0.1, 0.05, 0.02])

    for x in (1.0, 5.0, 12.0, 30.0):
        assert float(weighted_chi_square_tail(weights, x)) == pytest.approx(
            imhof_integral(weights, x), abs=1e-9
        )


# Invariances ---------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=8),
    st.floats(0.01, 10),
    st.integers(-20, 20),
    st.randoms(use_true_random=False),
)
def test_neither_unit_nor_order_of_the_weights_matters(
    weights: list[float], at: float, power: int, order: object
) -> None:
    x = at * sum(weights)
    shuffled = list(weights)
    order.shuffle(shuffled)  # type: ignore[attr-defined]

    plain = weighted_chi_square_tail(weights, x)
    other = weighted_chi_square_tail(np.array(shuffled) * 2.0**power, x * 2.0**power)

    assert float(other) == pytest.approx(float(plain), rel=1e-9, abs=1e-300)


def test_rows_do_not_see_each_other() -> None:
    rng = np.random.default_rng(1)
    weights, x = rng.exponential(size=(3, 4, 5)), rng.exponential(size=(3, 4)) * 8

    together = weighted_chi_square_tail(weights, x)

    assert together.shape == (3, 4)
    assert together[2, 1] == weighted_chi_square_tail(weights[2, 1], x[2, 1])


def test_a_change_of_coordinates_leaves_t2_alone() -> None:
    rng = np.random.default_rng(5)
    root, x, change = rng.normal(size=(4, 4)), rng.normal(size=4), rng.normal(size=(4, 4))
    c = root @ root.T

    plain = hotelling(x, c)
    changed = hotelling(change @ x, change @ c @ change.T)

    assert changed.statistic == pytest.approx(float(plain.statistic))
    assert plain.statistic == pytest.approx(x @ np.linalg.solve(c, x))
    assert plain.p_value == pytest.approx(stats.chi2.sf(plain.statistic, 4))


# Behaviour -----------------------------------------------------------------------------------


def test_nothing_lies_beyond_infinity_and_everything_beyond_zero() -> None:
    assert weighted_chi_square_tail([1.0, 0.5], [-1.0, 0.0, np.inf]).tolist() == [1.0, 1.0, 0.0]


def test_one_direction_with_few_degrees_of_freedom_is_students_t() -> None:
    result = hotelling([2.5], [[1.0]], dof=7)

    assert result.p_value == pytest.approx(2 * stats.t.sf(2.5, 7))


def test_a_direction_without_variation_is_dropped_not_inverted() -> None:
    result = hotelling([1.0, 1e-3], np.diag([1.0, 1e-9]))

    assert result.dimensions == 1
    assert result.statistic == pytest.approx(1.0)


def test_degrees_of_freedom_of_one_variance_are_welchs() -> None:
    s1, s2, n1, n2 = 4.0, 9.0, 12, 30
    welch = (s1 / n1 + s2 / n2) ** 2 / ((s1 / n1) ** 2 / (n1 - 1) + (s2 / n2) ** 2 / (n2 - 1))

    dof = covariance_dof([[[s1 / n1]], [[s2 / n2]]], [n1 - 1, n2 - 1])

    assert dof == pytest.approx(welch)


def test_degrees_of_freedom_of_equal_samples_add() -> None:
    c = np.array([[2.0, 0.5], [0.5, 1.0]])

    assert covariance_dof([c / 10, c / 10], [9, 9]) == pytest.approx(18)


def test_the_kernel_mean_test_is_unbiased_and_has_its_own_tail() -> None:
    covariance = np.diag([0.5, 0.2, 0.1])

    result = kernel_mean_test([1.0, 0.5, 0.0], covariance)

    assert result.statistic == pytest.approx(1.25)
    assert result.unbiased == pytest.approx(1.25 - 0.8)
    assert result.p_value == pytest.approx(float(weighted_chi_square_tail([0.5, 0.2, 0.1], 1.25)))


# Refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize("weights", [[-1.0, 1.0], [0.0, 0.0], [np.nan, 1.0], [np.inf, 1.0], 3.0])
def test_weights_of_no_distribution_are_refused(weights: list[float]) -> None:
    with pytest.raises(MonitorError, match="weights must be finite, not negative and not all zero"):
        weighted_chi_square_tail(weights, 1.0)


def test_a_place_that_is_no_number_is_refused() -> None:
    with pytest.raises(MonitorError, match="x must be a number, got NaN"):
        weighted_chi_square_tail([1.0], [1.0, np.nan])


def test_a_covariance_that_cannot_be_used_is_refused() -> None:
    with pytest.raises(MonitorError, match=r"covariance: \(\.\.\., 2, 2\) expected, got \(3, 3\)"):
        hotelling([1.0, 2.0], np.eye(3))
    with pytest.raises(NotAssessable, match="T2: the covariance of the difference is zero"):
        hotelling([1.0, 2.0], np.zeros((2, 2)))
    with pytest.raises(NotAssessable, match="T2: more degrees of freedom than directions needed"):
        hotelling([1.0, 2.0], np.eye(2), dof=1)
    with pytest.raises(NotAssessable, match="kernel means: the covariance of the difference is"):
        kernel_mean_test([1.0], [[0.0]])
