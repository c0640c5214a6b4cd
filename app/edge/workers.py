"""The agent's side of a worker process: start it, ask it, and survive it."""

from __future__ import annotations

import json
import multiprocessing
import signal
from collections.abc import Mapping
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, Final

from app import clock
from app.contracts.manifest import Manifest, parse_manifest
from app.edge.worker import BROKEN, OUT_OF_MEMORY, Job, serve

START_WITHIN_S: Final = 180.0
PROOF_WITHIN_S: Final = 120.0


class WorkerLost(Exception):
    """The worker is gone. `reason` is a closed word that can be counted."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class BundleRefused(Exception):
    """The bundle is not the cleared one: `reason` in a closed word, `detail` for a person."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail


class WorkerProcess:
    """One worker. It is started when it is first asked, and again after it was lost."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._process: BaseProcess | None = None
        self._connection: Connection | None = None
        self.manifest: Manifest | None = None

    def start(self) -> Manifest:
        """A running worker's manifest; `BundleRefused` or `WorkerLost` when it cannot be had."""
        if self.manifest is not None and self._process is not None and self._process.is_alive():
            return self.manifest
        self.stop()
        context = multiprocessing.get_context("spawn")
        here, there = context.Pipe()
        self._connection = here
        self._process = context.Process(target=serve, args=(there, self._job), daemon=True)
        self._process.start()
        there.close()
        hello = self._receive(START_WITHIN_S)
        if "broken" in hello:
            self.stop()
            raise BundleRefused(str(hello["broken"]), str(hello["detail"]))
        self.manifest = parse_manifest(str(hello["manifest"]).encode())
        return self.manifest

    def ask(self, request: Mapping[str, Any], within_s: float) -> dict[str, Any]:
        """The worker's answer, or `WorkerLost`; then the worker is gone and can be started."""
        self.start()
        try:
            assert self._connection is not None
            self._connection.send_bytes(json.dumps(request).encode())
        except OSError:
            raise self._lost() from None
        return self._receive(within_s)

    def interrupt(self) -> None:
        """Make whoever waits for an answer stop waiting. May be called from another thread."""
        if (process := self._process) is not None:
            with suppress(ValueError):  # closed in the meantime
                process.kill()

    def stop(self) -> None:
        """End the process, whatever it is doing."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process.close()
        if self._connection is not None:
            self._connection.close()
        self._process, self._connection, self.manifest = None, None, None

    def _receive(self, within_s: float) -> dict[str, Any]:
        assert self._connection is not None
        deadline = clock.elapsed() + within_s
        try:
            if not self._connection.poll(max(0.0, deadline - clock.elapsed())):
                self.stop()
                raise WorkerLost("time_limit")
            answer: dict[str, Any] = json.loads(self._connection.recv_bytes())
        except (EOFError, OSError):
            raise self._lost() from None
        except ValueError:
            self.stop()
            raise WorkerLost("worker_unreadable") from None
        return answer

    def _lost(self) -> WorkerLost:
        assert self._process is not None
        self._process.join(5)
        code = self._process.exitcode
        self.stop()
        return WorkerLost(_REASONS.get(code or 0, "worker_died"))


_REASONS = {
    OUT_OF_MEMORY: "memory_limit",
    BROKEN: "bundle_refused",
    -signal.SIGXCPU: "time_limit",
}
