"""The one clock. Every module that needs the time asks `now()`.

`LOCKWATCH_CLOCK` (demonstrations and tests only) names a file that holds an ISO 8601 UTC
instant; every process that has it in its environment then lives at that instant, signatures
and jobs included, and time moves when somebody writes the file.
"""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from pathlib import Path

VARIABLE = "LOCKWATCH_CLOCK"


def simulated() -> datetime | None:
    """The simulated instant, or None when the clock is real."""
    path = os.environ.get(VARIABLE)
    if not path:
        return None
    return datetime.fromisoformat(Path(path).read_text().strip()).astimezone(UTC)


def now() -> datetime:
    """The present instant in UTC."""
    return simulated() or datetime.now(UTC)


def set_simulated(path: Path, instant: datetime) -> None:
    """Move simulated time: write `instant` to `path` in one step, so no reader sees half of it."""
    if instant.tzinfo is None:
        raise ValueError("a simulated instant needs a time zone, got a naive datetime")
    half = path.with_name(f"{path.name}.{os.getpid()}")
    half.write_text(instant.astimezone(UTC).isoformat())
    half.replace(path)


def elapsed() -> float:
    """Seconds of real time from an arbitrary origin: for timeouts and latencies, not for dates."""
    return time.monotonic()
