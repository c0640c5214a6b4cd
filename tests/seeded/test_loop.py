"""The whole loop on one machine: DICOM in, signed windows through, a report out. One hospital."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from app.device.bundle import open_bundle
from app.lab import demo
from app.lab.demo import AFTERWARDS_DAYS, Performance
from app.lab.demo_bundle import Device
from app.lab.demo_deployment import deployed
from app.lab.demo_scenario import Scenario, scenario
from app.lab.demo_summary import Summary
from app.lab.hospital import planned_cases
from tests.support.chest_bundle import KEY, chest_bundle


def a_device() -> Device:
    bundle = open_bundle(chest_bundle(), [KEY.public], 1)
    assert bundle.manifest.sentinel is not None
    labels = bundle.arrays(bundle.manifest.sentinel.file)["labels"]
    return Device(bundle.folder, KEY, bundle.lock_digest, tuple(int(one) for one in labels))


def a_short_play() -> Scenario:
    """One hospital and a week: too little to watch anything, so the play has no monitored part."""
    play = scenario(1, days_reference=7, days_monitored=0)
    return replace(play, sites=(replace(play.sites[0], cases_a_day=30.0),))


@pytest.fixture(scope="module")
def summary(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    play, home = a_short_play(), tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch, deployed(home, play.sites) as parts:
        patch.setattr(demo, "manufacturer_key", lambda _: KEY)
        patch.setattr(demo, "obtain", lambda *_, **__: a_device())  # small: built in seconds
        return Performance(play, parts, Console(quiet=True)).run(home)


def test_every_object_that_was_sent_is_accounted_for(summary: Summary) -> None:
    play = a_short_play()
    planned = [planned_cases(play, play.sites[0], day) for day in range(play.days)]

    [balance] = summary.balances

    assert balance.sent == sum(len(cases) for cases in planned)
    assert balance.faults == ()
    assert balance.analysed > 0.9 * balance.sent


def test_every_window_that_was_produced_is_stored(summary: Summary) -> None:
    [balance] = summary.balances

    assert balance.produced == balance.stored
    # A daily window of cases for most days; watermarks and disclosure may merge some.
    assert balance.stored >= a_short_play().days / 2


def test_the_loop_ends_with_a_report_and_an_honest_verdict(summary: Summary) -> None:
    assert Path(summary.report).read_bytes().startswith(b"%PDF-")
    assert summary.planted == ()
    assert summary.ok == (summary.unexpected == () and summary.faults == ())
    assert AFTERWARDS_DAYS >= 2
