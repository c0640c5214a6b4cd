"""When a study is complete: so many objects are here, or nothing came for a while.

DICOM does not say that a study has ended (dicom.md 3.5). Off by default: devices that read one
image need not wait. What is held back is in the journal as waiting, so a restart holds it again.
"""

from __future__ import annotations

import queue
from collections.abc import Callable
from dataclasses import dataclass, field

from app import clock
from app.edge.workers import BundleRefused, WorkerLost

Release = Callable[[bytes, float | None], None]
StudyOf = Callable[[bytes], str]  # asks a worker; `BundleRefused` or `WorkerLost`


@dataclass(slots=True)
class _Study:
    keys: list[bytes]
    last: float  # when its last object was stored
    timed: bool  # whether all of it came in this life of the agent


@dataclass(slots=True)
class Studies:
    """Holds objects back by study. `release(key, stored)` lets one be analysed.

    quiet_s : a study in which nothing came for so long is complete. objects : so is one with that
    many; 0: the number is not known. Late objects are a study of their own.
    """

    quiet_s: float
    objects: int
    study_of: StudyOf
    release: Release
    _new: queue.SimpleQueue[tuple[bytes, float | None]] = field(default_factory=queue.SimpleQueue)
    _open: dict[str, _Study] = field(default_factory=dict)

    def arrived(self, key: bytes, stored: float | None = None) -> None:
        """Take an object in; returns at once."""
        self._new.put((key, stored))

    def look(self) -> None:
        """Sort what came into studies, then release those that are complete."""
        while not self._new.empty():
            self._sort(*self._new.get())
        now = clock.elapsed()
        for name, study in list(self._open.items()):
            if now - study.last >= self.quiet_s:
                self._complete(name)

    def _sort(self, key: bytes, stored: float | None) -> None:
        try:
            name = self.study_of(key)
        except (BundleRefused, WorkerLost):
            name = ""
        if not name:  # the chain will say what is wrong with it
            self.release(key, stored)
            return
        at = clock.elapsed() if stored is None else stored
        study = self._open.setdefault(name, _Study([], at, timed=True))
        study.keys.append(key)
        study.last, study.timed = max(study.last, at), study.timed and stored is not None
        if len(study.keys) == self.objects:
            self._complete(name)

    def _complete(self, name: str) -> None:
        """The time to a result counts from the last object of the study."""
        study = self._open.pop(name)
        for key in study.keys:
            self.release(key, study.last if study.timed else None)
