"""How the service itself stands: versions, storage, copies, and what is kept for how long."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib import metadata
from pathlib import Path

from alembic.script import ScriptDirectory
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from app.central.accounts.sessions import IDLE, LONGEST
from app.central.alerts.models import MailState, OutboxMail
from app.central.audit import service as audit
from app.central.audit.models import AuditEntry
from app.central.database import alembic_config
from app.central.intake.authentication import TOLERANCE

COPY = "upkeep:database:copy"
LARGEST = 8
SIZES = """
    SELECT coalesce(parent.relname, c.relname) AS name, sum(pg_total_relation_size(c.oid)) AS bytes
    FROM pg_class c
    LEFT JOIN pg_inherits i ON i.inhrelid = c.oid
    LEFT JOIN pg_class parent ON parent.oid = i.inhparent
    WHERE c.relkind = 'r' AND c.relnamespace = CAST(current_schema() AS regnamespace)
    GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT :most
"""


@dataclass(frozen=True, slots=True)
class Versions:
    """What runs: the program, the schema found and the newest, the database server."""

    program: str
    schema: str
    newest_schema: str
    database: str

    @property
    def is_current(self) -> bool:
        """The tables are those of this program."""
        return self.schema == self.newest_schema


@dataclass(frozen=True, slots=True)
class Storage:
    """Bytes: of the database, of its largest tables, free and in all where `data_dir` lies."""

    database: int
    tables: tuple[tuple[str, int], ...]
    disk_free: int
    disk: int


@dataclass(frozen=True, slots=True)
class MailQueue:
    """Mails in one state, and since when the oldest of them stands there."""

    state: MailState
    mails: int
    oldest: datetime


@dataclass(frozen=True, slots=True)
class Rule:
    """What is kept for how long (None: for ever), and what removes it ("": nothing)."""

    what: str
    kept: timedelta | None = None
    removed_by: str = ""


RULES = (
    Rule("Windows, exact bytes with their signatures"),
    Rule("Windows and other bytes in quarantine"),
    Rule("Signals, evaluations and their evidence, reference periods, plans"),
    Rule("Decisions, signatures, letters, reports as issued"),
    Rule("Audit trail"),
    Rule("Mails, exact bytes, and what became of them"),
    Rule("Runs of scheduled jobs"),
    Rule("Accounts, also disabled ones; API tokens, as hashes"),
    Rule("One-time codes for edges, as hashes"),
    Rule("Sessions without a request", IDLE, "accounts.sessions"),
    Rule("Sessions at all", LONGEST, "accounts.sessions"),
    Rule("Nonces of edges' requests", 2 * TOLERANCE, "intake.nonces"),
)
"""Records have no end here: how long a quality system keeps them is decided outside, on copies."""


def versions(session: Session) -> Versions:
    """What runs here."""
    found = session.scalar(text("SELECT version_num FROM alembic_version"))
    newest = ScriptDirectory.from_config(alembic_config()).get_current_head()
    server = session.scalar(text("SHOW server_version"))
    return Versions(metadata.version("lockwatch"), str(found), str(newest), str(server))


def storage(session: Session, data_dir: Path) -> Storage:
    """How much there is, and how much room is left on the disk of keys and embedded database."""
    size = session.scalar(text("SELECT pg_database_size(current_database())"))
    tables = session.execute(text(SIZES), {"most": LARGEST}).all()
    disk = shutil.disk_usage(data_dir)
    named = tuple((str(name), int(size)) for name, size in tables)
    return Storage(int(size or 0), named, disk.free, disk.total)


def mail_queues(session: Session) -> tuple[MailQueue, ...]:
    """Mails by state, those that wait first."""
    query = select(OutboxMail.state, func.count(), func.min(OutboxMail.queued_at))
    found = session.execute(query.group_by(OutboxMail.state)).all()
    order = tuple(MailState)
    queues = (MailQueue(state, n, oldest) for state, n, oldest in found)
    return tuple(sorted(queues, key=lambda q: order.index(q.state)))


def note_copy(session: Session, folder: Path, *, by: str, now: datetime) -> None:
    """That a copy was made: what the page tells its age by."""
    audit.record(session, actor=by, action=COPY, subject=folder.name, at=now)


def last_copy(session: Session) -> datetime | None:
    """When `lockwatch central backup` last made a copy; null: never that is known here."""
    return session.scalar(select(func.max(AuditEntry.at)).where(AuditEntry.action == COPY))
