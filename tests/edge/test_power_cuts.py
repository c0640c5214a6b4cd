"""A model of the edge's memory: whatever was acknowledged is counted once, across power cuts.

The real receiver, spool and journal run on a folder whose file system forgets, at a power cut,
every byte and every name that was not synced. SQLite's own syncs are not modelled: its commits
either happened or were lost whole.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any
from unittest.mock import patch

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from app.edge import cases
from app.edge.cases import Finished
from app.edge.journal import Journal
from app.edge.pseudonyms import Pseudonyms
from app.edge.receive import Inbox, Receiver
from tests.edge.builders import SCANNER, TODAY, a_device, an_edge
from tests.edge.sender import DX

OBJECTS = st.integers(0, 5)
SYNTAX = "1.2.840.10008.1.2.1"
PSEUDONYMS = Pseudonyms(b"s" * 32)


class Forgetful:
    """What of a folder would survive: names at the last sync of the folder, bytes of each file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bytes: dict[int, bytes] = {}
        self.names: dict[str, int] = {}
        self._sync = os.fsync

    def fsync(self, handle: int) -> None:
        self._sync(handle)
        path = Path(f"/proc/self/fd/{handle}").resolve()
        if path == self.folder.resolve():
            self.names = {p.name: p.stat().st_ino for p in self.folder.iterdir()}
        elif path.parent == self.folder.resolve():
            self.bytes[os.fstat(handle).st_ino] = path.read_bytes()

    def cut(self) -> None:
        """Only what was synced is there; a name whose bytes were not synced is an empty file."""
        kept = {name: self.bytes.get(node, b"") for name, node in self.names.items()}
        for path in list(self.folder.iterdir()):
            path.unlink()
        for name, content in kept.items():
            (self.folder / name).write_bytes(content)
        self.bytes = {(self.folder / n).stat().st_ino: c for n, c in kept.items()}
        self.names = {p.name: p.stat().st_ino for p in self.folder.iterdir()}


class Memory(RuleBasedStateMachine):
    @initialize()
    def start(self) -> None:
        self.home = Path(tempfile.mkdtemp())
        self.acknowledged: set[int] = set()
        self.finished: set[int] = set()
        self._open()
        self.disk = Forgetful(self.inbox.spool)
        self.watch = patch("os.fsync", self.disk.fsync)
        self.watch.start()

    def _open(self) -> None:
        edge = an_edge(self.home)
        self.journal = Journal(edge.data_dir)
        self.inbox = Inbox.of(edge.data_dir)
        self.receiver = Receiver(edge, self.inbox, self.journal, PSEUDONYMS, lambda *_: None)
        self.version = self.journal.do(lambda db: cases.version_of(db, a_device()))

    @rule(n=OBJECTS)
    def receive(self, n: int) -> None:
        self.receiver.keep(_bytes(n), _uid(n), DX, SYNTAX)
        self.acknowledged.add(n)
        self._settle()

    @rule(n=OBJECTS)
    def receive_and_lose_the_journal_entry(self, n: int) -> None:
        """Power goes after the acknowledgement, before the journal has committed."""
        with patch.object(self.journal, "submit", lambda _work: _Lost()):
            known = self.receiver.is_here(_uid(n)) if n in self.acknowledged else False
            if not known:
                self.receiver.keep(_bytes(n), _uid(n), DX, SYNTAX)
                self.acknowledged.add(n)
        self.cut_power()

    @rule(n=OBJECTS, is_cut=st.booleans())
    def finish(self, n: int, is_cut: bool) -> None:
        """A case ends; its file is removed, or power goes just before."""
        if n not in self.acknowledged:
            return
        key = PSEUDONYMS.case(_uid(n))
        ended = self.journal.do(lambda db: cases.finish(db, key, _done(self.version)))
        assert ended == (n not in self.finished)
        self.finished.add(n)
        if is_cut:
            self.cut_power()
        else:
            self.inbox.path(key).unlink(missing_ok=True)

    @rule()
    def cut_power(self) -> None:
        self.journal.close()
        self.disk.cut()
        self._open()
        self.receiver.adopt()
        self._settle()

    @invariant()
    def each_is_counted_once(self) -> None:
        if not hasattr(self, "home"):
            return
        balance = self.journal.do(cases.balance)
        assert balance["received"] == len(self.acknowledged)
        assert balance["analysed"] == len(self.finished)
        assert balance["waiting"] == len(self.acknowledged - self.finished)
        waiting = {PSEUDONYMS.case(_uid(n)) for n in self.acknowledged - self.finished}
        stored = {bytes.fromhex(p.stem): p for p in self.inbox.spool.glob("*.dcm")}
        assert waiting <= set(stored)
        contents = {PSEUDONYMS.case(_uid(n)): _bytes(n) for n in self.acknowledged}
        assert all(stored[key].read_bytes() == contents[key] for key in waiting)

    def _settle(self) -> None:
        """Wait for what was submitted, and its callbacks."""
        self.journal.do(lambda db: db.execute("SELECT 1").fetchone())

    def teardown(self) -> None:
        if hasattr(self, "home"):
            self.watch.stop()
            self.journal.close()
            shutil.rmtree(self.home)


class _Lost:
    """The future of a commit that never comes."""

    def add_done_callback(self, _callback: Any) -> None: ...

    def result(self) -> None: ...


def _uid(n: int) -> str:
    return f"2.25.{n + 1}"


def _bytes(n: int) -> bytes:
    return b"DICM" * (n + 1)


def _done(version: int) -> Finished:
    return Finished(
        state="analysed",
        reason="",
        version=version,
        stratum=SCANNER,
        day=TODAY.toordinal(),
        measures=b"",
        seconds=None,
    )


TestMemory = Memory.TestCase
TestMemory.settings = settings(max_examples=15, stateful_step_count=12, deadline=None)
