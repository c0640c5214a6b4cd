"""Close windows: a pure function of journal rows, made and remembered in one transaction.

A day is closed when `watermark` has passed since its end in the site's time zone. Cases that
finish after their day was closed are late: they are cut apart, among themselves, into windows
of a later revision, so that no row that left is ever cut again. What is too small waits, is
pooled or is held back as `app.contracts.disclosure` says.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import groupby

import numpy as np

from app.contracts.disclosure import (
    UNLISTED,
    Cut,
    Released,
    Waiting,
    cut_cases,
    cut_labels,
    cut_moments,
    cut_subgroups,
)
from app.contracts.manifest import Manifest
from app.contracts.window import Table
from app.edge.cases import versions
from app.edge.journal import meta, set_meta
from app.edge.measure import take, unpack
from app.edge.noise import charge, hold_protected, noise_tables
from app.edge.sealing import Closing, produced, seal
from monitors.schema import NUMERIC_UNITS, IntArray, Schema
from monitors.summaries import Cases, score_bin, second_moments, summarise

WEEK = 7
HELD_BACK = 0  # instead of the sequence of a window


@dataclass(frozen=True, slots=True)
class Lot:
    """Cases of one device version that wait to be counted in one stream."""

    schema: Schema
    ids: IntArray
    strata: list[tuple[str, ...]]
    day: IntArray
    cases: Cases
    levels: IntArray

    def rows_of(self, which: IntArray) -> Lot:
        """The cases at these places."""
        strata = [self.strata[i] for i in which]
        return Lot(
            self.schema,
            self.ids[which],
            strata,
            self.day[which],
            take(self.cases, which),
            self.levels[which],
        )


def close_due(db: sqlite3.Connection, closing: Closing) -> int:
    """Close everything that is due; how many windows that made.

    The first call only remembers the day: what was acquired before it is late from the start.
    """
    as_of = closing.as_of
    before = meta(db, "closed_through")
    if before is None:
        set_meta(db, "closed_through", as_of)
        return 0
    if as_of <= before:
        return 0
    if not (known := list(versions(db))):
        return 0
    made = produced(db)
    hold_protected(db, as_of, is_on=closing.noise_epsilon is not None)
    for number, manifest in known:
        _close_version(db, closing, number, manifest, int(before), as_of)
    set_meta(db, "closed_through", as_of)
    return produced(db) - made


def announce_lock(db: sqlite3.Connection, closing: Closing, manifest: Manifest) -> None:
    """A window that says at once that the lock state has changed."""
    day = closing.now.astimezone(closing.zone).date().toordinal()
    seal(db, closing, manifest, "sentinel", day, day + 1, {})


def _close_version(
    db: sqlite3.Connection,
    closing: Closing,
    number: int,
    manifest: Manifest,
    before: int,
    as_of: int,
) -> None:
    schema = manifest.schema_.layout()
    is_current = manifest.lock_digest == meta(db, "lock_digest")
    _close_cases(db, closing, number, manifest, schema, (before, as_of), is_current)
    _close_sentinel(db, closing, number, manifest, schema, as_of)
    if (week := _monday(as_of)) > _monday(before):
        _close_moments(db, closing, number, manifest, schema, (_monday(before), week))
        _close_labels(db, closing, number, manifest, schema, (_monday(before), week))
    if (month := _first(as_of)) > _first(before):
        _close_subgroups(db, closing, number, manifest, schema, (_first(before), month))


def _close_cases(
    db: sqlite3.Connection,
    closing: Closing,
    number: int,
    manifest: Manifest,
    schema: Schema,
    period: tuple[int, int],
    is_current: bool,
) -> None:
    """The daily stream. The current version's window is made even when nothing is in it."""

    def weigh(lot: Lot) -> Iterable[tuple[Waiting, IntArray]]:
        groups, inverse = _grouped(lot, lot.day)
        rows = summarise(schema, lot.cases, inverse, len(groups))
        for i, (stratum, day) in enumerate(groups):
            yield Waiting(stratum, day, day + 1, rows[i]), np.flatnonzero(inverse == i)

    def cut(waiting: Sequence[Waiting], as_of: int) -> Cut:
        return cut_cases(schema, waiting, as_of, closing.limits)

    for late in (False, True):
        lot = _lot(db, number, schema, "cases_window", period[1], _CASES[late])
        released, members, held = _cut(lot, weigh, cut, period[1])
        if released or (is_current and not late):
            start, end = _span(released) if late else period
            tables = {"strata": _strata(released, schema.width(schema.columns))}
            if closing.noise_epsilon is not None:
                tables = noise_tables(schema, tables["strata"], closing.noise_epsilon)
            sequence = seal(
                db, closing, manifest, "cases", start, end, tables, members, is_late=late
            )
            if closing.noise_epsilon is not None:
                charge(db, closing, sequence, len(members), schema)
            _mark(db, "cases_window", members, sequence)
        _mark(db, "cases_window", held, HELD_BACK)


def _close_moments(
    db: sqlite3.Connection,
    closing: Closing,
    number: int,
    manifest: Manifest,
    schema: Schema,
    period: tuple[int, int],
) -> None:
    def weigh(lot: Lot) -> Iterable[tuple[Waiting, IntArray]]:
        groups, inverse = _grouped(lot, lot.day - (lot.day - 1) % WEEK)  # ordinal 1 was a Monday
        for i, (stratum, week) in enumerate(groups):
            which = np.flatnonzero(inverse == i)
            row = second_moments(schema, take(lot.cases, which), lot.day[which])
            yield Waiting(stratum, week, week + WEEK, row), which

    def cut(waiting: Sequence[Waiting], as_of: int) -> Cut:
        return cut_moments(schema, waiting, as_of, closing.limits)

    for late in (False, True):
        lot = _lot(db, number, schema, "moments_window", period[1], _MOMENTS[late])
        released, members, held = _cut(lot, weigh, cut, period[1])
        if released:
            start, end = _span(released) if late else period
            tables = {"moments": _strata(released, schema.width(schema.moment_columns))}
            sequence = seal(
                db, closing, manifest, "moments", start, end, tables, members, is_late=late
            )
            _mark(db, "moments_window", members, sequence)
        _mark(db, "moments_window", held, HELD_BACK)


def _close_labels(
    db: sqlite3.Connection,
    closing: Closing,
    number: int,
    manifest: Manifest,
    schema: Schema,
    period: tuple[int, int],
) -> None:
    """The weekly label tables. A label counts when its case has a score of this version."""
    found = db.execute(
        "SELECT labels.id, label, source, reader_group, policy, read_on, state, measures"
        " FROM labels JOIN cases USING (key) WHERE labels.window IS NULL AND sentinel < 0"
        " AND read_on < ? AND state IN ('analysed', 'flagged') AND version = ?"
        " ORDER BY source, reader_group, policy, read_on, labels.id",
        (period[1], number),
    ).fetchall()
    cases, _ = unpack(schema, [f[7] for f in found], [f[6] for f in found])
    score = cases.scores[:, 0]
    merged = np.array(schema.label_bins)[score_bin(schema, np.nan_to_num(score))]
    waiting, members = [], []
    places = (i for i in range(len(found)) if np.isfinite(score[i]))
    for (key, week), group in groupby(places, key=lambda i: _label_key(found[i])):
        lot = list(group)
        row = np.zeros(schema.width(schema.label_columns), dtype=np.int64)
        np.add.at(row, merged[lot], 1)
        np.add.at(row, schema.merged_label_bins + merged[lot], [found[i][1] for i in lot])
        waiting.append(Waiting(key, week, week + WEEK, row))
        members.append([found[i][0] for i in lot])
    released = cut_labels(schema, waiting, period[1], closing.limits).released
    if released:
        keys = tuple((_iso(r.start), *r.key) for r in released)
        tables = {"labels": Table(keys, np.array([r.row for r in released]))}
        ids = [i for r in released for m in r.members for i in members[m]]
        sequence = seal(db, closing, manifest, "labels", *period, tables, count=len(ids))
        _mark_labels(db, ids, sequence)


def _label_key(row: Sequence[object]) -> tuple[tuple[str, ...], int]:
    read_on = int(str(row[5]))
    return (str(row[2]), str(row[3]), str(row[4])), read_on - (read_on - 1) % WEEK


def _close_subgroups(
    db: sqlite3.Connection,
    closing: Closing,
    number: int,
    manifest: Manifest,
    schema: Schema,
    period: tuple[int, int],
) -> None:
    """The monthly margins. A month is displayed once: late cases would differ it open."""
    lot = _lot(db, number, schema, "subgroups_window", period[1], _ANALYSED)
    inside = np.flatnonzero(lot.day >= period[0])
    labels = _labels_by_case(db, lot.ids)
    rows: dict[tuple[str, str], IntArray] = {}
    for m, margin in enumerate(schema.margins):
        for level, name in [*enumerate(margin.levels), (-1, UNLISTED)]:
            which = inside[lot.levels[inside, m] == level]
            rows[margin.name, name] = _margin_row(schema, lot.rows_of(which), labels)
    safe = cut_subgroups(schema, rows, closing.limits)
    sequence = HELD_BACK
    if safe and inside.size:
        values = np.array([safe[key] for key in sorted(safe)], dtype=np.int64)
        tables = {"subgroups": Table(tuple(sorted(safe)), values)}
        sequence = seal(db, closing, manifest, "subgroups", *period, tables, count=len(inside))
    _mark(db, "subgroups_window", lot.ids[lot.day < period[0]], HELD_BACK)
    _mark(db, "subgroups_window", lot.ids[inside], sequence)


def _margin_row(schema: Schema, lot: Lot, labels: Mapping[int, int]) -> IntArray:
    row = np.zeros(schema.width(schema.margin_columns), dtype=np.int64)
    columns = schema.margin_columns
    row[columns["analysed"]] = len(lot.ids)
    row[columns["flagged"]] = int((lot.cases.outcome == 1).sum())
    quarter = np.clip(np.nan_to_num(lot.cases.scores[:, 0]) * 4, 0, 3).astype(np.int64)
    for place, case in enumerate(lot.ids):
        if (label := labels.get(int(case))) is not None:
            row[columns["labelled"].start + quarter[place]] += 1
            row[columns["positive"].start + quarter[place]] += label
    return row


def _labels_by_case(db: sqlite3.Connection, ids: IntArray) -> dict[int, int]:
    """The last read of each of these cases."""
    wanted = set(ids.tolist())
    rows = db.execute(
        "SELECT cases.id, label FROM labels JOIN cases USING (key)"
        " WHERE sentinel < 0 ORDER BY read_on, labels.id"
    )
    return {case: label for case, label in rows if case in wanted}


def _close_sentinel(
    db: sqlite3.Connection,
    closing: Closing,
    number: int,
    manifest: Manifest,
    schema: Schema,
    as_of: int,
) -> None:
    """Re-scorings and re-reads of the fixed images: they are nobody's patients here."""
    rows: dict[tuple[str, str], IntArray] = {}

    def row_of(day: int, group: str) -> IntArray:
        width = schema.width(schema.sentinel_columns)
        return rows.setdefault((_iso(day), group), np.zeros(width, dtype=np.int64))

    rounds = db.execute(
        "SELECT id, day, deviation FROM rounds WHERE window IS NULL AND version = ? AND day < ?",
        (number, as_of),
    ).fetchall()
    for _, day, deviation in rounds:
        row = row_of(day, "")
        row[0] = max(row[0], round(deviation * NUMERIC_UNITS))
    reads = _sentinel_reads(db, manifest, as_of)
    for _, day, group, image, label in reads:
        row_of(day, group)[schema.sentinel_columns["reads"].start + image] += 1
        row_of(day, group)[schema.sentinel_columns["positive"].start + image] += label
    if not rows:
        return
    days = [date.fromisoformat(day).toordinal() for day, _ in rows]
    table = Table(tuple(sorted(rows)), np.array([rows[key] for key in sorted(rows)]))
    sequence = seal(
        db, closing, manifest, "sentinel", min(days), max(days) + 1, {"sentinel": table}
    )
    db.executemany("UPDATE rounds SET window = ? WHERE id = ?", [(sequence, r[0]) for r in rounds])
    _mark_labels(db, [r[0] for r in reads], sequence)


def _sentinel_reads(
    db: sqlite3.Connection, manifest: Manifest, as_of: int
) -> list[tuple[int, int, str, int, int]]:
    if manifest.lock_digest != meta(db, "lock_digest"):
        return []  # reads are of the set that is in use
    return db.execute(
        "SELECT id, read_on, reader_group, sentinel, label FROM labels WHERE window IS NULL"
        " AND sentinel BETWEEN 0 AND ? AND read_on < ?",
        (manifest.schema_.sentinels - 1, as_of),
    ).fetchall()


_ANALYSED = "state IN ('analysed', 'flagged')"
# In time and late: `seen` is the first day that was not closed yet when the case was finished.
_CASES = ("(seen IS NULL OR day >= seen)", "day < seen")
_MOMENTS = (
    f"{_ANALYSED} AND (seen IS NULL OR day >= seen - (seen - 1) % 7)",
    f"{_ANALYSED} AND day < seen - (seen - 1) % 7",
)


_LOT = (  # both places are filled with our own words
    "SELECT cases.id, day, state, measures, scanner, manufacturer, model, software_version,"
    " protocol FROM cases JOIN strata ON strata.id = stratum"
    " WHERE {column} IS NULL AND day < ? AND version = ? AND {condition} ORDER BY cases.id"
)


def _lot(
    db: sqlite3.Connection, number: int, schema: Schema, column: str, as_of: int, condition: str
) -> Lot:
    """Finished cases of one version that `column` has not counted yet, of closed days."""
    query = _LOT.format(column=column, condition=condition)
    found = db.execute(query, (as_of, number)).fetchall()
    cases, levels = unpack(schema, [row[3] for row in found], [row[2] for row in found])
    return Lot(
        schema,
        np.array([row[0] for row in found], dtype=np.int64),
        [tuple(row[4:]) for row in found],
        np.array([row[1] for row in found], dtype=np.int64),
        cases,
        levels,
    )


def _grouped(lot: Lot, period: IntArray) -> tuple[list[tuple[tuple[str, ...], int]], IntArray]:
    """The distinct (stratum, period) pairs, and which of them each case is in."""
    pairs = list(zip(lot.strata, period.tolist(), strict=True))
    groups = sorted(set(pairs))
    place = {pair: i for i, pair in enumerate(groups)}
    return groups, np.array([place[pair] for pair in pairs], dtype=np.int64)


def _cut(
    lot: Lot,
    weigh: Callable[[Lot], Iterable[tuple[Waiting, IntArray]]],
    cut: Callable[[Sequence[Waiting], int], Cut],
    as_of: int,
) -> tuple[tuple[Released, ...], IntArray, IntArray]:
    """Released rows, and the ids of the cases that are in them and that are held back."""
    weighed = list(weigh(lot)) if len(lot.ids) else []
    result = cut([waiting for waiting, _ in weighed], as_of)

    def ids(places: Iterable[int]) -> IntArray:
        parts = [lot.ids[weighed[i][1]] for i in places]
        return np.concatenate([np.zeros(0, dtype=np.int64), *parts])

    return (
        result.released,
        ids(i for r in result.released for i in r.members),
        ids(result.held_back),
    )


def _strata(released: Iterable[Released], width: int) -> Table:
    """Rows by (start, end, stratum); rows add, so two pooled lots of the same days are one."""
    rows: dict[tuple[str, ...], IntArray] = {}
    for r in released:
        key = (_iso(r.start), _iso(r.end), *r.key)
        rows[key] = rows[key] + r.row if key in rows else r.row
    keys = tuple(sorted(rows))
    return Table(keys, np.array([rows[k] for k in keys], dtype=np.int64).reshape(len(keys), width))


def _span(released: Sequence[Released]) -> tuple[int, int]:
    return min(r.start for r in released), max(r.end for r in released)


def _mark(db: sqlite3.Connection, column: str, ids: IntArray, sequence: int) -> None:
    db.executemany(
        f"UPDATE cases SET {column} = ? WHERE id = ?",  # noqa: S608  only our own words
        [(sequence, int(i)) for i in ids],
    )


def _mark_labels(db: sqlite3.Connection, ids: Iterable[int], sequence: int) -> None:
    db.executemany("UPDATE labels SET window = ? WHERE id = ?", [(sequence, i) for i in ids])


def _iso(day: int) -> str:
    return date.fromordinal(day).isoformat()


def _monday(day: int) -> int:
    return day - (day - 1) % WEEK


def _first(day: int) -> int:
    return date.fromordinal(day).replace(day=1).toordinal()
