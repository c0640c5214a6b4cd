"""Readers call as their threshold says, and the planted annotation change moves it."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from datetime import date, timedelta

import numpy as np

from app.lab.demo_scenario import Change, Planted, Scenario, Site, scenario
from app.lab.hospital_readers import (
    AUDITED,
    COLUMNS,
    SENTINEL_EVERY_DAYS,
    Examined,
    Read,
    audit_reads,
    is_sentinel_day,
    label_file,
    sentinel_reads,
    sentinel_severity,
)

N = 4000
LABELS = [1, 0] * 50


def cases(positive: bool, n: int = N) -> list[Examined]:
    return [Examined(f"A{i}", f"2.25.{i}", positive) for i in range(n)]


def play_with(*planted: Planted) -> tuple[Scenario, Site]:
    play = replace(scenario(1), planted=planted)
    return play, play.sites[0]


def rate(reads: list[Read]) -> float:
    return float(np.mean([read.label for read in reads]))


def over_calling(day: date) -> Planted:
    return Planted(Change.ANNOTATION, "H01", day, 0.8, "lower threshold")


def test_the_audit_draws_its_share_and_calls_with_the_stated_error_rates() -> None:
    play, site = play_with()

    with_finding = list(audit_reads(play, site, 0, cases(positive=True)))
    without = list(audit_reads(play, site, 0, cases(positive=False)))

    spread = 4 * np.sqrt(AUDITED * (1 - AUDITED) / N)
    assert abs(len(with_finding) / N - AUDITED) < spread
    assert abs(rate(with_finding) - 0.92) < 0.04
    assert abs(rate(without) - 0.06) < 0.04


def test_a_read_comes_some_days_after_the_case_from_a_reader_of_the_site() -> None:
    play, site = play_with()

    reads = list(audit_reads(play, site, 10, cases(positive=False)))

    lags = np.array([(read.read_on - play.on(10)).days for read in reads])
    assert lags.min() >= 1
    assert 2.5 < lags.mean() < 4.5
    assert {read.reader for read in reads} == {reader.code for reader in site.readers}
    assert {read.source for read in reads} == {"random_audit"}


def test_the_date_of_the_read_decides_which_threshold_holds() -> None:
    change = scenario(1).on(12)
    plain, site = play_with()
    changed, _ = play_with(over_calling(change))

    before = list(audit_reads(plain, site, 10, cases(positive=False)))
    after = list(audit_reads(changed, site, 10, cases(positive=False)))

    early = [a.label == b.label for a, b in zip(before, after, strict=True) if a.read_on < change]
    assert early
    assert all(early)
    late = [read for read in after if read.read_on >= change]
    assert rate(late) > 0.12


def test_other_sites_read_as_before() -> None:
    play, _ = play_with(over_calling(scenario(1).first_day))
    plain, _ = play_with()

    for site in play.sites[1:]:
        assert list(audit_reads(play, site, 5, cases(positive=False, n=50))) == list(
            audit_reads(plain, site, 5, cases(positive=False, n=50))
        )


def test_each_sentinel_round_has_one_reader_of_each_group_and_every_image() -> None:
    play, site = play_with()

    reads = list(sentinel_reads(play, site, 1, LABELS))

    readers = {read.reader for read in reads}
    assert {r.group for r in site.readers if r.code in readers} == {"thorax", "general"}
    assert len(reads) == 2 * len(LABELS)
    assert {read.sentinel_id for read in reads} == {str(i) for i in range(len(LABELS))}


def test_every_reader_takes_a_turn() -> None:
    play, site = play_with()
    days = [day for day in range(60) if is_sentinel_day(day)]

    readers = {read.reader for day in days for read in sentinel_reads(play, site, day, LABELS)}

    assert np.diff(days).tolist() == [SENTINEL_EVERY_DAYS] * (len(days) - 1)
    assert readers == {reader.code for reader in site.readers}


def test_a_moved_threshold_shows_on_the_fixed_images() -> None:
    play, site = play_with(over_calling(scenario(1).on(30)))

    before = list(sentinel_reads(play, site, 15, LABELS))
    after = list(sentinel_reads(play, site, 43, LABELS))

    assert rate(after) - rate(before) > 0.08


def test_the_sentinel_set_is_the_same_for_every_seed() -> None:
    severity = sentinel_severity(LABELS)

    assert severity.tolist() == sentinel_severity(LABELS).tolist()
    assert severity[0::2].mean() > severity[1::2].mean() + 1


def test_a_label_file_holds_the_columns_that_an_edge_reads() -> None:
    read = Read("A1", "2.25.1", "", 1, "random_audit", "H01-T1", date(2026, 2, 3))

    [row] = csv.DictReader(io.StringIO(label_file([read])))

    assert tuple(row) == COLUMNS
    assert (row["label"], row["read_on"], row["reader"]) == ("1", "2026-02-03", "H01-T1")


def test_reads_come_back_on_the_day_they_were_made() -> None:
    play, site = play_with()

    reads = list(audit_reads(play, site, 0, cases(positive=True, n=40)))

    assert all(read.read_on - play.first_day >= timedelta(days=1) for read in reads)
