"""A process that has imported everything the agent and its worker need, and forks their lives.

A life is the real agent from its command line on; only the minutes that a few hundred starts of
Python would take are saved. Workers are forked too, by the standard library's fork server, from
a process that knows nothing of the agent that asks for them, as a new program would.

    python -m tests.edge.fork_server BUNDLE KEY      one line in, one line out:
    {"config": "…", "clock": "…", "log": "…"}        -> pid
    {"wait": pid}                                    -> exit status, negative: the signal
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import socket
import sys
from multiprocessing import connection, context, forkserver, resource_tracker
from pathlib import Path
from typing import Any

from app import cli, clock

PARTS = ("app.edge.agent", "app.edge.worker", "app.edge.measure", "app.edge.headers")
LIBRARIES = ("torch", "highdicom.sc", "highdicom.sr", "highdicom.pr")


def main() -> None:
    """Import, then fork whatever is asked for until nobody asks any more."""
    for name in (*PARTS, *LIBRARIES):
        importlib.import_module(name)
    _load_once(Path(sys.argv[1]), bytes.fromhex(sys.argv[2]))
    resource_tracker.ensure_running()
    gc.collect()
    gc.freeze()
    threads = list(Path("/proc/self/task").iterdir())
    assert len(threads) == 1, f"one thread expected before a fork, got {len(threads)}"
    while asked := sys.stdin.readline():
        sys.stdout.write(f"{_answer(json.loads(asked))}\n")
        sys.stdout.flush()


def _answer(asked: dict[str, Any]) -> int:
    if "wait" in asked:
        return os.waitstatus_to_exitcode(os.waitpid(asked["wait"], 0)[1])
    if pid := os.fork():
        os.setpgid(pid, pid)  # here and in the child: whoever comes first
        return pid
    try:
        _live(asked)
    finally:
        os._exit(70)


def _load_once(bundle: Path, key: bytes) -> None:
    """What loading the first chain of a process imports. Each worker loads its own."""
    import torch

    from app.device.bundle import open_bundle
    from app.device.chain import Chain

    torch.set_num_threads(1)
    Chain.load(open_bundle(bundle, [key], 1, 0)).known_answer_deviation()


def _live(asked: dict[str, Any]) -> None:
    """The agent, in a process group of its own, as `lockwatch edge run` would be it."""
    os.setpgid(0, 0)
    log = os.open(asked["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for stream, source in enumerate((nothing, log, log)):
        os.dup2(source, stream)
    os.environ[clock.VARIABLE] = asked["clock"]
    _offer_workers()
    sys.argv = ["lockwatch", "edge", "run", "--config", asked["config"]]
    try:
        cli.main()
    except SystemExit as end:
        os._exit(int(end.code or 0))


def _offer_workers() -> None:
    """Let the agent's next processes be forked by one that was forked before it had anything."""
    address = connection.arbitrary_address("AF_UNIX")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen()
    until_closed, alive = os.pipe()
    if not (pid := os.fork()):
        os.close(alive)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        forkserver.main(listener.detach(), until_closed, [])
    listener.close()
    os.close(until_closed)
    server: Any = forkserver._forkserver
    server._forkserver_address, server._forkserver_alive_fd = address, alive
    server._forkserver_pid = pid
    contexts: Any = context._concrete_contexts
    contexts["spawn"] = contexts["forkserver"]


if __name__ == "__main__":
    main()
