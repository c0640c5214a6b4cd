"""Performance of a device version over some days, and who is affected: for a page, or to freeze."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields

from app.central.references.cohort import cohort_of
from app.central.surveillance.measured import (
    Counts,
    Days,
    Measured,
    Rate,
    classes_of,
    cleared,
    estimated,
    may_estimate,
    measured,
)
from app.central.surveillance.operating import Part, Use, parts_of
from app.central.surveillance.pool import Pool
from app.central.surveillance.service import SignalView
from app.central.surveillance.subgroups import Subgroups, subgroups
from app.contracts.manifest import Manifest, SubgroupRow
from monitors.errors import MonitorError
from monitors.schema import Schema


@dataclass(frozen=True, slots=True, kw_only=True)
class AtPoint:
    """Figures of what was flagged from one score; rates by name (`Measured`).

    threshold : that score; None where there is none, or one for each class of scanners, and then
    nothing is measured. sites : by number. estimated : from scores alone; empty where that is not
    allowed or not assessable. cleared : of the validation cohort from the same score. uses : where
    and when; empty for the cleared operating point.
    """

    threshold: float | None
    overall: Measured | None
    sites: dict[str, Measured]
    estimated: dict[str, Rate]
    cleared: dict[str, Rate]
    cleared_cases: int
    uses: tuple[Use, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PerformanceView(AtPoint):
    """Reads and scores of some days beside the validation cohort.

    further : figures of the other operating points that were in force, which are not pooled with
    these. cleared_prevalence : share of positives in the validation cohort.
    """

    may_estimate: bool
    subgroups: Subgroups
    cleared_prevalence: float
    cleared_subgroups: tuple[SubgroupRow, ...] = field(default=())
    further: tuple[AtPoint, ...] = ()

    @property
    def points(self) -> tuple[AtPoint, ...]:
        """Every operating point that was in force, this one first."""
        return self, *self.further


def performance(
    pool: Pool,
    days: Days,
    *,
    manifest: Manifest,
    threshold: float | None,
    uses: Iterable[Use],
    sites: Sequence[str],
    signals: Iterable[SignalView],
) -> PerformanceView:
    """What `pool` shows over `days`, at each of `sites` and at all, by operating point in force.

    threshold : of the cleared operating point. uses : of others. signals : those of the device
    version; an open one of another cause than prevalence forbids estimates.
    """
    allowed, validation = may_estimate(signals), manifest.validation
    parts = parts_of(pool, days, sites, threshold, uses)
    first, *others = (at_point(pool.schema, part, manifest, estimating=allowed) for part in parts)
    return PerformanceView(
        **{f.name: getattr(first, f.name) for f in fields(AtPoint)},
        may_estimate=allowed,
        subgroups=subgroups(pool, days),
        cleared_prevalence=validation.prevalence,
        cleared_subgroups=validation.subgroups,
        further=tuple(others),
    )


def at_point(schema: Schema, part: Part, manifest: Manifest, *, estimating: bool = True) -> AtPoint:
    """Figures of one part of the cases."""
    at, counts = part.threshold, part.overall
    return AtPoint(
        threshold=at,
        overall=None if at is None else measured(schema, counts, at),
        sites={} if at is None else {s: measured(schema, c, at) for s, c in part.sites.items()},
        estimated=_estimated(schema, counts, manifest, at) if estimating else {},
        cleared=_cleared(schema, manifest, at),
        cleared_cases=manifest.validation.cases,
        uses=part.uses,
    )


def _estimated(
    schema: Schema, counts: Counts, manifest: Manifest, threshold: float | None
) -> dict[str, Rate]:
    if threshold is None:
        return {}
    classes = classes_of(cohort_of(manifest, schema))
    return estimated(schema, classes, counts.scores, threshold)


def _cleared(schema: Schema, manifest: Manifest, threshold: float | None) -> dict[str, Rate]:
    if threshold is None:
        return {}
    try:
        return cleared(schema, classes_of(cohort_of(manifest, schema)), threshold)
    except MonitorError:
        return {}  # the same refusal is in what was measured
