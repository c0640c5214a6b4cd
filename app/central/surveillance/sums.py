"""What pages ask of a whole fleet, as sums of whole numbers over its windows. No database.

Sums add up in any order (`monitors.schema`), so what is kept of windows, with what came since, is
exactly what all windows together say. Three kinds are kept by day and by month, so that any days
are few blocks; the others carry their days in their keys and are kept by month.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import Any, Protocol

import numpy as np
import zstandard

from app.central.surveillance.arrivals import Arrived
from app.contracts.window import Table
from monitors.schema import IntArray, Schema
from monitors.summaries import first_stage

AUDITED = "random_audit"  # the only source that is a sample of all cases
NOTHING = -1  # a deviation that nobody has reported
Key = tuple[str, ...]
Dated = tuple["Kind", date]
"""What is summed, and the day, or the first day of the month, that a block is of."""


class Kind(StrEnum):
    """What is summed, with its keys. Days are of acquisition unless another is named."""

    CASES = "cases"  # start, end, arrival: whole rows of all sites, without noise
    NOISY = "noisy"  # the same of edges that add noise; then its variance, which adds up too
    SITES = "sites"  # site: tallies, and scores of the first stage, without noise
    MODELS = "models"  # start, manufacturer, model: tallies
    LABELS = "labels"  # labelling week, arrival, source, reader group: whole rows
    READS = "reads"  # site: whole rows of audited reads, by labelling week
    MARGINS = "margins"  # start, end, margin, level: whole rows
    ROUNDS = "rounds"  # day, edge, epoch, sequence, line, site, reader group: whole rows
    WORST = "worst"  # site: largest deviation of known answers, and of the sentinel set


DAILY = frozenset({Kind.SITES, Kind.READS, Kind.WORST})
Span = tuple[date, date]
"""Days from the first to before the second."""


@dataclass(slots=True)
class Presence:
    """What a site has ever sent: days of acquisition, and margins of sub-groups."""

    days: set[Span] = field(default_factory=set)
    margins: set[str] = field(default_factory=set)


class Source(Protocol):
    """Where sums come from: memory, or the database with what is not in it yet."""

    def lines(self, kind: Kind) -> Table:
        """Every line of a kind that carries its days in its keys."""

    def newest(self, kind: Kind, least: int) -> Table:
        """The same of the newest months that hold at least so many lines."""

    def total(self, kind: Kind, start: date, end: date) -> Table:
        """A `DAILY` kind over the days from `start` to before `end`."""

    def sites(self) -> set[str]:
        """Sites that have sent cases."""

    def senders(self, margin: str) -> set[str]:
        """Sites that have ever sent a margin of sub-groups."""

    def received(self, start: date, end: date) -> dict[str, list[Span]]:
        """Of the days from `start` to before `end`, those that the cases of each site cover."""


@dataclass(slots=True)
class Sums:
    """Sums over windows in memory, by kind and day."""

    schema: Schema
    parts: dict[Dated, dict[Key, IntArray]] = field(default_factory=dict)
    presence: dict[str, Presence] = field(default_factory=dict)

    @classmethod
    def of(cls, schema: Schema, windows: Iterable[Arrived]) -> Sums:
        """Over these windows."""
        made = cls(schema)
        for one in windows:
            made.add(one)
        return made

    def add(self, one: Arrived) -> None:
        """Add a window."""
        self._attend(one)
        for kind, day, key, row in _facts(self.schema, one):
            part = self.parts.setdefault((kind, _dated(kind, day)), {})
            before = part.get(key)
            if before is None:
                part[key] = row.copy()
            else:
                _combine(kind)(before, row, out=before)

    def _attend(self, one: Arrived) -> None:
        here = self.presence.setdefault(one.site, Presence())
        strata, margins = (one.window.tables.get(name) for name in ("strata", "subgroups"))
        if strata is not None:
            here.days |= {(_day(key[0]), _day(key[1])) for key in strata.keys}
        if margins is not None:
            here.margins |= {key[0] for key in margins.keys}

    def lines(self, kind: Kind) -> Table:
        """Of every month."""
        return merged(kind, [table_of(p) for (k, _), p in self.parts.items() if k is kind])

    def newest(self, kind: Kind, least: int) -> Table:
        """Of the newest months that hold at least so many."""
        newest_first = sorted((d for k, d in self.parts if k is kind), reverse=True)
        found: list[Table] = []
        for month in newest_first:
            found.append(table_of(self.parts[kind, month]))
            if sum(len(t.keys) for t in found) >= least:
                break
        return merged(kind, found)

    def total(self, kind: Kind, start: date, end: date) -> Table:
        """Of the days from `start` to before `end`."""
        inside = [
            table_of(p) for (k, day), p in self.parts.items() if k is kind and start <= day < end
        ]
        return merged(kind, inside)

    def sites(self) -> set[str]:
        """Of which there is a day."""
        return {site for site, here in self.presence.items() if here.days}

    def senders(self, margin: str) -> set[str]:
        """Of which there is a row."""
        return {site for site, here in self.presence.items() if margin in here.margins}

    def received(self, start: date, end: date) -> dict[str, list[Span]]:
        """Of the sites that have any of these days."""
        found = {
            site: joined(
                (max(a, start), min(b, end)) for a, b in here.days if a < end and b > start
            )
            for site, here in self.presence.items()
        }
        return {site: spans for site, spans in found.items() if spans}


def joined(spans: Iterable[Span]) -> list[Span]:
    """Overlapping and adjoining spans as one, in order."""
    made: list[Span] = []
    for start, end in sorted(spans):
        if made and start <= made[-1][1]:
            made[-1] = made[-1][0], max(made[-1][1], end)
        else:
            made.append((start, end))
    return made


def month_of(day: date) -> date:
    """The first day of its month."""
    return day.replace(day=1)


def table_of(rows: Mapping[Key, IntArray]) -> Table:
    """Rows by key as a table."""
    if not rows:
        return Table((), np.zeros((0, 0), dtype=np.int64))
    return Table(tuple(rows), np.stack(list(rows.values())))


def merged(kind: Kind, tables: Iterable[Table]) -> Table:
    """Several tables of a kind as one, rows of one key together."""
    some = [t for t in tables if t.keys]
    if len(some) < 2:
        return some[0] if some else table_of({})
    place: dict[Key, int] = {}
    where: list[IntArray] = []
    for i, table in enumerate(some):
        alike = i and table.keys == some[i - 1].keys  # the sites of one day are those of the next
        mine = () if alike else [place.setdefault(key, len(place)) for key in table.keys]
        where.append(where[-1] if alike else np.array(mine, dtype=np.int64))
    empty = NOTHING if kind is Kind.WORST else 0
    values = np.full((len(place), some[0].values.shape[1]), empty, dtype=np.int64)
    for table, at in zip(some, where, strict=True):
        values[at] = _combine(kind)(values[at], table.values)
    return Table(tuple(place), values)


def packed(table: Table) -> bytes:
    """A table for storage: zstd of the length of its keys, the keys as JSON, and the matrix in
    the narrowest whole numbers that hold it, since most counts are small."""
    values = table.values.astype(_narrowest(table.values))
    head = json.dumps([values.dtype.str, values.shape[1], table.keys]).encode()
    body = b"".join((struct.pack("<I", len(head)), head, values.tobytes()))
    return zstandard.ZstdCompressor(level=3).compress(body)


def unpacked(stored: bytes) -> Table:
    """What `packed` made."""
    body = zstandard.ZstdDecompressor().decompress(stored)
    (size,) = struct.unpack_from("<I", body)
    kind, width, keys = json.loads(body[4 : 4 + size])
    values = np.frombuffer(body, dtype=kind, offset=4 + size).reshape(len(keys), width)
    return Table(tuple(map(tuple, keys)), values.astype(np.int64))


def _narrowest(values: IntArray) -> np.dtype[Any]:
    for kind in ("<i1", "<i2", "<i4"):
        limits = np.iinfo(kind)
        if limits.min <= values.min(initial=0) and values.max(initial=0) <= limits.max:
            return np.dtype(kind)
    return np.dtype("<i8")


def largest_bits(value: float) -> int:
    """A deviation as a whole number of the same order: for numbers that are not negative, the bits
    of a double are."""
    return int(np.float64(abs(value)).view(np.int64))


def from_bits(bits: int) -> float:
    """The deviation again."""
    return float(np.int64(bits).view(np.float64))


def _combine(kind: Kind) -> np.ufunc:
    return np.maximum if kind is Kind.WORST else np.add


def _dated(kind: Kind, day: date) -> date:
    return day if kind in DAILY else month_of(day)


def _day(text: str) -> date:
    return date.fromisoformat(text)


Fact = tuple[Kind, date, Key, IntArray]


def _facts(schema: Schema, one: Arrived) -> Iterator[Fact]:
    header = one.window.header
    worst = np.array([largest_bits(header.known_answer_deviation), NOTHING])
    yield Kind.WORST, header.start.date(), (one.site,), worst
    yield from _of_strata(schema, one)
    yield from _of_labels(one)
    yield from _of_sentinels(schema, one)
    yield from _of_margins(one)


def _of_strata(schema: Schema, one: Arrived) -> Iterator[Fact]:
    part, arrival = schema.columns, date.fromordinal(one.day).isoformat()
    noise = one.window.tables.get("noise")
    for key, row in _rows(one, "strata"):
        start, end, _, manufacturer, model, *_ = key
        tallies = row[part["tallies"]]
        yield Kind.MODELS, _day(start), (start, manufacturer, model), tallies
        if noise is not None:
            both = np.concatenate([row, noise.values[0] ** 2])
            yield Kind.NOISY, _day(start), (start, end, arrival), both
            continue
        scores = np.concatenate([tallies, row[first_stage(schema)]])
        yield Kind.CASES, _day(start), (start, end, arrival), row
        yield Kind.SITES, _day(start), (one.site,), scores


def _of_labels(one: Arrived) -> Iterator[Fact]:
    arrival = date.fromordinal(one.day).isoformat()
    for (week, source, group, *_), row in _rows(one, "labels"):
        yield Kind.LABELS, _day(week), (week, arrival, source, group), row
        if source == AUDITED:
            yield Kind.READS, _day(week), (one.site,), row


def _of_sentinels(schema: Schema, one: Arrived) -> Iterator[Fact]:
    header, at = one.window.header, schema.sentinel_columns["deviation"].start
    number = (header.edge_id, str(header.epoch), str(header.sequence))
    for i, ((day, group), row) in enumerate(_rows(one, "sentinel")):
        yield Kind.ROUNDS, _day(day), (day, *number, str(i), one.site, group), row
        if not group:
            yield Kind.WORST, _day(day), (one.site,), np.array([NOTHING, row[at]])


def _of_margins(one: Arrived) -> Iterator[Fact]:
    start, end = one.window.header.start.date(), one.window.header.end.date()
    for (margin, level), row in _rows(one, "subgroups"):
        yield Kind.MARGINS, start, (start.isoformat(), end.isoformat(), margin, level), row


def _rows(one: Arrived, name: str) -> Iterator[tuple[Key, IntArray]]:
    table = one.window.tables.get(name)
    if table is not None:
        yield from zip(table.keys, table.values, strict=True)
