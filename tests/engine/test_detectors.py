"""E-detectors: the false-signal bound, by simulation and by exact expectation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logsumexp

from monitors.detectors import (
    DAYS_A_YEAR,
    LARGEST,
    advance,
    average,
    limit,
    log_sum,
    shift_evidence,
    stream_weights,
)
from monitors.errors import DesignError


def test_an_e_value_of_a_reading_in_control_is_at_most_one_on_average() -> None:
    z = np.random.default_rng(1).normal(size=200_000)

    mean = np.exp(shift_evidence(z, np.zeros_like(z))).mean(axis=0)

    assert mean.max() < 1.02  # 3 standard errors at the largest shift are 0.02 after clipping


def test_the_margin_makes_a_shift_up_to_it_harmless() -> None:
    z = np.random.default_rng(2).normal(0.3, 1, size=200_000)

    mean = np.exp(shift_evidence(z, np.full_like(z, 0.3))).mean(axis=0)

    assert mean.max() < 1.02


def test_false_signals_stay_within_the_budget_whatever_the_time_between_looks() -> None:
    rng = np.random.default_rng(3)
    runs, looks, days = 400, 100, 3.0
    bar = limit(1, 12.0)  # one stream that may signal falsely once a month
    m, signals = np.zeros((runs, 2, 3)), 0
    for _ in range(looks):
        evidence = shift_evidence(rng.normal(size=runs), np.zeros(runs))
        m = advance(m, days, evidence)
        over = average(m, np.full((2, 3), 1 / 6)) >= bar
        signals += int(over.sum())
        m[over] = 0

    per_year = signals / (runs * looks * days / DAYS_A_YEAR)

    assert 0 < per_year <= 12.0


def test_a_shift_of_one_standard_deviation_is_found_in_three_weeks_of_days() -> None:
    rng = np.random.default_rng(4)
    runs, bar = 300, limit(34, 1.0)
    m, found = np.zeros((runs, 2, 3)), np.full(runs, 99)
    for day in range(1, 60):
        evidence = shift_evidence(rng.normal(1, 1, runs), np.zeros(runs))
        m = advance(m, 1.0, evidence)
        over = average(m, np.full((2, 3), 1 / 6)) >= bar
        found = np.where(over & (found == 99), day, found)

    # statistics.md B2: 20 windows at 100 streams with daily windows, 11 at one stream.
    assert 11 <= np.median(found) <= 20


def test_a_detector_counts_no_further_than_a_number_can_say() -> None:
    m = np.zeros(3)
    for _ in range(3):
        m = advance(m, 1.0, np.array([-5000.0, 0.0, 5000.0]))

    assert m == pytest.approx([0, 3, LARGEST])
    assert average(m, np.full(3, 1 / 3)) < LARGEST


@given(st.lists(st.floats(-700, 700), min_size=1, max_size=20))
def test_the_log_of_a_sum_is_that_of_scipy(terms: list[float]) -> None:
    assert log_sum(np.array(terms)) == pytest.approx(logsumexp(terms), abs=1e-9)


def test_terms_of_nothing_add_nothing() -> None:
    assert log_sum(np.array([-np.inf, 0.0])) == 0.0
    assert log_sum(np.array([-np.inf, -np.inf])) == -np.inf


def test_weights_of_a_stream_sum_to_one() -> None:
    for directed in (True, False):
        assert stream_weights(directed, 5, 5).sum() == pytest.approx(1.0)


def test_a_limit_without_streams_or_budget_is_refused() -> None:
    with pytest.raises(DesignError, match="at least 1 stream and a positive budget expected"):
        limit(0, 1.0)
    with pytest.raises(DesignError, match=r"got 3 and 0.0"):
        limit(3, 0.0)
