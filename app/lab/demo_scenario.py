"""What a demonstration plays: three hospitals, their scanners and readers, and what is planted.

Everything here is a pure function of the seed. The device is the same for every seed; patients,
noise, dates and sites of the planted changes are not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

import numpy as np

FIRST_DAY = date(2026, 1, 5)  # a Monday, so that the weekday pattern starts where a reader expects
PLANT_FROM, PLANT_BEFORE = 9, 25  # monitored days, counted from 1


class Change(StrEnum):
    """What is planted. The first three are drifts; the last is a harmless header change."""

    SCANNER = "scanner"
    PREVALENCE = "prevalence"
    ANNOTATION = "annotation"
    SOFTWARE_VERSION = "software_version"


DRIFTS = (Change.SCANNER, Change.PREVALENCE, Change.ANNOTATION)


@dataclass(frozen=True, slots=True)
class Scanner:
    """One digital radiography system. `vendor` names its physics in the phantom generator."""

    vendor: str
    manufacturer: str
    model: str
    software: str
    serial: str
    station: str

    @property
    def ae_title(self) -> str:
        """What it calls itself on the network: at most 16 characters (PS3.8 9.3.2)."""
        return self.station[:16]


@dataclass(frozen=True, slots=True)
class Reader:
    """Someone who reads for the audit. `offset` moves the call threshold, in severity SD."""

    code: str
    group: str
    offset: float


@dataclass(frozen=True, slots=True)
class Site:
    """One hospital."""

    code: str
    name: str
    time_zone: str
    scanners: tuple[Scanner, ...]
    readers: tuple[Reader, ...]
    cases_a_day: float
    prevalence: float

    @property
    def zone(self) -> ZoneInfo:
        """Its time zone."""
        return ZoneInfo(self.time_zone)


@dataclass(frozen=True, slots=True)
class Planted:
    """One change, from `date` on. `size` in the change's own unit, which `meaning` says."""

    change: Change
    site: str
    date: date
    size: float
    meaning: str
    scanner_model: str = ""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A whole play. Days are counted from 0; the monitored period starts at `days_reference`."""

    seed: int
    sites: tuple[Site, ...]
    days_reference: int
    days_monitored: int
    planted: tuple[Planted, ...]
    first_day: date = FIRST_DAY

    @property
    def days(self) -> int:
        """Number of days on which patients come."""
        return self.days_reference + self.days_monitored

    @property
    def reference_end(self) -> date:
        """Last day of the reference period."""
        return self.on(self.days_reference - 1)

    def on(self, day: int) -> date:
        """The calendar date of day number `day`."""
        return self.first_day + timedelta(days=day)

    def active(self, change: Change, site: Site, day: date) -> Planted | None:
        """The planted change of this kind that holds at this site on this day."""
        for planted in self.planted:
            if (planted.change, planted.site) == (change, site.code) and day >= planted.date:
                return planted
        return None

    def rng(self, *stream: int) -> np.random.Generator:
        """Random numbers of one named stream: independent of every other and of any order."""
        return np.random.default_rng([self.seed, *stream])


def local_midnight(site: Site, day: date) -> datetime:
    """When `day` begins at the site."""
    return datetime.combine(day, time(), tzinfo=site.zone)


def scenario(seed: int, *, days_reference: int = 60, days_monitored: int = 60) -> Scenario:
    """The play of this seed."""
    play = Scenario(seed, SITES, days_reference, days_monitored, ())
    return replace(play, planted=tuple(_plant(play, np.random.default_rng([seed, _PLANTING]))))


_PLANTING = 0


def _plant(play: Scenario, rng: np.random.Generator) -> Iterator[Planted]:
    # A short play (a rehearsal, a test) ends before anything is planted.
    days = range(PLANT_FROM, min(PLANT_BEFORE, play.days_monitored + 1))
    if not days:
        return
    order = [play.sites[i] for i in rng.permutation(len(play.sites))]
    drifting, more_ill, rereading = order[:3]
    changed = drifting.scanners[rng.integers(len(drifting.scanners))]
    others = [(site, s) for site in play.sites for s in site.scanners if s != changed]
    harmless_site, harmless = others[rng.integers(len(others))]

    def some_day() -> date:
        return play.on(play.days_reference + int(rng.choice(days)) - 1)

    yield Planted(
        Change.SCANNER,
        drifting.code,
        some_day(),
        1.0,
        "new image processing, headers unchanged",
        changed.model,
    )
    yield Planted(
        Change.SOFTWARE_VERSION,
        harmless_site.code,
        some_day(),
        1.0,
        "new software version in the header, images unchanged",
        harmless.model,
    )
    yield Planted(Change.PREVALENCE, more_ill.code, some_day(), 3.0, "odds of disease, times")
    yield Planted(
        Change.ANNOTATION,
        rereading.code,
        some_day(),
        float(rng.uniform(0.6, 1.0)),
        "readers call at a lower severity, by this many SD",
    )


def updated_software(version: str) -> str:
    """The version string after a harmless update: its last number, plus one."""
    head, dot, last = version.rpartition(".")
    return f"{head}{dot}{int(last) + 1}"


def _readers(site: str) -> tuple[Reader, ...]:
    return tuple(
        Reader(f"{site}-{group[0].upper()}{n}", group, offset)
        for group, n, offset in (
            ("thorax", 1, -0.05),
            ("thorax", 2, 0.08),
            ("general", 1, 0.03),
            ("general", 2, -0.06),
        )
    )


def _site(
    code: str, name: str, zone: str, prevalence: float, cases: float, *scanners: Scanner
) -> Site:
    return Site(code, name, zone, scanners, _readers(code), cases, prevalence)


SITES = (
    _site(
        "H01",
        "Northgate General Hospital",
        "Europe/Berlin",
        0.14,
        36.0,
        Scanner("siemens", "SIEMENS", "YSIO X.pree", "VA10.21", "63021", "NGYSIO1"),
        Scanner("carestream", "Carestream Health", "DRX-Evolution", "5.7.412", "CE8841", "NGDRX1"),
    ),
    _site(
        "H02",
        "Hospital San Telmo",
        "Europe/Madrid",
        0.12,
        34.0,
        Scanner("fuji", "FUJIFILM Corporation", "FDR Smart X", "V12.3", "20114477", "STFDR1"),
        Scanner(
            "philips", "Philips Medical Systems", "DigitalDiagnost", "4.3.1", "SN9921", "STDD1"
        ),
    ),
    _site(
        "H03",
        "Lakeside Central Hospital",
        "Europe/Helsinki",
        0.15,
        35.0,
        Scanner("ge", "GE Healthcare", "Definium 656", "DM_2.14", "D656-0093", "LCDEF1"),
        Scanner("agfa", "Agfa", "DX-D 600", "NX_4.0.6", "A5CK-2210", "LCDXD1"),
    ),
)
