from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr

from monitors.charts import (
    BernoulliDesign,
    CusumDesign,
    EwmaDesign,
    bernoulli_run_length,
    bernoulli_trace,
    cusum_interval,
    cusum_run_length,
    cusum_start,
    cusum_step,
    cusum_trace,
    estimated_run_lengths,
    ewma_run_length,
    ewma_trace,
    ewma_width,
    mean_limits,
    one_sided_run_length,
    proportion_limits,
    shewhart_run_length,
)
from monitors.errors import DesignError
from monitors.schema import FloatArray

# Montgomery, Introduction to Statistical Quality Control, 7th ed., table 9.1: the last ten
# readings have a mean of 11; target 10, sigma 1.
READINGS = (
    "9.45 7.99 9.29 11.66 12.16 10.18 8.04 11.46 9.20 10.34 9.03 11.47 10.51 9.40 10.08 9.37 "
    "10.62 10.31 8.52 10.84 10.90 9.33 12.29 11.50 10.60 11.08 10.38 11.62 11.31 10.52"
)
XS = np.array([float(x) for x in READINGS.split()])
SHIFTS = (0, 0.25, 0.5, 0.75, 1, 1.5, 2, 2.5, 3, 4)

readings = st.lists(st.floats(-5, 5), min_size=1, max_size=30)


def to_three_digits(value: float) -> float:
    return float(f"{value:.3g}")


# Published numbers ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("h", "published"),
    [
        (4, (168, 74.2, 26.6, 13.3, 8.38, 4.75, 3.34, 2.62, 2.19, 1.71)),
        (5, (465, 139, 38.0, 17.0, 10.4, 5.75, 4.01, 3.11, 2.57, 2.01)),
    ],
)
def test_run_lengths_of_the_cusum_are_those_of_montgomery_table_9_3(
    h: float, published: tuple[float, ...]
) -> None:
    computed = [to_three_digits(cusum_run_length(CusumDesign(h=h), shift)) for shift in SHIFTS]

    assert computed == pytest.approx(list(published), rel=0.0005)


def test_a_head_start_has_the_run_lengths_of_lucas_and_crosier() -> None:
    # Lucas and Crosier (1982), table 1: h = 4, k = 0.5, head start h/2.
    design = CusumDesign(h=4, head_start=2)

    computed = [to_three_digits(cusum_run_length(design, shift)) for shift in SHIFTS]

    assert computed == [149, 62.7, 20.1, 8.97, 5.29, 2.86, 2.01, 1.59, 1.33, 1.07]


@pytest.mark.parametrize(
    ("k", "h"), [(0.25, 8.01), (0.5, 4.77), (0.75, 3.34), (1.0, 2.52), (1.25, 1.99), (1.5, 1.61)]
)
def test_limits_for_370_readings_are_those_of_hawkins(k: float, h: float) -> None:
    # Hawkins (1993), in Montgomery table 9.4.
    assert cusum_interval(370, k) == pytest.approx(h, abs=0.006)


def test_run_lengths_of_the_ewma_are_those_of_lucas_and_saccucci() -> None:
    # Lucas and Saccucci (1990), in Montgomery table 9.11: weight 0.1, width 2.814. Their Markov
    # chain is good to the digits printed but for one: 15.9, where the equation gives 15.85.
    computed = [ewma_run_length(EwmaDesign(), shift) for shift in SHIFTS]

    assert computed == pytest.approx(
        [500, 106, 31.3, 15.9, 10.3, 6.09, 4.36, 3.44, 2.87, 2.19], rel=0.0035
    )


@pytest.mark.parametrize(
    ("weight", "width"), [(0.4, 3.054), (0.25, 2.998), (0.2, 2.962), (0.1, 2.814), (0.05, 2.615)]
)
def test_widths_for_500_readings_are_those_of_lucas_and_saccucci(
    weight: float, width: float
) -> None:
    assert ewma_width(500, weight) == pytest.approx(width, abs=0.002)


def test_three_sigma_limits_are_passed_once_in_370_windows() -> None:
    assert shewhart_run_length() == pytest.approx(370.4, abs=0.05)
    assert shewhart_run_length(shift=1.0) == pytest.approx(43.9, abs=0.05)


def test_the_trace_of_montgomerys_example_is_his_table_9_2() -> None:
    trace = cusum_trace(CusumDesign(centre=10), XS)

    assert trace.up[[3, 4, 5, 6, 22, 23, 26, 27, 28, 29]] == pytest.approx(
        [1.16, 2.82, 2.50, 0.04, 1.79, 2.79, 3.35, 4.47, 5.28, 5.30]
    )
    assert np.flatnonzero(trace.signals).tolist() == [28, 29]  # readings 29 and 30
    assert trace.up_since[28] == 7  # so the shift began between readings 22 and 23


@pytest.mark.parametrize(("windows", "median"), [(30, 2150), (60, 3380), (120, 5540)])
def test_estimating_the_design_shortens_the_true_run_length(windows: int, median: float) -> None:
    # statistics.md B3, by simulation there: plug-in charts with a nominal 10,000 readings.
    design = CusumDesign(h=cusum_interval(10_000))

    found = float(np.median(estimated_run_lengths(design, windows)))

    assert found == pytest.approx(median, rel=0.2)


# Other routes to the same number -------------------------------------------------------------


def markov_chain_run_length(k: float, h: float, cells: int) -> float:
    """Brook and Evans (1972), Biometrika 59, 539-549."""
    width = 2 * h / (2 * cells - 1)
    step = np.subtract.outer(np.arange(cells), np.arange(cells)).T * width
    moves = ndtr(step + width / 2 + k) - ndtr(step - width / 2 + k)
    moves[:, 0] = ndtr(step[:, 0] + width / 2 + k)
    return float(np.linalg.solve(np.eye(cells) - moves, np.ones(cells))[0])


@pytest.mark.parametrize(("k", "h"), [(0.5, 4.0), (0.25, 6.0), (1.0, 2.5)])
def test_the_integral_equation_agrees_with_a_markov_chain(k: float, h: float) -> None:
    coarse, fine = (markov_chain_run_length(k, h, cells) for cells in (200, 400))

    extrapolated = fine + (fine - coarse) / 3  # the chain's error falls with cells squared

    assert one_sided_run_length(k, h) == pytest.approx(extrapolated, rel=2e-5)


def test_a_bernoulli_chart_that_any_event_raises_waits_one_over_p() -> None:
    design = BernoulliDesign(in_control=0.01, out_of_control=0.02, h=0.5)

    assert bernoulli_run_length(design, 0.01) == pytest.approx(100.0)


def test_a_bernoulli_chart_of_two_events_within_m_cases_has_its_closed_form() -> None:
    # With h = 1 the second event must come before the sum is back at zero: each first event
    # (1/p cases) is followed by a second within m - 1 cases with probability 1 - (1-p)^(m-1).
    design = BernoulliDesign(in_control=0.02, out_of_control=0.05, h=1.0)
    p, m = 0.02, design.m
    second = 1 - (1 - p) ** (m - 1)

    expected = (1 / p + second / p) / second

    assert bernoulli_run_length(design, p) == pytest.approx(expected)


def test_the_reference_value_of_the_bernoulli_chart_is_that_of_reynolds_and_stoumbos() -> None:
    design = BernoulliDesign(in_control=0.01, out_of_control=0.02, h=3.0)
    r1 = -math.log(0.98 / 0.99)
    r2 = math.log(0.02 * 0.99 / (0.01 * 0.98))

    assert design.m == pytest.approx(r2 / r1, abs=0.5)
    assert design.states == 3 * design.m


# Invariances ---------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(readings, st.integers(-8, 8), st.integers(-100, 100))
def test_the_unit_of_the_statistic_does_not_matter(
    xs: list[float], power: int, origin: int
) -> None:
    # A power of two scales without rounding, so the two charts must be equal, not close.
    scale = 2.0**power
    z = np.array(xs)
    plain = CusumDesign(h=4)
    other = CusumDesign(centre=scale * origin, sigma=scale, h=4)

    path = cusum_trace(other, scale * (z + origin))
    expected = cusum_trace(plain, (z + origin) - origin)

    assert path.up.tolist() == expected.up.tolist()
    assert path.down.tolist() == expected.down.tolist()


@settings(max_examples=60, deadline=None)
@given(readings, st.integers(0, 30))
def test_stopping_and_resuming_is_one_run(xs: list[float], stop: int) -> None:
    design, ewma = CusumDesign(h=3, head_start=1), EwmaDesign()

    first = cusum_trace(design, xs[:stop])
    rest = cusum_trace(design, xs[stop:], first.state)
    whole = cusum_trace(design, xs)
    averages = ewma_trace(ewma, xs[stop:], ewma_trace(ewma, xs[:stop]))

    assert np.concatenate([first.up, rest.up]).tolist() == whole.up.tolist()
    assert np.concatenate([first.down_since, rest.down_since]).tolist() == whole.down_since.tolist()
    assert averages.average.tolist() == ewma_trace(ewma, xs).average[stop:].tolist()
    assert averages.upper.tolist() == ewma_trace(ewma, xs).upper[stop:].tolist()


@settings(max_examples=40, deadline=None)
@given(readings)
def test_turning_the_sign_exchanges_the_two_sums(xs: list[float]) -> None:
    design = CusumDesign()
    plain, turned = cusum_trace(design, xs), cusum_trace(design, [-x for x in xs])

    assert plain.up.tolist() == turned.down.tolist()
    assert plain.down_since.tolist() == turned.up_since.tolist()


def test_streams_do_not_see_each_other() -> None:
    xs = np.random.default_rng(3).normal(size=(40, 3))
    centre, sigma = np.array([0.0, 1.0, -1.0]), np.array([1.0, 2.0, 0.5])

    together = cusum_trace(CusumDesign(centre=centre, sigma=sigma), xs)

    for i in range(3):
        alone = cusum_trace(CusumDesign(centre=float(centre[i]), sigma=float(sigma[i])), xs[:, i])
        assert together.up[:, i].tolist() == alone.up.tolist()


# Behaviour -----------------------------------------------------------------------------------


def test_the_sum_keeps_climbing_after_the_signal() -> None:
    trace = cusum_trace(CusumDesign(h=4), np.full(20, 1.5))

    assert trace.up == pytest.approx(np.arange(1, 21))
    assert np.flatnonzero(trace.signals)[0] == 4
    assert trace.signals[4:].all()


def test_exactly_at_the_limit_is_no_signal() -> None:
    assert not cusum_trace(CusumDesign(h=4), np.full(4, 1.5)).signals.any()


def test_one_step_is_a_trace_of_one_reading() -> None:
    design = CusumDesign(centre=10, h=5)

    state = cusum_step(design, cusum_start(design), 12.0)

    assert (float(state.up), int(state.up_since), float(state.down)) == (1.5, 1, 0.0)


def test_the_limits_of_the_ewma_widen_to_their_steady_value() -> None:
    trace = ewma_trace(EwmaDesign(centre=10, sigma=1, weight=0.1, width=2.7), XS)

    # Montgomery example 9.2: limits 9.73 and 10.27 at the first reading, 9.38 and 10.62 steady.
    assert (trace.lower[0], trace.upper[0]) == pytest.approx((9.73, 10.27))
    assert trace.upper[-1] == pytest.approx(10.62, abs=0.005)
    assert trace.average[:4] == pytest.approx([9.945, 9.7495, 9.7036, 9.8992], abs=5e-5)
    assert trace.signals[-1] and not trace.signals[:20].any()


def test_a_bernoulli_path_rises_with_events_and_falls_to_zero_between() -> None:
    design = BernoulliDesign(in_control=0.1, out_of_control=0.3, h=2.0)

    path = bernoulli_trace(design, [1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0])

    m = design.m
    assert path[:4].tolist() == [m - 1, m - 2, m - 3, 2 * m - 4]
    assert path[-1] == 0
    assert bernoulli_trace(design, [1], start=path[3]).tolist() == [3 * m - 5]


def test_limits_of_windows_are_wider_where_there_are_fewer_cases_and_more_day_effect() -> None:
    quiet = proportion_limits(0.1, np.array([50, 200]))
    noisy = proportion_limits(0.1, np.array([50, 200]), icc=0.01)

    assert quiet.upper == pytest.approx([0.1 + 3 * 0.3 / 50**0.5, 0.1 + 3 * 0.3 / 200**0.5])
    assert noisy.upper[1] - 0.1 == pytest.approx((quiet.upper[1] - 0.1) * (1 + 199 * 0.01) ** 0.5)
    assert quiet.lower[0] == 0.0


def test_limits_of_means_add_noise_within_and_between_windows() -> None:
    limits = mean_limits(5.0, 3.0, 0.4, np.array([100]))

    assert limits.upper == pytest.approx([5 + 3 * (0.09 + 0.16) ** 0.5])
    assert limits.lower == pytest.approx([5 - 3 * (0.09 + 0.16) ** 0.5])


@pytest.mark.parametrize("run_length", [50.0, 370.0, 10_000.0, 1e6])
def test_the_limit_asked_for_has_the_price_asked_for(run_length: float) -> None:
    h, width = cusum_interval(run_length), ewma_width(run_length)

    assert cusum_run_length(CusumDesign(h=h)) == pytest.approx(run_length, rel=1e-6)
    assert ewma_run_length(EwmaDesign(width=width)) == pytest.approx(run_length, rel=1e-6)


# Refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sigma": 0.0}, "sigma must be positive, got 0.0"),
        ({"sigma": math.nan}, "sigma must be positive, got nan"),
        ({"sigma": np.array([1.0, -1.0])}, "sigma must be positive"),
        ({"h": 0.0}, "h must be positive, got 0.0"),
        ({"k": -0.1}, "k must not be negative, got -0.1"),
        ({"k": math.nan}, "k must not be negative, got nan"),
        ({"head_start": 5.0}, r"head_start must lie in \[0, h\), got 5.0"),
        ({"head_start": -1.0}, r"head_start must lie in \[0, h\), got -1.0"),
    ],
)
def test_a_cusum_without_meaning_is_refused(changes: dict[str, float], message: str) -> None:
    with pytest.raises(DesignError, match=message):
        CusumDesign(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sigma": 0.0}, "sigma must be positive, got 0.0"),
        ({"width": 0.0}, "width must be positive, got 0.0"),
        ({"weight": 0.0}, r"weight must lie in \(0, 1\], got 0.0"),
        ({"weight": 1.1}, r"weight must lie in \(0, 1\], got 1.1"),
    ],
)
def test_an_ewma_without_meaning_is_refused(changes: dict[str, float], message: str) -> None:
    with pytest.raises(DesignError, match=message):
        EwmaDesign(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"out_of_control": 0.01}, "0 < in_control < out_of_control < 1 expected, got 0.01 and"),
        ({"in_control": 0.0}, "0 < in_control < out_of_control < 1 expected, got 0.0 and 0.02"),
        ({"h": -1.0}, "h must be positive, got -1.0"),
    ],
)
def test_a_bernoulli_chart_without_meaning_is_refused(
    changes: dict[str, float], message: str
) -> None:
    parts = {"in_control": 0.01, "out_of_control": 0.02, "h": 3.0}

    with pytest.raises(DesignError, match=message):
        BernoulliDesign(**(parts | changes))


def test_readings_that_are_none_are_refused() -> None:
    with pytest.raises(DesignError, match="readings must be finite"):
        cusum_trace(CusumDesign(), [0.0, math.nan])
    with pytest.raises(DesignError, match="readings must have a time axis"):
        ewma_trace(EwmaDesign(), 3.0)
    with pytest.raises(DesignError, match="outcomes must be 0 or 1"):
        bernoulli_trace(BernoulliDesign(in_control=0.1, out_of_control=0.2, h=2), [0, 2])


def test_a_price_that_no_limit_has_is_refused() -> None:
    with pytest.raises(DesignError, match=r"run length must lie between 1\.\d+ and 1e\+09, got 1"):
        cusum_interval(1.0)
    with pytest.raises(DesignError, match=r"and 1e\+09, got 10000000000\.0"):
        ewma_width(1e10)
    with pytest.raises(DesignError, match=r"probability must lie in \(0, 1\), got 0"):
        bernoulli_run_length(BernoulliDesign(in_control=0.1, out_of_control=0.2, h=2), 0)


def test_one_window_estimates_no_sigma() -> None:
    with pytest.raises(DesignError, match="at least 2 windows needed to estimate sigma, got 1"):
        estimated_run_lengths(CusumDesign(), 1)


def test_windows_without_cases_have_no_limits() -> None:
    with pytest.raises(DesignError, match="a window needs at least 1 case"):
        proportion_limits(0.1, np.array([10, 0]))
    with pytest.raises(DesignError, match=r"rate must lie in \[0, 1\], got 1.2"):
        proportion_limits(1.2, 10)
    with pytest.raises(DesignError, match="width must be positive, got 0"):
        mean_limits(0.0, 1.0, 0.0, 10, width=0)


def test_an_empty_trace_hands_its_state_on() -> None:
    empty: FloatArray = np.empty((0, 2))

    trace = cusum_trace(CusumDesign(head_start=1), empty)

    assert trace.up.shape == (0, 2)
    assert trace.state.up.tolist() == [1.0, 1.0]
