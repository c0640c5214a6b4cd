"""Outcomes against their expected risk, and limits for an estimated reference."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitors.charts import (
    BernoulliDesign,
    CusumDesign,
    EwmaDesign,
    bernoulli_run_length,
    cusum_interval,
    cusum_run_length,
    estimated_run_lengths,
    ewma_run_length,
    ewma_width,
)
from monitors.errors import DesignError
from monitors.guaranteed import guaranteed_cusum_interval, guaranteed_ewma_width, reference_draws
from monitors.risk_adjusted import (
    RiskAdjustedDesign,
    risk_adjusted_run_length,
    risk_adjusted_trace,
    weights,
)


def test_weights_are_those_of_the_log_likelihood_ratio() -> None:
    # Steiner et al. (2000), equation 2.2, odds ratio 2: by hand at risks of 1/2 and 1/10.
    without, event = weights(RiskAdjustedDesign(odds_ratio=2.0), [0.5, 0.1])

    assert without == pytest.approx([np.log(2 / 3), np.log(10 / 11)])
    assert event == pytest.approx([np.log(4 / 3), np.log(20 / 11)])


def test_with_one_risk_it_is_the_bernoulli_cusum() -> None:
    # The same chart in another unit: an event weighs log OR - log(1 - p + 2p), m steps of it.
    design = BernoulliDesign(in_control=0.05, out_of_control=0.0952381, h=3.0)
    without, _ = weights(RiskAdjustedDesign(odds_ratio=2.0), 0.05)
    # OR 2 at 0.05 is 0.095; on the lattice the unit is m steps of the weight of no event.
    h = design.states * -float(without)
    found = risk_adjusted_run_length(RiskAdjustedDesign(odds_ratio=2.0, h=h), [0.05])

    assert found == pytest.approx(bernoulli_run_length(design, 0.05), rel=0.12)


def test_a_mix_of_risks_signals_as_late_as_simulated() -> None:
    design = RiskAdjustedDesign(odds_ratio=2.0, h=2.0)
    rng = np.random.default_rng(0)
    risk = rng.choice([0.05, 0.2], p=[0.7, 0.3], size=(4000, 1500))
    path = risk_adjusted_trace(design, (rng.random(risk.shape) < risk).astype(int), risk)
    late = (path >= design.h).argmax(axis=0) + 1.0

    found = risk_adjusted_run_length(design, [0.05, 0.2], [0.7, 0.3])

    assert found == pytest.approx(late.mean(), abs=3 * late.std() / 1500**0.5)


def test_a_changed_odds_ratio_signals_sooner_and_a_changed_mix_does_not() -> None:
    design = RiskAdjustedDesign(odds_ratio=2.0, h=3.0)
    usual = risk_adjusted_run_length(design, [0.05, 0.3], [0.8, 0.2])

    assert risk_adjusted_run_length(design, [0.05, 0.3], [0.8, 0.2], odds_ratio=2) < usual / 8
    # A chart that is not adjusted would see the rate of events double.
    assert risk_adjusted_run_length(design, [0.05, 0.3], [0.5, 0.5]) > usual / 3


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.floats(0.02, 0.9)), min_size=2, max_size=30), st.data())
def test_stop_and_resume_changes_nothing(
    rows: list[tuple[bool, float]], data: st.DataObject
) -> None:
    y, p = np.array([r[0] for r in rows]).astype(int), np.array([r[1] for r in rows])
    at = data.draw(st.integers(1, len(rows) - 1))
    design = RiskAdjustedDesign()

    whole = risk_adjusted_trace(design, y, p)
    first = risk_adjusted_trace(design, y[:at], p[:at])
    second = risk_adjusted_trace(design, y[at:], p[at:], start=first[-1])

    assert np.concatenate([first, second]) == pytest.approx(whole)


def test_the_order_of_groups_in_a_mix_does_not_matter() -> None:
    design = RiskAdjustedDesign(h=2.0)
    one = risk_adjusted_run_length(design, [0.05, 0.2], [0.7, 0.3])
    assert risk_adjusted_run_length(design, [0.2, 0.05], [3, 7]) == pytest.approx(one)


def test_risk_adjusted_charts_refuse() -> None:
    with pytest.raises(DesignError, match="odds_ratio must be positive and not 1"):
        RiskAdjustedDesign(odds_ratio=1.0)
    with pytest.raises(DesignError, match="h must be positive"):
        RiskAdjustedDesign(h=0.0)
    with pytest.raises(DesignError, match=r"risk must lie in \(0, 1\)"):
        weights(RiskAdjustedDesign(), 1.0)
    with pytest.raises(DesignError, match="outcomes must be 0 or 1"):
        risk_adjusted_trace(RiskAdjustedDesign(), [2], [0.1])
    with pytest.raises(DesignError, match="share"):
        risk_adjusted_run_length(RiskAdjustedDesign(), [0.1, 0.2], [1.0])


# Estimated references ------------------------------------------------------------------------


def test_a_guaranteed_cusum_keeps_its_interval_in_nine_of_ten_references() -> None:
    # Gandy and Kvaloy (2013): adjusted so that P(ARL >= target) = 0.9 over reference periods.
    h = guaranteed_cusum_interval(168, 60, draws=120)
    actual = estimated_run_lengths(CusumDesign(h=h), 60, draws=300, seed=9)

    assert float(np.mean(actual >= 168)) == pytest.approx(0.9, abs=0.08)
    assert h > cusum_interval(168)  # 4.0: the price of not knowing


def test_a_guaranteed_ewma_likewise() -> None:
    width = guaranteed_ewma_width(500, 60, draws=120)
    error, ratio = reference_draws(60, 200, seed=9)
    actual = [
        ewma_run_length(EwmaDesign(width=width * r), e) for e, r in zip(error, ratio, strict=True)
    ]

    assert float(np.mean(np.array(actual) >= 500)) == pytest.approx(0.9, abs=0.08)
    assert width > ewma_width(500)


def test_a_long_reference_needs_no_correction() -> None:
    h = guaranteed_cusum_interval(168, 1_000_000, draws=40)
    assert cusum_run_length(CusumDesign(h=h)) == pytest.approx(168, rel=0.02)


def test_guarantees_refuse() -> None:
    with pytest.raises(DesignError, match=r"probability must lie in \(0, 1\)"):
        guaranteed_cusum_interval(168, 60, probability=1.0)
    with pytest.raises(DesignError, match="at least 2 windows needed"):
        guaranteed_ewma_width(168, 1)
