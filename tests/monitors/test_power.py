"""What could be seen: tables of power from the textbooks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitors.errors import DesignError, NotAssessable
from monitors.power import (
    days_to_signal,
    mean_effect,
    mean_power,
    prevalence_error,
    psi_effect,
    psi_power,
    rate_power,
    windows_for_mean,
)
from monitors.prevalence import Classes


@pytest.mark.parametrize(
    ("effect", "n", "power"), [(0.2, 393, 0.80), (0.5, 63, 0.80), (0.8, 25, 0.80), (0.5, 85, 0.90)]
)
def test_cohen_s_sample_sizes_of_two_means(effect: float, n: int, power: float) -> None:
    # Cohen (1988), table 2.4.1, two-sided 5%: n of each group, less the one that t costs.
    assert float(mean_power(effect, n, n)) == pytest.approx(power, abs=0.012)


@pytest.mark.parametrize(
    ("w", "df", "n", "power"), [(0.3, 1, 87, 0.80), (0.3, 3, 121, 0.80), (0.1, 5, 1283, 0.80)]
)
def test_cohen_s_sample_sizes_of_chi_square(w: float, df: int, n: int, power: float) -> None:
    # Cohen (1988), tables 7.4.6 to 7.4.8: noncentrality n w^2 at 5%.
    assert float(psi_power(w**2, df, 1 / n)) == pytest.approx(power, abs=0.004)


@pytest.mark.parametrize(("n", "psi"), [(100, 0.29), (500, 0.063), (2000, 0.020), (20000, 0.0070)])
def test_the_smallest_psi_that_is_seen(n: int, psi: float) -> None:
    # Ten bins, a reference of 5000, a 0.1% test with 80% power (docs/methods/two-sample.md).
    found = float(psi_effect(9, 1 / n + 1 / 5000, size=0.001))

    assert found == pytest.approx(psi, rel=0.06)
    assert float(psi_power(found, 9, 1 / n + 1 / 5000, size=0.001)) == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("p0", "p1", "n"), [(0.05, 0.10, 435), (0.10, 0.20, 199), (0.40, 0.50, 388)]
)
def test_fleiss_s_sample_sizes_of_two_rates(p0: float, p1: float, n: int) -> None:
    # Fleiss, Levin and Paik (2003), equation 4.14, two-sided 5%, 80%, no continuity correction.
    assert float(rate_power(p1, p0, n, n)) == pytest.approx(0.80, abs=0.003)


def test_effect_and_power_and_windows_invert_each_other() -> None:
    smallest = float(mean_effect(25, 5000, between=0.01, windows=1))
    assert float(mean_power(smallest, 25, 5000, between=0.01)) == pytest.approx(0.8, abs=1e-3)

    windows = float(windows_for_mean(0.25, 25, 5000, between=0.01))
    enough = float(mean_power(0.25, 25 * windows, 5000, between=0.01, windows=windows))
    short = float(mean_power(0.25, 25 * (windows - 1), 5000, between=0.01, windows=windows - 1))
    assert short < 0.8 <= enough + 1e-6


def test_day_effects_cannot_be_bought_off_with_cases_alone() -> None:
    many = mean_power(0.1, [100, 1000, 100_000], 1e9, between=0.01)
    assert many[-1] < 0.18
    assert np.all(np.diff(many) > 0)


@settings(max_examples=20, deadline=None)
@given(st.floats(0.05, 1.5), st.integers(20, 500), st.integers(200, 20_000))
def test_power_rises_with_everything(effect: float, n: int, reference: int) -> None:
    least = float(mean_power(effect, n, reference))
    assert least <= float(mean_power(effect * 1.2, n, reference)) + 1e-12
    assert least <= float(mean_power(effect, 2 * n, reference)) + 1e-12
    assert least <= float(mean_power(effect, n, 2 * reference)) + 1e-12
    assert float(mean_power(-effect, n, reference)) == pytest.approx(least)


def test_the_error_of_a_prevalence_falls_with_the_root_of_cases() -> None:
    perfect = Classes([1e9, 1e-9], [1e-9, 1e9])
    # With a perfect score an unlabelled case is a labelled one: the binomial error.
    assert float(prevalence_error(perfect, 0.2, 400)) == pytest.approx(0.02, rel=1e-3)
    assert float(prevalence_error(perfect, 0.2, 1600)) == pytest.approx(0.01, rel=1e-3)


def test_a_larger_shift_signals_sooner_and_none_almost_never() -> None:
    # statistics of the e-detector at 100 daily streams: about 20 windows at 1 sd, 6.4 at 2 sd.
    limit = 100 * 365.25
    delay = days_to_signal([1.0, 2.0, 3.0], limit, weight=1.0, runs=400)

    assert delay[0] == pytest.approx(20, abs=3)
    assert delay[1] == pytest.approx(6.4, abs=1.5)
    assert np.all(np.diff(delay) < 0)
    assert float(days_to_signal(0.0, limit, longest=120)) == np.inf


def test_days_count_the_length_of_windows() -> None:
    daily = float(days_to_signal(3.0, 1000.0))
    weekly = float(days_to_signal(3.0, 1000.0, days=7.0))
    assert weekly >= daily
    assert weekly % 7 == 0


def test_refusals() -> None:
    with pytest.raises(DesignError, match=r"size must lie in \(0, 1\), got 1"):
        mean_power(0.2, 10, 10, size=1)
    with pytest.raises(DesignError, match="n: at least 1 expected, got 0"):
        mean_power(0.2, 0, 10)
    with pytest.raises(NotAssessable, match="the reference is too small"):
        windows_for_mean(0.01, 100, 100)
    with pytest.raises(DesignError, match=r"rates must lie in \(0, 1\)"):
        rate_power(0.0, 0.1, 10, 10)
    with pytest.raises(DesignError, match=r"prevalence must lie in \(0, 1\)"):
        prevalence_error(Classes([5, 1], [1, 5]), 1.0, 10)
    with pytest.raises(DesignError, match="limit > 0"):
        days_to_signal(1.0, 0.0)
