"""The service in a process of its own, which a test may kill: `python -m tests.support.serving`."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.central.database import open_engine
from app.central.settings import CentralSettings
from app.central.web import create_app
from app.contracts.window import Window
from tests.support.fleet import FakeEdge, World

WINDOWS = "/edge/v1/windows"
ROOT = Path(__file__).parents[2]


class HoldAnswers:
    """Holds back each answer to a window, for ever, when all has been done but to send it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def hold(message: Message) -> None:
            if scope["path"] == WINDOWS:
                say("held")
                await asyncio.Event().wait()
            await send(message)

        await self.app(scope, receive, hold)


@dataclass
class Service:
    """A process that serves a world. `port` is its own."""

    process: subprocess.Popen[str]
    port: int

    def until_it_holds(self) -> None:
        """Until an answer is held back."""
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "held\n"

    def kill(self) -> None:
        """As the kernel does it: nothing is tidied up."""
        self.process.kill()
        self.process.wait()

    def peak_kib(self) -> int:
        """The most memory that it has held."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(x.split()[1]) for x in status.splitlines() if x.startswith("VmHWM"))


@contextmanager
def serving(world: World, *, holding: bool = False) -> Iterator[Service]:
    """A service on the world's database; it is killed at the end, if it was not before."""
    url = world.bind.engine.url.render_as_string(hide_password=False)
    told = [url, world.settings.model_dump_json(), "hold" if holding else "answer"]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.serving", *told],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield Service(process, int(process.stdout.readline()))
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def send(port: int, edge: FakeEdge, window: Window) -> httpx.Response:
    """Send a window over TCP, signed as for the service itself."""
    headers = edge.headers("POST", WINDOWS, window.raw)
    url = f"http://127.0.0.1:{port}{WINDOWS}"
    return httpx.post(url, content=window.raw, headers=headers, timeout=60)


def say(word: str) -> None:
    """Tell the test."""
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def main(url: str, settings: str, what: str) -> None:
    app: ASGIApp = create_app(CentralSettings.model_validate_json(settings), open_engine(url))
    if what == "hold":
        app = HoldAnswers(app)
    listening = socket.create_server(("127.0.0.1", 0), backlog=512)
    say(str(listening.getsockname()[1]))
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off"))
    server.run([listening])


if __name__ == "__main__":
    main(*sys.argv[1:])
