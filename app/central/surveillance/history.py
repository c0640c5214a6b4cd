"""What arrived, as the arrays that the engine looks at.

The arrival day of a window is the day of the evaluation that sees it first: whatever arrives
after 06:00 UTC counts as the next day's. So an evaluation of a day never changes afterwards.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from threading import Lock

import numpy as np
from sqlalchemy.orm import Session

from app.central.events import service as events
from app.central.fleet import repository as fleet_repository
from app.central.fleet import service as fleet
from app.central.intake import repository as intake_repository
from app.contracts.signing import sha256
from app.contracts.window import Table, Window, decode
from monitors.observations import (
    CaseRows,
    History,
    LabelRows,
    MomentRows,
    SentinelRows,
    Stratum,
)
from monitors.schema import IntArray, Schema

EVALUATION_TIME = time(6, tzinfo=UTC)
CACHED_WINDOWS = 60_000  # about 6 KiB each; what is beyond is decoded anew for each evaluation


@dataclass(frozen=True, slots=True)
class Arrived:
    """A decoded window, where it came from and the day of the first evaluation that sees it."""

    site: str
    day: int
    window: Window


class DecodedWindows:
    """Windows never change: each is decoded once a process, the least used are let go."""

    def __init__(self, limit: int = CACHED_WINDOWS) -> None:
        self._held: OrderedDict[str, Window] = OrderedDict()
        self._limit = limit
        self._lock = Lock()

    def get(
        self, session: Session, lock_digest: str, wanted: Mapping[str, bytes]
    ) -> dict[str, Window]:
        """Windows by digest; `wanted` maps digests to the public keys they were signed with."""
        with self._lock:
            missing = [digest for digest in wanted if digest not in self._held]
            raw = intake_repository.raw_windows(session, lock_digest, missing)
            self._held |= {d: decode(raw[d], wanted[d]) for d in missing}
            found = {digest: self._held[digest] for digest in wanted}
            for digest in wanted:
                self._held.move_to_end(digest)
            while len(self._held) > self._limit:
                self._held.popitem(last=False)
        return found


DECODED = DecodedWindows()


def arrival_day(received_at: datetime) -> int:
    """Ordinal of the first evaluation day at whose 06:00 UTC the window had arrived."""
    return evaluation_day(received_at).toordinal() + 1


def evaluation_instant(day: date) -> datetime:
    """When `day` is evaluated."""
    return datetime.combine(day, EVALUATION_TIME)


def evaluation_day(at: datetime) -> date:
    """The newest day whose evaluation is due at that instant."""
    return (at.astimezone(UTC) - timedelta(hours=EVALUATION_TIME.hour)).date()


@dataclass(frozen=True, slots=True)
class Assembled:
    """A history, the digests of the windows it consists of, and a digest of it all."""

    history: History
    windows: tuple[str, ...]
    digest: str


def assemble(
    session: Session, lock_digest: str, *, upto: date, known_by: datetime | None = None
) -> Assembled:
    """Everything of a device version that had arrived by the evaluation of `upto`.

    Planned events and stages count if people knew of them by then, or by `known_by` (inclusive).
    """
    index = intake_repository.window_index(
        session, lock_digest, arrived_before=evaluation_instant(upto)
    )
    arrived = _decoded(session, lock_digest, index)
    by = evaluation_instant(upto)
    if known_by is not None:
        by = max(by, known_by + timedelta(microseconds=1))
    planned, stages = events.for_engine(session, lock_digest, by=by, first_seen=arrival_day)
    history = history_of(fleet.layout_of(session, lock_digest), arrived)
    named: list[object] = [[k.digest, k.site_id, arrival_day(k.received_at)] for k in index]
    named += [[*astuple(event)] for event in planned]
    named += [[*astuple(stage)] for stage in stages]
    return Assembled(
        replace(history, events=planned, stages=stages),
        tuple(k.digest for k in index),
        # Canonical JSON of ASCII texts and whole numbers, at the speed of C.
        sha256(json.dumps(named, separators=(",", ":")).encode()),
    )


def arrived_windows(session: Session, lock_digest: str, *, upto: date) -> list[Arrived]:
    """The windows themselves, for what the engine does not look at: headers, sub-groups."""
    before = evaluation_instant(upto)
    index = intake_repository.window_index(session, lock_digest, arrived_before=before)
    return _decoded(session, lock_digest, index)


def history_within(session: Session, lock_digest: str, *, upto: date, scope: str | None) -> History:
    """The part of a history that lies at site `scope`; all of it where nobody is bound to one."""
    if scope is None:
        return assemble(session, lock_digest, upto=upto).history
    mine = [w for w in arrived_windows(session, lock_digest, upto=upto) if w.site == scope]
    return history_of(fleet.layout_of(session, lock_digest), mine)


def _decoded(
    session: Session, lock_digest: str, index: Sequence[intake_repository.WindowKey]
) -> list[Arrived]:
    rings = fleet_repository.key_rings(session)
    keys = {k.digest: rings[k.edge_id].at(k.epoch, k.sequence) for k in index}
    decoded = DECODED.get(session, lock_digest, keys)
    return [Arrived(k.site_id, arrival_day(k.received_at), decoded[k.digest]) for k in index]


def history_of(schema: Schema, arrived: Sequence[Arrived]) -> History:
    """The history of these windows."""
    strata: dict[Stratum, int] = {}
    cases = [_spanned(a, "strata", strata) for a in arrived]
    moments = [_spanned(a, "moments", strata) for a in arrived]
    return History(
        schema=schema,
        strata=tuple(strata),
        cases=CaseRows(*_stacked(cases, schema.width(schema.columns))),
        moments=MomentRows(*_stacked(moments, schema.width(schema.moment_columns))),
        labels=_labels(schema, arrived),
        sentinels=_sentinels(schema, arrived),
    )


@dataclass(frozen=True, slots=True)
class _Spanned:
    rows: IntArray
    start: list[int]
    end: list[int]
    arrival: list[int]
    stratum: list[int]


def _spanned(arrived: Arrived, name: str, strata: dict[Stratum, int]) -> _Spanned | None:
    table = arrived.window.tables.get(name)
    if table is None or not table.keys:
        return None
    return _Spanned(
        table.values,
        [_ordinal(key[0]) for key in table.keys],
        [_ordinal(key[1]) for key in table.keys],
        [arrived.day] * len(table.keys),
        [strata.setdefault(Stratum(arrived.site, *key[2:]), len(strata)) for key in table.keys],
    )


def _stacked(
    parts: Iterable[_Spanned | None], width: int
) -> tuple[IntArray, IntArray, IntArray, IntArray, IntArray]:
    present = [p for p in parts if p is not None]
    rows = np.concatenate([np.zeros((0, width), dtype=np.int64), *(p.rows for p in present)])
    columns = ([v for p in present for v in getattr(p, name)] for name in _Spanned.__slots__[1:])
    start, end, arrival, stratum = (np.array(c, dtype=np.int64) for c in columns)
    return rows, start, end, arrival, stratum


def _labels(schema: Schema, arrived: Sequence[Arrived]) -> LabelRows:
    lines = list(_lines(arrived, "labels"))
    return LabelRows(
        rows=_rows([line.row for line in lines], schema.width(schema.label_columns)),
        week=np.array([_ordinal(line.key[0]) for line in lines], dtype=np.int64),
        arrival=np.array([line.day for line in lines], dtype=np.int64),
        site=tuple(line.site for line in lines),
        source=tuple(line.key[1] for line in lines),
        reader_group=tuple(line.key[2] for line in lines),
    )


def _sentinels(schema: Schema, arrived: Sequence[Arrived]) -> SentinelRows:
    lines = list(_lines(arrived, "sentinel"))
    return SentinelRows(
        rows=_rows([line.row for line in lines], schema.width(schema.sentinel_columns)),
        day=np.array([_ordinal(line.key[0]) for line in lines], dtype=np.int64),
        arrival=np.array([line.day for line in lines], dtype=np.int64),
        site=tuple(line.site for line in lines),
        reader_group=tuple(line.key[1] for line in lines),
    )


@dataclass(frozen=True, slots=True)
class _Line:
    site: str
    day: int
    key: tuple[str, ...]
    row: IntArray


def _lines(arrived: Sequence[Arrived], name: str) -> Iterator[_Line]:
    for one in arrived:
        table = one.window.tables.get(name, Table((), np.zeros((0, 1), dtype=np.int64)))
        for key, row in zip(table.keys, table.values, strict=True):
            yield _Line(one.site, one.day, key, row)


def _rows(rows: list[IntArray], width: int) -> IntArray:
    return np.stack(rows) if rows else np.zeros((0, width), dtype=np.int64)


def _ordinal(text: str) -> int:
    return date.fromisoformat(text).toordinal()
