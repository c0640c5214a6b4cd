"""A watched folder: what a camera or an export drops there is taken as if it had been sent.

A file is taken once it has stopped growing, and removed when it is on disk under its key. What
is refused is moved aside for a person to look at. Only the file header is read here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from app.edge.file_header import named
from app.edge.journal import Journal, count
from app.edge.logs import log
from app.edge.receive import MEGABYTE, NOT_UNDERSTOOD, OUT_OF_RESOURCES, Receiver, Refused

REFUSED = "refused"


@dataclass(slots=True)
class Watched:
    """The folder. `look` is called again and again by a thread of its own."""

    folder: Path
    receiver: Receiver
    journal: Journal
    largest_mb: int
    _seen: dict[Path, tuple[int, int]] = field(default_factory=dict)

    def look(self) -> int:
        """Take what has not changed since the last look; how many were taken."""
        if not self.folder.is_dir():
            return 0
        found = {path: _state(path) for path in sorted(self.folder.iterdir()) if _is_ours(path)}
        still = [path for path, state in found.items() if self._seen.get(path) == state]
        self._seen = found
        return sum(map(self._take, still))

    def _take(self, path: Path) -> bool:
        try:
            if path.stat().st_size > self.largest_mb * MEGABYTE:
                raise Refused(NOT_UNDERSTOOD, "too_large")
            raw = path.read_bytes()
            self.receiver.keep(raw, *named(raw))
            path.unlink()
        except Refused as refused:
            if refused.status != OUT_OF_RESOURCES:  # else it is still there next time
                self._put_aside(path, refused.reason)
            return False
        except OSError as error:  # a full disk, a share that is gone: it is still there next time
            log.error("watched.not_taken", error=type(error).__name__)
            return False
        return True

    def _put_aside(self, path: Path, reason: str) -> None:
        log.warning("watched.refused", reason=reason)
        self.journal.do(lambda db: count(db, "refused", reason))
        (self.folder / REFUSED).mkdir(exist_ok=True)
        path.replace(self.folder / REFUSED / path.name)


def _is_ours(path: Path) -> bool:
    return path.is_file() and not path.name.startswith(".")


def _state(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns
