"""Results leave the outbox for the clinic, each destination at its own pace.

A folder gets every result; a DICOM destination gets the images. A repeat overwrites, because
names and UIDs are derived. Only an answer that will not change by itself makes a result fail.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pynetdicom.sop_class import SecondaryCaptureImageStorage

from app.edge import spool
from app.edge.dimse import NoAssociation, associated
from app.edge.http import BackOff
from app.edge.journal import Journal
from app.edge.logs import log
from app.edge.results import IMAGE
from app.edge.settings import EdgeSettings

BATCH: Final = 50
TRIES: Final = 3  # of what the peer refuses for good
FOLDER, PEER = "folder", "peer"
CLASSES: Final = (SecondaryCaptureImageStorage,)
_SUBFOLDER = {IMAGE: "sc", ".hl7": "priority"}


class NotNow(Exception):
    """The destination did not take it; it may later."""


class Never(Exception):
    """The destination refused it in a way that will not change by itself."""


def destinations(settings: EdgeSettings) -> tuple[str, ...]:
    """Where results go, in words the journal keeps."""
    wanted = ((FOLDER, settings.results_folder), (PEER, settings.results_peer))
    return tuple(name for name, where in wanted if where is not None)


def addressed(settings: EdgeSettings, names: Sequence[str]) -> list[tuple[str, str]]:
    """Which result goes where, as (name, destination); a DICOM peer takes images only."""
    return [
        (name, destination)
        for name in names
        for destination in destinations(settings)
        if destination == FOLDER or name.endswith(IMAGE)
    ]


@dataclass(slots=True)
class Deliverer:
    """Empties the outbox. `deliver_due` is called by a thread of its own."""

    settings: EdgeSettings
    journal: Journal
    outbox: Path
    back_off: dict[str, BackOff] = field(default_factory=dict)

    def deliver_due(self) -> int:
        """One pass over what is queued; how many were delivered."""
        done = 0
        for destination in destinations(self.settings):
            wait = self.back_off.setdefault(destination, BackOff())
            if wait.is_over:
                done += self._pass(destination, wait)
        return done

    def _pass(self, destination: str, wait: BackOff) -> int:
        names = self.journal.do(lambda db: queued(db, destination))
        done: list[str] = []
        try:
            if destination == FOLDER:
                self._to_folder(names, done)
            elif names:
                self._to_peer(names, done)
            wait.succeeded()
        except NotNow as error:
            wait.failed()
            log.warning("results.wait", where=destination, reason=str(error))
        if done:
            self.journal.do(lambda db: settle(db, destination, done, "delivered"))
            self._tidy(done)
        return len(done)

    def _to_folder(self, names: Sequence[str], done: list[str]) -> None:
        assert self.settings.results_folder is not None
        for name in names:
            folder = self.settings.results_folder / _SUBFOLDER[Path(name).suffix]
            try:
                folder.mkdir(parents=True, exist_ok=True)
                spool.replace(folder / name, ((self.outbox / name).read_bytes(),))
            except OSError as error:
                raise NotNow(type(error).__name__) from error
            done.append(name)

    def _to_peer(self, names: Sequence[str], done: list[str]) -> None:
        assert self.settings.results_peer is not None
        peer = self.settings.results_peer
        try:
            with associated(self.settings.ae_title, peer, CLASSES) as association:
                for name in names:
                    self._send_one(association, name, done)
        except NoAssociation:
            raise NotNow("no_association") from None

    def _send_one(self, association: Any, name: str, done: list[str]) -> None:
        try:
            _send(association, self.outbox / name)
            done.append(name)
        except Never as error:
            self._refused(name, str(error))

    def _refused(self, name: str, reason: str) -> None:
        def work(db: sqlite3.Connection) -> None:
            db.execute(
                "UPDATE deliveries SET attempts = attempts + 1, reason = ?,"
                " state = CASE WHEN attempts + 1 >= ? THEN 'failed' ELSE state END"
                " WHERE name = ? AND destination = ?",
                (reason, TRIES, name, PEER),
            )

        self.journal.do(work)

    def _tidy(self, names: Sequence[str]) -> None:
        """Remove what every destination has."""
        open_names = self.journal.do(unsettled)
        for name in names:
            if name not in open_names:
                (self.outbox / name).unlink(missing_ok=True)


def queued(db: sqlite3.Connection, destination: str) -> list[str]:
    """Names of the next results for `destination`, fewest attempts first."""
    rows = db.execute(
        "SELECT name FROM deliveries WHERE state = 'queued' AND destination = ?"
        " ORDER BY attempts, id LIMIT ?",
        (destination, BATCH),
    )
    return [name for (name,) in rows]


def settle(db: sqlite3.Connection, destination: str, names: Sequence[str], state: str) -> None:
    """Give deliveries their end."""
    db.executemany(
        "UPDATE deliveries SET state = ? WHERE name = ? AND destination = ?",
        [(state, name, destination) for name in names],
    )


def unsettled(db: sqlite3.Connection) -> set[str]:
    """Names that some destination still has to get."""
    return {n for (n,) in db.execute("SELECT name FROM deliveries WHERE state = 'queued'")}


def _send(association: Any, path: Path) -> None:
    # pynetdicom's requestor can lose the answer (dicom.md 0.3): an empty status means unknown,
    # and sending the same object again is harmless.
    try:
        status = association.send_c_store(path)
    except (RuntimeError, ValueError) as error:
        raise NotNow(type(error).__name__) from error
    if "Status" not in status:
        raise NotNow("no_answer")
    code = int(status.Status)
    if code in (0x0000, 0xB000, 0xB006, 0xB007):
        return
    if code >> 8 == 0xA7:
        raise NotNow("out_of_resources")
    raise Never(f"status_{code:04x}")
