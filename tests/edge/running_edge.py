"""A running edge: the real agent in a process of its own, against the small centre.

`LOCKWATCH_CLOCK` gives it a simulated time that the test moves.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from app import clock
from tests.edge.peer_centre import CODE, PeerCentre
from tests.support.chest_bundle import KEY, ROOT

WITHIN_S = 400.0  # a crowded machine is slow, not wrong
START = datetime(2026, 3, 10, 12, tzinfo=UTC)
CALLING = ["SCANNER", "STORESCU", "ECHOSCU"]


@dataclass
class RunningEdge:
    """One agent and everything of its hospital, below `folder`."""

    folder: Path
    bundle: Path
    centre: PeerCentre
    now: datetime = START
    process: subprocess.Popen[bytes] | None = None
    port: int = 0
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def log(self) -> Path:
        return self.folder / "agent.log"

    def start(self) -> None:
        """Start the agent and wait until it listens."""
        self._write_settings()
        self.at(self.now)
        (self.data / "status.json").unlink(missing_ok=True)
        self._launch()
        self.until(lambda s: bool(s.get("port")))
        self.port = self.status()["port"]

    def _launch(self) -> None:
        environment = os.environ | {
            clock.VARIABLE: str(self.folder / "clock"),
            "OMP_NUM_THREADS": "1",
        }
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "app.cli", "edge", "run", "--config", self._settings],
                cwd=ROOT,
                env=environment,
                stdout=log,
                stderr=log,
            )

    def command(self, *words: str) -> str:
        """What `lockwatch edge` says to a person beside the running agent."""
        program = [sys.executable, "-m", "app.cli", "edge", *words, "--config", self._settings]
        environment = os.environ | {clock.VARIABLE: str(self.folder / "clock")}
        done = subprocess.run(program, cwd=ROOT, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def ready(self) -> None:
        """Wait until the lock is proved and the centre has answered."""
        self.until(lambda s: s["lock"] == "holds" and s["enrolment"] == "active" and s["as_of"])

    def kill(self) -> None:
        """As a power cut would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """As an administrator would; the exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(30)

    @property
    def worker(self) -> int:
        """The process that runs the chain, once there is one."""
        assert self.process is not None
        end = time.monotonic() + WITHIN_S
        while time.monotonic() < end:
            for child in _children(self.process.pid):
                if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
                    return child
            time.sleep(0.05)
        raise AssertionError("no worker was started")

    def at(self, instant: datetime) -> None:
        """Move simulated time."""
        self.now = instant
        clock.set_simulated(self.folder / "clock", instant)

    def live(self, days: float) -> None:
        """Let days pass, and the agent settle."""
        self.at(self.now + timedelta(days=days))
        self.until(
            lambda s: (
                bool(s["as_of"])
                and datetime.fromisoformat(s["as_of"]) >= self.now
                and s["windows"]["unsent"] == 0
            )
        )

    def status(self) -> dict[str, Any]:
        """Its `status.json`."""
        with suppress(FileNotFoundError):
            found: dict[str, Any] = json.loads((self.data / "status.json").read_text())
            return found
        return {}

    def until(self, holds: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """Wait until its status says so, or fail with what it says and the end of its log."""
        end = time.monotonic() + WITHIN_S
        while time.monotonic() < end:
            status = self.status()
            if status and holds(status):
                return status
            if self.process is not None and self.process.poll() is not None:
                raise AssertionError(f"the agent ended: {self.log.read_text()[-2000:]}")
            time.sleep(0.05)
        raise AssertionError(f"waited in vain: {self.status()}\n{self.log.read_text()[-2000:]}")

    def settled(self, received: int) -> dict[str, Any]:
        """Wait until it has received that many cases and none waits; its balance."""
        status = self.until(
            lambda s: s["balance"]["received"] >= received and s["balance"]["waiting"] == 0
        )
        found: dict[str, Any] = status["balance"]
        return found

    @property
    def _settings(self) -> str:
        return str(self.folder / "edge.toml")

    def _write_settings(self) -> None:
        for name in ("labels", "results", "data"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        (self.folder / "code").write_text(CODE)
        values: dict[str, Any] = {
            "data_dir": "data",
            "bundle": str(self.bundle),
            "trusted_keys": [KEY.public.hex()],
            "site_timezone": "Europe/Berlin",
            "ae_title": "EDGE",
            "host": "127.0.0.1",
            "port": self.port,
            "allowed_ae_titles": CALLING,
            "central_url": self.centre.url,
            "enrolment_code_file": "code",
            "results_folder": "results",
            "label_inbox": "labels",
            "case_seconds": 20,
        } | self.extra
        text = "".join(f"{name} = {_toml(value)}\n" for name, value in values.items())
        Path(self._settings).write_text(text)


def closes(balance: dict[str, int]) -> bool:
    """Whether every received case has exactly one end, or waits."""
    ends = ("analysed", "quality_rejected", "abstained", "outside_limits", "failed", "waiting")
    return balance["received"] == sum(balance[name] for name in ends)


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{name} = {_toml(part)}' for name, part in value.items())} }}"
    return json.dumps(value)


def _children(pid: int) -> list[int]:
    threads = Path(f"/proc/{pid}/task").iterdir()
    return [int(c) for t in threads for c in (t / "children").read_text().split()]


@contextmanager
def an_edge_runs(
    folder: Path, bundle: Path, centre: PeerCentre, **extra: Any
) -> Iterator[RunningEdge]:
    """A running edge that is stopped at the end, whatever happens."""
    edge = RunningEdge(folder, bundle, centre, extra=extra)
    try:
        edge.start()
        yield edge
    finally:
        if edge.process is not None and edge.process.poll() is None:
            edge.kill()
