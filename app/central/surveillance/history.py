"""What arrived, as the arrays that the engine looks at."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass, replace
from datetime import date, datetime, timedelta
from threading import Lock

import numpy as np
from sqlalchemy.orm import Session

from app.central.events import service as events
from app.central.fleet import repository as fleet_repository
from app.central.fleet import service as fleet
from app.central.intake import repository as intake_repository
from app.central.intake.arrival import arrival_day, evaluation_instant
from app.contracts.signing import sha256
from app.contracts.window import Table, Window, decode
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
        self, session: Session, lock_digest: str, wanted: Sequence[intake_repository.WindowKey]
    ) -> dict[str, Window]:
        """Windows by digest. Nobody waits for what another is decoding."""
        with self._lock:
            found = {k.digest: self._held[k.digest] for k in wanted if k.digest in self._held}
            for digest in found:
                self._held.move_to_end(digest)
        missing = [k for k in wanted if k.digest not in found]
        if not missing:
            return found
        rings = fleet_repository.key_rings(session)
        keys = {k.digest: rings[k.edge_id].at(k.epoch, k.sequence) for k in missing}
        raw = intake_repository.raw_windows(session, lock_digest, missing)
        made = {k.digest: decode(raw[k.digest], keys[k.digest]) for k in missing}
        with self._lock:
            self._held |= made
            while len(self._held) > self._limit:
                self._held.popitem(last=False)
        return found | made


DECODED = DecodedWindows()


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
    planned, stages = events.for_engine(session, lock_digest, by=by, first_seen=_arrived)
    history = history_of(fleet.layout_of(session, lock_digest), arrived)
    named: list[object] = [[k.digest, k.site_id, _arrived(k.received_at)] for k in index]
    named += [[*astuple(event)] for event in planned]
    named += [[*astuple(stage)] for stage in stages]
    return Assembled(
        replace(history, events=planned, stages=stages),
        tuple(k.digest for k in index),
        # Canonical JSON of ASCII texts and whole numbers, at the speed of C.
        sha256(json.dumps(named, separators=(",", ":")).encode()),
    )


def arrived_windows(
    session: Session, lock_digest: str, *, upto: date, sites: Sequence[str] | None = None
) -> list[Arrived]:
    """The windows themselves, for what the engine does not look at: headers, sub-groups.

    Where `sites` are named, those of others are not read.
    """
    before, edges = evaluation_instant(upto), None
    if sites is not None:
        edges = fleet_repository.edge_ids(session, sites)
    index = intake_repository.window_index(
        session, lock_digest, arrived_before=before, edge_ids=edges
    )
    mine = [k for k in index if sites is None or k.site_id in sites]
    return _decoded(session, lock_digest, mine)


def history_at(
    session: Session, lock_digest: str, *, upto: date, sites: Sequence[str] | None
) -> History:
    """The part of a history that lies at `sites`; all of it where none are named."""
    arrived = arrived_windows(session, lock_digest, upto=upto, sites=sites)
    return history_of(fleet.layout_of(session, lock_digest), arrived)


def history_within(session: Session, lock_digest: str, *, upto: date, scope: str | None) -> History:
    """The part of a history that a person bound to site `scope`, or to none, may see."""
    return history_at(session, lock_digest, upto=upto, sites=None if scope is None else (scope,))


def _arrived(received_at: datetime) -> int:
    return arrival_day(received_at).toordinal()


def _decoded(
    session: Session, lock_digest: str, index: Sequence[intake_repository.WindowKey]
) -> list[Arrived]:
    decoded = DECODED.get(session, lock_digest, index)
    return [Arrived(k.site_id, _arrived(k.received_at), decoded[k.digest]) for k in index]


def history_of(schema: Schema, arrived: Sequence[Arrived]) -> History:
    """The history of these windows."""
    strata: dict[Stratum, int] = {}
    cases = [_spanned(a, "strata", strata) for a in arrived]
    moments = [_spanned(a, "moments", strata) for a in arrived]
    return History(
        schema=schema,
        strata=tuple(strata),
        cases=CaseRows(*_stacked(cases, schema.width(schema.columns)), _noise(schema, arrived)),
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


def _noise(schema: Schema, arrived: Sequence[Arrived]) -> Noise | None:
    """Of the rows of all `strata` tables in this order; None where no window declares any."""
    known = {bytes(8 * schema.width(schema.columns)): 0}
    level: list[int] = []
    for one in arrived:
        strata, noise = (one.window.tables.get(name) for name in ("strata", "noise"))
        rows = len(strata.keys) if strata is not None else 0
        scale = next(iter(known)) if noise is None else noise.values[0].tobytes()
        level += [known.setdefault(scale, len(known))] * rows
    if not any(level):
        return None
    scales = [np.frombuffer(scale, dtype=np.int64).astype(np.float64) for scale in known]
    return Noise(np.stack(scales) ** 2, np.array(level, dtype=np.int64))


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
