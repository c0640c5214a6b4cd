"""Structured logs that cannot name a patient: keys from a closed list, values short and plain."""

from __future__ import annotations

import io
import logging
import re
import sys
import threading
import traceback
from collections.abc import MutableMapping
from contextlib import suppress
from types import TracebackType
from typing import Any, BinaryIO, TextIO, cast

import structlog

from app import clock

STANDARD_ERROR = 2
KEYS = frozenset(
    {
        "at",
        "event",
        "level",
        "error",
        "folder",
        "n",
        "outcome",
        "port",
        "reason",
        "seconds",
        "sequence",
        "state",
        "status",
        "stream",
        "version",
        "where",
    }
)
_PLAIN = re.compile(r"[A-Za-z0-9_.:/ -]{0,80}")


class StandardError:
    """Standard error that fails nobody: a full log disk or a reader that is gone costs log lines,
    not cases."""

    def write(self, text: str) -> int:
        """Write what can be written."""
        with suppress(OSError):
            sys.stderr.write(text)
        return len(text)

    def flush(self) -> None:
        """Pass on what can be passed on."""
        with suppress(OSError):
            sys.stderr.flush()


log: structlog.stdlib.BoundLogger = structlog.get_logger()


def configure() -> None:
    """JSON lines on standard error. Everything outside the closed list is dropped."""
    _unbuffer()
    structlog.configure(
        processors=[structlog.processors.add_log_level, _stamp, keep_allowed, _render()],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(cast(TextIO, StandardError())),
        cache_logger_on_first_use=False,
    )
    sys.excepthook = _report
    threading.excepthook = lambda args: _report(
        args.exc_type, args.exc_value or args.exc_type(), args.exc_traceback
    )


def _unbuffer() -> None:
    """What a full disk refuses must not wait in a buffer: starting a process flushes that first,
    and would fail for it."""
    with suppress(OSError, ValueError):
        if isinstance(sys.stderr, io.TextIOWrapper) and sys.stderr.fileno() == STANDARD_ERROR:
            raw = io.FileIO(STANDARD_ERROR, "w", closefd=False)
            sys.stderr = io.TextIOWrapper(
                cast(BinaryIO, raw), "utf-8", "backslashreplace", write_through=True
            )


def keep_allowed(
    _logger: Any, _method: str, entry: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Drop keys that are not on the list, and values that are not plain words or numbers."""
    return {name: _plain(value) for name, value in entry.items() if name in KEYS}


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    return value if isinstance(value, str) and _PLAIN.fullmatch(value) else "dropped"


def _stamp(_logger: Any, _method: str, entry: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    entry["at"] = clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")
    return entry


def _render() -> structlog.processors.JSONRenderer:
    return structlog.processors.JSONRenderer(sort_keys=True)


def report(error: BaseException) -> None:
    """Log an exception without its text, which may quote what was received."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f"{frames[-1].name}:{frames[-1].lineno}" if frames else ""
    log.error("agent.error", error=type(error).__name__, where=where)


def _report(kind: type[BaseException], error: BaseException, _trace: TracebackType | None) -> None:
    if not issubclass(kind, KeyboardInterrupt):
        report(error)
