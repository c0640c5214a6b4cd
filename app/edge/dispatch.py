"""Between the spool and the workers: one thread a worker, cases in the order they came.

While the lock is not proved, cases wait and questions (is the lock whole?) are still asked.
A case leaves the queue only when its end is in the journal; until then its object stays.
"""

from __future__ import annotations

import hashlib
import threading
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from app import clock
from app.contracts.change_control import InUse, thresholds_for
from app.contracts.manifest import Manifest
from app.edge import cases
from app.edge.credible_time import counted_on
from app.edge.destinations import addressed
from app.edge.journal import Journal, meta
from app.edge.logs import log
from app.edge.measure import nothing
from app.edge.pseudonyms import Pseudonyms
from app.edge.receive import Inbox
from app.edge.settings import EdgeSettings
from app.edge.worker import Job
from app.edge.workers import PROOF_WITHIN_S, BundleRefused, WorkerLost, WorkerProcess

RESTART_AFTER_S: Final = 2.0  # after a worker that would not even start


@dataclass(frozen=True, slots=True)
class Running:
    """The device version in use: its manifest, the journal's number for it, its operating point."""

    manifest: Manifest
    version: int
    point: InUse

    @property
    def thresholds(self) -> dict[str, dict[str, float]]:
        """Score thresholds by scanner class ("": any other) and stage."""
        classes = {"", *(t.scanner_class for t in self.point.thresholds)}
        return {name: thresholds_for(self.point.thresholds, name) for name in sorted(classes)}


@dataclass(slots=True)
class _Question:
    request: Mapping[str, Any]
    future: Future[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class _Waiting:
    key: bytes
    stored: float | None  # when it was on disk, in `clock.elapsed()`; None after a restart


class Dispatcher:
    """Feeds the workers. `open_for` lets cases run; `close` holds them back."""

    def __init__(
        self,
        settings: EdgeSettings,
        job: Job,
        journal: Journal,
        inbox: Inbox,
        pseudonyms: Pseudonyms,
    ) -> None:
        self._settings = settings
        self._journal = journal
        self._inbox = inbox
        self._pseudonyms = pseudonyms
        self._cases: deque[_Waiting] = deque()
        self._questions: deque[_Question] = deque()
        self._changed = threading.Condition()
        self._running: Running | None = None
        self._stopping = False
        self._paused = False
        self._workers = [WorkerProcess(job) for _ in range(settings.workers)]
        self._threads = [
            threading.Thread(target=self._serve, args=(w,), name="dispatch", daemon=True)
            for w in self._workers
        ]

    def start(self) -> None:
        """Start the threads; the processes start when they are first needed."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End threads and processes; a case under way stays waiting and runs again next time."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        for worker in self._workers:
            worker.interrupt()
        for thread in self._threads:
            thread.join()
        for worker in self._workers:
            worker.stop()

    def add(self, key: bytes, stored: float | None = None) -> None:
        """Queue a case."""
        with self._changed:
            self._cases.append(_Waiting(key, stored))
            self._changed.notify()

    def open_for(self, running: Running) -> None:
        """Let cases run on this device version."""
        with self._changed:
            self._running = running
            self._changed.notify_all()

    def pause(self, paused: bool) -> None:
        """Hold cases back, or no longer; questions are still asked."""
        with self._changed:
            self._paused = paused
            self._changed.notify_all()

    def close(self) -> None:
        """Let no further case run."""
        with self._changed:
            self._running = None

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """A worker's answer; `BundleRefused` or `WorkerLost` when there is none."""
        question = _Question(request, Future())
        with self._changed:
            if self._stopping:
                raise WorkerLost("stopping")
            self._questions.append(question)
            self._changed.notify()
        return question.future.result()

    def _next(self) -> tuple[_Question | _Waiting, Running | None] | None:
        with self._changed:
            while not self._stopping:
                if self._questions:
                    return self._questions.popleft(), None
                if self._running is not None and self._cases and not self._paused:
                    return self._cases.popleft(), self._running
                self._changed.wait()
        for question in self._questions:
            question.future.set_exception(WorkerLost("stopping"))
        self._questions.clear()
        return None

    def _serve(self, worker: WorkerProcess) -> None:
        while (found := self._next()) is not None:
            todo, running = found
            if isinstance(todo, _Question):
                self._answer(worker, todo)
            elif running is not None:
                self._run(worker, todo, running)

    def _answer(self, worker: WorkerProcess, question: _Question) -> None:
        try:
            manifest = worker.start()
            reply = worker.ask(question.request, PROOF_WITHIN_S)
            question.future.set_result(reply | {"manifest": manifest})
        except (BundleRefused, WorkerLost) as error:
            question.future.set_exception(error)

    def _run(self, worker: WorkerProcess, todo: _Waiting, running: Running) -> None:
        try:
            if worker.start().lock_digest != running.manifest.lock_digest:
                raise BundleRefused("other_version", "another bundle than the one that was proved")
        except (BundleRefused, WorkerLost) as error:
            log.error("worker.not_started", reason=str(error))
            self._put_back(todo)
            if isinstance(error, BundleRefused):
                self.close()  # the next proof says what is wrong
            with self._changed:
                self._changed.wait_for(lambda: self._stopping, RESTART_AFTER_S)
            return
        done = self._finished(worker, todo, running)
        if done is not None:
            work = partial(cases.finish, key=todo.key, done=done)
            self._journal.submit(work).add_done_callback(partial(self._written, todo))

    def _finished(
        self, worker: WorkerProcess, todo: _Waiting, running: Running
    ) -> cases.Finished | None:
        """The end of one case, or None when the agent is stopping."""
        request = {
            "do": "case",
            "path": str(self._inbox.path(todo.key)),
            "thresholds": running.thresholds,
        }
        try:
            if not self._is_as_received(todo.key):
                raise WorkerLost("object_damaged")
            reply = worker.ask(request, self._settings.case_seconds)
        except WorkerLost as lost:
            if self._stopping:
                return None
            log.error("case.failed", reason=lost.reason)
            reply = {"state": "failed", "reason": lost.reason}
        return self._end(reply, todo, running)

    def _is_as_received(self, key: bytes) -> bool:
        """Whether the object on disk is still the one that was acknowledged, by its hash."""
        content = self._journal.do(partial(cases.content, key=key))
        try:
            return hashlib.sha256(self._inbox.path(key).read_bytes()).digest() == content
        except OSError:
            return False

    def _end(self, reply: Mapping[str, Any], todo: _Waiting, running: Running) -> cases.Finished:
        schema = running.manifest.schema_
        measures = bytes.fromhex(reply.get("measures", "")) or nothing(schema.layout())
        today = clock.now().astimezone(self._settings.zone).date().toordinal()
        closed = self._journal.do(lambda db: meta(db, "closed_through"))
        day, note = counted_on(reply.get("day"), today, closed)
        return cases.Finished(
            state=reply["state"],
            reason=reply["reason"],
            version=running.version,
            stratum=self._pseudonyms.stratum(schema, reply.get("stratum", {})),
            day=day,
            measures=measures,
            seconds=None if todo.stored is None else clock.elapsed() - todo.stored,
            results=addressed(self._settings, reply.get("results", [])),
            notes=[*reply.get("notes", []), *filter(None, (note,))],
        )

    def _written(self, todo: _Waiting, future: Future[bool]) -> None:
        if future.exception() is not None:
            log.error("case.not_written", error=type(future.exception()).__name__)
            self._put_back(todo)
        else:
            self._inbox.path(todo.key).unlink(missing_ok=True)

    def _put_back(self, todo: _Waiting) -> None:
        with self._changed:
            self._cases.appendleft(todo)
            self._changed.notify()
