"""What arrived, without headers and signatures: the rows that the engine looks at, as arrays.

    packed = zstd of: b"LWD1" | u32 head length | head (JSON) | int64 arrays | digests (32 each)

A part holds some windows, such as those of one day; parts of a history join in any order.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import zstandard

from app.contracts.window import Window
from monitors.schema import IntArray

MAGIC = b"LWD1"
DATES: Mapping[str, int] = {"strata": 2, "moments": 2, "labels": 1, "sentinel": 1, "noise": 0}
"""Tables that the engine looks at, and how many days each of their keys begins with."""
DIGEST_BYTES = 32


@dataclass(frozen=True, slots=True)
class Arrived:
    """A decoded window, where it came from and the day of the first evaluation that sees it."""

    site: str
    day: int
    window: Window


@dataclass(frozen=True, slots=True, eq=False)
class Lines:
    """Rows of one table. window (r,) place of its window in the part; dates (r, d) ordinals; key
    (r,) place in `keys`, which are site and the rest of the window's own keys; values (r, width).
    """

    keys: tuple[tuple[str, ...], ...]
    window: IntArray
    dates: IntArray
    key: IntArray
    values: IntArray


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """w windows. numbers (5, w): place in `edges`, place in `sites`, epoch, sequence, day of
    arrival; digests w times 32 bytes; tables those of `DATES` that any window holds."""

    edges: tuple[str, ...]
    sites: tuple[str, ...]
    numbers: IntArray
    digests: bytes
    tables: Mapping[str, Lines]

    def __len__(self) -> int:
        return int(self.numbers.shape[1])


def gather(windows: Iterable[Arrived]) -> Part:
    """The part that these windows make; they are looked at one after the other."""
    edges: dict[str, int] = {}
    sites: dict[str, int] = {}
    numbers: list[tuple[int, int, int, int, int]] = []
    digests: list[bytes] = []
    tables = {name: _Growing(n) for name, n in DATES.items()}
    for place, one in enumerate(windows):
        header = one.window.header
        edge = edges.setdefault(header.edge_id, len(edges))
        site = sites.setdefault(one.site, len(sites))
        numbers.append((edge, site, header.epoch, header.sequence, one.day))
        digests.append(bytes.fromhex(one.window.digest))
        for name, table in tables.items():
            table.add(name, place, one)
    return Part(
        tuple(edges),
        tuple(sites),
        np.array(numbers, dtype=np.int64).reshape(-1, 5).T,
        b"".join(digests),
        {name: table.lines() for name, table in tables.items() if table.values},
    )


class _Growing:
    """A table while its rows are put together."""

    def __init__(self, dates: int) -> None:
        self.keys: dict[tuple[str, ...], int] = {}
        self.rows: list[tuple[int, ...]] = []
        self.values: list[IntArray] = []
        self._dates = dates

    def add(self, name: str, place: int, arrived: Arrived) -> None:
        table = arrived.window.tables.get(name)
        if table is None or not table.keys:
            return
        for key in table.keys:
            days = (date.fromisoformat(text).toordinal() for text in key[: self._dates])
            named = (arrived.site, *key[self._dates :])
            self.rows.append((place, self.keys.setdefault(named, len(self.keys)), *days))
        self.values.append(table.values)

    def lines(self) -> Lines:
        rows = np.array(self.rows, dtype=np.int64)
        return Lines(
            tuple(self.keys), rows[:, 0], rows[:, 2:], rows[:, 1], np.concatenate(self.values)
        )


def pack(part: Part) -> bytes:
    """For storage; the same part is the same bytes."""
    head = {
        "windows": len(part),
        "edges": part.edges,
        "sites": part.sites,
        "tables": {
            name: {"keys": t.keys, "rows": t.values.shape[0], "columns": t.values.shape[1]}
            for name, t in part.tables.items()
        },
    }
    text = json.dumps(head, separators=(",", ":"), sort_keys=True).encode()
    arrays = [part.numbers]
    for name in sorted(part.tables):
        lines = part.tables[name]
        arrays += [lines.window, lines.dates, lines.key, lines.values]
    numbers = [np.ascontiguousarray(a, dtype="<i8").tobytes() for a in arrays]
    payload = b"".join((MAGIC, struct.pack(">I", len(text)), text, *numbers, part.digests))
    return zstandard.ZstdCompressor(level=3).compress(payload)


def unpack(packed: bytes) -> Part:
    """A part as it was packed; `ValueError` where these bytes are none of this version."""
    try:
        payload = zstandard.ZstdDecompressor().decompress(packed)
    except zstandard.ZstdError as error:
        raise ValueError("arrivals: bytes that do not decompress") from error
    if payload[:4] != MAGIC:
        raise ValueError(f"arrivals: {MAGIC!r} expected, got {payload[:4]!r}")
    (size,) = struct.unpack_from(">I", payload, 4)
    head = json.loads(payload[8 : 8 + size])
    numbers = _Numbers(payload, 8 + size)
    made = numbers.take(5, head["windows"])
    tables = {name: _lines(name, head["tables"][name], numbers) for name in sorted(head["tables"])}
    digests = payload[numbers.offset :]
    if len(digests) != head["windows"] * DIGEST_BYTES:
        raise ValueError(f"arrivals: {head['windows']} digests expected, got {len(digests)} bytes")
    return Part(tuple(head["edges"]), tuple(head["sites"]), made, digests, tables)


def _lines(name: str, head: Mapping[str, Any], numbers: _Numbers) -> Lines:
    rows, columns = int(head["rows"]), int(head["columns"])
    return Lines(
        keys=tuple(tuple(key) for key in head["keys"]),
        window=numbers.take(rows),
        dates=numbers.take(rows, DATES[name]),
        key=numbers.take(rows),
        values=numbers.take(rows, columns),
    )


class _Numbers:
    """Arrays one after the other."""

    def __init__(self, payload: bytes, offset: int) -> None:
        self._payload = payload
        self.offset = offset

    def take(self, *shape: int) -> IntArray:
        count = int(np.prod(shape))
        made = np.frombuffer(self._payload, "<i8", count, self.offset).reshape(shape)
        self.offset += count * 8
        return made
