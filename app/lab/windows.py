"""Rows of a case table into a fleet's windows, exactly as edges would make and disclose them.

Nothing downstream of here sees a row. Each site is its own edge: a day closes, its rows wait
until they may leave (`app.contracts.disclosure`), and arrive on the day they leave.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from app.contracts.disclosure import (
    DEFAULT,
    POOLED_STRATUM,
    Cut,
    Limits,
    Released,
    Waiting,
    cut_cases,
    cut_labels,
    cut_moments,
)
from monitors.observations import (
    CaseRows,
    Event,
    History,
    LabelRows,
    MomentRows,
    SentinelRows,
    Stratum,
)
from monitors.schema import NUMERIC_UNITS, FloatArray, IntArray, Schema
from monitors.summaries import Cases, score_bin, second_moments, summarise

WEEK = 7


@dataclass(frozen=True, slots=True)
class CaseTable:
    """n cases of a fleet. Days are ordinals.

    stratum : (n,) index into `strata`. day : (n,) acquisition. arrival : (n,) first day on which
        the centre could have it. label : (n,) 0, 1, or -1 for none. label_day : (n,).
    source, reader : (n,) index into `sources` and `readers`; read where there is a label.
    """

    cases: Cases
    strata: tuple[Stratum, ...]
    stratum: IntArray
    day: IntArray
    arrival: IntArray
    label: IntArray
    label_day: IntArray
    source: IntArray
    reader: IntArray
    sources: tuple[str, ...] = ("random_audit",)
    readers: tuple[str, ...] = ("",)

    def select(self, which: np.ndarray) -> CaseTable:
        """Some of the cases."""
        return replace(
            self,
            cases=_take(self.cases, which),
            stratum=self.stratum[which],
            day=self.day[which],
            arrival=self.arrival[which],
            label=self.label[which],
            label_day=self.label_day[which],
            source=self.source[which],
            reader=self.reader[which],
        )


@dataclass(frozen=True, slots=True)
class SentinelReads:
    """Reads (label 0 or 1) and re-scorings (score, NaN where none) of the fixed images.

    All arrays (r,). `site` and `reader` index `sites` and `readers`; `image` 0 .. images - 1.
    """

    site: IntArray
    reader: IntArray
    day: IntArray
    image: IntArray
    label: IntArray
    score: FloatArray
    sites: tuple[str, ...]
    readers: tuple[str, ...]

    @classmethod
    def of_rows(cls, reads: SentinelReads) -> SentinelReads:
        """Rows that may hold a read and a score at once, taken apart: first reads, then scores."""
        read = np.flatnonzero(reads.label >= 0)
        scored = np.flatnonzero(np.isfinite(reads.score))
        both = np.concatenate([read, scored])
        label, score = reads.label[both], reads.score[both]
        label[read.size :] = -1
        score[: read.size] = np.nan
        return cls(
            reads.site[both],
            reads.reader[both],
            reads.day[both],
            reads.image[both],
            label,
            score,
            reads.sites,
            reads.readers,
        )


def to_history(
    schema: Schema,
    table: CaseTable,
    reads: SentinelReads | None = None,
    events: Sequence[Event] = (),
    limits: Limits = DEFAULT,
) -> History:
    """All windows of the fleet, each with the day it arrives."""
    strata = list(table.strata)
    sites = sorted({s.site for s in strata})
    pooled = [s for s in (Stratum(site, *POOLED_STRATUM) for site in sites) if s not in strata]
    every = tuple(strata + pooled)
    return History(
        schema=schema,
        strata=every,
        cases=_case_rows(schema, table, every, limits),
        moments=_moment_rows(schema, table, every, limits),
        labels=_label_rows(schema, table, limits),
        sentinels=_sentinel_rows(schema, reads),
        events=tuple(events),
    )


def walk(
    waiting: Sequence[Waiting], offered: Sequence[int], cut: Callable[[list[Waiting], int], Cut]
) -> Iterator[tuple[int, Released]]:
    """One edge's releases with their day: row i may leave from day `offered[i]` on."""
    order = sorted(range(len(waiting)), key=lambda i: (offered[i], i))
    here: list[Waiting] = []
    day = offered[order[0]] if order else 0
    while order or here:
        while order and offered[order[0]] <= day:
            here.append(waiting[order.pop(0)])
        result = cut(here, day)
        for release in result.released:
            yield day, release
        kept = [here[i] for i in result.kept]
        if not order and kept == here and day > max(w.end for w in here) + 60:
            return  # what waits now would wait for ever
        here, day = kept, day + 1
        if not here and order:
            day = max(day, offered[order[0]])


def _case_rows(
    schema: Schema, table: CaseTable, strata: tuple[Stratum, ...], limits: Limits
) -> CaseRows:
    keys = np.column_stack([table.stratum, table.day, table.arrival])
    groups, inverse = np.unique(keys, axis=0, return_inverse=True)
    rows = summarise(schema, table.cases, inverse.ravel(), len(groups))
    found: list[tuple[int, int, Released]] = []
    for site, members in _by_site(table.strata, groups[:, 0]):
        waiting = [
            Waiting(_key(table.strata[g]), int(d), int(d) + 1, rows[i])
            for i, (g, d, _) in zip(members, groups[members], strict=True)
        ]
        offered = [int(max(d + 1, a)) for _, d, a in groups[members]]
        for day, release in walk(waiting, offered, lambda w, d: cut_cases(schema, w, d, limits)):
            found.append((day, strata.index(Stratum(site, *release.key)), release))
    width = schema.width(schema.columns)
    return CaseRows(*_columns(found, width))


def _moment_rows(
    schema: Schema, table: CaseTable, strata: tuple[Stratum, ...], limits: Limits
) -> MomentRows:
    week = table.day - (table.day - 1) % WEEK  # ordinal 1 was a Monday
    in_time = table.arrival <= week + WEEK + 1
    keys = np.column_stack([table.stratum, week])
    groups = np.unique(keys[in_time], axis=0)
    found: list[tuple[int, int, Released]] = []
    for site, members in _by_site(table.strata, groups[:, 0]):
        waiting = []
        for g, w in groups[members]:
            inside = in_time & (table.stratum == g) & (week == w)
            row = second_moments(schema, _take(table.cases, inside), table.day[inside])
            waiting.append(Waiting(_key(table.strata[g]), int(w), int(w) + WEEK, row))
        offered = [w.end + 1 for w in waiting]
        for day, release in walk(waiting, offered, lambda w, d: cut_moments(schema, w, d, limits)):
            found.append((day, strata.index(Stratum(site, *release.key)), release))
    return MomentRows(*_columns(found, schema.width(schema.moment_columns)))


def _label_rows(schema: Schema, table: CaseTable, limits: Limits) -> LabelRows:
    analysed = table.cases.outcome <= 1
    known = analysed & (table.label >= 0) & np.isfinite(table.cases.scores[:, 0])
    week = table.label_day - (table.label_day - 1) % WEEK
    merged = np.asarray(schema.label_bins)[score_bin(schema, table.cases.scores[:, 0][known])]
    site_of = np.array([s.site for s in table.strata])[table.stratum[known]]
    sites, site = np.unique(site_of, return_inverse=True)
    keys = np.column_stack([site, week[known], table.source[known], table.reader[known]])
    groups, inverse = np.unique(keys, axis=0, return_inverse=True)
    bins = schema.merged_label_bins
    rows = np.zeros((len(groups), 2 * bins), dtype=np.int64)
    np.add.at(rows, (inverse.ravel(), merged), 1)
    np.add.at(rows, (inverse.ravel(), bins + merged), table.label[known])
    found: list[tuple[int, int, Released]] = []
    for s in range(len(sites)):
        waiting = [
            Waiting((table.sources[q], table.readers[r], ""), int(w), int(w) + WEEK, row)
            for (k, w, q, r), row in zip(groups, rows, strict=True)
            if k == s
        ]
        offered = [w.end for w in waiting]
        for day, release in walk(waiting, offered, lambda w, d: cut_labels(schema, w, d, limits)):
            found.append((day, s, release))
    found.sort(key=lambda f: (f[0], f[1], f[2].key, f[2].start))
    values, start, _, arrival, where = _columns(found, 2 * bins)
    return LabelRows(
        rows=values,
        week=start,
        arrival=arrival,
        site=tuple(str(sites[s]) for s in where),
        source=tuple(f[2].key[0] for f in found),
        reader_group=tuple(f[2].key[1] for f in found),
    )


def _sentinel_rows(schema: Schema, reads: SentinelReads | None) -> SentinelRows:
    columns = schema.sentinel_columns
    width = schema.width(columns)
    if reads is None or not reads.day.size:
        nothing = np.zeros(0, dtype=np.int64)
        return SentinelRows(np.zeros((0, width), dtype=np.int64), nothing, nothing, (), ())
    is_read = reads.label >= 0
    who = np.where(is_read, reads.reader, -1)
    keys = np.column_stack([reads.day, reads.site, who])
    groups, inverse = np.unique(keys, axis=0, return_inverse=True)
    inverse = inverse.ravel()
    rows = np.zeros((len(groups), width), dtype=np.int64)
    at = inverse[is_read]
    np.add.at(rows, (at, columns["reads"].start + reads.image[is_read]), 1)
    np.add.at(rows, (at, columns["positive"].start + reads.image[is_read]), reads.label[is_read])
    deviation = np.rint(_deviation(reads) * NUMERIC_UNITS).astype(np.int64)
    np.maximum.at(rows, (inverse, columns["deviation"].start), np.where(is_read, 0, deviation))
    return SentinelRows(
        rows=rows,
        day=groups[:, 0],
        arrival=groups[:, 0] + 1,
        site=tuple(reads.sites[s] for s in groups[:, 1]),
        reader_group=tuple(reads.readers[r] if r >= 0 else "" for r in groups[:, 2]),
    )


def _deviation(reads: SentinelReads) -> FloatArray:
    """How far each score is from the first one of the same image at the same site."""
    deviation = np.zeros(reads.score.size)
    first: dict[tuple[int, int], float] = {}
    for i in np.argsort(reads.day, kind="stable"):
        if np.isfinite(reads.score[i]):
            key = int(reads.site[i]), int(reads.image[i])
            deviation[i] = abs(reads.score[i] - first.setdefault(key, float(reads.score[i])))
    return deviation


def _by_site(strata: tuple[Stratum, ...], index: IntArray) -> Iterator[tuple[str, IntArray]]:
    site = np.array([s.site for s in strata])[index] if index.size else np.array([])
    for one in np.unique(site):
        yield str(one), np.flatnonzero(site == one)


def _key(stratum: Stratum) -> tuple[str, ...]:
    return (
        stratum.scanner,
        stratum.manufacturer,
        stratum.model,
        stratum.software_version,
        stratum.protocol,
    )


def _columns(
    found: list[tuple[int, int, Released]], width: int
) -> tuple[IntArray, IntArray, IntArray, IntArray, IntArray]:
    """rows, start, end, arrival and index of releases."""
    found.sort(key=lambda f: (f[0], f[1], f[2].start))
    rows = np.array([r.row for _, _, r in found], dtype=np.int64).reshape(len(found), width)
    plain = np.array([(r.start, r.end, day, g) for day, g, r in found], dtype=np.int64)
    start, end, arrival, where = plain.reshape(len(found), 4).T
    return rows, start, end, arrival, where


def _take(cases: Cases, which: np.ndarray) -> Cases:
    return Cases(
        cases.numeric[which],
        cases.categorical[which],
        cases.scores[which],
        cases.embedding[which],
        cases.outcome[which],
    )
