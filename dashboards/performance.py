"""Performance and sub-groups in sentences, tables and charts: on a page and in a report alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from app.central.surveillance.measured import Measured, Rate
from app.central.surveillance.performance import AtPoint, PerformanceView
from app.central.surveillance.subgroups import Level
from app.contracts.manifest import Proportion, SubgroupRow
from dashboards import filters, wording
from dashboards import wording_performance as phrases
from dashboards.charts.spec import Chart
from dashboards.measured import flagged_forest, performance_forest
from dashboards.pages.views import Fact, Grid
from dashboards.wording import sentence_case

AREA = "auc"
DRAWN = ("sensitivity", "specificity")


def sentences(view: PerformanceView, days: str) -> tuple[str, ...]:
    """What was measured over `days`, or why not and what would change it."""
    if is_unmeasured(view):
        return (phrases.NO_THRESHOLD,)
    several = (phrases.NOT_POOLED,) if view.further else ()
    estimate = phrases.ESTIMATED if view.may_estimate else phrases.NOT_ESTIMATED
    is_weighted = any(at.overall is not None and at.overall.rates for at in view.points)
    return (
        *several,
        *(s for at in view.points for s in _measured(at, days, is_alone=not view.further)),
        *((phrases.READS_WEIGHTED,) if is_weighted else ()),
        estimate,
    )


def is_unmeasured(view: PerformanceView) -> bool:
    """Whether the device version has no threshold, and never had another in the period."""
    return view.threshold is None and not view.uses and not view.further


def _measured(at: AtPoint, days: str, *, is_alone: bool) -> tuple[str, ...]:
    where = () if is_alone and not at.uses else (phrases.at_point(at),)
    if at.overall is None:
        return where
    found = at.overall
    return (
        *where,
        phrases.measured_sentence(found, days),
        *phrases.would_change(found),
    )


def _from(at: AtPoint, caption: str, view: PerformanceView) -> str:
    """A caption that names its operating point where there is more than the cleared one."""
    if not view.further and not at.uses:
        return caption
    return f"{caption}; {phrases.flagged_from(at)}"


def compared_grids(view: PerformanceView) -> tuple[Grid, ...]:
    """Every figure as cleared, as measured, and as estimated where that is allowed; a table for
    each operating point that was in force."""
    return tuple(_compared(at, view) for at in view.points)


def _compared(at: AtPoint, view: PerformanceView) -> Grid:
    found = at.overall
    if found is None:
        why = phrases.CLASSES_NOT_TOLD_APART if at.uses else phrases.NO_THRESHOLD
        return Grid("Measured, beside the validation cohort", (), (), empty=why)
    estimates = ("Estimated from scores (95 %)",) if at.estimated else ()
    rows = [
        (
            name,
            _rate(key, at.cleared),
            _rate(key, found.rates, _bounds(key, found)),
            *((_rate(key, at.estimated),) if estimates else ()),
        )
        for key, name in phrases.MEASURES.items()
    ]
    reads = wording.count(found.reads, "audited read")
    how = f"Measured on {reads}" if found.rates else wording.sentence_case(f"{reads}, not measured")
    cohort = f"{how}, beside the validation cohort of {filters.whole(at.cleared_cases)} cases"
    first = "Validation cohort, from this score (95 %)" if at.uses else "As cleared (95 %)"
    return Grid(
        _from(at, cohort, view),
        ("Measure", first, "Measured (95 %)", *estimates),
        tuple(rows),
        numeric=frozenset({1, 2, 3}),
    )


def sites_grids(view: PerformanceView, names: Mapping[str, str]) -> tuple[Grid, ...]:
    """The same by site, in per cent; a site without figures says what it lacks."""
    return tuple(_sites(at, view, names) for at in view.points if at.sites or not view.further)


def _sites(at: AtPoint, view: PerformanceView, names: Mapping[str, str]) -> Grid:
    refused = any(not found.rates for found in at.sites.values())
    rows = [
        (
            names.get(site, site),
            filters.whole(sum(found.cases)),
            filters.whole(found.reads),
            *(_compact(key, found) for key in phrases.MEASURES),
            *((phrases.unmeasured(found) or "–",) if refused else ()),
        )
        for site, found in at.sites.items()
    ]
    caption = "Measured by site, in per cent (AUC: of 1), with the 95 % interval of each"
    return Grid(
        _from(at, caption, view),
        (
            *("Site", "Cases", "Reads", *phrases.MEASURES_SHORT.values()),
            *(("Why not",) if refused else ()),
        ),
        tuple(rows),
        numeric=frozenset(range(1, 8)),
        empty="No site runs this version." if at.overall else phrases.NO_THRESHOLD,
    )


def _compact(key: str, found: Measured) -> str:
    """A figure over its interval, which is kept on one line."""
    places, scale = (3, 1) if key == AREA else (1, 100)
    if key in found.rates:
        one = found.rates[key]
        limits = _unbroken(scale * one.low, scale * one.high, places)
        return f"{scale * one.value:.{places}f} ({limits})"
    if key in found.bounds:
        low, high = found.bounds[key]
        return _unbroken(scale * low, scale * high, places)
    return "–"


def _unbroken(low: float, high: float, places: int) -> str:
    return f"{low:.{places}f}\u00a0to\u00a0{high:.{places}f}"


def site_forests(view: PerformanceView, names: Mapping[str, str]) -> tuple[Chart, ...]:
    """Sensitivity and specificity of all sites and of each, against the cleared one."""
    return tuple(c for at in view.points for c in _site_forests(at, view, names))


def _site_forests(at: AtPoint, view: PerformanceView, names: Mapping[str, str]) -> Iterator[Chart]:
    if at.overall is None:
        return
    parts = {"all sites": at.overall, **{names.get(s, s): m for s, m in at.sites.items()}}
    if not at.estimated and not any(found.rates for found in parts.values()):
        return
    for key in (k for k in DRAWN if k in at.cleared):
        rows = [_row(f"{name} measured", found, key) for name, found in parts.items()]
        if key in at.estimated:
            n = sum(at.overall.cases)
            rows.insert(1, ("all sites estimated", n, at.estimated[key], ""))
        yield performance_forest(key, rows, at.cleared[key], score(at, view))


def score(at: AtPoint, view: PerformanceView) -> float | None:
    """From which score, where a figure has to say so."""
    return at.threshold if view.further or at.uses else None


def point_facts(view: PerformanceView, name: str) -> tuple[Fact, ...]:
    """Operating points in force; `name` is that of the cleared one."""
    return tuple(
        Fact(
            "Operating point",
            phrases.in_force(at, name)
            if at.uses or view.further
            else f"{name}, from {at.threshold:g}",
        )
        for at in view.points
    )


def _row(name: str, found: Measured, key: str) -> tuple[str, int, Rate | None, str]:
    return name, found.reads, found.rates.get(key), phrases.unmeasured(found)


def subgroup_sentences(view: PerformanceView) -> tuple[str, ...]:
    """How sub-groups leave sites, what of the fleet they cover, and what they cannot tell."""
    covered = (
        phrases.coverage(c.margin, c.silent, c.sites, c.cases) for c in view.subgroups.coverage
    )
    return (phrases.SUBGROUPS, *covered, phrases.SUBGROUPS_UNMEASURED)


def subgroup_forests(view: PerformanceView) -> tuple[Chart, ...]:
    """Flagged rate by level, one chart a margin that has cases."""
    found = view.subgroups
    rows = len(found.levels)
    charts = (flagged_forest(margin, found.of(margin), rows) for margin in found.margins)
    return tuple(chart for chart in charts if chart is not None)


def subgroup_grid(view: PerformanceView) -> Grid:
    """Cases, flags and reads of every level; one that is too small says how many it needs."""
    return Grid(
        "Cases and reads by sub-group, as they left the sites; intervals hold for all rows at once",
        ("Margin", "Level", "Cases", "Flagged", "Flagged rate (95 %)", "Reads", "Positive reads"),
        tuple(_level_row(level) for level in view.subgroups.levels),
        numeric=frozenset({2, 3, 4, 5, 6}),
        empty="The device's schema names no sub-groups.",
    )


def _level_row(level: Level) -> tuple[str, ...]:
    name = sentence_case(wording.characteristic(level.margin))
    words = wording.level(level.margin, level.name)
    if level.cases is None:
        return (
            name,
            words,
            phrases.SUPPRESSED,
            "–",
            phrases.needs_level(level),
            "–",
            "–",
        )
    rate = level.flagged_rate
    return (
        name,
        words,
        filters.whole(level.cases),
        filters.whole(level.flagged),
        _share(rate) if rate else phrases.needs_level(level),
        *_reads(level),
    )


def _reads(level: Level) -> tuple[str, str]:
    if level.reads is None:
        return phrases.NOT_TOLD_APART, "–"
    share = filters.rate(level.positive / level.reads) if level.reads else phrases.NO_READS
    return filters.whole(level.reads), share


def cleared_subgroups_grid(rows: Sequence[SubgroupRow]) -> Grid:
    """The manifest's own table."""
    return Grid(
        "As cleared: performance by sub-group in the validation cohort",
        ("Margin", "Level", "Cases", "Sensitivity (95 %)", "Specificity (95 %)"),
        tuple(
            (
                sentence_case(wording.characteristic(r.margin)),
                wording.level(r.margin, r.level),
                filters.whole(r.cases),
                _proportion(r.sensitivity),
                _proportion(r.specificity),
            )
            for r in rows
        ),
        numeric=frozenset({2}),
        empty="The manifest holds no sub-group table.",
    )


def _proportion(value: Proportion | None) -> str:
    if value is None or not value.n:
        return filters.MISSING
    share = filters.rate(value.successes / value.n)
    return f"{share} ({between(value.low, value.high)}), n={value.n}"


def _rate(key: str, rates: Mapping[str, Rate], otherwise: str = filters.MISSING) -> str:
    """A figure with its interval: an area as it is, a share as per cent."""
    if key not in rates:
        return otherwise
    found = rates[key]
    if key == AREA:
        return f"{filters.score(found.value)} ({found.low:.3f} to {found.high:.3f})"
    return _share(found)


def _share(found: Rate) -> str:
    return f"{filters.rate(found.value)} ({between(found.low, found.high)})"


def _bounds(key: str, found: Measured) -> str:
    if key not in found.bounds:
        return filters.MISSING
    return f"between {between(*found.bounds[key])}"


def between(low: float, high: float) -> str:
    """`84.1 to 91.0 %`."""
    return f"{100 * low:.1f} to {100 * high:.1f} %"
