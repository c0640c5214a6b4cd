"""What a monitor looks at: the windows of a fleet as arrays, from an edge or from a case table.

Days are proleptic Gregorian ordinals (`date.toordinal()`); intervals are half open.
Rows are those of `monitors.schema`; nothing here is a case.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from monitors.schema import BoolArray, FloatArray, IntArray, Schema


@dataclass(frozen=True, slots=True, order=True)
class Stratum:
    """One scanner running one software version under one protocol at one site; `stage` names the
    event since which it is held against a baseline of its own, "" before any."""

    site: str
    scanner: str
    manufacturer: str = ""
    model: str = ""
    software_version: str = ""
    protocol: str = ""
    stage: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Noise:
    """Noise that edges added to case rows: variance (L, width) of each column, exact numbers 0,
    and which of the L each row (W,) has. The first is all 0: no noise."""

    variance: FloatArray
    level: IntArray

    @property
    def is_there(self) -> BoolArray:
        """Which rows (W,) have noise."""
        return np.asarray(self.level > 0)


@dataclass(frozen=True, slots=True)
class CaseRows:
    """Case windows: rows (W, width); start, end, arrival (W,) days; stratum (W,) index; noise,
    None where no edge adds any."""

    rows: IntArray
    start: IntArray
    end: IntArray
    arrival: IntArray
    stratum: IntArray
    noise: Noise | None = None

    def select(self, which: IntArray | BoolArray) -> CaseRows:
        """Some of the rows, by place or mask."""
        return CaseRows(
            self.rows[which],
            self.start[which],
            self.end[which],
            self.arrival[which],
            self.stratum[which],
            self.noise and Noise(self.noise.variance, self.noise.level[which]),
        )

    @property
    def is_noisy(self) -> BoolArray:
        """Which rows (W,) have noise."""
        nowhere = np.zeros(len(self.rows), dtype=np.bool_)
        return nowhere if self.noise is None else self.noise.is_there

    def variance(self, columns: slice) -> FloatArray:
        """Variance (W, columns) of the noise on some columns."""
        if self.noise is None:
            return np.zeros((len(self.rows), columns.stop - columns.start))
        return np.asarray(self.noise.variance[:, columns][self.noise.level])

    def where(self, kept: BoolArray) -> CaseRows:
        """Those of `kept` (W,); itself if it is all of them, since a fleet's rows are large."""
        if kept.all():
            return self
        return self.select(kept)


@dataclass(frozen=True, slots=True)
class MomentRows:
    """Weekly second moments: rows (M, width of moment_columns); start, end, arrival, stratum."""

    rows: IntArray
    start: IntArray
    end: IntArray
    arrival: IntArray
    stratum: IntArray


@dataclass(frozen=True, slots=True)
class LabelRows:
    """Label tables: rows (L, width of label_columns); `week` (L,) Monday of the labelling week;
    `source` is random_audit, follow_up or adjudicated."""

    rows: IntArray
    week: IntArray
    arrival: IntArray
    site: tuple[str, ...]
    source: tuple[str, ...]
    reader_group: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SentinelRows:
    """Sentinel rounds: rows (R, width of sentinel_columns). reader_group "" is a re-scoring."""

    rows: IntArray
    day: IntArray
    arrival: IntArray
    site: tuple[str, ...]
    reader_group: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Event:
    """Something registered or seen in a header: deterministic, with no false-signal budget.

    last : its last day, where it took several. known : first evaluation day that knows of it.
    """

    day: int
    # software_version | model | new_scanner | protocol | device_version | lock | silence | planned
    kind: str
    site: str
    scanner: str = ""
    detail: str = ""
    last: int = 0
    known: int = 0


@dataclass(frozen=True, slots=True)
class OpenedStage:
    """A person's decision: from `day` on the windows of a scanner ("": of all at the site) have a
    baseline of their own. known : first evaluation day that knows of it."""

    name: str
    day: int
    site: str
    scanner: str
    known: int


@dataclass(frozen=True, slots=True)
class Cohort:
    """Anchor A, the validation cohort: per-class score counts (2, S, B) and per-class n (2,),
    mean (2, p) and covariance (2, p, p) of the joint vector."""

    score_counts: IntArray
    joint_n: IntArray
    joint_mean: FloatArray
    joint_covariance: FloatArray
    prevalence: float


@dataclass(frozen=True, slots=True)
class History:
    """All that has arrived, in no particular order."""

    schema: Schema
    strata: tuple[Stratum, ...]
    cases: CaseRows
    moments: MomentRows
    labels: LabelRows
    sentinels: SentinelRows
    events: tuple[Event, ...] = ()
    stages: tuple[OpenedStage, ...] = ()
