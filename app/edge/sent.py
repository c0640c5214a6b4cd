"""Everything that left, in words a person can read: `lockwatch edge sent`."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

from app.contracts.manifest import Manifest
from app.contracts.window import BALANCE, LATENCY_EDGES_S, TABLES, Window, decode
from app.edge.cases import versions
from app.edge.key_rotation import ring
from app.edge.noise import loss_of
from monitors.schema import TALLIES, IntArray, Schema


def windows(
    db: sqlite3.Connection, public: bytes, first: int = 1, last: int = 2**62
) -> Iterator[str]:
    """One text a window, oldest first: what it says of itself, then every table, every number."""
    known = {m.lock_digest: m for _, m in versions(db)}
    keys = ring(db, public)
    rows = db.execute(
        "SELECT epoch, sequence, digest, state, outcome, reason, settled, raw FROM windows"
        " WHERE sequence BETWEEN ? AND ? ORDER BY epoch, sequence",
        (first, last),
    )
    for epoch, sequence, digest, state, outcome, reason, settled, raw in rows:
        fate = " ".join(filter(None, (state, outcome, reason)))
        when = f" at {datetime.fromtimestamp(settled, UTC):%FT%TZ}" if settled else ""
        body = _body(raw, keys.at(epoch, sequence), known)
        noise = "".join(f"  noise {words}\n" for words in loss_of(db, epoch, sequence))
        yield f"window {sequence}  {fate}{when}\n  digest {digest}\n" + noise + body


def newest_receipt(db: sqlite3.Connection) -> bytes | None:
    """The centre's last signed receipt for a window, byte for byte; None before the first.

    It names the head of the centre's audit trail, so whoever holds it can tell whether a trail
    that is shown later was cut off or written anew.
    """
    row = db.execute(
        "SELECT receipt FROM windows WHERE receipt IS NOT NULL ORDER BY settled DESC, epoch DESC,"
        " sequence DESC LIMIT 1"
    ).fetchone()
    return None if row is None else bytes(row[0])


def _body(raw: bytes | None, public: bytes, known: dict[str, Manifest]) -> str:
    if raw is None:
        return "  acknowledged longer ago than the retention: bytes no longer kept here\n"
    window = decode(raw, public)
    manifest = known.get(window.header.lock_digest)
    lines = [f"  {len(raw)} bytes", *_header(window)]
    for name, table in window.tables.items():
        titles = _titles(name, manifest.schema_.layout() if manifest else None)
        for key, values in zip(table.keys, table.values, strict=True):
            lines.append(f"  {name} {_key(name, key)}")
            lines += _parts(values, titles)
    return "\n".join(lines) + "\n"


def _header(window: Window) -> Iterator[str]:
    for field in fields(window.header):
        value = getattr(window.header, field.name)
        yield f"  {field.name} {value.isoformat() if isinstance(value, datetime) else value}"


def _key(name: str, key: tuple[str, ...]) -> str:
    return ", ".join(f"{part} {value}" for part, value in zip(TABLES[name], key, strict=True))


def _parts(values: IntArray, titles: list[tuple[str, slice]]) -> Iterator[str]:
    for title, where in titles:
        part = values[where]
        shown = "all 0" if part.size > 1 and not part.any() else " ".join(map(str, part))
        yield f"    {title}: {shown}"


def _titles(name: str, schema: Schema | None) -> list[tuple[str, slice]]:
    """What the columns of a table mean."""
    if name == "balance":
        return [(title, slice(i, i + 1)) for i, title in enumerate(BALANCE)]
    if name == "latency":
        edges = [f"from {edge:g} s" for edge in LATENCY_EDGES_S]
        return [(title, slice(i, i + 1)) for i, title in enumerate(edges)]
    if name in ("strata", "noise") and schema is not None:
        return list(_stratum_titles(schema))
    columns: dict[str, slice] = {}
    if schema is not None:
        columns = {
            "moments": schema.moment_columns,
            "labels": schema.label_columns,
            "sentinel": schema.sentinel_columns,
            "subgroups": schema.margin_columns,
        }.get(name, {})
    return list(columns.items()) or [("n", slice(None))]


def _stratum_titles(schema: Schema) -> Iterator[tuple[str, slice]]:
    def part(start: int, names: list[tuple[str, int]]) -> Iterator[tuple[str, slice]]:
        for title, width in names:
            yield title, slice(start, start + width)
            start += width

    at: dict[str, Any] = {name: where.start for name, where in schema.columns.items()}
    bins = schema.numeric_bins + 3
    yield from part(0, [(t, 1) for t in TALLIES])
    yield from part(at["numeric_counts"], [(f"{f.name} counts", bins) for f in schema.numeric])
    yield from part(at["numeric_sums"], [(f"{f.name} sums", 2) for f in schema.numeric])
    yield from part(
        at["categorical_counts"],
        [(f"{c.name} counts", len(c.categories) + 2) for c in schema.categorical],
    )
    yield from part(
        at["score_counts"], [(f"{s.stage} counts", schema.score_bins + 1) for s in schema.scores]
    )
    yield from part(at["joint_n"], [("joint n", 1), ("joint sums", schema.joint.size)])
