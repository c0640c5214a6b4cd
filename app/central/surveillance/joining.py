"""Parts of what arrived into one history, whose order does not depend on how it was parted."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from app.central.surveillance.arrivals import DATES, DIGEST_BYTES, Part
from monitors.observations import (
    CaseRows,
    History,
    LabelRows,
    MomentRows,
    Noise,
    SentinelRows,
    Stratum,
)
from monitors.schema import IntArray, Schema

Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Joined:
    """A history, and a line of JSON for each of its windows: digest, site, day of arrival."""

    history: History
    lines: list[str]


@dataclass(frozen=True, slots=True, eq=False)
class _Table:
    """Rows of one table in the order of their windows; arrays as in `arrivals.Lines`."""

    keys: list[Key]
    key: IntArray
    dates: IntArray
    arrival: IntArray
    values: IntArray
    window: IntArray  # place among all windows of all parts

    @property
    def named(self) -> list[Key]:
        """The key of every row."""
        return [self.keys[i] for i in self.key.tolist()]


def join(schema: Schema, parts: Sequence[Part]) -> Joined:
    """Windows in order of edge, epoch and sequence; strata in order of their first window."""
    order = _order(parts)
    place = np.empty_like(order)
    place[order] = np.arange(order.size)
    day = _joined([p.numbers[4] for p in parts])
    widths = {
        "strata": schema.width(schema.columns),
        "moments": schema.width(schema.moment_columns),
        "labels": schema.width(schema.label_columns),
        "sentinel": schema.width(schema.sentinel_columns),
    }
    tables = {name: _table(parts, name, place, day, width) for name, width in widths.items()}
    cases, moments = tables["strata"], tables["moments"]
    strata, (of_case, of_moment) = _strata(cases, moments)
    history = History(
        schema=schema,
        strata=strata,
        cases=CaseRows(
            cases.values,
            *_span(cases),
            cases.arrival,
            of_case,
            _noise(parts, cases, widths["strata"]),
        ),
        moments=MomentRows(moments.values, *_span(moments), moments.arrival, of_moment),
        labels=_labels(tables["labels"]),
        sentinels=_sentinels(tables["sentinel"]),
    )
    lines = [line for part in parts for line in _lines(part)]
    return Joined(history, [lines[i] for i in order.tolist()])


def _span(table: _Table) -> tuple[IntArray, IntArray]:
    return table.dates[:, 0], table.dates[:, 1]


def _order(parts: Sequence[Part]) -> IntArray:
    edges = sorted({edge for part in parts for edge in part.edges})
    rank = {edge: i for i, edge in enumerate(edges)}
    edge = [np.array([rank[e] for e in p.edges], dtype=np.int64)[p.numbers[0]] for p in parts]
    epoch, sequence = (_joined([p.numbers[i] for p in parts]) for i in (2, 3))
    return np.lexsort((sequence, epoch, _joined(edge)))


def _joined(arrays: Sequence[IntArray]) -> IntArray:
    return np.concatenate([np.zeros(0, dtype=np.int64), *arrays])


def _table(parts: Sequence[Part], name: str, place: IntArray, day: IntArray, width: int) -> _Table:
    keys: dict[Key, int] = {}
    window, key, dates, values = [], [], [np.zeros((0, DATES[name]), dtype=np.int64)], []
    offset = 0
    for part in parts:
        lines = part.tables.get(name)
        if lines is not None:
            code = np.array([keys.setdefault(k, len(keys)) for k in lines.keys], dtype=np.int64)
            window.append(lines.window + offset)
            key.append(code[lines.key])
            dates.append(lines.dates)
            values.append(lines.values)
        offset += len(part)
    of = _joined(window)
    order = np.argsort(place[of], kind="stable")
    return _Table(
        list(keys),
        _joined(key)[order],
        np.concatenate(dates)[order],
        day[of][order],
        _scattered(values, order, width),
        of[order],
    )


def _noise(parts: Sequence[Part], cases: _Table, width: int) -> Noise | None:
    """That of each case row, as its window declares it; None where none does."""
    known = {bytes(8 * width): 0}
    level, offset = np.zeros(sum(map(len, parts)), dtype=np.int64), 0
    for part in parts:
        lines = part.tables.get("noise")
        if lines is not None:
            found = [known.setdefault(row.tobytes(), len(known)) for row in lines.values]
            level[lines.window + offset] = found
        offset += len(part)
    if not level[cases.window].any():
        return None
    scales = [np.frombuffer(scale, dtype=np.int64).astype(np.float64) for scale in known]
    return Noise(np.stack(scales) ** 2, level[cases.window])


def _scattered(values: Sequence[IntArray], order: IntArray, width: int) -> IntArray:
    """All rows in their order, each copied once."""
    where = np.empty_like(order)
    where[order] = np.arange(order.size)
    made = np.empty((order.size, width), dtype=np.int64)
    at = 0
    for rows in values:
        made[where[at : at + len(rows)]] = rows
        at += len(rows)
    return made


def _strata(*tables: _Table) -> tuple[tuple[Stratum, ...], list[IntArray]]:
    """Every stratum in order of its first row, and the stratum of each row of each table."""
    place: dict[Key, int] = {}
    of_rows = []
    for table in tables:
        present, first = np.unique(table.key, return_index=True)
        code = np.full(len(table.keys), -1, dtype=np.int64)
        for i in present[np.argsort(first)].tolist():
            code[i] = place.setdefault(table.keys[i], len(place))
        of_rows.append(code[table.key])
    return tuple(Stratum(*key) for key in place), of_rows


def _labels(table: _Table) -> LabelRows:
    named = table.named
    return LabelRows(
        rows=table.values,
        week=table.dates[:, 0],
        arrival=table.arrival,
        site=tuple(key[0] for key in named),
        source=tuple(key[1] for key in named),
        reader_group=tuple(key[2] for key in named),
    )


def _sentinels(table: _Table) -> SentinelRows:
    named = table.named
    return SentinelRows(
        rows=table.values,
        day=table.dates[:, 0],
        arrival=table.arrival,
        site=tuple(key[0] for key in named),
        reader_group=tuple(key[1] for key in named),
    )


def _lines(part: Part) -> list[str]:
    text, step = part.digests.hex(), 2 * DIGEST_BYTES
    sites = [json.dumps(site) for site in part.sites]
    numbers = zip(part.numbers[1].tolist(), part.numbers[4].tolist(), strict=True)
    return [
        f'["{text[step * i : step * (i + 1)]}",{sites[site]},{day}]'
        for i, (site, day) in enumerate(numbers)
    ]
