"""The edge's memory: one SQLite file, one connection, one writer thread with group commit.

Everything that must be true together is one function of the connection, and runs inside one
transaction; callers that arrive while a commit is under way share the next one, so that many
cases cost one fsync. Rollback journal and `synchronous=FULL`: the write-ahead log of the
SQLite that Python 3.11 brings (3.40) has a corruption bug (fixed in 3.51.3).
"""

from __future__ import annotations

import fcntl
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from app.errors import AppError

FORMAT = 1
LARGEST_BATCH = 512
LINGER_S = 0.002  # how long the first of a batch waits for company
T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

_TABLES = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE versions (
  id INTEGER PRIMARY KEY,
  lock_digest TEXT NOT NULL UNIQUE,
  manifest BLOB NOT NULL
);
CREATE TABLE strata (
  id INTEGER PRIMARY KEY,
  scanner TEXT NOT NULL, manufacturer TEXT NOT NULL, model TEXT NOT NULL,
  software_version TEXT NOT NULL, protocol TEXT NOT NULL,
  UNIQUE (scanner, manufacturer, model, software_version, protocol)
);
CREATE TABLE cases (
  id INTEGER PRIMARY KEY,
  key BLOB NOT NULL UNIQUE,        -- HMAC-SHA256 of the SOP Instance UID
  content BLOB NOT NULL,           -- SHA-256 of the stored file
  received_on INTEGER NOT NULL,    -- site-local day, proleptic Gregorian ordinal
  state TEXT NOT NULL DEFAULT 'waiting',  -- or an outcome
  reason TEXT NOT NULL DEFAULT '',
  version INTEGER REFERENCES versions,
  stratum INTEGER REFERENCES strata,
  day INTEGER,                     -- site-local acquisition day
  seen INTEGER,                    -- `closed_through` when it was finished: was it late?
  measures BLOB,                   -- float64, see measure.py
  seconds REAL,                    -- from last byte received to result
  cases_window INTEGER, moments_window INTEGER, subgroups_window INTEGER  -- 0: held back
);
CREATE INDEX cases_by_state ON cases (state);
CREATE INDEX cases_not_counted ON cases (day) WHERE cases_window IS NULL AND day IS NOT NULL;
CREATE INDEX cases_not_crossed ON cases (day) WHERE moments_window IS NULL AND day IS NOT NULL;
CREATE INDEX cases_not_grouped ON cases (day) WHERE subgroups_window IS NULL AND day IS NOT NULL;
CREATE TABLE labels (
  id INTEGER PRIMARY KEY,
  key BLOB NOT NULL,               -- of a case; empty for a sentinel image
  sentinel INTEGER NOT NULL,       -- place in the sentinel set; -1 for a case
  label INTEGER NOT NULL,
  source TEXT NOT NULL, reader_group TEXT NOT NULL, policy TEXT NOT NULL,
  reader BLOB NOT NULL,            -- HMAC of the reader
  read_on INTEGER NOT NULL,
  window INTEGER
);
CREATE INDEX labels_by_case ON labels (key, sentinel);
CREATE INDEX labels_not_sent ON labels (read_on) WHERE window IS NULL;
CREATE TABLE label_files (content BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE rounds (
  id INTEGER PRIMARY KEY, version INTEGER NOT NULL, day INTEGER NOT NULL,
  deviation REAL NOT NULL, window INTEGER
);
CREATE TABLE counters (kind TEXT, reason TEXT, n INTEGER NOT NULL, PRIMARY KEY (kind, reason))
  WITHOUT ROWID;
CREATE TABLE deliveries (
  id INTEGER PRIMARY KEY, name TEXT NOT NULL, destination TEXT NOT NULL,
  state TEXT NOT NULL DEFAULT 'queued',  -- delivered, failed
  attempts INTEGER NOT NULL DEFAULT 0, reason TEXT NOT NULL DEFAULT '',
  UNIQUE (name, destination)
);
CREATE INDEX deliveries_by_state ON deliveries (state);
CREATE TABLE windows (
  epoch INTEGER NOT NULL, sequence INTEGER NOT NULL, digest TEXT NOT NULL,
  stream TEXT NOT NULL, start INTEGER NOT NULL, revision INTEGER NOT NULL,
  raw BLOB,                        -- NULL once `retention_days` have passed
  state TEXT NOT NULL DEFAULT 'unsent',  -- acknowledged, dead
  outcome TEXT NOT NULL DEFAULT '', reason TEXT NOT NULL DEFAULT '',
  settled INTEGER,                 -- when, seconds since 1970
  receipt BLOB,
  PRIMARY KEY (epoch, sequence)
) WITHOUT ROWID;
CREATE INDEX windows_by_state ON windows (state, epoch, sequence);
"""

# Came after format 1; journals that lack it get it when they are opened.
_ADDED = """
CREATE TABLE IF NOT EXISTS operating_points (
  lock_digest TEXT NOT NULL, counter INTEGER NOT NULL,
  point TEXT NOT NULL,             -- JSON of the signed OperatingPoint
  payload TEXT NOT NULL,           -- SHA-256 of that
  envelope BLOB NOT NULL,
  effective_from INTEGER NOT NULL, applied INTEGER,  -- seconds since 1970
  PRIMARY KEY (lock_digest, counter)
) WITHOUT ROWID;
-- objects that were refused for good, so that no archive is asked for them again
CREATE TABLE IF NOT EXISTS refusals (key BLOB PRIMARY KEY) WITHOUT ROWID;
-- what the noise of each window promises: how many cases are in it, and the loss of each
CREATE TABLE IF NOT EXISTS noise_ledger (
  epoch INTEGER NOT NULL, sequence INTEGER NOT NULL, cases INTEGER NOT NULL, rho REAL NOT NULL,
  PRIMARY KEY (epoch, sequence)
) WITHOUT ROWID;
"""


class JournalRefused(AppError):
    """The journal cannot be used: another agent has it, or it is not readable."""

    title = "Journal refused"
    status = 503


@dataclass(slots=True)
class _Item:
    work: Work[Any]
    future: Future[Any]
    value: Any = None
    error: Exception | None = None


class Journal:
    """The open journal of `folder`. Only one process can have it."""

    def __init__(self, folder: Path) -> None:
        self._lock = _lock(folder / "agent.lock")
        self._db = _open(folder / "journal.db")
        self._queue: queue.SimpleQueue[_Item | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._run, name="journal", daemon=True)
        self._writer.start()

    def submit(self, work: Work[T]) -> Future[T]:
        """Run `work` in a transaction soon; the future is done when it is on disk."""
        future: Future[T] = Future()
        self._queue.put(_Item(work, future))
        return future

    def do(self, work: Work[T]) -> T:
        """Run `work` in a transaction and wait until it is on disk."""
        return self.submit(work).result()

    def close(self) -> None:
        """Finish what was submitted, then let go."""
        self._queue.put(None)
        self._writer.join()
        self._db.close()
        os.close(self._lock)

    def _run(self) -> None:
        while batch := self._take():
            self._commit(batch)

    def _take(self) -> list[_Item]:
        first = self._queue.get()
        if first is None:
            return []
        time.sleep(LINGER_S)
        batch = [first]
        while len(batch) < LARGEST_BATCH and not self._queue.empty():
            item = self._queue.get()
            if item is None:
                self._queue.put(None)
                break
            batch.append(item)
        return batch

    def _commit(self, batch: list[_Item]) -> None:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            for item in batch:
                self._run_one(item)
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back()
            for item in batch:
                item.error = error
        for item in batch:
            if item.error is None:
                item.future.set_result(item.value)
            else:
                item.future.set_exception(item.error)

    def _run_one(self, item: _Item) -> None:
        self._db.execute("SAVEPOINT one")
        try:
            item.value = item.work(self._db)
        except Exception as error:
            item.error = error
            if not self._db.in_transaction:  # SQLite has undone the whole batch: the disk is full
                raise
            self._db.execute("ROLLBACK TO one")
        self._db.execute("RELEASE one")

    def _roll_back(self) -> None:
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")


def is_taken(folder: Path) -> bool:
    """Whether an agent has the journal of `folder` open."""
    try:
        handle = os.open(folder / "agent.lock", os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False


def open_for_reading(folder: Path) -> sqlite3.Connection:
    """A second, read-only connection, for the command line beside a running agent."""
    path = folder / "journal.db"
    if not path.exists():
        raise JournalRefused(f"no journal in {folder}")
    return sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)


def last_release(folder: Path) -> int:
    """The highest release counter that the centre has told this edge, 0 if none."""
    if not (folder / "journal.db").exists():
        return 0
    db = open_for_reading(folder)
    try:
        return int(meta(db, "release_counter") or 0)
    finally:
        db.close()


def meta(db: sqlite3.Connection, name: str) -> Any:
    """A remembered value, or None."""
    row = db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
    return row[0] if row else None


def set_meta(db: sqlite3.Connection, name: str, value: Any) -> None:
    """Remember `value`."""
    db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))


def count(db: sqlite3.Connection, kind: str, reason: str, n: int = 1) -> None:
    """Add to a counter. `reason` is a closed word, never text from outside."""
    db.execute(
        "INSERT INTO counters VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET n = n + excluded.n",
        (kind, reason, n),
    )


def _lock(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise JournalRefused(
            f"data_dir {path.parent}: a folder that can be written expected, got {error.strerror}"
        ) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        raise JournalRefused(
            f"data_dir {path.parent}: one agent expected, another one is running on it"
        ) from error
    return handle


def _open(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30)
    try:
        db.execute("PRAGMA journal_mode=TRUNCATE")
        db.execute("PRAGMA synchronous=FULL")
        db.execute("PRAGMA secure_delete=ON")
        _check_format(db)
    except sqlite3.DatabaseError as error:
        db.close()
        raise JournalRefused(
            f"{path.name}: a readable journal expected, got {error}. It was left as it is; "
            "move it aside to start anew, and the centre will see the gap"
        ) from error
    except JournalRefused:
        db.close()
        raise
    return db


def _check_format(db: sqlite3.Connection) -> None:
    (found,) = db.execute("PRAGMA user_version").fetchone()
    if found == 0:
        db.executescript(f"BEGIN; {_TABLES} PRAGMA user_version = {FORMAT}; COMMIT;")
    elif found != FORMAT:
        raise JournalRefused(f"journal of format {FORMAT} expected, got {found}; nothing changed")
    (state,) = db.execute("PRAGMA quick_check(1)").fetchone()
    if state != "ok":
        raise sqlite3.DatabaseError("damaged pages")
    db.executescript(_ADDED)
