"""False signals of fleets in control whose edges add noise, and the same when nobody says so."""

from __future__ import annotations

from dataclasses import replace

import pytest
from scipy.stats import chi2

from app.lab.simulate import Fleet, simulate, simulate_cohort
from monitors.engine import Plan, build_reference, evaluate
from tests.support.noisy import undeclared, with_noise

IN_CONTROL = Fleet(volume=50.0, reference_days=90, monitored_days=120)
NUISANCES: tuple[dict[str, object], ...] = (
    {},
    {"weekday": 0.5},
    {"volume": 200.0},
    {"day_effect": 0.3},
    {"heavy_tails": True},
    {"mechanism": "skewed"},
)
EPSILONS = (20.0, 8.0, 4.0)
YEARS = IN_CONTROL.monitored_days / 365.25


def false_signals(seed: int, *, told: bool = True) -> int:
    """Statistical signals of one fleet. With noise since before the reference, or, on odd seeds,
    since the watch began; at all sites, or, on every third seed, at one."""
    fleet = replace(IN_CONTROL, **NUISANCES[seed % len(NUISANCES)])  # type: ignore[arg-type]
    history = simulate(fleet, seed)
    cohort = simulate_cohort(fleet, history.schema, seed)
    epsilon = EPSILONS[seed // 2 % len(EPSILONS)]
    since = fleet.reference_end if seed % 2 else 0
    noisy = with_noise(history, epsilon, seed, ("H1",) if seed % 3 == 2 else (), since)
    seen = noisy if told else undeclared(noisy)
    reference = build_reference(Plan(), seen, fleet.reference_end, cohort)
    return sum(s.kind == "statistical" for s in evaluate(Plan(), reference, seen).signals)


def test_noise_raises_no_more_false_signals_than_promised() -> None:
    seeds = range(90_000, 90_006)
    signals, years = sum(map(false_signals, seeds)), len(seeds) * YEARS

    assert signals <= chi2.ppf(0.999, 2) / 2 + years  # a budget of 1 a year, and its chance


def test_noise_that_nobody_declares_is_taken_for_a_change() -> None:
    assert all(false_signals(seed, told=False) > 0 for seed in (90_001, 90_003))


@pytest.mark.slow
def test_false_signals_of_forty_fleet_years_under_noise_are_below_one_a_year() -> None:
    seeds = range(91_000, 91_122)
    signals, years = sum(map(false_signals, seeds)), len(seeds) * YEARS

    upper = chi2.ppf(0.975, 2 * (signals + 1)) / 2 / years
    assert years >= 40
    assert upper <= 1.0, (signals, years)
