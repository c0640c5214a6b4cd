"""An installation with its own fleet beside example data, on a database of its own."""

from __future__ import annotations

import hashlib

from sqlalchemy import Engine, inspect, text

from app import clock
from app.central.database import session_factory
from app.central.example import store
from app.central.example.loading import Loader
from app.lab.example import example


def ask(engine: Engine, by: str = "lead") -> None:
    """As the page does."""
    with session_factory(engine).begin() as session:
        store.ask(session, by=by, now=clock.now())


def load(engine: Engine) -> None:
    """All of it, as a worker loads it."""
    ask(engine)
    loader = Loader(engine, example)
    while loader.step():
        pass
    loader.beside.dispose()


def remove(engine: Engine, by: str = "lead") -> None:
    """As the page does."""
    with session_factory(engine).begin() as session:
        store.remove(session, by=by, now=clock.now())


def state(engine: Engine) -> store.Standing:
    """How it stands."""
    with session_factory(engine)() as session:
        return store.standing(session)


def contents(engine: Engine) -> dict[str, str]:
    """A digest of every table of the real installation but its audit trail and sessions."""
    left_out = {"audit_entry", "login_session"}
    found = {}
    with engine.connect() as connection:
        for name in sorted(set(inspect(connection).get_table_names()) - left_out):
            rows = connection.execute(text(f'SELECT t::text FROM "{name}" t ORDER BY 1')).scalars()
            found[name] = hashlib.sha256("\n".join(rows).encode()).hexdigest()
    return found
