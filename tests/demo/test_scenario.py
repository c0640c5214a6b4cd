"""What is planted depends on the seed, and on nothing else."""

from __future__ import annotations

from datetime import timedelta

import pytest

from app.lab.demo_scenario import (
    DRIFTS,
    PLANT_BEFORE,
    PLANT_FROM,
    SITES,
    Change,
    scenario,
    updated_software,
)

SEEDS = range(60)


def test_a_seed_names_one_play() -> None:
    assert scenario(7) == scenario(7)
    assert scenario(7).planted != scenario(8).planted


def test_every_play_plants_three_drifts_at_three_sites_and_one_harmless_header() -> None:
    for seed in SEEDS:
        play = scenario(seed)

        drifts = [p for p in play.planted if p.change in DRIFTS]
        [header] = [p for p in play.planted if p.change is Change.SOFTWARE_VERSION]
        [processing] = [p for p in drifts if p.change is Change.SCANNER]
        assert {p.change for p in drifts} == set(DRIFTS)
        assert len({p.site for p in drifts}) == 3
        assert (header.site, header.scanner_model) != (processing.site, processing.scanner_model)


def test_sites_and_dates_of_the_drifts_differ_between_seeds() -> None:
    plays = [scenario(seed) for seed in SEEDS]

    for change in Change:
        planted = [p for play in plays for p in play.planted if p.change is change]
        assert {p.site for p in planted} == {site.code for site in SITES}
        assert len({p.date for p in planted}) > 10


def test_drifts_start_after_day_8_and_before_day_25_of_the_monitored_period() -> None:
    for seed in SEEDS:
        play = scenario(seed)

        for planted in play.planted:
            monitored_day = (planted.date - play.reference_end).days
            assert 8 < monitored_day < 25
            assert PLANT_FROM <= monitored_day < PLANT_BEFORE


def test_a_play_too_short_for_a_drift_plants_none() -> None:
    assert scenario(3, days_reference=6, days_monitored=4).planted == ()


def test_a_change_holds_from_its_date_on_at_its_site_alone() -> None:
    play = scenario(5)
    [planted] = [p for p in play.planted if p.change is Change.PREVALENCE]

    for site in play.sites:
        here = site.code == planted.site
        assert play.active(Change.PREVALENCE, site, planted.date - timedelta(days=1)) is None
        assert (play.active(Change.PREVALENCE, site, planted.date) is planted) == here
        assert (play.active(Change.PREVALENCE, site, play.on(play.days)) is planted) == here


def test_scanners_can_be_told_apart() -> None:
    scanners = [scanner for site in SITES for scanner in site.scanners]

    assert len({s.header.serial for s in scanners}) == len(scanners)
    assert len({s.header.station for s in scanners}) == len(scanners)
    assert len({s.header.manufacturer for s in scanners}) >= 3
    for site in SITES:
        assert len({s.model for s in site.scanners}) == len(site.scanners)


@pytest.mark.parametrize(
    ("before", "after"),
    [("5.7.412.3", "5.7.412.4"), ("9", "10"), ("A12-03", "A12-04"), ("VE10A", "VE10B")],
)
def test_an_update_counts_up_the_last_number_or_letter(before: str, after: str) -> None:
    assert updated_software(before) == after


def test_every_scanner_can_be_updated() -> None:
    for site in SITES:
        for scanner in site.scanners:
            version = scanner.header.software_versions
            assert updated_software(version) != version
