"""Example data: where it lies, how far it is, and how it comes and goes.

It lies in a PostgreSQL schema of its own, with the tables of the service and nothing else: no
query of the real installation can meet it, no worker looks into it, and dropping the schema
removes all of it. That it was asked for, loaded and removed are entries of the real audit trail.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import psycopg
from sqlalchemy import Engine, event, inspect, text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.orm import Session

from app.central.audit import service as audit
from app.central.database import migrate as migrate_database
from app.central.database import open_engine
from app.central.errors import NotAllowed, NotFound

SCHEMA = "example"
LOCK = 7_120_120  # any number, the same in every process
LOADING = "example.loading"
MAKE = (
    f"CREATE SCHEMA {SCHEMA}",
    f"""CREATE TABLE {LOADING} (
        state text NOT NULL, what text NOT NULL, done bigint NOT NULL, total bigint NOT NULL,
        asked_by text NOT NULL, asked_at timestamptz NOT NULL, stands_at timestamptz,
        owner text NOT NULL, lease_until timestamptz)""",
)
HANGING = """
    SELECT c.conrelid::regclass::text FROM pg_constraint c
    JOIN pg_class here ON here.oid = c.confrelid JOIN pg_class there ON there.oid = c.conrelid
    WHERE here.relnamespace = CAST(:schema AS regnamespace)
      AND there.relnamespace <> here.relnamespace
    UNION
    SELECT r.ev_class::regclass::text FROM pg_depend d
    JOIN pg_rewrite r ON r.oid = d.objid AND d.classid = CAST('pg_rewrite' AS regclass)
    JOIN pg_class here ON here.oid = d.refobjid JOIN pg_class there ON there.oid = r.ev_class
    WHERE here.relnamespace = CAST(:schema AS regnamespace)
      AND there.relnamespace <> here.relnamespace
"""
HELD = """
    SELECT (SELECT count(*) FROM example.arrival), (SELECT count(*) FROM example.signal),
           (SELECT count(*) FROM example.audit_entry),
           (SELECT hash FROM example.audit_entry ORDER BY sequence DESC LIMIT 1)
"""


class LoadState(StrEnum):
    """How far the example is."""

    ABSENT = "absent"
    WAITING = "waiting"  # asked for; a worker takes it up
    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"  # why stands in `what`


@dataclass(frozen=True, slots=True)
class Standing:
    """How the example stands. `stands_at`: the instant at which it ends, once it is ready."""

    state: LoadState = LoadState.ABSENT
    what: str = ""
    done: int = 0
    total: int = 0
    asked_by: str = ""
    asked_at: datetime | None = None
    stands_at: datetime | None = None


def standing(session: Session) -> Standing:
    """How the example stands now."""
    if session.scalar(text("SELECT to_regclass(:name)"), {"name": LOADING}) is None:
        return Standing()
    row = session.execute(text(f"SELECT * FROM {LOADING}")).mappings().one()  # noqa: S608 - ours
    shown = {name: row[name] for name in Standing.__dataclass_fields__}
    return Standing(**(shown | {"state": LoadState(row["state"])}))


def is_seen_by(session: Session) -> bool:
    """Whether the session looks at the example, not at the real installation."""
    return bool(session.scalar(text("SELECT current_schema()")) == SCHEMA)


def ask(session: Session, *, by: str, now: datetime) -> None:
    """Ask for the example; one that failed makes room. A worker, or the caller, then loads it."""
    _one_at_a_time(session)
    before = standing(session)
    if before.state not in (LoadState.ABSENT, LoadState.FAILED):
        raise NotAllowed(f"example data is here already: {before.state.value}")
    if before.state is LoadState.FAILED:
        session.execute(text(f"DROP SCHEMA {SCHEMA} CASCADE"))
    if session.scalar(text("SELECT to_regnamespace(:name)"), {"name": SCHEMA}) is not None:
        raise NotAllowed(f"the database has a schema {SCHEMA} that is not ours: nothing was done")
    _make(session)
    session.execute(
        text(f"INSERT INTO {LOADING} VALUES ('waiting', '', 0, 0, :by, :now, NULL, '', NULL)"),  # noqa: S608
        {"by": by, "now": now},
    )
    _record(session, "load", by, now, {})


def _make(session: Session) -> None:
    try:
        with session.begin_nested():
            for statement in MAKE:
                session.execute(text(statement))
    except ProgrammingError as error:
        if not isinstance(error.orig, psycopg.errors.InsufficientPrivilege):
            raise
        raise NotAllowed(
            "the database role may not create a schema: GRANT CREATE ON DATABASE … to it first"
        ) from error


def remove(session: Session, *, by: str, now: datetime) -> None:
    """Take everything of the example away, also while it is being loaded.

    Refused if anything outside of it refers to it.
    """
    _one_at_a_time(session)
    before = standing(session)
    if before.state is LoadState.ABSENT:
        raise NotFound("no example data is loaded")
    hanging = session.scalars(text(HANGING), {"schema": SCHEMA}).all()
    if hanging:
        raise NotAllowed(f"records of this installation refer to the example: {sorted(hanging)}")
    held = _held(session)
    session.execute(text(f"DROP SCHEMA {SCHEMA} CASCADE"))
    _record(session, "remove", by, now, {"was": before.state.value, **held})


def _held(session: Session) -> dict[str, Any]:
    """What goes: how much, and where the example's own audit trail ended."""
    if session.scalar(text("SELECT to_regclass('example.audit_entry')")) is None:
        return {}
    names = ("windows", "signals", "audit_entries", "audit_head")
    row = session.execute(text(HELD)).one()
    return dict(zip(names, row, strict=True))


def ready(session: Session, stands_at: datetime, *, asked_by: str, now: datetime) -> None:
    """Everything is loaded: it may be looked at."""
    session.execute(
        text(
            f"UPDATE {LOADING} SET state = 'ready', what = '', owner = '', "  # noqa: S608 - ours
            "lease_until = NULL, stands_at = :at"
        ),
        {"at": stands_at},
    )
    _record(session, "ready", asked_by, now, _held(session))


def _record(session: Session, verb: str, by: str, now: datetime, detail: Mapping[str, Any]) -> None:
    action = f"example:data:{verb}"
    audit.record(session, actor=by, action=action, subject=SCHEMA, at=now, detail=detail)


def _one_at_a_time(session: Session) -> None:
    session.execute(text("SELECT pg_advisory_xact_lock(:n)"), {"n": LOCK})


def engine_beside(engine: Engine) -> Engine:
    """Connections of the same database that see the example and nothing else.

    Closed with `engine`.
    """
    beside = open_engine(engine.url, pool_size=2, max_overflow=4, search_path=SCHEMA)
    event.listen(engine, "engine_disposed", lambda _: beside.dispose())
    return beside


def bring_up(engine: Engine) -> None:
    """Bring the example's tables, where there are any, to the schema of this version."""
    if not inspect(engine).has_table("alembic_version", schema=SCHEMA):
        return
    beside = engine_beside(engine)
    migrate_database(beside)
    beside.dispose()
