"""Does the lock hold? Files hashed and known answers reproduced at start and daily; the fixed
sentinel images scored again weekly. A failed check stops inference, and nothing else.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, replace
from typing import Final

from app.contracts.change_control import InUse
from app.contracts.manifest import Manifest
from app.edge import operating_points
from app.edge.cases import version_of
from app.edge.dispatch import Dispatcher, Running
from app.edge.http import BackOff
from app.edge.journal import Journal, meta, set_meta
from app.edge.logs import log
from app.edge.workers import BundleRefused, WorkerLost

HOLDS, BROKEN, NOT_CHECKED = "holds", "broken", "not_checked"
WEEK: Final = 7


@dataclass(slots=True)
class Lock:
    """The state of the lock, and what keeps it known."""

    dispatcher: Dispatcher
    journal: Journal
    back_off: BackOff
    state: str = NOT_CHECKED
    reason: str = ""  # a closed word
    detail: str = ""  # which file or which case, and by how much
    deviation: float = 0.0
    running: Running | None = None
    _proved_on: int = 0

    def prove_if_due(self, today: int) -> bool:
        """Prove the lock once a day, and at start; True when the state has changed."""
        if today == self._proved_on or not self.back_off.is_over:
            return False
        before = self.state
        try:
            self._prove()
            self._proved_on = today
            self.back_off.succeeded()
        except WorkerLost as lost:
            log.error("lock.not_proved", reason=lost.reason)
            self.back_off.failed()
        return self.state != before

    def use(self, point: InUse) -> None:
        """Score the next studies at another operating point; the study under way keeps its own."""
        if self.running is not None:
            self.running = replace(self.running, point=point)
            if self.state == HOLDS:
                self.dispatcher.open_for(self.running)

    def score_sentinels_if_due(self, today: int) -> bool:
        """Score the fixed images again once a week; True when the state has changed."""
        if self.state != HOLDS or self.running is None:
            return False
        sentinel = self.running.manifest.sentinel
        last = self.journal.do(self._last_round)
        if sentinel is None or (last is not None and today < last + WEEK):
            return False
        try:
            deviation = float(self.dispatcher.ask({"do": "sentinel"})["deviation"])
        except (BundleRefused, WorkerLost) as error:
            log.error("sentinel.not_scored", reason=str(error))
            return False
        self.journal.do(lambda db: self._remember_round(db, today, deviation))
        if deviation > sentinel.tolerance:
            moved = f"a sentinel score moved by {deviation:.6f} in probability"
            self._break("sentinel_scores", f"{moved}, at most {sentinel.tolerance:g} expected")
        return self.state != HOLDS

    def _prove(self) -> None:
        try:
            reply = self.dispatcher.ask({"do": "prove"})
        except BundleRefused as refused:
            return self._break(refused.reason, refused.detail)
        if "deviation" in reply:  # the files are whole: this is the version that ran, or would have
            manifest, self.deviation = reply["manifest"], float(reply["deviation"])
            self.running = self.journal.do(lambda db: _running(db, manifest))
            self.journal.do(lambda db: set_meta(db, "lock_digest", manifest.lock_digest))
        if "broken" in reply:
            return self._break(str(reply["broken"]), str(reply["detail"]))
        assert self.running is not None
        self.state, self.reason, self.detail = HOLDS, "", ""
        self.dispatcher.open_for(self.running)
        return None

    def _break(self, reason: str, detail: str) -> None:
        log.error("lock.broken", reason=reason)
        self.state, self.reason, self.detail = BROKEN, reason, detail
        self.dispatcher.close()

    def _last_round(self, db: sqlite3.Connection) -> int | None:
        assert self.running is not None
        row = db.execute(
            "SELECT max(day) FROM rounds WHERE version = ?", (self.running.version,)
        ).fetchone()
        return None if row[0] is None else int(row[0])

    def _remember_round(self, db: sqlite3.Connection, day: int, deviation: float) -> None:
        assert self.running is not None
        db.execute(
            "INSERT INTO rounds (version, day, deviation) VALUES (?, ?, ?)",
            (self.running.version, day, deviation),
        )


def _running(db: sqlite3.Connection, manifest: Manifest) -> Running:
    return Running(manifest, version_of(db, manifest), operating_points.in_use(db, manifest))


def known_lock_digest(db: sqlite3.Connection) -> str:
    """The lock digest that last ran here, or ""."""
    return str(meta(db, "lock_digest") or "")
