"""The database: tables' common base, engine, and one transaction a request."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import psycopg
from fastapi import Depends, Request
from sqlalchemy import (
    URL,
    Connection,
    DateTime,
    Engine,
    ExceptionContext,
    LargeBinary,
    MetaData,
    Text,
    create_engine,
    event,
    text,
)
from sqlalchemy import Enum as EnumText
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Session, sessionmaker

import migrations
from app.central.errors import NotAllowed

if TYPE_CHECKING:
    from alembic.config import Config

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
LARGEST_EXACT = 2**53 - 1  # of the integers that a double holds
LONG = re.compile(rb"\d{16}")  # as many digits as the shortest integer above has
WAIT_S = 10
MIGRATION_LOCK = 6_012_026  # any number, the same in every process


def _values(kind: type[Enum]) -> list[str]:
    return [str(member.value) for member in kind]


class Base(DeclarativeBase):
    """Every table. Times carry a zone; JSON is small metadata only."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy's own declaration
        datetime: DateTime(timezone=True),
        bytes: LargeBinary,
        str: Text,
        # Text, not a native enum: the state machines live in code and grow without a lock.
        Enum: EnumText(Enum, native_enum=False, length=32, values_callable=_values),
        dict[str, Any]: JSONB,
        list[Any]: JSONB,
    }


def _json(stored: bytes) -> Any:
    """What stands in a JSON column. Numbers are doubles (RFC 8785): `jsonb` gives 1e38 back
    without its exponent, and Python would read an integer that no canonical JSON can hold.
    Where no number is that long, none is looked at one by one."""
    return json.loads(stored, parse_int=_number if LONG.search(stored) else None)


def _number(digits: str) -> int | float:
    whole = int(digits)
    return whole if abs(whole) <= LARGEST_EXACT else float(whole)


def open_engine(
    url: str | URL,
    *,
    pool_size: int = 4,
    max_overflow: int = 8,
    wait_s: int = WAIT_S,
    search_path: str = "",
) -> Engine:
    """An engine whose connections are checked before use and left when they turn read-only.

    Nobody waits longer than `wait_s` seconds for a connection, nor for a lock. `search_path`: the
    one PostgreSQL schema whose tables its connections see; "" as the database has it.
    """
    path = f" -c search_path={search_path}" if search_path else ""
    engine = create_engine(
        url,
        pool_size=pool_size,
        max_overflow=max_overflow,
        pool_timeout=wait_s,
        pool_pre_ping=True,
        pool_recycle=1800,
        json_deserializer=_json,
        connect_args={
            "options": f"-c timezone=UTC -c lock_timeout={wait_s}s -c statement_timeout=300s{path}",
            "application_name": "lockwatch",
            "connect_timeout": 10,
        },
    )
    event.listen(engine, "handle_error", _leave_a_demoted_primary)
    return engine


def _leave_a_demoted_primary(context: ExceptionContext) -> None:
    # A pre-ping succeeds on a primary that was demoted; only writing shows it (SQLSTATE 25006).
    if isinstance(context.original_exception, psycopg.errors.ReadOnlySqlTransaction):
        context.is_disconnect = True


def apart(bind: Engine | Connection) -> Engine | Connection:
    """The same database over two connections of their own, closed with `bind`'s.

    For a transaction beside a request's: of one pool, requests that each hold a connection and
    need a second would wait for each other. A connection (tests) stands for itself.
    """
    if isinstance(bind, Connection):
        return bind
    other = open_engine(bind.url, pool_size=2, max_overflow=0)
    event.listen(bind, "engine_disposed", lambda _: other.dispose())
    return other


def session_factory(bind: Engine | Connection) -> sessionmaker[Session]:
    """Sessions on `bind`; on a connection (tests) a commit is a savepoint of its transaction."""
    return sessionmaker(bind, expire_on_commit=False, join_transaction_mode="create_savepoint")


def request_session(request: Request) -> Iterator[Session]:
    """The request's transaction."""
    factory: sessionmaker[Session] = request.app.state.request_sessions
    with factory.begin() as session:
        yield session


# Function scope: the transaction is committed before the answer leaves, not after.
DbSession = Annotated[Session, Depends(request_session, scope="function")]


@contextmanager
def transaction(factory: sessionmaker[Session]) -> Iterator[Session]:
    """A transaction outside a request."""
    with factory.begin() as session:
        yield session


def see_one_moment(session: Session) -> None:
    """Every query of this transaction, which must not have begun, sees what was there at its first.

    On a connection (tests) the outer transaction has begun, and nobody else writes to it.
    """
    if isinstance(session.get_bind(), Engine):
        session.connection(execution_options={"isolation_level": "REPEATABLE READ"})


@contextmanager
def unless_taken(session: Session, words: str) -> Iterator[None]:
    """Write what must be unique: of two at the same instant the second is refused in `words`.

    Looking first is not enough: neither of the two sees what the other has not committed.
    """
    try:
        with session.begin_nested():
            yield
    except IntegrityError as error:
        if not isinstance(error.orig, psycopg.errors.UniqueViolation):
            raise
        raise NotAllowed(words) from error


def migrate(engine: Engine, revision: str = "head") -> None:
    """Bring the database to `revision`; of several processes at once, one does it."""
    from alembic import command

    with engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:n)"), {"n": MIGRATION_LOCK})
        connection.execute(text("SET LOCAL lock_timeout = '4s'"))
        config = alembic_config()
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def alembic_config() -> Config:
    """Finds the migrations through their package: installed or from a checkout alike."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    return config
