"""Who is affected: flagged cases by level of each margin, from what sites sent of it. Plain.

A site sends each margin once a month, never crossed with another; a level under 11 cases does
not leave it. Scanner models are no margin of patients: they are counted from every window.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from app.central.surveillance.arrivals import Arrived
from app.central.surveillance.measured import Days, Rate
from monitors.observations import History
from monitors.proportions import wilson
from monitors.schema import IntArray, Schema
from monitors.summaries import tallies

LEAST_IN_GROUP = 30  # below it a rate says more about chance than about the group
SCANNER_MODEL = "scanner_model"


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


def subgroups(history: History, windows: Sequence[Arrived], days: Days) -> Subgroups:
    """Levels over the months that touch `days`, scanner models over `days` themselves."""
    margins = history.schema.margins
    sent = _sent(history.schema, windows, days)
    models = _models(history, days)
    found = [
        *((m.name, level, sent.get((m.name, level))) for m in margins for level in m.levels),
        *((SCANNER_MODEL, name, models[name]) for name in sorted(models)),
    ]
    sites = {s.site for s in history.strata}
    return Subgroups(
        levels=tuple(_level(*one, len(found)) for one in found),
        coverage=tuple(_coverage(m.name, windows, sites, sent) for m in margins),
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


def _sent(schema: Schema, windows: Sequence[Arrived], days: Days) -> dict[tuple[str, str], _Counts]:
    sums: dict[tuple[str, str], IntArray] = {}
    for margin, level, row in _rows(windows, days):
        sums[margin, level] = sums.get((margin, level), np.zeros_like(row)) + row
    return {key: _counts(schema, row) for key, row in sums.items()}


def _counts(schema: Schema, row: IntArray) -> _Counts:
    sums = {name: int(row[part].sum()) for name, part in schema.margin_columns.items()}
    return _Counts(sums["analysed"], sums["flagged"], sums["labelled"], sums["positive"])


def _rows(windows: Sequence[Arrived], days: Days) -> Iterator[tuple[str, str, IntArray]]:
    """Margin, level and row of every window of sub-groups that touches `days`."""
    for one in windows:
        table = one.window.tables.get("subgroups")
        header = one.window.header
        start, end = (d.date().toordinal() for d in (header.start, header.end))
        if table is None or end <= days.start or start >= days.end:
            continue
        for (margin, level), row in zip(table.keys, table.values, strict=True):
            yield margin, level, row


def _coverage(
    margin: str,
    windows: Sequence[Arrived],
    sites: set[str],
    sent: dict[tuple[str, str], _Counts],
) -> Coverage:
    senders = {
        w.site
        for w in windows
        if (t := w.window.tables.get("subgroups")) and any(key[0] == margin for key in t.keys)
    }
    return Coverage(
        margin=margin,
        silent=len(sites - senders),
        sites=len(sites),
        cases=sum(counts.cases for (name, _), counts in sent.items() if name == margin),
    )


def _models(history: History, days: Days) -> dict[str, _Counts]:
    """Analysed and flagged cases by manufacturer and model."""
    cases = history.cases
    inside = days.holds(cases.start)
    names = [f"{s.manufacturer} {s.model}".strip() or "unnamed" for s in history.strata]
    found = {}
    for name in set(names):
        mine = np.array([one == name for one in names], dtype=np.bool_)[cases.stratum] & inside
        if mine.any():
            tally = tallies(history.schema, cases.rows[mine])
            found[name] = _Counts(
                int(tally["analysed"].sum()), max(int(tally["flagged"].sum()), 0), None, 0
            )
    return found
