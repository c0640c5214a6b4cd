"""A running edge whose lives are forked: half a second from start to a proved lock."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.edge.running_edge import RunningEdge
from tests.support.chest_bundle import KEY, ROOT


class Lives:
    """The other side of `fork_server`: one line asked, one line answered."""

    def __init__(self, bundle: Path) -> None:
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.edge.fork_server", str(bundle), KEY.public.hex()],
            cwd=ROOT,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, **asked: Any) -> int:
        assert self._server.stdin is not None and self._server.stdout is not None
        self._server.stdin.write(json.dumps(asked) + "\n")
        self._server.stdin.flush()
        return int(self._server.stdout.readline())

    def close(self) -> None:
        try:
            self._server.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.communicate()


@dataclass
class Life:
    """One forked agent, with what of `subprocess.Popen` a running edge uses."""

    lives: Lives
    pid: int
    returncode: int | None = None

    def poll(self) -> int | None:
        """Its end, if it has come; a zombie is an end that nobody has asked for."""
        with suppress(FileNotFoundError):
            if Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
                return None
        return self.wait()

    def wait(self, _within_s: float = 0) -> int:
        if self.returncode is None:
            self.returncode = self.lives.ask(wait=self.pid)
        return self.returncode

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def kill_all(self) -> None:
        """Agent and worker at once, as a power cut; `kill` leaves the worker to notice."""
        os.killpg(self.pid, signal.SIGKILL)

    def terminate(self) -> None:
        os.kill(self.pid, signal.SIGTERM)


@dataclass
class ForkedEdge(RunningEdge):
    """`process` is a `Life`."""

    lives: Any = None

    def launch(self) -> Life:
        """Begin a life on the port of the one before, and wait for nothing."""
        self._write_settings()
        if not (self.folder / "clock").exists():
            self.at(self.now)
        (self.data / "status.json").unlink(missing_ok=True)
        self._launch()
        return self.life

    @property
    def life(self) -> Life:
        found: Any = self.process
        return found  # type: ignore[no-any-return]

    def _launch(self) -> None:
        clock, log = str(self.folder / "clock"), str(self.log)
        pid = self.lives.ask(config=self._settings, clock=clock, log=log)
        self.process = Life(self.lives, pid)  # type: ignore[assignment]


@contextmanager
def lives_of(bundle: Path) -> Iterator[Lives]:
    lives = Lives(bundle)
    try:
        yield lives
    finally:
        lives.close()
