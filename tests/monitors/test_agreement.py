from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from monitors.agreement import (
    Agreement,
    agreement_change,
    cohen_kappa,
    gwet_ac1,
    specific_agreement,
)
from monitors.errors import MonitorError, NotAssessable

RARE = [[118, 5], [2, 0]]  # Gwet (2002), Kappa statistic is not satisfactory, table 1

tables = hnp.arrays(np.int64, (3, 3), elements=st.integers(40, 200))


def test_kappa_and_its_error_are_those_of_fleiss() -> None:
    # Fleiss, Levin and Paik, Statistical Methods for Rates and Proportions, table 18.1:
    # kappa 0.68 with a standard error of 0.087.
    kappa = cohen_kappa([[75, 1, 4], [5, 4, 1], [0, 0, 10]])

    assert kappa.value == pytest.approx(0.68, abs=0.005)
    assert kappa.standard_error == pytest.approx(0.087, abs=0.001)


def test_kappa_collapses_where_ac1_does_not() -> None:
    assert cohen_kappa(RARE).value == pytest.approx(-0.0234, abs=5e-5)
    assert gwet_ac1(RARE).value == pytest.approx(0.9408, abs=5e-5)


def test_specific_agreement_is_the_share_of_calls_confirmed() -> None:
    assert specific_agreement(RARE, 0).value == pytest.approx(236 / 243)
    assert specific_agreement(RARE, 1).value == 0.0
    # Mackinnon (2000), variance 4a(c+b)(a+b+c)/(2a+b+c)^4.
    assert specific_agreement([[40, 10], [6, 30]], 0).standard_error == pytest.approx(
        (4 * 40 * 16 * 56 / 96**4) ** 0.5
    )


def jackknife_error(measure: object, table: np.ndarray) -> float:
    """Standard error by leaving out one item at a time."""
    cells = [(i, j) for i in range(3) for j in range(3)]
    values, weights = [], []
    for i, j in cells:
        less = table.copy()
        less[i, j] -= 1
        values.append(float(measure(less).value))  # type: ignore[operator]
        weights.append(table[i, j])
    n = table.sum()
    mean = np.average(values, weights=weights)
    return float(np.sqrt((n - 1) * np.average((np.array(values) - mean) ** 2, weights=weights)))


@settings(max_examples=30, deadline=None)
@given(tables)
def test_the_errors_agree_with_leaving_out_one_item_at_a_time(table: np.ndarray) -> None:
    for measure in (cohen_kappa, gwet_ac1, specific_agreement):
        assert measure(table).standard_error == pytest.approx(
            jackknife_error(measure, table), rel=0.01
        )


@settings(max_examples=30, deadline=None)
@given(tables, st.permutations(range(3)))
def test_neither_names_of_readers_nor_of_categories_matter(
    table: np.ndarray, order: list[int]
) -> None:
    for measure in (cohen_kappa, gwet_ac1):
        plain = measure(table)
        for other in (measure(table.T), measure(table[order][:, order])):
            assert other.value == pytest.approx(float(plain.value))
            assert other.standard_error == pytest.approx(float(plain.standard_error), rel=1e-6)


def test_two_readers_who_always_agree_have_no_doubt() -> None:
    table = np.diag([20, 30])

    for measure in (cohen_kappa, gwet_ac1, specific_agreement):
        assert measure(table).value == pytest.approx(1.0)
        assert measure(table).standard_error == pytest.approx(0.0, abs=1e-9)


def test_a_series_of_tables_is_each_table_alone() -> None:
    series = np.array([RARE, [[40, 10], [6, 30]]])

    assert gwet_ac1(series).value[1] == gwet_ac1(series[1]).value
    assert cohen_kappa(series).standard_error[0] == cohen_kappa(RARE).standard_error


def test_a_loss_of_agreement_is_measured_in_standard_errors() -> None:
    before, after = (Agreement(np.array(v), np.array(se)) for v, se in ((0.9, 0.03), (0.75, 0.04)))

    assert agreement_change(before, after) == pytest.approx(-3.0)


def test_tables_of_no_agreement_are_refused() -> None:
    with pytest.raises(MonitorError, match=r"a square table expected, got shape \(2, 3\)"):
        cohen_kappa(np.ones((2, 3)))
    with pytest.raises(MonitorError, match="agreement: counts must be finite and not negative"):
        gwet_ac1([[1, -1], [0, 1]])
    with pytest.raises(NotAssessable, match="agreement: no item read by both readers"):
        gwet_ac1(np.zeros((2, 2)))
    with pytest.raises(NotAssessable, match="kappa: both readers used a single category"):
        cohen_kappa([[9, 0], [0, 0]])
    with pytest.raises(NotAssessable, match="neither reader used the category"):
        specific_agreement([[9, 0], [0, 0]], 1)
    certain = gwet_ac1(np.diag([5, 5]))
    with pytest.raises(NotAssessable, match="a change needs a standard error in either period"):
        agreement_change(certain, certain)
