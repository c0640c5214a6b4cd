"""Everything an edge says to anyone but its own clinic, as bytes that can be searched."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import zstandard

if TYPE_CHECKING:
    from tests.edge.running_edge import RunningEdge

_FRAME = b"\x28\xb5\x2f\xfd"  # a zstd frame begins so (RFC 8878)


def said(edge: RunningEdge) -> dict[str, bytes]:
    """By where it stands: requests as sent and inflated, log, status, journal, all file names."""
    bodies = [bytes(body) for body in edge.centre.bodies]
    heads = [head.encode() for head in edge.centre.heads]
    local = ("status.json", "journal.db")
    return {
        "requests": b"\0".join(heads + bodies),
        "requests inflated": b"\0".join(map(_inflated, bodies)),
        "log": edge.log.read_bytes(),
        "names": "\0".join(_names(edge.data)).encode(errors="replace"),
    } | {name: (edge.data / name).read_bytes() for name in local}


def leaks(places: dict[str, bytes], values: Iterable[str]) -> set[tuple[str, str]]:
    """(place, value) for each value that is found, as text or as bare bytes."""
    wanted = {value for value in values if value}
    return {
        (place, value)
        for place, content in places.items()
        for value in wanted
        if value.encode(errors="replace") in content
    }


def _inflated(body: bytes) -> bytes:
    """Every frame in it: a request may carry many windows."""
    parts, start = [], body.find(_FRAME)
    while start >= 0:
        with suppress(zstandard.ZstdError):  # the four bytes may also stand elsewhere
            parts.append(zstandard.ZstdDecompressor().decompressobj().decompress(body[start:]))
        start = body.find(_FRAME, start + 1)
    return b"\0".join(parts)


def _names(folder: Path) -> list[str]:
    return [str(path.relative_to(folder)) for path in folder.rglob("*")]
