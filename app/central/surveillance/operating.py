"""Cases and reads by the operating point that flagged them: a figure belongs to one threshold."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from app.central.surveillance.measured import Counts, Days
from app.central.surveillance.pool import Pool


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """Whole days over which a site flagged from another score than the cleared one.

    point : the operating point that its windows name. threshold : None where it differs between
    classes of scanners, which sums by site do not tell apart.
    """

    site: str
    point: str
    threshold: float | None
    days: Days


@dataclass(frozen=True, slots=True)
class Part:
    """What was flagged from one score: at all sites together, and at those that were asked for.

    uses : empty for the cleared operating point.
    """

    threshold: float | None
    uses: tuple[Use, ...]
    overall: Counts
    sites: dict[str, Counts]


def parts_of(
    pool: Pool, days: Days, sites: Sequence[str], cleared: float | None, uses: Iterable[Use]
) -> tuple[Part, ...]:
    """Cases and reads over `days` by threshold: the cleared one first, then by first day.

    uses : at other thresholds than `cleared`; what they do not hold was flagged from `cleared`.
    A part without a case and without a read is left out, unless all are.
    """
    cut = tuple(within(uses, days))
    overall, by_site = pool.counts(days), pool.counts_by_site(days, sites) if sites else {}
    others = [_part(pool, mine, sites) for mine in _by_threshold(cut)]
    for part in others:
        overall = overall.without(part.overall)
        by_site |= {s: by_site[s].without(c) for s, c in part.sites.items()}
    moved = {use.site for use in cut}
    kept = {s: c for s, c in by_site.items() if s not in moved or not c.is_empty}
    rest = Part(cleared, (), overall, kept)
    found = tuple(part for part in (rest, *others) if not part.overall.is_empty)
    return found or (rest,)


def within(uses: Iterable[Use], days: Days) -> Iterator[Use]:
    """`uses` cut to `days`."""
    for use in uses:
        start, end = max(use.days.start, days.start), min(use.days.end, days.end)
        if start < end:
            yield Use(
                site=use.site, point=use.point, threshold=use.threshold, days=Days(start, end)
            )


def counts_of(pool: Pool, uses: Iterable[Use]) -> dict[str, Counts]:
    """Cases and reads of these days by site."""
    at: dict[Days, list[str]] = defaultdict(list)
    for use in uses:
        at[use.days].append(use.site)
    found: dict[str, Counts] = {}
    for days, sites in at.items():
        for site, counts in pool.counts_by_site(days, sites).items():
            found[site] = found[site].with_(counts) if site in found else counts
    return found


def _by_threshold(uses: Iterable[Use]) -> Iterator[tuple[Use, ...]]:
    found: dict[float | None, list[Use]] = defaultdict(list)
    for use in sorted(uses, key=lambda u: (u.days.start, u.site)):
        found[use.threshold].append(use)
    yield from map(tuple, found.values())


def _part(pool: Pool, uses: tuple[Use, ...], sites: Sequence[str]) -> Part:
    by_site = counts_of(pool, uses)
    first, *others = by_site.values()
    overall = first
    for counts in others:
        overall = overall.with_(counts)
    return Part(
        uses[0].threshold, uses, overall, {s: c for s, c in by_site.items() if s in set(sites)}
    )
