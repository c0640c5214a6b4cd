"""Nothing a demonstration starts may be left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from app.lab import demo_memory
from app.lab.demo_processes import DemoFailed, Supervisor, environment


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def gone(pid: int) -> bool:
    for _ in range(500):
        if not alive(pid):
            return True
        time.sleep(0.01)
    return False


@pytest.fixture
def supervisor(tmp_path: Path) -> Supervisor:
    return Supervisor(tmp_path / "logs", environment(tmp_path / "clock"))


def test_a_failed_call_says_what_the_command_said(supervisor: Supervisor) -> None:
    with supervisor, pytest.raises(DemoFailed, match="No such command"):
        supervisor.call("no-such-part")


def test_a_child_that_ends_stops_the_waiting_with_its_log(supervisor: Supervisor) -> None:
    with supervisor:
        supervisor.start("part", "no-such-part")

        with pytest.raises(DemoFailed, match=r"(?s)part ended with exit code 2.*No such command"):
            supervisor.until(lambda: False, "nothing")


def test_waiting_too_long_says_for_what(supervisor: Supervisor) -> None:
    with supervisor, pytest.raises(DemoFailed, match="for the impossible"):
        supervisor.until(lambda: False, "the impossible", within_s=0.05)


SLEEPER = "import time; print('up', flush=True); time.sleep(600)"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);" + SLEEPER


@pytest.mark.parametrize("program", [SLEEPER, STUBBORN], ids=["polite", "stubborn"])
def test_leaving_ends_every_child(
    supervisor: Supervisor, program: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.lab.demo_processes.STOP_WITHIN_S", 0.5)
    monkeypatch.setattr(
        "app.lab.demo_processes.lockwatch", lambda *words: [sys.executable, "-c", *words]
    )

    with supervisor:
        child = supervisor.start("part", program)
        supervisor.until(lambda: child.log.read_text().startswith("up"), "the child")

    assert gone(child.process.pid)


def test_children_die_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    script = textwrap.dedent(f"""
        import sys, time
        from pathlib import Path
        import app.lab.demo_processes as processes
        processes.lockwatch = lambda *words: [sys.executable, "-c", *words]
        folder = Path({str(tmp_path)!r})
        supervisor = processes.Supervisor(folder, processes.environment(folder / "clock"))
        child = supervisor.start("part", {SLEEPER!r})
        print(child.process.pid, flush=True)
        time.sleep(600)
    """)
    parent = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=Path.cwd()
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert alive(child)
    assert child in demo_memory.family(parent.pid)

    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()

    assert gone(child)


def test_memory_counts_the_children_too(supervisor: Supervisor) -> None:
    alone = demo_memory.megabytes(os.getpid())

    with supervisor:
        supervisor.start("part", "--help")
        both = demo_memory.megabytes(os.getpid())

    assert 0 < alone < both
