"""Simulated hospitals: who comes on a day, on which scanner, and the objects that are stored.

`planned_cases` is cheap and decides everything that must agree with the label files; `render_day`
makes the pixels and headers, and may run in any process and any order: the same seed gives the
same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from app.device.reference.chest.dicom import invent_identity, to_dicom
from app.device.reference.chest.phantom import VENDORS, make_case, processing_change
from app.lab.demo_scenario import Change, Scanner, Scenario, Site, updated_software
from app.lab.hospital_readers import Examined

WEEKDAYS = (1.08, 1.06, 1.04, 1.04, 1.02, 0.88, 0.88)  # cases by day of the week, mean 1
FIRST_SCANNER_SHARE = 0.55
OPENS, CLOSES = time(7), time(21)  # local hours in which images are acquired
_CASES, _PIXELS = 1, 2  # random streams


@dataclass(frozen=True, slots=True)
class PlannedCase:
    """One examination before it is made. `reprocessed`: by the changed image processing."""

    number: int
    scanner: Scanner
    reprocessed: bool
    positive: bool
    acquired: datetime
    accession_number: str
    study_uid: str
    series_uid: str
    sop_instance_uid: str

    @property
    def examined(self) -> Examined:
        """The same as the audit sees it."""
        return Examined(self.accession_number, self.sop_instance_uid, self.positive)


def planned_cases(play: Scenario, site: Site, day: int) -> tuple[PlannedCase, ...]:
    """The cases of one day at one site, in order of acquisition."""
    rng = play.rng(_CASES, play.sites.index(site), day)
    today = play.on(day)
    scanners = tuple(_in_service(play, site, scanner, today) for scanner in site.scanners)
    changed = play.active(Change.SCANNER, site, today)
    prevalence = _prevalence(play, site, today)
    n = int(rng.poisson(site.cases_a_day * WEEKDAYS[today.weekday()]))
    cases = []
    for number, acquired in enumerate(_times(rng, site, today, n)):
        scanner = scanners[int(rng.random() >= FIRST_SCANNER_SHARE)]
        cases.append(
            PlannedCase(
                number=number,
                scanner=scanner,
                reprocessed=changed is not None and changed.scanner_model == scanner.model,
                positive=bool(rng.random() < prevalence),
                acquired=acquired,
                accession_number=f"{site.code}{today:%y%m%d}{number:03d}",
                study_uid=_uid(rng),
                series_uid=_uid(rng),
                sop_instance_uid=_uid(rng),
            )
        )
    return tuple(cases)


def _prevalence(play: Scenario, site: Site, today: date) -> float:
    change = play.active(Change.PREVALENCE, site, today)
    odds = site.prevalence / (1 - site.prevalence) * (change.size if change else 1.0)
    return odds / (1 + odds)


def _in_service(play: Scenario, site: Site, scanner: Scanner, today: date) -> Scanner:
    """The scanner with the software version that stands in its headers on that day."""
    update = play.active(Change.SOFTWARE_VERSION, site, today)
    if update is None or update.scanner_model != scanner.model:
        return scanner
    version = updated_software(scanner.header.software_versions)
    return replace(scanner, header=replace(scanner.header, software_versions=version))


def _times(rng: np.random.Generator, site: Site, today: date, n: int) -> Iterator[datetime]:
    opens = datetime.combine(today, OPENS, tzinfo=site.zone)
    span = datetime.combine(today, CLOSES, tzinfo=site.zone) - opens
    # Most images are made before noon.
    for share in np.sort(rng.beta(2.0, 3.0, n)):
        yield opens + timedelta(seconds=int(share * span.total_seconds()))


def _uid(rng: np.random.Generator) -> str:
    """A UID made of a random number, as UUIDs are (PS3.5 B.2)."""
    return f"2.25.{int.from_bytes(rng.bytes(15))}"


def render_day(play: Scenario, site: Site, day: int, folder: Path) -> list[Path]:
    """Write the day's objects as DICOM files under `folder`, in order of acquisition."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for case in planned_cases(play, site, day):
        path = folder / f"{case.number:03d}.dcm"
        render(play, site, day, case).save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def render(play: Scenario, site: Site, day: int, case: PlannedCase) -> Dataset:
    """One case as its scanner would send it."""
    rng = play.rng(_PIXELS, play.sites.index(site), day, case.number)
    physics = VENDORS[case.scanner.vendor]
    phantom = make_case(
        rng, processing_change(physics) if case.reprocessed else physics, case.positive
    )
    invented = invent_identity(rng, phantom, case.acquired, site.name)
    identity = replace(
        invented,
        accession_number=case.accession_number,
        study_uid=case.study_uid,
        series_uid=case.series_uid,
        sop_uid=case.sop_instance_uid,
    )
    return to_dicom(phantom, identity, case.scanner.header, case.acquired)
