"""Child processes of a demonstration: started with a log each, watched, and never left behind.

A child gets its own process group and, on Linux, a parent-death signal, so that nothing stays
behind when the demonstration is stopped, fails, or is killed outright.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from app import clock
from app.errors import AppError

POLL_S = 0.02
STOP_WITHIN_S = 20.0
_PR_SET_PDEATHSIG = 1  # prctl(2)
_LOG_TAIL = 2000  # characters of a log that are shown with a failure


class DemoFailed(AppError):
    """The demonstration could not go on."""

    title = "Demonstration failed"
    status = 500


def die_with_parent(with_signal: int = signal.SIGTERM) -> None:
    """Ask the kernel to signal this process when the thread that started it ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(with_signal), 0, 0, 0)


@dataclass(slots=True)
class Child:
    """One running part of the demonstration."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def check(self) -> None:
        """Raise `DemoFailed` with the end of its log if it has ended."""
        code = self.process.poll()
        if code is not None:
            tail = self.log.read_text(errors="replace")[-_LOG_TAIL:]
            raise DemoFailed(f"{self.name} ended with exit code {code}; its log ends:\n{tail}")


@dataclass(slots=True)
class Supervisor:
    """Starts children, watches them, and stops them all in reverse order on the way out."""

    logs: Path
    environment: Mapping[str, str]
    children: list[Child] = field(default_factory=list)

    def __enter__(self) -> Self:
        self.logs.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self, name: str, *arguments: str) -> Child:
        """Run `lockwatch ARGUMENTS` in the background, its output in `logs/NAME.log`.

        Call it from the main thread: the parent-death signal follows the thread, not the process.
        """
        log = self.logs / f"{name}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                lockwatch(*arguments),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=dict(self.environment),
                start_new_session=True,
                preexec_fn=die_with_parent,
            )
        child = Child(name, process, log)
        self.children.append(child)
        return child

    def call(self, *arguments: str, within_s: float = 300.0) -> str:
        """Run `lockwatch ARGUMENTS` to its end and give its standard output."""
        done = subprocess.run(
            lockwatch(*arguments),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=dict(self.environment),
            timeout=within_s,
            check=False,
        )
        if done.returncode != 0:
            raise DemoFailed(
                f"lockwatch {' '.join(arguments[:2])} ended with exit code {done.returncode}: "
                f"{(done.stderr or done.stdout)[-_LOG_TAIL:]}"
            )
        return done.stdout

    def until(
        self,
        condition: Callable[[], bool],
        what: str,
        within_s: float = 120.0,
        poll_s: float = POLL_S,
    ) -> None:
        """Poll until `condition` holds; fail when a child ends or the time is over."""
        end = clock.elapsed() + within_s
        while not condition():
            for child in self.children:
                child.check()
            if clock.elapsed() > end:
                raise DemoFailed(f"waited {within_s:.0f} s for {what}")
            time.sleep(poll_s)

    def stop(self) -> None:
        """Ask every child to end, last one first; kill the group of one that does not."""
        for child in reversed(self.children):
            if child.process.poll() is None:
                child.process.terminate()
        for child in reversed(self.children):
            try:
                child.process.wait(STOP_WITHIN_S)
            except subprocess.TimeoutExpired:
                os.killpg(child.process.pid, signal.SIGKILL)
                child.process.wait()
        self.children.clear()


def lockwatch(*arguments: str) -> list[str]:
    """The command line of this very installation."""
    return [sys.executable, "-m", "app.cli", *arguments]


def environment(clock_file: Path) -> dict[str, str]:
    """What children inherit: ours, the simulated clock, one numeric thread each, and two heaps
    of the C library each, which otherwise keeps one for every thread that was ever busy, and
    whatever an image once needed."""
    single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    single |= {"MALLOC_ARENA_MAX": "2", "MALLOC_MMAP_THRESHOLD_": str(1 << 20)}
    # Settings of another installation that stand in the environment are not ours to use.
    ours = {name: value for name, value in os.environ.items() if not name.startswith("LOCKWATCH_")}
    return {**ours, **single, clock.VARIABLE: str(clock_file)}
