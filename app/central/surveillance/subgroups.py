"""Who is affected: flagged cases by level of each margin, from what sites sent of it. Plain.

A site sends each margin once a month, never crossed with another; a level under 11 cases does
not leave it. Scanner models are no margin of patients: they are counted from every window.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from app.central.surveillance.measured import Days, Rate
from app.central.surveillance.pool import Pool
from monitors.proportions import wilson
from monitors.schema import TALLIES, IntArray, Schema

LEAST_IN_GROUP = 30  # below it a rate says more about chance than about the group
SCANNER_MODEL = "scanner_model"
ANALYSED, FLAGGED = TALLIES.index("analysed"), TALLIES.index("flagged")


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """One level of a margin. `cases` None: nothing of it was sent. `reads` None: reads are not
    told apart by this margin. `flagged_rate` None: under `needed` cases; its interval holds for
    all levels of all margins together."""

    margin: str
    name: str
    cases: int | None
    flagged: int = 0
    reads: int | None = 0
    positive: int = 0
    needed: int = LEAST_IN_GROUP
    flagged_rate: Rate | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """How many sites have never sent a margin, and how many cases of the days it covers."""

    margin: str
    silent: int
    sites: int
    cases: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Subgroups:
    """All levels in the order of the schema, then scanner models by name."""

    levels: tuple[Level, ...]
    coverage: tuple[Coverage, ...]

    @property
    def margins(self) -> tuple[str, ...]:
        """Names of the margins, in order."""
        return tuple(dict.fromkeys(level.margin for level in self.levels))

    def of(self, margin: str) -> tuple[Level, ...]:
        """The levels of one margin, in order."""
        return tuple(level for level in self.levels if level.margin == margin)


@dataclass(frozen=True, slots=True)
class _Counts:
    cases: int
    flagged: int
    reads: int | None
    positive: int


def subgroups(pool: Pool, days: Days) -> Subgroups:
    """Levels over the months that touch `days`, scanner models over `days` themselves."""
    margins = pool.schema.margins
    sent = {name: _counts(pool.schema, row) for name, row in pool.margins(days).items()}
    models = {name: _tallied(row) for name, row in pool.models(days).items()}
    found = [
        *((m.name, level, sent.get((m.name, level))) for m in margins for level in m.levels),
        *((SCANNER_MODEL, name, models[name]) for name in sorted(models)),
    ]
    return Subgroups(
        levels=tuple(_level(*one, len(found)) for one in found),
        coverage=tuple(_coverage(pool, m.name, sent) for m in margins),
    )


def _level(margin: str, name: str, counts: _Counts | None, rows: int) -> Level:
    if counts is None:
        return Level(margin=margin, name=name, cases=None)
    rate = None
    if counts.cases >= LEAST_IN_GROUP:
        # Bonferroni: all rows hold at once, so that the largest of many is no finding by itself.
        rate = Rate.of(wilson(counts.flagged, counts.cases, 1 - 0.05 / rows))
    return Level(
        margin=margin,
        name=name,
        cases=counts.cases,
        flagged=counts.flagged,
        reads=counts.reads,
        positive=counts.positive,
        flagged_rate=rate,
    )


def _counts(schema: Schema, row: IntArray) -> _Counts:
    sums = {name: int(row[part].sum()) for name, part in schema.margin_columns.items()}
    return _Counts(sums["analysed"], sums["flagged"], sums["labelled"], sums["positive"])


def _tallied(row: IntArray) -> _Counts:
    """A scanner model: reads are not told apart by it. What noise leaves below 0 is about 0."""
    return _Counts(int(row[ANALYSED]), max(int(row[FLAGGED]), 0), None, 0)


def _coverage(pool: Pool, margin: str, sent: Mapping[tuple[str, str], _Counts]) -> Coverage:
    return Coverage(
        margin=margin,
        silent=len(set(pool.sites) - pool.senders(margin)),
        sites=len(pool.sites),
        cases=sum(counts.cases for (name, _), counts in sent.items() if name == margin),
    )
