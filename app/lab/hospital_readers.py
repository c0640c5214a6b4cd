"""The people who read: audit reads of new cases, fortnightly re-reads of the sentinel set.

A reader sees a latent severity with some noise and calls a case positive above a threshold.
Severity is standard normal without the finding and `SEPARATION` higher with it, so that a
threshold of `CALL` gives a sensitivity of about 0.93 and a specificity of about 0.95. An
annotation change moves the threshold of every reader of a site, on new and on fixed images alike.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

from app.lab.demo_scenario import Change, Reader, Scenario, Site

SEPARATION = 3.2  # severity SD between with and without the finding
CALL = 1.7  # severity above which a reader calls, before any change
READER_SD = 0.35  # noise of one read, in severity SD
BORDERLINE = 1 / 3  # share of the sentinel set near the call threshold, where a shift shows
AUDITED = 0.3  # share of cases drawn at random for the audit
LAG_SHAPE, LAG_SCALE_DAYS = 2.0, 1.5  # gamma law of the lag from acquisition to read
SENTINEL_EVERY_DAYS = 14
POLICY = "audit-1"
COLUMNS = (
    "accession_number",
    "sop_instance_uid",
    "sentinel_id",
    "label",
    "source",
    "reader",
    "read_on",
    "policy",
)
_AUDIT, _SENTINEL, _SENTINEL_SEVERITY = 10, 11, 12  # random streams


@dataclass(frozen=True, slots=True)
class Read:
    """One row of a label file. Either of `sop_instance_uid` and `sentinel_id` is empty."""

    accession_number: str
    sop_instance_uid: str
    sentinel_id: str
    label: int
    source: str
    reader: str
    read_on: date
    policy: str = POLICY


@dataclass(frozen=True, slots=True)
class Examined:
    """What the audit needs to know of a case."""

    accession_number: str
    sop_instance_uid: str
    positive: bool


def threshold(play: Scenario, site: Site, reader: Reader, day: date) -> float:
    """The severity from which this reader calls on this day."""
    change = play.active(Change.ANNOTATION, site, day)
    return CALL + reader.offset - (change.size if change else 0.0)


def audit_reads(play: Scenario, site: Site, day: int, cases: Sequence[Examined]) -> Iterator[Read]:
    """The reads that the random audit of one day's cases will give, on the days they come."""
    rng = play.rng(_AUDIT, play.sites.index(site), day)
    for case in cases:
        severity = float(rng.normal(SEPARATION if case.positive else 0.0, 1.0))
        drawn = rng.random() < AUDITED
        lag = 1 + int(rng.gamma(LAG_SHAPE, LAG_SCALE_DAYS))
        reader = site.readers[rng.integers(len(site.readers))]
        noise = float(rng.normal(0.0, READER_SD))
        if drawn:
            read_on = play.on(day) + timedelta(days=lag)
            label = int(severity + noise > threshold(play, site, reader, read_on))
            yield Read(
                case.accession_number,
                case.sop_instance_uid,
                "",
                label,
                "random_audit",
                reader.code,
                read_on,
            )


def sentinel_severity(labels: Sequence[int]) -> np.ndarray:
    """Severity of each fixed image, shape (m,): the same at every site and for every seed."""
    rng = np.random.default_rng([_SENTINEL_SEVERITY, len(labels)])
    with_finding = np.asarray(labels) > 0
    plain = rng.normal(np.where(with_finding, SEPARATION, 0.0), 1.0)
    near = CALL + rng.uniform(-1.0, 1.0, len(labels))
    return np.where(rng.random(len(labels)) < BORDERLINE, near, plain)


def is_sentinel_day(day: int) -> bool:
    """Whether the fixed images are re-read on this day: every second week, from the second day."""
    return day % SENTINEL_EVERY_DAYS == 1


def sentinel_reads(play: Scenario, site: Site, day: int, labels: Sequence[int]) -> Iterator[Read]:
    """One round: every fixed image is read by one reader of each group, in turn."""
    rng = play.rng(_SENTINEL, play.sites.index(site), day)
    severity = sentinel_severity(labels)
    for reader in _on_duty(site, day // SENTINEL_EVERY_DAYS):
        called = severity + rng.normal(0.0, READER_SD, len(labels)) > threshold(
            play, site, reader, play.on(day)
        )
        for image, label in enumerate(called):
            yield Read("", "", str(image), int(label), "sentinel", reader.code, play.on(day))


def _on_duty(site: Site, turn: int) -> Iterator[Reader]:
    for group in sorted({reader.group for reader in site.readers}):
        members = [reader for reader in site.readers if reader.group == group]
        yield members[turn % len(members)]


def label_file(reads: Iterable[Read]) -> str:
    """The reads as the CSV that a hospital drops into the label inbox."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(COLUMNS)
    for read in reads:
        rows.writerow(getattr(read, column) for column in COLUMNS)
    return text.getvalue()
