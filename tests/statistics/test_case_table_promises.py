"""The bars on case tables of worlds that share no code with the simulator or the monitors."""

from __future__ import annotations

import pytest

from benchmarks.drift_power import one, report


def test_a_scanner_that_changes_is_found_in_a_csv_and_named() -> None:
    line = one("medium", 7004)

    assert line["scenario"].startswith("scanner")
    assert line["end"] == "right"
    assert line["false"] == []
    assert line["delay"] <= 10


@pytest.mark.slow
def test_false_signals_on_case_tables_in_control_are_below_one_a_year() -> None:
    found = report([one("control", seed) for seed in range(6000, 6124)])

    assert found["fleet_years"] >= 60
    assert found["false_upper95"] <= 1.0


@pytest.mark.slow
def test_medium_changes_are_found_and_named() -> None:
    found = report([one("medium", seed) for seed in range(6000, 6132)])

    assert found["found"] >= 0.98 * 132
    assert found["ends"]["right"] >= 0.95 * 132
    assert found["ends"].get("wrong", 0) <= 0.02 * 132


@pytest.mark.slow
def test_two_causes_at_once_are_both_named() -> None:
    found = report([one("combined", seed) for seed in range(6000, 6040)])

    assert found["ends"]["right"] >= 0.8 * 40
