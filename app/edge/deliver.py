"""Results leave the outbox for the clinic, each destination at its own pace, from its own queue.

The newest go first: after an outage the case that has just come in does not wait behind the
backlog. A repeat overwrites, because names and UIDs are derived. Only an answer that will not
change by itself makes a result fail.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from app.edge.destinations import (
    DESTINATIONS,
    Again,
    Never,
    NotNow,
    Send,
    destinations,
    sweep_folder,
)
from app.edge.http import BackOff
from app.edge.journal import Journal
from app.edge.logs import log
from app.edge.settings import EdgeSettings

BATCH: Final = 20  # so many that a new result waits for, at most
TRIES: Final = 3  # of what a destination refuses for good
LONGEST_WAIT_S: Final = 30.0


@dataclass(slots=True)
class Deliverer:
    """Empties the outbox. Each destination has a thread of its own that calls `deliver`."""

    settings: EdgeSettings
    journal: Journal
    outbox: Path
    back_off: dict[str, BackOff] = field(default_factory=dict)

    def sweep(self) -> None:
        """Remove what nobody waits for, before anything runs: results that an end of the agent left
        behind their delivery, or before the end of their case, which will be run again, and what it
        had half written into the folder for results."""
        sweep_folder(self.settings)
        wanted = self.journal.do(unsettled)
        for path in self.outbox.iterdir():
            if path.name not in wanted:
                path.unlink(missing_ok=True)

    def deliver_due(self) -> int:
        """One pass over every destination; how many were delivered."""
        return sum(self.deliver(destination) for destination in destinations(self.settings))

    def deliver(self, destination: str) -> int:
        """One batch to one destination; how many were delivered."""
        wait = self.back_off.setdefault(destination, BackOff(longest_s=LONGEST_WAIT_S))
        names = self.journal.do(lambda db: queued(db, destination)) if wait.is_over else []
        if not names:
            return 0
        done: list[str] = []
        try:
            with DESTINATIONS[destination].opened(self.settings) as send:
                for name in names:
                    self._send(send, destination, name, done)
            wait.succeeded()
        except NotNow as error:
            wait.failed()
            log.warning("results.wait", where=destination, reason=str(error))
        if done:
            self.journal.do(lambda db: settle(db, destination, done, "delivered"))
            self._tidy(done)
        return len(done)

    def _send(self, send: Send, destination: str, name: str, done: list[str]) -> None:
        try:
            send(self.outbox / name)
            done.append(name)
        except (Again, Never) as error:
            tries, reason = TRIES if isinstance(error, Never) else None, str(error)
            self.journal.do(lambda db: refuse(db, destination, name, reason, tries))

    def _tidy(self, names: Sequence[str]) -> None:
        """Remove what every destination has."""
        open_names = self.journal.do(unsettled)
        for name in names:
            if name not in open_names:
                (self.outbox / name).unlink(missing_ok=True)


def queued(db: sqlite3.Connection, destination: str) -> list[str]:
    """Names of the next results for `destination`: fewest attempts first, then the newest."""
    rows = db.execute(
        "SELECT name FROM deliveries WHERE state = 'queued' AND destination = ?"
        " ORDER BY attempts, id DESC LIMIT ?",
        (destination, BATCH),
    )
    return [name for (name,) in rows]


def settle(db: sqlite3.Connection, destination: str, names: Sequence[str], state: str) -> None:
    """Give deliveries their end."""
    db.executemany(
        "UPDATE deliveries SET state = ? WHERE name = ? AND destination = ?",
        [(state, name, destination) for name in names],
    )


def refuse(
    db: sqlite3.Connection, destination: str, name: str, reason: str, tries: int | None
) -> None:
    """Count a refusal; after `tries` of them the result has failed, None: it never has."""
    db.execute(
        "UPDATE deliveries SET attempts = attempts + 1, reason = ?,"
        " state = CASE WHEN attempts + 1 >= ? THEN 'failed' ELSE state END"
        " WHERE name = ? AND destination = ?",
        (reason, tries or 2**62, name, destination),
    )


def unsettled(db: sqlite3.Connection) -> set[str]:
    """Names that some destination still has to get, or has refused: a person may look at those."""
    return {n for (n,) in db.execute("SELECT name FROM deliveries WHERE state <> 'delivered'")}
