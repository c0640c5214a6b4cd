"""The simulated hospitals: repeatable, plausible, and changed only where it was planted."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
from pydicom import dcmread

from app.lab.demo_scenario import Change, Planted, Scenario, scenario
from app.lab.hospital import PlannedCase, planned_cases, render, render_day

QUIET = replace(scenario(11), planted=())


def with_planted(change: Change, *, size: float = 1.0, model: str = "") -> Scenario:
    planted = Planted(change, "H01", QUIET.on(30), size, "planted", model)
    return replace(QUIET, planted=(planted,))


def month(play: Scenario, site: int, first: int = 0) -> list[PlannedCase]:
    days = range(first, first + 28)
    return [case for day in days for case in planned_cases(play, play.sites[site], day)]


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    play = scenario(4)
    site = play.sites[1]

    first = render_day(play, site, 3, tmp_path / "a")
    again = render_day(play, site, 3, tmp_path / "b")

    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in again]


def test_another_seed_gives_other_patients_and_noise() -> None:
    one, other = scenario(4), scenario(5)

    a, b = (planned_cases(play, play.sites[0], 3)[0] for play in (one, other))
    images = [render(play, play.sites[0], 3, a).PixelData for play in (one, other)]

    assert a.sop_instance_uid != b.sop_instance_uid
    assert images[0] != images[1]


def test_a_site_sees_30_to_40_cases_a_day_with_quiet_weekends() -> None:
    for site in range(3):
        cases = month(QUIET, site)

        assert 30 < len(cases) / 28 < 40
        weekend = sum(case.acquired.weekday() >= 5 for case in cases)
        assert weekend / 8 < (len(cases) - weekend) / 20


def test_both_scanners_of_a_site_work_and_patients_come_in_opening_hours_of_the_site() -> None:
    for number, site in enumerate(QUIET.sites):
        cases = month(QUIET, number)

        assert {case.scanner for case in cases} == set(site.scanners)
        assert {case.acquired.tzinfo for case in cases} == {site.zone}
        assert all(7 <= case.acquired.hour < 21 for case in cases)


def test_uids_and_accession_numbers_are_never_used_twice() -> None:
    cases = [case for site in range(3) for case in month(QUIET, site)]

    for name in ("accession_number", "study_uid", "series_uid", "sop_instance_uid"):
        assert len({getattr(case, name) for case in cases}) == len(cases)


def test_prevalence_moves_by_the_planted_odds_at_its_site_alone() -> None:
    play = with_planted(Change.PREVALENCE, size=3.0)

    def rate(site: int, first: int) -> float:
        return float(np.mean([case.positive for case in month(play, site, first)]))

    assert 0.10 < rate(0, 0) < 0.18
    assert 0.28 < rate(0, 30) < 0.38  # odds of 0.14 times 3: 0.33
    assert 0.08 < rate(1, 30) < 0.16


def test_a_harmless_update_changes_the_version_in_the_header_and_no_pixel() -> None:
    model = QUIET.sites[0].scanners[0].model
    play = with_planted(Change.SOFTWARE_VERSION, model=model)
    site, day = play.sites[0], 31
    [before, *_] = [c for c in planned_cases(QUIET, site, day) if c.scanner.model == model]
    [after, *_] = [c for c in planned_cases(play, site, day) if c.scanner.model == model]

    old, new = render(QUIET, site, day, before), render(play, site, day, after)

    changed = {element.keyword for element in new if old[element.tag] != element}
    assert changed == {"SoftwareVersions"}


def test_changed_processing_changes_pixels_and_no_header() -> None:
    model = QUIET.sites[0].scanners[1].model
    play = with_planted(Change.SCANNER, model=model)
    site, day = play.sites[0], 31
    [before, *_] = [c for c in planned_cases(QUIET, site, day) if c.scanner.model == model]
    [after, *_] = [c for c in planned_cases(play, site, day) if c.scanner.model == model]

    old, new = render(QUIET, site, day, before), render(play, site, day, after)

    changed = {element.keyword for element in new if old[element.tag] != element}
    assert changed == {"PixelData"}


def test_the_other_scanner_of_the_site_keeps_its_pixels() -> None:
    play = with_planted(Change.SCANNER, model=QUIET.sites[0].scanners[1].model)

    plain = planned_cases(QUIET, QUIET.sites[0], 31)
    changed = planned_cases(play, play.sites[0], 31)

    for a, b in zip(plain, changed, strict=True):
        assert b.reprocessed == (b.scanner == play.sites[0].scanners[1])
        assert replace(b, reprocessed=False) == a


def test_objects_carry_the_planned_names_and_the_local_date(tmp_path: Path) -> None:
    site, day = QUIET.sites[2], 2

    paths = render_day(QUIET, site, day, tmp_path)

    for path, case in zip(paths, planned_cases(QUIET, site, day), strict=True):
        header = dcmread(path)
        assert header.SOPInstanceUID == case.sop_instance_uid
        assert header.AccessionNumber == case.accession_number
        assert header.AcquisitionDate == f"{QUIET.first_day + timedelta(days=day):%Y%m%d}"
        assert header.InstitutionName == site.name
        assert str(header.PatientName)
