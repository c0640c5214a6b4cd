"""Copy the whole database to a folder and back, and prove that it is the same trail.

`database.dump` is PostgreSQL's own archive of one snapshot; `audit.jsonl` beside it is the
audit trail of that moment, which needs nothing of ours to be verified. Keys are not copied:
they are kept apart from the data (docs/operations/manufacturer.md).
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import Engine, inspect

from app import clock
from app.central.audit import service as audit
from app.central.audit.verifier import verify
from app.central.database import migrate, session_factory
from app.central.embedded_postgres import client_program
from app.central.errors import NotAllowed, NotFound
from app.central.example.store import bring_up
from app.central.settings import CentralSettings

DUMP, TRAIL = "database.dump", "audit.jsonl"


def backup(settings: CentralSettings, engine: Engine, folder: Path) -> str:
    """Write a copy into a new folder; returns what the verifier says of its trail."""
    if folder.exists():
        raise NotAllowed(f"{folder} exists: a copy goes into a folder of its own")
    folder.mkdir(parents=True, mode=0o700)
    # The trail first: every entry of it is then in the archive, which may hold newer ones.
    with session_factory(engine)() as session, (folder / TRAIL).open("wb") as file:
        file.writelines(audit.export(session, settings.receipt_key(), clock.now()))
    _run("pg_dump", ["--format=custom", "--no-owner", f"--file={folder / DUMP}", _target(engine)])
    with (folder / TRAIL).open("rb") as file:
        return verify(file)


def restore(settings: CentralSettings, engine: Engine, folder: Path) -> str:
    """Bring a copy into an empty database, bring it up to date and verify its trail."""
    if not (folder / DUMP).exists() or not (folder / TRAIL).exists():
        raise NotFound(f"no copy in {folder}: {DUMP} and {TRAIL} expected")
    if inspect(engine).get_table_names():
        raise NotAllowed("the database is not empty: a copy is restored into an empty one")
    strictly = ("--no-owner", "--exit-on-error", "--single-transaction")
    _run("pg_restore", [*strictly, _target(engine), str(folder / DUMP)])
    migrate(engine)
    bring_up(engine)
    with session_factory(engine)() as session:
        return verify(
            audit.export(session, settings.receipt_key(), clock.now()), _head(folder / TRAIL)
        )


def _head(trail: Path) -> str | None:
    """Hash of the newest entry that the copy's trail holds; None for an empty one."""
    checkpoint = json.loads(json.loads(trail.read_bytes().splitlines()[-1])["checkpoint"])
    return str(checkpoint["head"]) if checkpoint["entries"] else None


def _run(program: str, arguments: Sequence[str]) -> None:
    path = client_program(program)
    if path is None:
        raise NotFound(f"{program}: PostgreSQL's client programs are needed (postgresql-client)")
    done = subprocess.run([path, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotAllowed(f"{program}: {done.stderr.strip()[-500:]}")


def _target(engine: Engine) -> str:
    url = engine.url.set(drivername="postgresql")
    return f"--dbname={url.render_as_string(hide_password=False)}"
