"""Two case tables as one pooled history: the reference, and then what is compared with it.

Strata are pooled (coarser strata, as disclosure allows), so that tables of different hospitals can
be compared at all; a changed mix of scanners is then part of what differs. The current windows are
laid after the reference in time, whatever their dates: only which table a case is of matters.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from app.contracts.case_table import ColumnsMap
from app.errors import ContractError
from app.lab.case_tables import read_table, two_histories
from monitors.observations import CaseRows, History, LabelRows, MomentRows, SentinelRows, Stratum
from monitors.schema import IntArray, Schema

Rows = TypeVar("Rows", CaseRows, MomentRows)

SITE = "all"
POOL = Stratum(SITE, SITE)
WEEK = 7


@dataclass(frozen=True, slots=True, eq=False)
class TwoTables:
    """history : both tables, pooled. until : first day of the current one. threshold : or None."""

    history: History
    until: int
    threshold: float | None

    @property
    def schema(self) -> Schema:
        """Of both."""
        return self.history.schema

    def case_rows(self, current: bool) -> IntArray:
        """Case rows (windows, width) of one of the tables, in time order."""
        c = self.history.cases
        return np.asarray(c.rows[(c.start >= self.until) == current])

    def label_row(self, current: bool, source: str = "") -> IntArray:
        """Labelled and positive counts per merged bin, added up; of one `source` or all."""
        la = self.history.labels
        wanted = (la.arrival >= self.until) == current
        wanted &= np.array([source in ("", s) for s in la.source], dtype=bool)
        return np.asarray(la.rows[wanted].sum(axis=0))


def read_two(
    reference: Path, current: Path | None, reference_end: datetime.date | None, columns: ColumnsMap
) -> TwoTables:
    """Two files, or one that is split after the day `reference_end`."""
    table = read_table(reference)
    if (current is None) == (reference_end is None):
        raise ContractError("case_table", "a second table or --reference-end is needed, not both")
    if current is not None:
        return pooled(*two_histories(table, read_table(current), columns), columns)
    if columns.columns.window_date not in table:
        raise ContractError(
            "case_table", f"case table lacks columns: {columns.columns.window_date}"
        )
    day = pd.to_datetime(table[columns.columns.window_date], format="mixed", utc=True).dt.date
    inside = day <= reference_end
    return pooled(*two_histories(table[inside], table[~inside], columns), columns)


def pooled(reference: History, current: History, columns: ColumnsMap) -> TwoTables:
    """Both histories as one, of one stratum."""
    point = columns.operating_point
    r = reference
    last = [int(a.max()) for a in (r.cases.end, r.labels.week + WEEK, r.sentinels.day) if a.size]
    until = max(last, default=0) + 1
    if not current.cases.start.size or not reference.cases.start.size:
        raise ContractError("case_table", "too few cases in a table for any window to be disclosed")
    move = until - int(current.cases.start.min())
    end = int(current.cases.arrival.max()) + move + 1
    one, two = _moved(reference, 0, None), _moved(current, move, end)
    history = History(
        schema=reference.schema,
        strata=(POOL,),
        cases=CaseRows(*_joined(one.cases, two.cases)),
        moments=MomentRows(*_joined(one.moments, two.moments)),
        labels=LabelRows(*_joined(one.labels, two.labels)),
        sentinels=SentinelRows(*_joined(one.sentinels, two.sentinels)),
    )
    return TwoTables(history, until, None if point is None else point.threshold)


def _moved(history: History, days: int, read_on: int | None) -> History:
    """Of one stratum and site, `days` later; labels and re-reads all on `read_on`, if given."""
    c, m, la, s = history.cases, history.moments, history.labels, history.sentinels
    week = la.week if read_on is None else np.full_like(la.week, read_on)
    day = s.day if read_on is None else np.full_like(s.day, read_on)
    return replace(
        history,
        cases=_by_end(_later(c, days)),
        moments=_later(m, days),
        labels=replace(
            la,
            week=week,
            arrival=week + (WEEK if read_on is None else 0),
            site=(SITE,) * len(la.site),
            reader_group=("",) * len(la.site),
        ),
        sentinels=replace(s, day=day, arrival=day, site=(SITE,) * len(s.site)),
    )


def _later(rows: Rows, days: int) -> Rows:
    return replace(
        rows,
        start=rows.start + days,
        end=rows.end + days,
        arrival=rows.arrival + days,
        stratum=np.zeros_like(rows.stratum),
    )


def _by_end(rows: CaseRows) -> CaseRows:
    """Windows that end on one day as one: days are the replicates, not scanners."""
    ends, at = np.unique(rows.end, return_inverse=True)
    total = np.zeros((ends.size, rows.rows.shape[1]), dtype=np.int64)
    np.add.at(total, at, rows.rows)
    start, arrival = np.full(ends.size, np.iinfo(np.int64).max), np.zeros_like(ends)
    np.minimum.at(start, at, rows.start)
    np.maximum.at(arrival, at, rows.arrival)
    return CaseRows(total, start, ends, arrival, np.zeros_like(ends))


def _joined(one: Any, other: Any) -> list[Any]:
    """Fields of both, one after the other; a case table has no noise."""
    pairs = (
        (getattr(one, f.name), getattr(other, f.name)) for f in fields(one) if f.name != "noise"
    )
    return [a + b if isinstance(a, tuple) else np.concatenate([a, b]) for a, b in pairs]
