"""Fleets with planted drifts, as case tables that go through the same windows as real ones.

For measuring what the method promises: false signals, power, delay and named causes. It knows
nothing of how the monitors work. A case has a truth, a severity, acquisition characteristics and
an embedding; its score is a fixed function of severity and acquisition, its label a reader's.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from app.lab.fitting import Names, fit_schema
from app.lab.windows import CaseTable, SentinelReads, to_history
from monitors.errors import DesignError
from monitors.observations import Cohort, Event, History, Stratum
from monitors.schema import FloatArray, IntArray, Schema
from monitors.summaries import Cases, joint_vector, score_bin

EPOCH = 739_252  # 2025-01-01
NUMERIC = ("noise", "sharpness", "contrast", "exposure_index", "field_area", "tube_voltage")
UNITS = ("1", "mm-1", "1", "1", "cm2", "kV")
EMBEDDING = 6
SEVERITY = 2.0  # distance of the classes in standard deviations: an AUC of 0.92
THRESHOLD = 0.15
READ_MARGIN = 1.5  # a reader's margin between the classes, in standard deviations of a read

Kind = Literal[
    "scanner", "prevalence", "annotation", "performance", "population", "software_version", "lock"
]
MECHANISMS = ("plain", "skewed", "mixture")


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """One planted change. `day` counts from the end of the reference period.

    `size`: scanner, in standard deviations of the characteristics it moves; prevalence, the odds
    ratio; annotation, a reader's convention in standard deviations of a read; performance, how
    much less severe positives look; lock, a change of the logit score. "" means every site or
    scanner.
    """

    kind: Kind
    day: int
    site: str = ""
    scanner: str = ""
    size: float = 1.0
    ramp_days: int = 0
    reader: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """A fleet's ordinary life. Volumes are cases a day and site."""

    sites: int = 3
    scanners: int = 2
    volume: float = 35.0
    reference_days: int = 60
    monitored_days: int = 60
    prevalence: float = 0.18
    audit: float = 0.3
    label_lag_days: float = 4.0
    readers: tuple[str, ...] = ("A", "B")
    sentinels: int = 100
    sentinel_every_days: int = 14
    mechanism: str = "plain"
    day_effect: float = 0.12  # standard deviation of the daily case mix, logit and characteristics
    weekday: float = 0.0  # depth of a weekly cycle in volume and case mix
    heavy_tails: bool = False
    late: float = 0.0  # share of cases that arrive up to five days late
    drifts: tuple[Drift, ...] = field(default=())

    def __post_init__(self) -> None:
        if self.mechanism not in MECHANISMS:
            raise DesignError(f"mechanism: one of {MECHANISMS} expected, got {self.mechanism!r}")
        if min(self.sites, self.scanners, self.reference_days, self.monitored_days) < 1:
            raise DesignError("a fleet needs at least one site, scanner and day")

    @property
    def reference_end(self) -> int:
        """The first day that is monitored."""
        return EPOCH + self.reference_days


def demo_fleet(seed: int) -> Fleet:
    """Three sites with one drift each, as in the demonstration; places and dates by the seed."""
    rng = np.random.default_rng([seed, 1])
    scanner_site, prevalence_site, annotation_site = (f"H{i + 1}" for i in rng.permutation(3))
    days = rng.integers(8, 19, 4)
    return Fleet(
        volume=float(rng.uniform(30, 40)),
        mechanism=str(rng.choice(MECHANISMS)),
        drifts=(
            Drift(kind="scanner", day=int(days[0]), site=scanner_site, scanner="S1", size=1.0),
            Drift(kind="software_version", day=int(days[1]), site=scanner_site, scanner="S2"),
            Drift(
                kind="prevalence",
                day=int(days[2]),
                site=prevalence_site,
                size=float(rng.uniform(2.5, 3)),
            ),
            Drift(kind="annotation", day=int(days[3]), site=annotation_site, size=0.8),
        ),
    )


def simulate(fleet: Fleet, seed: int) -> History:
    """The windows of one fleet. The same fleet and seed give the same windows."""
    table, reads, events = simulate_cases(fleet, seed)
    inside = table.day < fleet.reference_end
    names = Names(NUMERIC, UNITS)
    reference = Cases(
        table.cases.numeric[inside],
        table.cases.categorical[inside],
        table.cases.scores[inside],
        table.cases.embedding[inside],
        table.cases.outcome[inside],
    )
    schema = fit_schema(names, reference, (THRESHOLD,), fleet.sentinels)
    return to_history(schema, table, reads, events)


def simulate_cohort(fleet: Fleet, schema: Schema, seed: int, cases: int = 3000) -> Cohort:
    """A validation cohort for `schema`: other patients of the same world, with the truth."""
    days = max(int(cases / fleet.volume / fleet.sites), 1)
    other = replace(fleet, reference_days=days, monitored_days=1, drifts=())
    world = _World(other, np.random.default_rng([seed, 2]))
    world.rng = np.random.default_rng([seed, 3])
    measured = world.table().cases
    phi = joint_vector(schema.joint, schema, measured)
    bins = score_bin(schema, measured.scores[:, 0])
    counts = np.zeros((2, 1, schema.score_bins), dtype=np.int64)
    np.add.at(counts[:, 0], (world.truth, bins), 1)
    classes = [phi[(world.truth == y) & np.isfinite(phi).all(axis=1)] for y in (0, 1)]
    return Cohort(
        score_counts=counts,
        joint_n=np.array([len(c) for c in classes], dtype=np.int64),
        joint_mean=np.array([c.mean(axis=0) for c in classes]),
        joint_covariance=np.array([np.cov(c.T) for c in classes]),
        prevalence=float(world.truth.mean()),
    )


def simulate_cases(fleet: Fleet, seed: int) -> tuple[CaseTable, SentinelReads, tuple[Event, ...]]:
    """Cases, sentinel reads and registered events of one fleet."""
    world = _World(fleet, np.random.default_rng([seed, 2]))
    return world.table(), world.sentinels(), world.events()


class _World:
    """The random draws of one fleet; each method draws its own part in a fixed order."""

    def __init__(self, fleet: Fleet, rng: np.random.Generator) -> None:
        self.fleet, self.rng = fleet, rng
        self.truth = np.zeros(0, dtype=np.int64)
        self.days = fleet.reference_days + fleet.monitored_days
        self.sites = tuple(f"H{i + 1}" for i in range(fleet.sites))
        self.scanners = tuple(f"S{i + 1}" for i in range(fleet.scanners))
        k = len(NUMERIC)
        self.offset = rng.normal(0, 0.7, (fleet.sites, fleet.scanners, k))
        self.site_logit = rng.normal(0, 0.2, fleet.sites)
        mixing = np.eye(k) + 0.3 * rng.normal(size=(k, k)) / np.sqrt(k)
        self.mixing = mixing / np.linalg.norm(mixing, axis=1, keepdims=True)
        self.direction = rng.permutation(np.array([1.0, -0.8, 0.5, 0.0, 0.0, 0.0]))
        self.influence = 0.12 * rng.normal(size=k)
        self.embed = rng.normal(size=(EMBEDDING, k + 3)) / np.sqrt(k + 3)
        self.case_mix = rng.normal(0, fleet.day_effect, (fleet.sites, self.days))
        self.day_shift = rng.normal(0, fleet.day_effect, (fleet.sites, self.days, k))

    def strength(self, kind: str, site: IntArray, scanner: IntArray, day: IntArray) -> FloatArray:
        """Sum over drifts of `kind` of size x how much of the ramp is done, per case."""
        total = np.zeros(day.size)
        for drift in self.fleet.drifts:
            if drift.kind != kind:
                continue
            begun = day - self.fleet.reference_days - drift.day + 1
            part = np.clip(begun / max(drift.ramp_days, 1), 0, 1)
            here = np.ones(day.size, dtype=bool)
            if drift.site:
                here &= site == self.sites.index(drift.site)
            if drift.scanner:
                here &= scanner == self.scanners.index(drift.scanner)
            size = np.log(drift.size) if kind == "prevalence" else drift.size
            total += np.where(here, part * size, 0.0)
        return total

    def table(self) -> CaseTable:
        """Every case of every day."""
        fleet, rng = self.fleet, self.rng
        weekday = 1 - fleet.weekday * (np.arange(self.days) % 7 >= 5)
        expected = fleet.volume / fleet.scanners * weekday
        counts = rng.poisson(np.broadcast_to(expected, (fleet.sites, fleet.scanners, self.days)))
        site, scanner, day = (
            np.repeat(index.ravel(), counts.ravel()) for index in np.indices(counts.shape)
        )
        y = self.truth = self._truth(site, scanner, day)
        severity = self._severity(y, site, scanner, day)
        acquisition = self._acquisition(site, scanner, day)
        score = self._score(severity, acquisition, site, scanner, day)
        latent = np.column_stack([severity, acquisition, rng.normal(size=(y.size, 2))])
        embedding = latent @ self.embed.T + 0.5 * rng.normal(size=(y.size, EMBEDDING))
        if fleet.mechanism == "skewed":
            embedding = np.tanh(embedding)
        cases = Cases(
            numeric=self._in_units(acquisition),
            categorical=np.zeros((y.size, 0), dtype=np.int64),
            scores=score[:, None],
            embedding=embedding,
            outcome=(score >= THRESHOLD).astype(np.int64),
        )
        return self._labelled(cases, y, site, scanner, day)

    def _truth(self, site: IntArray, scanner: IntArray, day: IntArray) -> IntArray:
        base = np.log(self.fleet.prevalence / (1 - self.fleet.prevalence))
        logit = base + self.site_logit[site] + self.case_mix[site, day]
        logit += self.strength("prevalence", site, scanner, day)
        logit += 0.7 * self.strength("population", site, scanner, day)
        logit += 0.3 * self.fleet.weekday * (day % 7 >= 5)
        positive = self.rng.random(day.size) < 1 / (1 + np.exp(-logit))
        return np.asarray(positive, dtype=np.int64)

    def _severity(
        self, y: IntArray, site: IntArray, scanner: IntArray, day: IntArray
    ) -> FloatArray:
        noise = self.rng.normal(size=y.size)
        if self.fleet.heavy_tails:
            noise = self.rng.standard_t(5, y.size) / np.sqrt(5 / 3)
        lost = self.strength("performance", site, scanner, day)
        milder = 0.4 * self.strength("population", site, scanner, day)
        return np.asarray(y * (SEVERITY - lost) + noise - milder * (1 - y))

    def _acquisition(self, site: IntArray, scanner: IntArray, day: IntArray) -> FloatArray:
        k = len(NUMERIC)
        noise = self.rng.normal(size=(day.size, k))
        if self.fleet.heavy_tails:
            noise = self.rng.standard_t(5, (day.size, k)) / np.sqrt(5 / 3)
        if self.fleet.mechanism == "mixture":  # two protocols that differ in two characteristics
            portable = self.rng.random(day.size) < 0.3
            noise[:, :2] += np.where(portable[:, None], 1.2, 0.0)
        shift = self.strength("scanner", site, scanner, day)
        return np.asarray(
            noise @ self.mixing.T
            + self.offset[site, scanner]
            + self.day_shift[site, day]
            + shift[:, None] * self.direction
        )

    def _score(
        self,
        severity: FloatArray,
        acquisition: FloatArray,
        site: IntArray,
        scanner: IntArray,
        day: IntArray,
    ) -> FloatArray:
        influence = acquisition @ self.influence
        if self.fleet.mechanism == "skewed":
            influence = influence + 0.1 * acquisition[:, 0] * severity
        base = np.log(self.fleet.prevalence / (1 - self.fleet.prevalence))
        logit = base + SEVERITY * (severity + influence) - SEVERITY**2 / 2
        logit = logit + self.strength("lock", site, scanner, day)
        return np.asarray(1 / (1 + np.exp(-logit)))

    def _in_units(self, acquisition: FloatArray) -> FloatArray:
        """Characteristics in plausible units; positive and skewed for that mechanism."""
        values = 10.0 + 2.0 * acquisition
        if self.fleet.mechanism == "skewed":
            values[:, ::2] = np.exp(0.4 * acquisition[:, ::2])
        return values

    def _labelled(
        self, cases: Cases, y: IntArray, site: IntArray, scanner: IntArray, day: IntArray
    ) -> CaseTable:
        fleet, rng = self.fleet, self.rng
        audited = rng.random(y.size) < fleet.audit
        lag = 1 + rng.poisson(fleet.label_lag_days, y.size)
        reader = rng.integers(0, len(fleet.readers), y.size)
        margin = READ_MARGIN * (2 * y - 1) + rng.normal(size=y.size)
        margin += self._convention(site, reader, day + lag)
        late = rng.random(y.size) < fleet.late
        return CaseTable(
            cases=cases,
            strata=self._strata(),
            stratum=self._stratum(site, scanner, day),
            day=EPOCH + day,
            arrival=EPOCH + day + 1 + np.where(late, rng.integers(1, 6, y.size), 0),
            label=np.where(audited, (margin > 0).astype(np.int64), -1),
            label_day=EPOCH + day + lag,
            source=np.zeros(y.size, dtype=np.int64),
            reader=reader,
            sources=("random_audit",),
            readers=fleet.readers,
        )

    def _convention(self, site: IntArray, reader: IntArray, day: IntArray) -> FloatArray:
        total = np.zeros(day.size)
        for drift in self.fleet.drifts:
            if drift.kind == "annotation":
                part = np.clip(
                    (day - self.fleet.reference_days - drift.day + 1) / max(drift.ramp_days, 1),
                    0,
                    1,
                )
                here = (site == self.sites.index(drift.site)) if drift.site else part >= 0
                if drift.reader:
                    here = here & (reader == self.fleet.readers.index(drift.reader))
                total += np.where(here, part * drift.size, 0)
        return total

    def _versions(self) -> list[tuple[int, int, int]]:
        """Software-version changes: site, scanner and first day of the new version."""
        return [
            (s, c, self.fleet.reference_days + drift.day)
            for drift in self.fleet.drifts
            if drift.kind == "software_version"
            for s, site in enumerate(self.sites)
            for c, scanner in enumerate(self.scanners)
            if drift.site in ("", site) and drift.scanner in ("", scanner)
        ]

    def _strata(self) -> tuple[Stratum, ...]:
        first = tuple(
            Stratum(site, f"{site}-{scanner}", "Maker", f"M{c % 2 + 1}", "1.0", "pa")
            for site in self.sites
            for c, scanner in enumerate(self.scanners)
        )
        later = tuple(
            Stratum(
                self.sites[s],
                f"{self.sites[s]}-{self.scanners[c]}",
                "Maker",
                f"M{c % 2 + 1}",
                "2.0",
                "pa",
            )
            for s, c, _ in self._versions()
        )
        return first + later

    def _stratum(self, site: IntArray, scanner: IntArray, day: IntArray) -> IntArray:
        stratum = site * self.fleet.scanners + scanner
        for i, (s, c, first) in enumerate(self._versions()):
            here = (site == s) & (scanner == c) & (day >= first)
            stratum = np.where(here, self.fleet.sites * self.fleet.scanners + i, stratum)
        return np.asarray(stratum, dtype=np.int64)

    def sentinels(self) -> SentinelReads:
        """Fortnightly reads and weekly re-scorings of the fixed images at every site."""
        fleet, rng = self.fleet, self.rng
        kind = rng.random(fleet.sentinels)
        latent = np.where(kind < 0.35, READ_MARGIN, np.where(kind < 0.7, -READ_MARGIN, 0.0))
        latent += rng.normal(0, 0.4, fleet.sentinels)
        rounds = np.arange(3, self.days, fleet.sentinel_every_days)
        shape = (fleet.sites, len(fleet.readers), rounds.size, fleet.sentinels)
        site, reader, turn, image = (index.ravel() for index in np.indices(shape))
        day = rounds[turn]
        # Each reader reads half of the set in a round and the other half in the next.
        due = (image + turn + reader) % len(fleet.readers) == 0
        site, reader, day, image = site[due], reader[due], day[due], image[due]
        margin = latent[image] + rng.normal(size=image.size)
        label = (margin + self._convention(site, reader, day) > 0).astype(np.int64)
        return SentinelReads(
            site=site,
            reader=reader,
            day=EPOCH + day,
            image=image,
            label=label,
            score=np.full(image.size, np.nan),
            sites=self.sites,
            readers=fleet.readers,
        )

    def events(self) -> tuple[Event, ...]:
        """What a header or a register told: the software versions that changed."""
        return tuple(
            Event(
                EPOCH + first,
                "software_version",
                self.sites[s],
                f"{self.sites[s]}-{self.scanners[c]}",
                "2.0",
            )
            for s, c, first in self._versions()
        )
