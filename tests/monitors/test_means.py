"""Means of windows: a day is not a case."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from monitors.errors import MonitorError, NotAssessable
from monitors.means import baseline, independent, mean_shift

DAYS = st.integers(3, 12)


def test_variance_components_of_a_balanced_design_are_the_textbook_s() -> None:
    # Snedecor and Cochran, Statistical Methods, 8th ed., table 13.3.1 (calcium in turnip leaves):
    # mean squares 0.2961 between plants and 0.0066 within, 4 determinations; s2_A = 0.0724.
    leaves = np.array(
        [
            [3.28, 3.09, 3.03, 3.03],
            [3.52, 3.48, 3.38, 3.38],
            [2.88, 2.80, 2.81, 2.76],
            [3.34, 3.38, 3.23, 3.26],
        ]
    )
    between_ss = 4 * leaves.mean(axis=1).var(ddof=1)
    within_ss = leaves.var(axis=1, ddof=1).mean()

    found = baseline(np.full(4, 4), leaves.mean(axis=1), leaves.var(axis=1))

    assert float(found.within) == pytest.approx(within_ss)
    assert float(found.between) == pytest.approx((between_ss - within_ss) / 4)
    assert float(found.between) == pytest.approx(0.0724, abs=0.002)
    assert float(found.within) == pytest.approx(0.0066, abs=0.0001)


def test_equal_windows_give_the_t_test_on_window_means() -> None:
    # Students' t of one new window mean against m others: (x - m) / (s sqrt(1 + 1/m)), m - 1 df.
    rng = np.random.default_rng(1)
    means = 5 + rng.standard_normal(12)
    found = mean_shift(baseline(np.full(12, 50), means, np.full(12, 0.5)), [50], [7.0])

    error = means.std(ddof=1) * np.sqrt(1 + 1 / 12)
    t = (7.0 - means.mean()) / error

    assert float(found.standard_error) == pytest.approx(error)
    assert float(found.dof) == pytest.approx(11)
    assert float(found.p_value) == pytest.approx(2 * stats.t.sf(abs(t), 11))
    half = stats.t.ppf(0.975, 11) * error
    assert float(found.low) == pytest.approx(7.0 - means.mean() - half)


def test_without_day_effects_it_is_the_z_of_known_variance() -> None:
    found = mean_shift(independent(5000, 10.0, 4.0 * 4999 / 5000), [150], [10.5])

    assert float(found.effect) == pytest.approx(0.25)
    assert float(found.standard_error) == pytest.approx(2 * np.sqrt(1 / 150 + 1 / 5000))
    assert float(found.dof) == pytest.approx(4999)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), DAYS, st.floats(0.01, 100), st.floats(-50, 50), st.booleans())
def test_unit_and_order_do_not_matter(
    seed: int, days: int, scale: float, offset: float, flip: bool
) -> None:
    rng = np.random.default_rng(seed)
    n = rng.integers(5, 60, days)
    mean, variance = rng.standard_normal(days), rng.uniform(0.5, 2, days)
    unit = -scale if flip else scale

    one = mean_shift(baseline(n, mean, variance), [40], [1.0])
    order = rng.permutation(days)
    other = mean_shift(
        baseline(n[order], unit * mean[order] + offset, unit**2 * variance[order]),
        [40],
        [unit + offset],
    )

    assert float(other.p_value) == pytest.approx(float(one.p_value), rel=1e-6)
    assert float(other.effect) == pytest.approx(np.sign(unit) * float(one.effect), rel=1e-6)
    assert float(other.difference) == pytest.approx(
        unit * float(one.difference), rel=1e-6, abs=1e-9
    )


def test_characteristics_do_not_touch_each_other() -> None:
    rng = np.random.default_rng(3)
    n, mean = rng.integers(5, 60, (8, 3)), rng.standard_normal((8, 3))
    variance = rng.uniform(0.5, 2, (8, 3))
    together = mean_shift(baseline(n, mean, variance), [[30, 30, 30]], [[0.1, 0.2, 0.3]])

    for i in range(3):
        alone = mean_shift(baseline(n[:, i], mean[:, i], variance[:, i]), [30], [(i + 1) / 10])
        assert float(alone.p_value) == pytest.approx(float(together.p_value[i]))


def test_an_empty_window_counts_for_nothing() -> None:
    full = baseline([10, 20, 30], [1.0, 2.0, 1.5], [1.0, 1.0, 1.0])
    gap = baseline([10, 0, 20, 30], [1.0, np.nan, 2.0, 1.5], [1.0, np.nan, 1.0, 1.0])

    assert gap.between == pytest.approx(float(full.between))
    assert mean_shift(gap, [5, 0], [2.0, np.nan]).p_value == pytest.approx(
        float(mean_shift(full, [5], [2.0]).p_value)
    )


def test_refusals() -> None:
    with pytest.raises(NotAssessable, match="at least 2 reference windows"):
        baseline([10], [1.0], [1.0])
    with pytest.raises(NotAssessable, match="no variation within"):
        baseline([10, 10], [1.0, 2.0], [0.0, 0.0])
    with pytest.raises(MonitorError, match="must be finite where there are cases"):
        baseline([10, 10], [1.0, np.nan], [1.0, 1.0])
    with pytest.raises(MonitorError, match="variances must not be negative"):
        baseline([10, 10], [1.0, 2.0], [1.0, -1.0])
    with pytest.raises(MonitorError, match="n must be finite and not negative"):
        baseline([10, -1], [1.0, 2.0], [1.0, 1.0])
    with pytest.raises(MonitorError, match="an axis of windows"):
        baseline(10, 1.0, 1.0)
    with pytest.raises(NotAssessable, match="at least 2 reference cases that differ"):
        independent(1, 0.0, 1.0)
    good = independent(100, 0.0, 1.0)
    with pytest.raises(NotAssessable, match="no case in the current windows"):
        mean_shift(good, [0], [1.0])
