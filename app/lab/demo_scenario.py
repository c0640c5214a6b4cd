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

from app.device.reference.chest.dicom import HEADERS, ScannerHeader

FIRST_DAY = date(2026, 1, 5)  # a Monday, so that the weekday pattern starts where a reader expects
PLANT_FROM, PLANT_BEFORE = 9, 25  # monitored days, counted from 1
RECALIBRATED_DAYS = 3  # with patients, at an operating point that answers the prevalence


class Change(StrEnum):
    """What is planted. The first three are drifts; the last is a harmless header change."""

    SCANNER = "scanner"
    PREVALENCE = "prevalence"
    ANNOTATION = "annotation"
    SOFTWARE_VERSION = "software_version"


DRIFTS = (Change.SCANNER, Change.PREVALENCE, Change.ANNOTATION)


@dataclass(frozen=True, slots=True)
class Scanner:
    """One radiography system. `vendor` names its physics in the phantom generator."""

    vendor: str
    header: ScannerHeader

    @property
    def model(self) -> str:
        """ManufacturerModelName: no site has two scanners of one model."""
        return self.header.model


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
        return self.recalibrated_from + (RECALIBRATED_DAYS if self.planted else 0)

    @property
    def recalibrated_from(self) -> int:
        """The day after the monitored period: what was signalled may be answered from here on."""
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
    """The version string after a harmless update: its last number or letter, counted up."""
    if version[-1:].isalpha():
        return version[:-1] + chr(ord(version[-1]) + 1)
    head = version.rstrip("0123456789")
    return f"{head}{int(version[len(head) :]) + 1:0{len(version) - len(head)}d}"


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


def _scanner(vendor: str, serial: str, station: str) -> Scanner:
    return Scanner(vendor, replace(HEADERS[vendor], serial=serial, station=station))


SITES = (
    Site(
        "H01",
        "Northgate General Hospital",
        "Europe/Berlin",
        (
            _scanner("siemens", "SN-SI-90233", "NG-THORAX-1"),
            _scanner("philips", "SN-PH-4471002", "NG-THORAX-2"),
        ),
        _readers("H01"),
        cases_a_day=33.0,
        prevalence=0.14,
    ),
    Site(
        "H02",
        "Hospital San Telmo",
        "Europe/Madrid",
        (
            _scanner("fujifilm", "SN-FU-7719345", "ST-SALA-4"),
            _scanner("agfa", "SN-AG-1200418", "ST-URGENCIAS"),
        ),
        _readers("H02"),
        cases_a_day=31.5,
        prevalence=0.12,
    ),
    Site(
        "H03",
        "Lakeside Central Hospital",
        "Europe/Helsinki",
        (
            _scanner("agfa", "SN-AG-1200977", "LC-XR-1"),
            _scanner("siemens", "SN-SI-91870", "LC-XR-2"),
        ),
        _readers("H03"),
        cases_a_day=32.0,
        prevalence=0.15,
    ),
)
