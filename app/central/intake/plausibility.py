"""Whether a window that is signed and whole can be true: pure checks against its schema."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache

import numpy as np

from app.central.intake.models import Reason
from app.contracts.disclosure import DEFAULT
from app.contracts.noise import FLAGGED, LARGEST_SCALE, noised_columns
from app.contracts.window import BALANCE, LATENCY_EDGES_S, Table, Window
from monitors.schema import JOINT_CLIP, JOINT_UNITS, IntArray, Schema
from monitors.summaries import categorical_counts, numeric_counts, score_counts, tallies

CLOCK_TOLERANCE = timedelta(minutes=5)
LONGEST_DAY = timedelta(hours=25, minutes=5)  # of a site whose clocks go back
AGREEMENT_COLUMNS = 3  # n, sum, sum of squares
FAR = 12  # scales: noise lies beyond them once in 10^32 draws


@dataclass(frozen=True, slots=True)
class Finding:
    """Why a window goes to quarantine."""

    reason: Reason
    detail: str


Check = Callable[[Schema, Table], Iterator[Finding]]


def implausible(window: Window, schema: Schema, now: datetime) -> Finding | None:
    """The first thing wrong with a window, or None."""
    return next(_findings(window, schema, now), None)


def _findings(window: Window, schema: Schema, now: datetime) -> Iterator[Finding]:
    header = window.header
    # A change of the lock state is told at once, in a window of the day that is still running.
    if header.closed_at > now + CLOCK_TOLERANCE or header.end > now + LONGEST_DAY:
        yield Finding(Reason.FUTURE, f"ends or was closed after {now:%FT%TZ}")
    if "balance" not in window.tables or len(window.tables["balance"].keys) != 1:
        yield Finding(Reason.NO_BALANCE, "one row of table balance expected")
    widths = _widths(schema)
    for name, table in window.tables.items():
        if table.values.shape[1] != widths[name]:
            yield Finding(
                Reason.SHAPE,
                f"table {name}: {widths[name]} columns expected, got {table.values.shape[1]}",
            )
            return
        if not all(part.isprintable() for key in table.keys for part in key):
            yield Finding(Reason.SHAPE, f"table {name}: printable keys expected")
        for found in _checked(schema, name, window):
            yield Finding(found.reason, f"table {name}: {found.detail}")
    yield from _span(window)


def _checked(schema: Schema, name: str, window: Window) -> Iterator[Finding]:
    noise = window.tables.get("noise")
    if name == "strata" and noise is not None and noise.values.shape[0] == 1:
        return _noisy_strata(schema, window.tables[name], noise.values[0])
    return CHECKS[name](schema, window.tables[name])


@lru_cache(maxsize=32)
def _widths(schema: Schema) -> dict[str, int]:
    return {
        "balance": len(BALANCE),
        "latency": len(LATENCY_EDGES_S),
        "reasons": 1,
        "strata": schema.width(schema.columns),
        "moments": schema.width(schema.moment_columns),
        "noise": schema.width(schema.columns),
        "subgroups": schema.width(schema.margin_columns),
        "labels": schema.width(schema.label_columns),
        "sentinel": schema.width(schema.sentinel_columns),
        "agreement": AGREEMENT_COLUMNS,
    }


def _counts(_: Schema, table: Table) -> Iterator[Finding]:
    if np.any(table.values < 0):
        yield Finding(Reason.NEGATIVE_COUNT, "a count is negative")


def _strata(schema: Schema, table: Table) -> Iterator[Finding]:
    rows = table.values
    signed = schema.columns["joint_sum"]
    if np.any(rows[:, : signed.start] < 0) or np.any(rows[:, signed.stop :] < 0):
        yield Finding(Reason.NEGATIVE_COUNT, "a count is negative")
    tally = tallies(schema, rows)
    n = tally["analysed"]
    if np.any(tally["flagged"] > n):
        yield Finding(Reason.BINS_SUM, "more flagged than analysed cases")
    yield from _sums(schema, rows, n)
    yield from _large_enough(table, n)


def _large_enough(table: Table, n: IntArray) -> Iterator[Finding]:
    if np.any(n < DEFAULT.minimum_n):
        yield Finding(Reason.SMALL_CELL, f"{DEFAULT.minimum_n} cases a row expected, got {n.min()}")
    yield from _days(table, DEFAULT.longest_days)


def _scales(schema: Schema, table: Table) -> Iterator[Finding]:
    """Noise of a size that may be, and only where it may be: numbers of cases are exact."""
    exact = np.ones(table.values.shape[1], dtype=np.bool_)
    exact[noised_columns(schema)] = False
    if table.keys != (("strata",),) or np.any(table.values[:, exact]):
        yield Finding(Reason.SHAPE, "one row, of table strata, expected; numbers of cases exact")
    if np.any(table.values < 0) or np.any(table.values > LARGEST_SCALE):
        yield Finding(Reason.SHAPE, f"scales of 0 to {LARGEST_SCALE} expected")


def _noisy_strata(schema: Schema, table: Table, scales: IntArray) -> Iterator[Finding]:
    """As without noise, but that a noised number may be off by `FAR` scales."""
    rows, columns = table.values, schema.columns
    if np.any(rows[:, scales == 0] < 0):
        yield Finding(Reason.NEGATIVE_COUNT, "a count without noise is negative")
    n = rows[:, 0]
    flagged = rows[:, FLAGGED]
    if np.any(np.abs(flagged - np.clip(flagged, 0, n)) > FAR * scales[FLAGGED]):
        yield Finding(Reason.BINS_SUM, "more or fewer flagged cases than noise can give")
    of_bins = scales[columns["score_counts"]].reshape(len(schema.scores), -1)
    spread = np.sqrt((of_bins.astype(np.float64) ** 2).sum(axis=-1))
    if np.any(np.abs(score_counts(schema, rows).sum(axis=-1) - n[:, None]) > FAR * spread):
        yield Finding(Reason.BINS_SUM, "score bins do not add up to the analysed cases")
    joint, joint_n = rows[:, columns["joint_sum"]], rows[:, columns["joint_n"]]
    if np.any(joint_n > n[:, None]):
        yield Finding(Reason.BINS_SUM, "more joint moments than analysed cases")
    bound = joint_n * np.int64(JOINT_CLIP * JOINT_UNITS) + FAR * scales[columns["joint_sum"]]
    if np.any(np.abs(joint) > bound):
        yield Finding(Reason.BINS_SUM, "joint moments beyond what that many cases can give")
    yield from _large_enough(table, n)


def _sums(schema: Schema, rows: IntArray, n: IntArray) -> Iterator[Finding]:
    """Every part accounts for every analysed case, or was withheld as a whole."""
    if np.any(score_counts(schema, rows).sum(axis=-1) != n[:, None]):
        yield Finding(Reason.BINS_SUM, "score bins do not add up to the analysed cases")
    parts = [numeric_counts(schema, rows).sum(axis=-1)]
    parts += [c.sum(axis=-1)[:, None] for c in categorical_counts(schema, rows)]
    sums = np.concatenate(parts, axis=1)
    if np.any((sums != n[:, None]) & (sums != 0)):
        yield Finding(Reason.BINS_SUM, "a characteristic's bins do not add up to the cases")
    joint_n = rows[:, schema.columns["joint_n"]]
    if np.any(joint_n > n[:, None]):
        yield Finding(Reason.BINS_SUM, "more joint moments than analysed cases")
    bound = joint_n * np.int64(JOINT_CLIP * JOINT_UNITS)
    if np.any(np.abs(rows[:, schema.columns["joint_sum"]]) > bound):
        yield Finding(Reason.BINS_SUM, "joint moments beyond what that many cases can give")


def _moments(schema: Schema, table: Table) -> Iterator[Finding]:
    n = table.values[:, schema.moment_columns["n"]]
    dof = table.values[:, schema.moment_columns["dof"]]
    if np.any(dof < 0) or np.any(dof >= np.maximum(n, 1)):
        yield Finding(Reason.BINS_SUM, "degrees of freedom do not fit the cases")
    if np.any(n < DEFAULT.moments_n):
        yield Finding(Reason.SMALL_CELL, f"{DEFAULT.moments_n} cases a row expected, got {n.min()}")
    yield from _days(table, DEFAULT.moments_longest_days)


def _labels(schema: Schema, table: Table) -> Iterator[Finding]:
    yield from _counts(schema, table)
    labelled = table.values[:, schema.label_columns["labelled"]]
    if np.any(table.values[:, schema.label_columns["positive"]] > labelled):
        yield Finding(Reason.BINS_SUM, "more positive than labelled cases")
    if np.any(labelled.sum(axis=1) < DEFAULT.labels):
        yield Finding(Reason.SMALL_CELL, f"{DEFAULT.labels} labels a row expected")
    if any(_day(key[0]) is None for key in table.keys):
        yield Finding(Reason.DATES, "week: an ISO date expected")


def _sentinel(schema: Schema, table: Table) -> Iterator[Finding]:
    yield from _counts(schema, table)
    columns = schema.sentinel_columns
    if np.any(table.values[:, columns["positive"]] > table.values[:, columns["reads"]]):
        yield Finding(Reason.BINS_SUM, "more positive reads than reads")
    if any(_day(key[0]) is None for key in table.keys):
        yield Finding(Reason.DATES, "date: an ISO date expected")


def _free(_: Schema, __: Table) -> Iterator[Finding]:
    yield from ()


CHECKS: dict[str, Check] = {
    "balance": _counts,
    "latency": _counts,
    "reasons": _counts,
    "strata": _strata,
    "moments": _moments,
    "noise": _scales,
    "subgroups": _counts,
    "labels": _labels,
    "sentinel": _sentinel,
    "agreement": _free,  # sums of signed differences
}


def _days(table: Table, longest: int) -> Iterator[Finding]:
    for key in table.keys:
        start, end = _day(key[0]), _day(key[1])
        if start is None or end is None:
            yield Finding(Reason.DATES, "start and end: ISO dates expected")
        elif not timedelta() < end - start <= timedelta(days=longest):
            yield Finding(Reason.DATES, f"1 to {longest} days a row expected, got {start} to {end}")


def _span(window: Window) -> Iterator[Finding]:
    """No row may end after the window does; a day of tolerance, since rows are in local days."""
    latest = window.header.end.date() + timedelta(days=1)
    for name in ("strata", "moments"):
        table = window.tables.get(name)
        ends = [_day(key[1]) for key in table.keys] if table else []
        if any(end is not None and end > latest for end in ends):
            yield Finding(Reason.DATES, f"table {name}: a row ends after its window")


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if len(text) == 10 else None
    except ValueError:
        return None
