"""Ports of this machine for programs that must be told one."""

from __future__ import annotations

import socket
import time
from contextlib import suppress


def a_free_port() -> int:
    """A port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def wait_for_port(port: int, within_s: float = 20) -> None:
    """Wait until somebody listens there."""
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise AssertionError(f"nobody listens on port {port}")
