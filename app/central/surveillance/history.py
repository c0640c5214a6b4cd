"""What arrived, as the arrays that the engine looks at."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, replace
from datetime import date, datetime, timedelta
from threading import Lock
from typing import Any

from sqlalchemy.orm import Session

from app.central.events import service as events
from app.central.fleet import repository as fleet_repository
from app.central.fleet import service as fleet
from app.central.intake import repository as intake_repository
from app.central.intake.arrival import arrival_day, evaluation_instant
from app.central.surveillance import kept_days
from app.central.surveillance.arrivals import Arrived, gather
from app.central.surveillance.joining import join
from app.contracts.signing import sha256
from app.contracts.window import Window, decode
from monitors.observations import History
from monitors.schema import Schema

CACHED_WINDOWS = 60_000  # about 6 KiB each; what is beyond is decoded anew for each evaluation


Read = Callable[[Sequence[Any]], dict[str, bytes]]
"""Exact bytes by digest of rows that name stored windows."""


class DecodedWindows:
    """Windows never change: each is decoded once a process, the least used are let go."""

    def __init__(self, limit: int = CACHED_WINDOWS) -> None:
        self._held: OrderedDict[str, Window] = OrderedDict()
        self._limit = limit
        self._lock = Lock()

    def get(self, session: Session, wanted: Sequence[Any], read: Read) -> dict[str, Window]:
        """Windows by digest, of rows with edge, epoch, sequence and digest; `read` gives the
        bytes of those that are not held.

        Nobody waits for what another is decoding.
        """
        with self._lock:
            found = {k.digest: self._held[k.digest] for k in wanted if k.digest in self._held}
            for digest in found:
                self._held.move_to_end(digest)
        missing = [k for k in wanted if k.digest not in found]
        if not missing:
            return found
        rings = fleet_repository.key_rings(session)
        keys = {k.digest: rings[k.edge_id].at(k.epoch, k.sequence) for k in missing}
        raw = read(missing)
        made = {k.digest: decode(raw[k.digest], keys[k.digest]) for k in missing}
        with self._lock:
            self._held |= made
            while len(self._held) > self._limit:
                self._held.popitem(last=False)
        return found | made


DECODED = DecodedWindows()


@dataclass(frozen=True, slots=True)
class Assembled:
    """A history, how many windows it consists of, and a digest of it all."""

    history: History
    windows: int
    digest: str


def assemble(
    session: Session, lock_digest: str, *, upto: date, known_by: datetime | None = None
) -> Assembled:
    """Everything of a device version that had arrived by the evaluation of `upto`.

    Planned events and stages count if people knew of them by then, or by `known_by` (inclusive).
    """
    parts = kept_days.parts(session, lock_digest, upto=upto)
    by = evaluation_instant(upto)
    if known_by is not None:
        by = max(by, known_by + timedelta(microseconds=1))
    planned, stages = events.for_engine(session, lock_digest, by=by, first_seen=_arrived)
    joined = join(fleet.layout_of(session, lock_digest), parts)
    told = [json.dumps(astuple(one), separators=(",", ":")) for one in planned]
    told += [json.dumps(astuple(one), separators=(",", ":")) for one in stages]
    return Assembled(
        replace(joined.history, events=planned, stages=stages),
        len(joined.lines),
        sha256(f"[{','.join([*joined.lines, *told])}]".encode()),
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
    def read(missing: Sequence[Any]) -> dict[str, bytes]:
        return intake_repository.raw_windows(session, lock_digest, missing)

    decoded = DECODED.get(session, index, read)
    return [Arrived(k.site_id, _arrived(k.received_at), decoded[k.digest]) for k in index]


def history_of(schema: Schema, arrived: Sequence[Arrived]) -> History:
    """The history of these windows."""
    return join(schema, [gather(arrived)]).history
