"""Performance of a device version over some days, and who is affected: for a page, or to freeze."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

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
from app.central.surveillance.pool import Pool
from app.central.surveillance.service import SignalView
from app.central.surveillance.subgroups import Subgroups, subgroups
from app.contracts.manifest import Manifest, SubgroupRow
from monitors.errors import MonitorError
from monitors.schema import Schema


@dataclass(frozen=True, slots=True, kw_only=True)
class PerformanceView:
    """Reads and scores of some days beside the validation cohort; rates by name (`Measured`).

    threshold : of the cleared operating point; None where it has none, and then nothing is
    measured. sites : by number. estimated : from scores alone; empty where that is not allowed
    or not assessable. cleared_prevalence : share of positives in the validation cohort.
    """

    threshold: float | None
    overall: Measured | None
    sites: dict[str, Measured]
    may_estimate: bool
    estimated: dict[str, Rate]
    subgroups: Subgroups
    cleared: dict[str, Rate]
    cleared_cases: int
    cleared_prevalence: float
    cleared_subgroups: tuple[SubgroupRow, ...] = field(default=())


def performance(
    pool: Pool,
    days: Days,
    *,
    manifest: Manifest,
    threshold: float | None,
    sites: Sequence[str],
    signals: Iterable[SignalView],
) -> PerformanceView:
    """What `pool` shows over `days`, at each of `sites` and at all.

    signals : those of the device version; an open one of another cause than prevalence forbids
    estimates.
    """
    allowed, counts = may_estimate(signals), pool.counts(days)
    validation = manifest.validation
    return PerformanceView(
        threshold=threshold,
        overall=None if threshold is None else measured(pool.schema, counts, threshold),
        sites=_sites(pool, days, sites, threshold),
        may_estimate=allowed,
        estimated=_estimated(pool.schema, counts, manifest, threshold) if allowed else {},
        subgroups=subgroups(pool, days),
        cleared=_cleared(pool.schema, manifest, threshold),
        cleared_cases=validation.cases,
        cleared_prevalence=validation.prevalence,
        cleared_subgroups=validation.subgroups,
    )


def _sites(
    pool: Pool, days: Days, sites: Sequence[str], threshold: float | None
) -> dict[str, Measured]:
    if threshold is None or not sites:
        return {}
    found = pool.counts_by_site(days, sites)
    return {site: measured(pool.schema, counts, threshold) for site, counts in found.items()}


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
