"""Which rows may leave the hospital, and in which cut; pure rules, shared by edge and laboratory.

What a test consumes is made disclosable by merging, never by blanking cells: a day too small
waits for the next days, a stratum too small is pooled with the site's others, and what is then
still too small is held back and counted. The caller keeps the waiting rows; every function is
given all of them and says of each, by its place in the input, whether it leaves, waits or is
held back. Since the cut depends only on what waits and on the day, it needs no state, and a
row that left is never cut again because the caller no longer offers it.

Days are proleptic Gregorian ordinals, intervals half open. design.md 4.8 has the rules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np

from app.errors import ContractError
from monitors.schema import BoolArray, IntArray, Schema
from monitors.summaries import acquisition_coordinates

POOLED = "pooled"  # the site's stratum for what is too small to leave under its own name
UNLISTED = ""  # the level of a margin for cases that have none of its listed levels
STRATUM_PARTS = 5  # scanner, manufacturer, model, software_version, protocol
POOLED_STRATUM = (POOLED,) + ("",) * (STRATUM_PARTS - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The disclosure limits. Stricter ones may be set by a hospital, never laxer ones."""

    minimum_n: int = 20  # analysed cases of a case row, complete cases of its first moments
    longest_days: int = 14  # a case row never spans more
    moments_n: int = 100
    moments_longest_days: int = 28
    labels: int = 30
    label_bins: int = 3  # merged score bins that hold labels
    k: int = 11  # smallest cell of anything quasi-identifying

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            if getattr(self, name) < 1:
                raise ContractError("limits", f"{name}: at least 1 expected")


DEFAULT = Limits()


@dataclass(frozen=True, slots=True)
class Waiting:
    """A summary row that has not left yet: its key, the days [start, end) it covers, its counts."""

    key: tuple[str, ...]
    start: int
    end: int
    row: IntArray


@dataclass(frozen=True, slots=True)
class Released:
    """A row that leaves. `members` are the places in the input of the rows it is the sum of."""

    key: tuple[str, ...]
    start: int
    end: int
    row: IntArray
    members: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Cut:
    """Every input place stands in exactly one of `released`, `kept` and `held_back`."""

    released: tuple[Released, ...]
    kept: tuple[int, ...]
    held_back: tuple[int, ...]


def cut_cases(
    schema: Schema, waiting: Sequence[Waiting], as_of: int, limits: Limits = DEFAULT
) -> Cut:
    """Case rows by stratum and day. Days before `as_of` are closed and complete.

    A stratum's days are merged until `minimum_n` analysed cases, over at most `longest_days`.
    What does not reach it is pooled over the site's strata; what is still too small when twice
    `longest_days` old is held back.
    """
    n = schema.columns["tallies"].start
    cut = _cut(waiting, as_of, lambda row: int(row[n]), limits.minimum_n, limits.longest_days)
    safe = tuple(replace(r, row=withhold_small(schema, r.row, limits)) for r in cut.released)
    return replace(cut, released=safe)


def cut_moments(
    schema: Schema, waiting: Sequence[Waiting], as_of: int, limits: Limits = DEFAULT
) -> Cut:
    """Weekly second-moment rows by stratum: `moments_n` cases, over `moments_longest_days`."""
    n = schema.moment_columns["n"].start
    longest = limits.moments_longest_days
    return _cut(waiting, as_of, lambda row: int(row[n]), limits.moments_n, longest)


def cut_labels(
    schema: Schema, waiting: Sequence[Waiting], as_of: int, limits: Limits = DEFAULT
) -> Cut:
    """Label tables by labelling week; `key` is (source, reader group, policy).

    Weeks are merged until `labels` labels stand in `label_bins` merged score bins. Labels wait
    as long as it takes: they are rare, and a table is worth more late than never.
    """
    released: list[Released] = []
    kept: list[int] = []
    columns = schema.label_columns["labelled"]

    def is_large(row: IntArray) -> bool:
        labelled = row[columns]
        enough = int(labelled.sum()) >= limits.labels
        return enough and int((labelled > 0).sum()) >= limits.label_bins

    for key, members in _by_key(waiting, as_of):
        lot: list[int] = []
        for member in members:
            lot.append(member)
            if is_large(_sum(waiting, lot)):
                released.append(_release(waiting, lot, key))
                lot = []
        kept += lot
    return Cut(tuple(released), tuple(kept), ())


def cut_subgroups(
    schema: Schema, rows: Mapping[tuple[str, str], IntArray], limits: Limits = DEFAULT
) -> dict[tuple[str, str], IntArray]:
    """Monthly sub-group rows by (margin, level): what may be displayed of them.

    Every cell, and every difference a reader can form from cells, is at least `k` or 0. Levels
    that are not are withheld, and with them enough others of the margin that the site's total
    does not give them back. A level may keep its case counts and lose its labels (then 0). Cases
    of no listed level stand under `UNLISTED`: part of the total, never shown.
    """
    safe: dict[tuple[str, str], IntArray] = {}
    for margin, keys in groupby(sorted(rows), key=lambda key: key[0]):
        levels = [level for _, level in keys]
        table = np.array([rows[margin, level] for level in levels])
        listed = np.array([level != UNLISTED for level in levels])
        shown = _displayable(_case_cells(schema, table), limits.k, listed)
        labels = _displayable(_label_cells(schema, table), limits.k, shown)
        for part in ("labelled", "positive"):
            table[~labels, schema.margin_columns[part]] = 0
        safe |= {(margin, level): table[i] for i, level in enumerate(levels) if shown[i]}
    return safe


def rounded_count(n: int, limits: Limits = DEFAULT) -> int:
    """A daily case count as it may be displayed: exact from `minimum_n`, else to the nearest 10."""
    return n if n >= limits.minimum_n else 10 * ((n + 5) // 10)


def withhold_small(schema: Schema, row: IntArray, limits: Limits = DEFAULT) -> IntArray:
    """A case row without the parts that rest on too few of its cases.

    A sum over one case is that case's value: a characteristic (or the joint moments) measured on
    fewer than `minimum_n` cases is left out as a whole, all zero, and so is a quasi-identifying
    characteristic with a cell below `k`. A part is whole or absent, never altered.
    """
    safe = row.copy()
    if 0 < row[schema.columns["joint_n"]].item() < limits.minimum_n:
        safe[schema.columns["joint_n"]] = 0
        safe[schema.columns["joint_sum"]] = 0
    counts = safe[schema.columns["numeric_counts"]].reshape(-1, schema.numeric_bins + 3)
    sums = safe[schema.columns["numeric_sums"]].reshape(-1, 2)
    for i, numeric in enumerate(schema.numeric):
        if counts[i, :-1].sum() < limits.minimum_n or not _allowed(
            counts[i], numeric.privacy, limits
        ):
            counts[i] = 0
            sums[i] = 0
    hardly = row[schema.columns["numeric_counts"]].reshape(counts.shape)[:, :-1].sum(axis=1)
    withheld = acquisition_coordinates(schema, hardly < limits.minimum_n)
    safe[schema.columns["joint_sum"]][withheld] = 0
    flat, at = safe[schema.columns["categorical_counts"]], 0
    for categorical in schema.categorical:
        part = flat[at : at + len(categorical.categories) + 2]
        at += part.size
        if not _allowed(part, categorical.privacy, limits):
            part[:] = 0
    return safe


def _allowed(cells: IntArray, privacy: str, limits: Limits) -> bool:
    return privacy == "technical" or not _has_small(cells, limits.k)


def _has_small(cells: IntArray, k: int) -> bool:
    return bool(np.any((cells > 0) & (cells < k)))


def _cut(
    waiting: Sequence[Waiting],
    as_of: int,
    size: Callable[[IntArray], int],
    minimum: int,
    longest: int,
) -> Cut:
    """Merge within each key over `longest` days; pool what fails; hold back what fails again."""
    released: list[Released] = []
    kept: list[int] = []
    small: list[int] = []
    for key, members in _by_key(waiting, as_of):
        for lot, is_final in _lots(waiting, members, size, minimum, longest, as_of - longest):
            if size(_sum(waiting, lot)) >= minimum:
                released.append(_release(waiting, lot, key))
            else:
                (small if is_final else kept).extend(lot)
    held: list[int] = []
    small.sort(key=lambda i: (waiting[i].start, waiting[i].key, i))
    for lot, is_final in _lots(waiting, small, size, minimum, longest, as_of - 2 * longest):
        if size(_sum(waiting, lot)) >= minimum:
            released.append(_release(waiting, lot, POOLED_STRATUM))
        else:
            (held if is_final else kept).extend(lot)
    return Cut(tuple(released), tuple(sorted(kept)), tuple(sorted(held)))


def _lots(
    waiting: Sequence[Waiting],
    members: Iterable[int],
    size: Callable[[IntArray], int],
    minimum: int,
    longest: int,
    expired: int,
) -> Iterable[tuple[list[int], bool]]:
    """Consecutive members up to `minimum` or `longest` days; and whether nothing can join them.

    A lot is final when it began on or before the day `expired`.
    """
    lot: list[int] = []
    for member in members:
        if lot and waiting[member].end - waiting[lot[0]].start > longest:
            yield lot, waiting[lot[0]].start <= expired
            lot = []
        lot.append(member)
        if size(_sum(waiting, lot)) >= minimum:
            yield lot, True
            lot = []
    if lot:
        yield lot, waiting[lot[0]].start <= expired


def _by_key(waiting: Sequence[Waiting], as_of: int) -> Iterable[tuple[tuple[str, ...], list[int]]]:
    for item in waiting:
        if not item.start < item.end <= as_of:
            raise ContractError(
                "disclosure", f"closed days before {as_of} expected, got [{item.start}, {item.end})"
            )
    order = sorted(range(len(waiting)), key=lambda i: (waiting[i].key, waiting[i].start, i))
    for key, members in groupby(order, key=lambda i: waiting[i].key):
        yield key, list(members)


def _sum(waiting: Sequence[Waiting], members: Iterable[int]) -> IntArray:
    return np.asarray(sum(waiting[i].row for i in members), dtype=np.int64)


def _release(waiting: Sequence[Waiting], lot: Sequence[int], key: tuple[str, ...]) -> Released:
    start = min(waiting[i].start for i in lot)
    end = max(waiting[i].end for i in lot)
    return Released(key, start, end, _sum(waiting, lot), tuple(lot))


def _case_cells(schema: Schema, table: IntArray) -> IntArray:
    columns = schema.margin_columns
    analysed, flagged = table[:, columns["analysed"]], table[:, columns["flagged"]]
    return np.column_stack([analysed, flagged, analysed - flagged])


def _label_cells(schema: Schema, table: IntArray) -> IntArray:
    columns = schema.margin_columns
    labelled, positive = table[:, columns["labelled"]], table[:, columns["positive"]]
    return np.column_stack([labelled, positive, labelled - positive])


def _displayable(cells: IntArray, k: int, shown: BoolArray) -> BoolArray:
    """Which of the levels (rows of `cells`) `shown` may be: primary and complementary suppression.

    The total over all levels is known from elsewhere, so the withheld ones must be safe as a
    sum too; one level alone never is, since something of it was too small.
    """
    shown = np.asarray(shown & ~((cells > 0) & (cells < k)).any(axis=1))
    while True:
        if not _has_small(cells[~shown].sum(axis=0), k):
            return shown
        candidates = np.flatnonzero(shown & (cells.sum(axis=1) > 0))
        if not candidates.size:
            return np.zeros_like(shown)
        shown[candidates[cells[candidates].sum(axis=1).argmin()]] = False
