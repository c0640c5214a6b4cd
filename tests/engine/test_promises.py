"""What the engine promises, by simulation on seeds that were not used to develop it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import chi2

from app.lab.simulate import MECHANISMS, Drift, Fleet, demo_fleet, simulate, simulate_cohort
from monitors.engine import Evaluation, Plan, build_reference, evaluate

IN_CONTROL = Fleet(volume=50.0, reference_days=90, monitored_days=120)
NUISANCES: tuple[dict[str, object], ...] = (
    {},
    {"weekday": 0.5},
    {"volume": 10.0},
    {"day_effect": 0.3},
    {"heavy_tails": True},
    {"mechanism": "mixture"},
    {"mechanism": "skewed"},
    {"late": 0.15, "volume": 20.0},
)


def walk(fleet: Fleet, seed: int) -> Evaluation:
    history = simulate(fleet, seed)
    return evaluate(Plan(), build_reference(Plan(), history, fleet.reference_end), history)


def false_signals(seeds: range) -> tuple[int, float]:
    """Statistical signals of fleets in control, and the fleet-years watched."""
    signals = 0
    for seed in seeds:
        fleet = replace(IN_CONTROL, **NUISANCES[seed % len(NUISANCES)])  # type: ignore[arg-type]
        signals += sum(s.kind == "statistical" for s in walk(fleet, seed).signals)
    return signals, len(seeds) * IN_CONTROL.monitored_days / 365.25


def planted_and_found(seed: int) -> Counter[str]:
    """How each planted drift of a demonstration fleet ended, and what else was signalled."""
    fleet = demo_fleet(seed)
    history = simulate(fleet, seed)
    cohort = simulate_cohort(fleet, history.schema, seed)
    reference = build_reference(Plan(), history, fleet.reference_end, cohort)
    causes = {d.site: d.kind for d in fleet.drifts if d.kind != "software_version"}
    ends: Counter[str] = Counter()
    for signal in evaluate(Plan(), reference, history).signals:
        if signal.kind == "statistical":
            [site, *others] = signal.sites
            named = signal.history[-1].causes
            right = (causes.pop(site, None),) == named and not others
            ends["right" if right else "undetermined" if "undetermined" in named else "wrong"] += 1
    ends["missed"] += len(causes)
    return ends


def test_a_year_of_fleets_in_control_stays_within_the_promise() -> None:
    signals, years = false_signals(range(70_000, 70_004))

    assert signals / years <= chi2.ppf(0.999, 2) / 2 / years + 1  # a budget of 1, and its chance


def test_a_demonstration_fleet_is_read_right() -> None:
    assert planted_and_found(71_000) == Counter(right=3)


@pytest.mark.slow
def test_false_signals_of_sixty_fleet_years_are_below_one_a_year() -> None:
    signals, years = false_signals(range(80_000, 80_184))

    upper = chi2.ppf(0.975, 2 * (signals + 1)) / 2 / years
    assert years >= 60
    assert upper <= 1.0


@pytest.mark.slow
def test_planted_drifts_of_forty_demonstrations_are_found_with_their_causes() -> None:
    ends = sum((planted_and_found(seed) for seed in range(81_000, 81_040)), Counter[str]())

    assert ends["right"] >= 0.95 * 120
    assert ends["wrong"] <= 0.02 * 120
    assert ends["missed"] <= 0.02 * 120


@pytest.mark.slow
@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_change_dates_are_close_and_their_intervals_hold(mechanism: str) -> None:
    errors, held = [], 0
    for seed in range(82_000, 82_020):
        drift = Drift(kind="scanner", day=15, site="H1", scanner="S1", size=1.0)
        fleet = Fleet(volume=50.0, mechanism=mechanism, drifts=(drift,))
        true = fleet.reference_end + drift.day
        for signal in walk(fleet, seed).signals:
            if signal.sites == ("H1",) and signal.change_interval is not None:
                assert signal.change_day is not None
                errors.append(abs(signal.change_day - true))
                held += signal.change_interval[0] <= true <= signal.change_interval[1]

    assert len(errors) >= 19
    assert np.median(errors) <= 2
    assert held >= 0.85 * len(errors)
