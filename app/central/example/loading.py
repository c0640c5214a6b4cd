"""Load the example a step at a time, so that nothing real waits for it.

Whoever loads holds a lease that every step renews. A loader that goes away leaves the lease to
run out; the next one clears what there is and begins anew.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog
from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from app import clock
from app.central.database import migrate, session_factory
from app.central.example import store
from app.central.example.store import LOADING, SCHEMA

log = structlog.get_logger()
LEASE_S = 300
CLAIM = f"""
    UPDATE {LOADING} SET state = 'loading', owner = :owner, done = 0, what = :what,
           lease_until = clock_timestamp() + make_interval(secs => {LEASE_S})
    WHERE state = 'waiting' OR (state = 'loading' AND lease_until < clock_timestamp())
    RETURNING asked_by
"""  # noqa: S608 - names of ours
RENEW = f"""
    UPDATE {LOADING} SET done = :done, total = :total, what = :what,
           lease_until = clock_timestamp() + make_interval(secs => {LEASE_S})
    WHERE owner = :owner
"""  # noqa: S608
FAIL = f"UPDATE {LOADING} SET state = 'failed', what = :what WHERE owner = :owner"  # noqa: S608
TABLES = f"""
    SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = '{SCHEMA}' AND c.relkind IN ('r', 'p') AND NOT c.relispartition
      AND c.relname <> 'loading'
"""  # noqa: S608
MAKING = "makes the cases and the device"


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do to the example's tables, in one transaction, and its name in words."""

    what: str
    run: Callable[[Session], None]


@dataclass(frozen=True, slots=True)
class Example:
    """All there is to do, in order, and the instant at which the example then stands."""

    steps: Sequence[Step]
    stands_at: datetime


class Gone(Exception):
    """The example was removed, or somebody else loads it by now."""


class Loader:
    """Loads the example that somebody asked for. `play` makes it; it takes seconds."""

    def __init__(self, engine: Engine, play: Callable[[], Example]) -> None:
        self.play = play
        self.engine = engine
        self.sessions = session_factory(engine)
        self.beside = store.engine_beside(engine)
        self.owner = secrets.token_hex(8)
        self._example: Example | None = None
        self._done = 0
        self._asked_by = ""

    def step(self) -> bool:
        """Do the next thing; False when nothing is to be done, or nothing more."""
        try:
            return self._begin() if self._example is None else self._go_on(self._example)
        except (Gone, OperationalError) as error:
            log.warning("example.left", kind=type(error).__name__)
            self._example = None
        except Exception as error:
            log.error("example.failed", kind=type(error).__name__, exc_info=error)
            self._example = None
            self._fail(type(error).__name__)
        return False

    def _begin(self) -> bool:
        with self.sessions.begin() as session:
            if not _is_there(session):
                return False
            given = {"owner": self.owner, "what": MAKING}
            asked_by = session.scalar(text(CLAIM), given)
        if asked_by is None:
            return False
        self._asked_by, self._done = asked_by, 0
        self._clear()
        migrate(self.beside)
        self._example = self.play()
        return True

    def _clear(self) -> None:
        """What a loader before left behind."""
        with self.sessions.begin() as session:
            for name in session.scalars(text(TABLES)).all():
                session.execute(text(f"DROP TABLE {name} CASCADE"))
            session.execute(text(f"DROP FUNCTION IF EXISTS {SCHEMA}.refuse_change() CASCADE"))

    def _go_on(self, example: Example) -> bool:
        if self._done == len(example.steps):
            self._end(example)
            return False
        step = example.steps[self._done]
        with session_factory(self.beside).begin() as session:
            self._renew(session, example, step.what)
            step.run(session)
        self._done += 1
        return True

    def _end(self, example: Example) -> None:
        with self.sessions.begin() as session:
            self._renew(session, example, "")
            store.ready(session, example.stands_at, asked_by=self._asked_by, now=clock.now())
        self._example = None

    def _renew(self, session: Session, example: Example, what: str) -> None:
        """Hold on to the row to the end of the transaction; `Gone` where it is not ours."""
        values = {
            "owner": self.owner,
            "done": self._done,
            "total": len(example.steps),
            "what": what,
        }
        if not _is_there(session) or not session.execute(text(RENEW), values).rowcount:  # type: ignore[attr-defined]
            raise Gone

    def _fail(self, why: str) -> None:
        with self.sessions.begin() as session:
            if _is_there(session):
                session.execute(text(FAIL), {"owner": self.owner, "what": why})


def _is_there(session: Session) -> bool:
    return session.scalar(text("SELECT to_regclass(:name)"), {"name": LOADING}) is not None
