"""A day's work of the simulated hospitals: objects over the network, label files in the inbox.

Days are rendered ahead in another process of lower priority: the machine makes the images of
later days whenever nothing of today is left to do.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from types import TracebackType
from typing import Self

from app.lab.demo_processes import die_with_parent
from app.lab.demo_scenario import Scenario, Site
from app.lab.hospital import planned_cases, render_day
from app.lab.hospital_readers import (
    Read,
    audit_reads,
    is_sentinel_day,
    label_file,
    sentinel_reads,
)
from app.lab.hospital_sender import Peer, send

AHEAD_DAYS = 14


@dataclass(frozen=True, slots=True)
class Door:
    """Where one hospital's work goes: its edge's listener and its label inbox."""

    peer: Peer
    calling: str
    inbox: Path


class Traffic:
    """Everything the hospitals send. Use it as a context, from the main thread."""

    def __init__(
        self,
        play: Scenario,
        doors: Mapping[str, Door],
        spool: Path,
        workers: int = 1,
    ) -> None:
        self.play = play
        self.sent = dict.fromkeys(doors, 0)
        self._doors = doors
        self._sites = tuple(site for site in play.sites if site.code in doors)
        self._spool = spool
        self._workers = workers
        self._rendered: dict[tuple[int, str], Future[list[Path]]] = {}
        self._reads: dict[tuple[date, str], list[Read]] = defaultdict(list)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        # Forking a process that has threads can dead-lock the child.
        context = multiprocessing.get_context("spawn")
        self._renderers = self._stack.enter_context(
            ProcessPoolExecutor(self._workers, context, initializer=_renderer_starts)
        )
        self._senders = self._stack.enter_context(ThreadPoolExecutor(len(self._sites)))
        self._stack.callback(self._renderers.shutdown, wait=True, cancel_futures=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def prepare(self, day: int) -> None:
        """Have this day and the next ones rendered in the background."""
        for ahead in range(day, min(day + AHEAD_DAYS, self.play.days)):
            for site in self._sites:
                if (ahead, site.code) not in self._rendered:
                    folder = self._spool / site.code / f"{ahead:03d}"
                    self._rendered[ahead, site.code] = self._renderers.submit(
                        render_day, self.play, site, ahead, folder
                    )

    def read(self, day: int, sentinel_labels: Sequence[int]) -> None:
        """Let the readers work, and drop the reads of this day into the label inboxes."""
        for site in self._sites:
            if day < self.play.days:
                self._examine(site, day, sentinel_labels)
            due = self._reads.pop((self.play.on(day), site.code), [])
            if due:
                _drop(self._doors[site.code].inbox, f"reads-{self.play.on(day)}.csv", due)

    def deliver(self, day: int) -> None:
        """Send the day's objects of every site at once, and wait until all are acknowledged.

        Nobody comes after the last day of the play."""
        if day >= self.play.days:
            return
        self.prepare(day)
        sending = [self._senders.submit(self._deliver_site, site, day) for site in self._sites]
        self.prepare(day + 1)
        for one in sending:
            one.result()

    def _examine(self, site: Site, day: int, sentinel_labels: Sequence[int]) -> None:
        cases = [case.examined for case in planned_cases(self.play, site, day)]
        for read in audit_reads(self.play, site, day, cases):
            self._reads[read.read_on, site.code].append(read)
        if is_sentinel_day(day):
            reads = sentinel_reads(self.play, site, day, sentinel_labels)
            self._reads[self.play.on(day), site.code].extend(reads)

    def _deliver_site(self, site: Site, day: int) -> None:
        files = self._rendered.pop((day, site.code)).result()
        if files:
            door = self._doors[site.code]
            send(door.peer, door.calling, files)
            self.sent[site.code] += len(files)
            shutil.rmtree(files[0].parent)


def _drop(inbox: Path, name: str, reads: Sequence[Read]) -> None:
    """Put a label file into the inbox in one step, so that no half of it is ever read."""
    half = inbox.parent / f"{name}.half"
    half.write_text(label_file(reads))
    half.rename(inbox / name)


def _renderer_starts() -> None:
    die_with_parent(signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the demonstration to handle
    os.nice(5)  # today's patients come before tomorrow's
