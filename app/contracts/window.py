"""The observation window, contract v1: the only thing that crosses the hospital wall outward.

    window    = b"LWW1" | u32 header length | header | u32 body length | body | signature (64)
    header    = length-prefixed fields in the fixed order of `Header`; big endian
    signature = Ed25519 over the domain "lockwatch/window/v1" and the header, which holds the
                SHA-256 of the body; so header and body are covered, as exact bytes
    body      = zstd of: b"LWB1" | u32 index length | index (canonical JSON) | int64 matrices,
                little endian, row by row, in index order

The index is a closed world: the tables and key columns of `TABLES`, string keys only. The
decoder trusts no length: every size is capped before anything is allocated.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import struct
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import numpy as np
import zstandard

from app.contracts.signing import SigningKey, canonical, verify
from app.errors import ContractError
from monitors.schema import IntArray

DOMAIN = "lockwatch/window/v1"
WINDOW_LIMIT = 2 << 20  # compressed
BODY_LIMIT = 16 << 20  # decompressed
BATCH_LIMIT = 4 << 20  # of several windows sent as one
BATCH_WINDOWS = 64
BATCH_PREFIX = 4  # bytes of the length before each window of a batch
INDEX_LIMIT = 1 << 20
ROW_LIMIT = 4096
COLUMN_LIMIT = 1 << 16
KEY_LIMIT = 128  # characters of one key

STREAMS = ("cases", "moments", "labels", "sentinel", "subgroups", "agreement")
LOCK_STATES = ("holds", "broken", "not_checked")
CLOCK_STATES = ("synchronised", "unsynchronised", "unknown")

# Cumulative since the epoch began, except the first, which is this window's own.
BALANCE = (
    "window_cases",
    "received",
    "analysed",
    "quality_rejected",
    "abstained",
    "outside_limits",
    "failed",
    "waiting",
    "duplicates",
    "refused_objects",
    "results_queued",
    "results_delivered",
    "results_failed",
    "cases_held_back",
    "labels_held_back",
    "windows_produced",
)
LATENCY_EDGES_S = (0.0, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0)
_STRATUM = ("start", "end", "scanner", "manufacturer", "model", "software_version", "protocol")
TABLES: Mapping[str, tuple[str, ...]] = {
    "balance": ("all",),  # one row, columns BALANCE
    "latency": ("all",),  # one row, a count per bin of LATENCY_EDGES_S, the last one open
    "reasons": ("outcome", "reason"),  # one column: cases or objects so far
    "strata": _STRATUM,  # Schema.columns
    "moments": _STRATUM,  # Schema.moment_columns
    "noise": ("table",),  # row "strata": the scale of the noise on each column, 0 for none
    "subgroups": ("margin", "level"),  # Schema.margin_columns
    "labels": ("week", "source", "reader_group", "policy"),  # Schema.label_columns
    "sentinel": ("date", "reader_group"),  # Schema.sentinel_columns; reader_group "" = re-scoring
    "agreement": ("month", "reader_group", "quantity"),  # n, sum, sum of squares, fixed point
}


@dataclass(frozen=True, slots=True)
class Table:
    """Keyed rows of int64. `keys` (r rows of strings), `values` (r, columns)."""

    keys: tuple[tuple[str, ...], ...]
    values: IntArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """Who says what about when, under which lock. Digests are lower-case hex SHA-256."""

    edge_id: str
    epoch: int
    sequence: int
    previous: str  # digest of the window before; 64 zeros for the first of an epoch
    stream: str
    start: datetime  # UTC instants of site-local midnight; [start, end)
    end: datetime
    revision: int
    lock_digest: str
    operating_point: str
    schema_digest: str
    agent_version: str
    lock_state: str
    known_answer_deviation: float  # largest, in probability
    clock_state: str
    clock_offset_ms: int
    closed_at: datetime
    body_digest: str = "0" * 64


@dataclass(frozen=True, slots=True)
class Window:
    """A decoded window; `raw` is what was signed and what is stored."""

    header: Header
    tables: Mapping[str, Table]
    raw: bytes = field(repr=False)

    @property
    def digest(self) -> str:
        """Names the window: SHA-256 over domain and header (which holds the body's digest)."""
        return _named(_split(self.raw)[0])


def encode(header: Header, tables: Mapping[str, Table], key: SigningKey) -> Window:
    """Pack, sign and return a window; `header.body_digest` is filled in."""
    body = _pack_body(tables)
    header = replace(header, body_digest=hashlib.sha256(body).hexdigest())
    packed = _pack_header(header)
    raw = b"".join(
        (b"LWW1", struct.pack(">I", len(packed)), packed, struct.pack(">I", len(body)), body)
    ) + key.sign(DOMAIN, packed)
    if len(raw) > WINDOW_LIMIT:
        raise ContractError("too_large", f"window of {len(raw)} bytes, limit {WINDOW_LIMIT}")
    return Window(header, dict(tables), raw)


def read_header(raw: bytes) -> Header:
    """The header of a window, not verified: to find whose key should verify it."""
    return _unpack_header(_split(raw)[0])


def is_whole(raw: bytes, digest: str) -> bool:
    """Whether these are the header and body that `digest` names; no signature is looked at."""
    try:
        packed, body, _ = _split(raw)
        header = _unpack_header(packed)
    except ContractError:
        return False
    is_body = hashlib.sha256(body).hexdigest() == header.body_digest
    return is_body and _named(packed) == digest


def _named(packed: bytes) -> str:
    return hashlib.sha256(DOMAIN.encode() + packed).hexdigest()


def decode(raw: bytes, public: bytes) -> Window:
    """Verify the signature, then the body's digest, then decode within bounds."""
    packed, body, signature = _split(raw)
    verify(public, DOMAIN, packed, signature)
    return _decoded(raw, _unpack_header(packed), body)


def decode_by(raw: bytes, key_of: Callable[[Header], bytes]) -> Window:
    """The same where the header, not yet verified, says whose key should verify the window."""
    packed, body, signature = _split(raw)
    header = _unpack_header(packed)
    verify(key_of(header), DOMAIN, packed, signature)
    return _decoded(raw, header, body)


def _decoded(raw: bytes, header: Header, body: bytes) -> Window:
    if hashlib.sha256(body).hexdigest() != header.body_digest:
        raise ContractError("body_digest", "the body is not the one that was signed")
    return Window(header, _unpack_body(body), raw)


def join_batch(windows: Sequence[bytes]) -> bytes:
    """Windows as one body, each after its length (u32, big endian)."""
    return b"".join(len(raw).to_bytes(BATCH_PREFIX, "big") + raw for raw in windows)


def split_batch(content: bytes) -> list[bytes]:
    """The windows of a batch, none of them looked at; refuses a batch that does not add up."""
    windows: list[bytes] = []
    offset = 0
    while offset < len(content):
        if len(windows) == BATCH_WINDOWS:
            raise ContractError("too_many", f"at most {BATCH_WINDOWS} windows a batch expected")
        begin = offset + BATCH_PREFIX
        size = int.from_bytes(content[offset:begin], "big")
        raw = content[begin : begin + size]
        if len(raw) != size or not raw:
            raise ContractError("truncated", f"{size} bytes announced, {len(raw)} present")
        windows.append(raw)
        offset = begin + size
    if not windows:
        raise ContractError("empty", "at least one window expected")
    return windows


_HEADER_FIELDS: tuple[tuple[str, str], ...] = (
    ("edge_id", "text"),
    ("epoch", "u64"),
    ("sequence", "u64"),
    ("previous", "digest"),
    ("stream", "text"),
    ("start", "instant"),
    ("end", "instant"),
    ("revision", "u64"),
    ("lock_digest", "digest"),
    ("operating_point", "text"),
    ("schema_digest", "digest"),
    ("agent_version", "text"),
    ("lock_state", "text"),
    ("known_answer_deviation", "f64"),
    ("clock_state", "text"),
    ("clock_offset_ms", "i64"),
    ("closed_at", "instant"),
    ("body_digest", "digest"),
)


def _pack_header(header: Header) -> bytes:
    parts = []
    for name, kind in _HEADER_FIELDS:
        data = _pack_field(kind, getattr(header, name))
        parts.append(struct.pack(">H", len(data)) + data)
    return b"".join(parts)


def _pack_field(kind: str, value: object) -> bytes:
    match kind, value:
        case "text", str():
            return value.encode()
        case "u64", int():
            return struct.pack(">Q", value)
        case "i64", int():
            return struct.pack(">q", value)
        case "f64", float() | int():
            return struct.pack(">d", value)
        case "digest", str():
            return bytes.fromhex(value)
        case "instant", datetime():
            return struct.pack(">q", round(value.timestamp()))
    raise ContractError("header", f"header field of kind {kind}: got {type(value).__name__}")


def _unpack_header(packed: bytes) -> Header:
    values: dict[str, object] = {}
    offset = 0
    try:
        for name, kind in _HEADER_FIELDS:
            (size,) = struct.unpack_from(">H", packed, offset)
            data = packed[offset + 2 : offset + 2 + size]
            if len(data) != size:
                raise ContractError("truncated", f"header ends inside {name}")
            values[name] = _unpack_field(kind, data)
            offset += 2 + size
    except (struct.error, UnicodeDecodeError, OverflowError, OSError, ValueError) as error:
        raise ContractError("header", f"unreadable header: {type(error).__name__}") from error
    if offset != len(packed):
        raise ContractError("header", f"{len(packed) - offset} bytes after the last header field")
    header = Header(**values)  # type: ignore[arg-type]
    _check_header(header)
    return header


def _unpack_field(kind: str, data: bytes) -> object:
    match kind:
        case "text":
            return data.decode()
        case "u64":
            return struct.unpack(">Q", data)[0]
        case "i64":
            return struct.unpack(">q", data)[0]
        case "f64":
            return struct.unpack(">d", data)[0]
        case "digest":
            if len(data) != 32:
                raise ContractError("header", f"digest of 32 bytes expected, got {len(data)}")
            return data.hex()
    return datetime.fromtimestamp(struct.unpack(">q", data)[0], UTC)


def _check_header(header: Header) -> None:
    for name, value, known in (
        ("stream", header.stream, STREAMS),
        ("lock_state", header.lock_state, LOCK_STATES),
        ("clock_state", header.clock_state, CLOCK_STATES),
    ):
        if value not in known:
            raise ContractError("header", f"{name}: one of {known} expected")
    if header.end <= header.start:
        raise ContractError("header", "end must be after start")
    if not (math.isfinite(header.known_answer_deviation) and header.known_answer_deviation >= 0):
        raise ContractError("header", "known_answer_deviation must be finite and not negative")


def _split(raw: bytes) -> tuple[bytes, bytes, bytes]:
    if len(raw) > WINDOW_LIMIT:
        raise ContractError("too_large", f"window of {len(raw)} bytes, limit {WINDOW_LIMIT}")
    view = io.BytesIO(raw)
    if view.read(4) != b"LWW1":
        raise ContractError("not_a_window", "not an observation window of contract v1")
    parts = []
    for _ in range(2):
        prefix = view.read(4)
        size = struct.unpack(">I", prefix)[0] if len(prefix) == 4 else len(raw)
        parts.append(view.read(min(size, len(raw))))
        if len(parts[-1]) != size:
            raise ContractError("truncated", f"{size} bytes announced, {len(parts[-1])} present")
    signature = view.read()
    if len(signature) != 64:
        raise ContractError("truncated", f"signature of 64 bytes expected, got {len(signature)}")
    return parts[0], parts[1], signature


def _pack_body(tables: Mapping[str, Table]) -> bytes:
    index, matrices = [], []
    for name in sorted(tables):
        table = tables[name]
        _check_table(name, table)
        index.append(
            {"name": name, "columns": table.values.shape[1], "rows": [list(k) for k in table.keys]}
        )
        matrices.append(np.ascontiguousarray(table.values, dtype="<i8").tobytes())
    head = canonical({"tables": index})
    payload = b"".join((b"LWB1", struct.pack(">I", len(head)), head, *matrices))
    if len(payload) > BODY_LIMIT:
        raise ContractError("too_large", f"body of {len(payload)} bytes, limit {BODY_LIMIT}")
    return zstandard.ZstdCompressor(level=9, write_content_size=True).compress(payload)


def _unpack_body(body: bytes) -> dict[str, Table]:
    payload = _inflate(body)
    if payload[:4] != b"LWB1" or len(payload) < 8:
        raise ContractError("body", "not a window body of contract v1")
    (size,) = struct.unpack_from(">I", payload, 4)
    if size > min(INDEX_LIMIT, len(payload) - 8):
        raise ContractError("body", f"index of {size} bytes announced")
    offset, tables = 8 + size, {}
    for name, keys, columns in _read_index(payload[8:offset]):
        length = len(keys) * columns * 8
        data = payload[offset : offset + length]
        if len(data) != length:
            raise ContractError(
                "truncated", f"table {name}: {length} bytes expected, got {len(data)}"
            )
        values = np.frombuffer(data, dtype="<i8").reshape(len(keys), columns).astype(np.int64)
        tables[name] = Table(keys, values)
        _check_table(name, tables[name])
        offset += length
    if offset != len(payload):
        raise ContractError("body", f"{len(payload) - offset} bytes after the last table")
    return tables


def _inflate(body: bytes) -> bytes:
    # max_output_size is ignored when the frame declares its size: check that, else stream.
    try:
        declared = zstandard.frame_content_size(body)
        if declared > BODY_LIMIT:
            raise ContractError("too_large", f"body declares {declared} bytes, limit {BODY_LIMIT}")
        if declared >= 0:
            return _decompressor().decompress(body)  # so much and no more
        payload = _decompressor().stream_reader(body).read(BODY_LIMIT + 1)
    except zstandard.ZstdError as error:
        raise ContractError("body", "body does not decompress") from error
    if len(payload) > BODY_LIMIT:
        raise ContractError("too_large", f"body of more than {BODY_LIMIT} bytes")
    return payload


_OF_THREAD = threading.local()


def _decompressor() -> zstandard.ZstdDecompressor:
    """This thread's: making one takes longer than it then needs for a window."""
    if not hasattr(_OF_THREAD, "decompressor"):
        _OF_THREAD.decompressor = zstandard.ZstdDecompressor(max_window_size=BODY_LIMIT)
    made: zstandard.ZstdDecompressor = _OF_THREAD.decompressor
    return made


def _read_index(head: bytes) -> list[tuple[str, tuple[tuple[str, ...], ...], int]]:
    try:
        entries = [
            (e["name"], tuple(tuple(row) for row in e["rows"]), int(e["columns"]))
            for e in json.loads(head)["tables"]
        ]
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ContractError("index", f"unreadable index: {type(error).__name__}") from error
    names = [name for name, _, _ in entries]
    if len(set(names)) != len(names):
        raise ContractError("index", "a table is named twice")
    for name, keys, columns in entries:
        if name not in TABLES:
            raise ContractError("index", "a table is not in the contract")
        if len(keys) > ROW_LIMIT or not 0 < columns <= COLUMN_LIMIT:
            raise ContractError("index", f"table {name}: {len(keys)} rows, {columns} columns")
    return entries


def _check_table(name: str, table: Table) -> None:
    if name not in TABLES:
        raise ContractError("index", f"table {name!r} is not in the contract")
    width = len(TABLES[name])
    for key in table.keys:
        if len(key) != width or not all(isinstance(k, str) and len(k) <= KEY_LIMIT for k in key):
            raise ContractError("index", f"table {name}: keys of {width} short strings expected")
    if len(set(table.keys)) != len(table.keys):
        raise ContractError("index", f"table {name}: a key stands twice")
    if table.values.ndim != 2 or len(table.values) != len(table.keys):
        raise ContractError("index", f"table {name}: keys and rows do not match")
