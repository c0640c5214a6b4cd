"""Alembic's entry. The caller may hand over its connection, with the lock already taken."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection
from sqlalchemy.schema import SchemaItem

from app.central.database import open_engine
from app.central.settings import read_settings
from app.central.tables import metadata


def _ours(_: SchemaItem, name: str | None, kind: str, reflected: bool, __: object) -> bool:
    # Monthly partitions come and go with the data; the parent table is what is versioned.
    return not (kind == "table" and reflected and (name or "").startswith("stored_window_"))


def _run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=metadata,
        include_object=_ours,
        compare_type=True,
    )
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    _run(given)
else:
    with open_engine(read_settings().database_url).connect() as opened:
        _run(opened)
