"""What is asked and written for every window.

Written out, in psycopg's own style of parameters, so that nothing is built anew: a window that
follows those before it costs one statement, any other three.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from psycopg.types.json import Jsonb
from sqlalchemy import CursorResult, bindparam, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.central.audit.repository import NEWEST_HASH
from app.central.fleet.models import EdgeCursor
from app.central.recalibration.repository import NEWEST_POINT

LOCK = text("SELECT 1 FROM edge_cursor WHERE edge_id = :edge_id AND epoch = :epoch FOR UPDATE")
BEGIN_CURSOR = insert(EdgeCursor).on_conflict_do_nothing()
STANDING = text("""
    SELECT known.digest, known.content_digest, known.reason,
           before.digest AS digest_before, version.schema_digest
    FROM edge_cursor AS cursor
    LEFT JOIN arrival AS known ON known.edge_id = cursor.edge_id
        AND known.epoch = cursor.epoch AND known.sequence = :sequence
    LEFT JOIN arrival AS before ON before.edge_id = cursor.edge_id
        AND before.epoch = cursor.epoch AND before.sequence = CAST(:sequence AS bigint) - 1
    LEFT JOIN device_version AS version ON version.lock_digest = :lock_digest
    WHERE cursor.edge_id = :edge_id AND cursor.epoch = :epoch
""")
_NEXT = """
    SELECT cursor.epoch FROM edge_cursor AS cursor
    JOIN device_version AS version ON version.lock_digest = %(lock_digest)s
        AND version.schema_digest = %(schema_digest)s
    WHERE cursor.edge_id = %(edge_id)s AND cursor.epoch = %(epoch)s AND (
        %(follows)s OR EXISTS (
            SELECT FROM arrival AS before
            WHERE before.edge_id = %(edge_id)s AND before.epoch = %(epoch)s
                AND before.sequence = %(sequence)s::bigint - 1 AND before.digest = %(previous)s
        )
    )
    FOR UPDATE OF cursor
"""
_ARRIVED = """
    INSERT INTO arrival (edge_id, epoch, sequence, digest, content_digest, outcome, reason,
                         stream, start, "end", received_at)
    SELECT %(edge_id)s, %(epoch)s, %(sequence)s, %(digest)s, %(content_digest)s, %(outcome)s,
           %(reason)s, %(stream)s, %(start)s, %(end)s, %(received_at)s
"""
_MOVED = """
    UPDATE edge_cursor AS cursor SET
        seen = seen + int8multirange(int8range(%(sequence)s, %(sequence)s::bigint + 1)),
        produced = greatest(produced, %(produced)s),
        balance = CASE WHEN balance_sequence < %(balance_sequence)s THEN %(balance)s
                       ELSE balance END,
        balance_sequence = greatest(balance_sequence, %(balance_sequence)s),
        cases_end = greatest(cases_end, %(cases_end)s)
    FROM arrived WHERE cursor.edge_id = %(edge_id)s AND cursor.epoch = %(epoch)s
"""
_STORED = """
    INSERT INTO stored_window (edge_id, start, epoch, sequence, "end", stream, revision, site_id,
                               lock_digest, digest, cases, closed_at, received_at, raw)
    SELECT %(edge_id)s, %(start)s, %(epoch)s, %(sequence)s, %(end)s, %(stream)s, %(revision)s,
           %(site_id)s, %(lock_digest)s, %(digest)s, %(cases)s, %(closed_at)s, %(received_at)s,
           %(raw)s
    FROM arrived
"""
_COUNTED = """
    INSERT INTO case_count (edge_id, start, "end", lock_digest, arrival, site_id,
                            analysed, flagged)
    SELECT %(edge_id)s, of.start, of."end", %(lock_digest)s, %(arrival)s, %(site_id)s,
           of.analysed, of.flagged
    FROM arrived, unnest(%(starts)s::date[], %(ends)s::date[], %(analysed)s::bigint[],
                         %(flagged)s::bigint[]) AS of (start, "end", analysed, flagged)
    ON CONFLICT (edge_id, start, "end", lock_digest, arrival, site_id) DO UPDATE SET
        analysed = case_count.analysed + excluded.analysed,
        flagged = case_count.flagged + excluded.flagged
"""
ARRIVE = f"WITH arrived AS ({_ARRIVED} RETURNING sequence) {_MOVED}"
STORE = f"""
    WITH next AS ({_NEXT}),
    arrived AS ({_ARRIVED} FROM next ON CONFLICT DO NOTHING RETURNING sequence),
    moved AS ({_MOVED} RETURNING cursor.seen),
    counted AS ({_COUNTED}),
    stored AS ({_STORED})
    SELECT moved.seen,
           (SELECT id FROM point_release
            WHERE lock_digest = %(installed)s AND site_id = %(site_id)s
            ORDER BY counter DESC LIMIT 1),
           (SELECT hash FROM audit_entry ORDER BY sequence DESC LIMIT 1)
    FROM moved
"""  # noqa: S608 - put together from the constants above
POSITION = select(
    select(EdgeCursor.seen)
    .where(EdgeCursor.edge_id == bindparam("edge_id"), EdgeCursor.epoch == bindparam("epoch"))
    .scalar_subquery(),
    NEWEST_POINT,
    NEWEST_HASH,
)


class Bounded(Protocol):
    """A half-open range of sequence numbers."""

    @property
    def lower(self) -> int | None: ...
    @property
    def upper(self) -> int | None: ...


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known about a window before it is looked at; None: nothing of the kind."""

    digest: str | None
    """Of the window that has this number already."""
    content_digest: str | None
    reason: str | None
    digest_before: str | None
    """Of the window that has the number before it."""
    schema_digest: str | None
    """Of the device version that it names."""


@dataclass(frozen=True, slots=True)
class Position:
    """What a receipt tells an edge, besides its windows."""

    seen: Sequence[Bounded] | None
    operating_point: str | None
    audit_head: str | None


def lock_cursor(session: Session, edge_id: str, epoch: int) -> None:
    """Wait for our turn: one window of an edge at a time, to the end of the transaction."""
    key = {"edge_id": edge_id, "epoch": epoch}
    if session.scalar(LOCK, key) is None:
        new = {"seen": [], "produced": 0, "balance": {}, "balance_sequence": 0}
        session.execute(BEGIN_CURSOR.values(**key, **new))
        session.scalar(LOCK, key)


def standing(
    session: Session, edge_id: str, epoch: int, sequence: int, lock_digest: str
) -> Standing:
    """What is known about a window. The cursor is locked: nothing of it changes meanwhile."""
    given = {
        "edge_id": edge_id,
        "epoch": epoch,
        "sequence": sequence,
        "lock_digest": lock_digest,
    }
    return Standing(*session.execute(STANDING, given).one())


def store(
    session: Session, values: Mapping[str, Any], *, follows: bool, previous: str, installed: str
) -> Position | None:
    """Keep a window, the line that it arrived and the cursor that has seen it: all or nothing.

    Nothing, and None, where its number is taken, its schema is not the device version's, its
    cursor has not begun or, unless it `follows` by the caller's word, the window before it has
    not arrived under the digest `previous`. `installed`: device version that the edge is to run.
    """
    given = {**values, "follows": follows, "previous": previous, "installed": installed}
    found: Sequence[Any] | None = _written(session, STORE, given).one_or_none()
    return None if found is None else Position(*found)


def arrive(session: Session, values: Mapping[str, Any]) -> None:
    """The line that a window arrived, and the cursor that has seen it."""
    _written(session, ARRIVE, values)


def _written(session: Session, statement: str, values: Mapping[str, Any]) -> CursorResult[Any]:
    given = {**values, "balance": Jsonb(values["balance"])}
    return session.connection().exec_driver_sql(statement, given)


def position(
    session: Session, edge_id: str, epoch: int, *, lock_digest: str, site_id: str
) -> Position:
    """What has arrived of an edge, and the newest of what it should know."""
    given = {"edge_id": edge_id, "epoch": epoch, "lock_digest": lock_digest, "site_id": site_id}
    return Position(*session.execute(POSITION, given).one())
