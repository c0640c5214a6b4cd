"""Follow the centre's operating points: pull, verify, apply between studies, say which is used."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from app.contracts.change_control import PointRefused
from app.contracts.manifest import Manifest
from app.edge import operating_points
from app.edge.journal import Journal
from app.edge.logs import log
from app.edge.sentinel import Lock
from app.edge.uplink import Identity, Uplink

LONGEST_CHAIN: Final = 64  # operating points taken in one round; the rest wait for the next


@dataclass(slots=True)
class PointKeeper:
    """Keeps this installation at the operating point that the centre last released for it."""

    journal: Journal
    uplink: Uplink
    lock: Lock
    refused: tuple[str, str] = field(default=("", ""))  # what was offered, and why it was refused

    def follow(self, identity: Identity, now: datetime) -> None:
        """Take what is offered and new, then apply what has become effective."""
        if self.lock.running is None:
            return
        manifest = self.lock.running.manifest
        if self.uplink.offered not in (None, self._newest(manifest), self.refused[0]):
            self._pull(identity, manifest)
        point = self.journal.do(lambda db: operating_points.apply_due(db, manifest, now))
        if point is not None:
            self.lock.use(point)

    def status(self) -> dict[str, Any]:
        """For people at the hospital: what is used, what waits, and what was refused and why."""
        if self.lock.running is None:
            return {}
        used = self.lock.running.point
        newest = self._newest(self.lock.running.manifest)
        return {
            "id": used.id,
            "thresholds": [t.model_dump() for t in used.thresholds],
            "waiting": "" if newest == used.id else newest,
            "refused": self.refused[0],
            "refused_because": self.refused[1],
        }

    def _newest(self, manifest: Manifest) -> str:
        return self.journal.do(lambda db: operating_points.newest(db, manifest)).id

    def _pull(self, identity: Identity, manifest: Manifest) -> None:
        keys = [bytes.fromhex(key) for key in identity.receipt_keys]
        offered = self.uplink.offered or ""
        for _ in range(LONGEST_CHAIN):
            after = self.journal.do(lambda db: operating_points.newest(db, manifest)).counter
            envelope = self.uplink.operating_point(after)
            if envelope is None:
                self.uplink.offered = None  # the next receipt offers it again
                return
            try:
                self._take(manifest, identity.site, envelope, keys)
            except PointRefused as error:
                self._refuse(offered, error)
                return

    def _take(self, manifest: Manifest, site: str, envelope: bytes, keys: list[bytes]) -> None:
        self.journal.do(lambda db: operating_points.take(db, manifest, site, envelope, keys))
        self.refused = ("", "")

    def _refuse(self, offered: str, error: PointRefused) -> None:
        """Keep running as before; asked again only for another offer, or after a restart."""
        log.error("operating_point.refused", reason=error.reason)
        self.refused = (offered, error.reason)
        self.journal.do(lambda db: operating_points.refused(db, error.reason))
