"""What the engine found, as stored: signal documents, and the evidence of an evaluation."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from typing import Any

import zstandard

from app.contracts.signals import Attribution, Effect, Signal
from app.contracts.signing import canonical, sha256
from monitors.engine import Evaluation, SignalResult, Trace

BLOCKS = ("acquisition", "score", "embedding", "labels")


@dataclass(frozen=True, slots=True)
class TraceView:
    """A stream's path against its limit, in days, for a chart. Scope is "" where it has none."""

    stream: str
    block: str
    site: str
    scanner: str
    reader: str
    days: tuple[date, ...]
    statistic: tuple[float, ...]
    limit: float
    warning: float


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything an evaluation found. `signals` by the engine's own name."""

    signals: dict[str, Signal]
    missing: dict[str, tuple[str, ...]]
    traces: tuple[TraceView, ...]
    assessability: dict[str, str]
    promised: float


def signal_document(identifier: str, result: SignalResult) -> Signal:
    """A result of the engine as the signal contract, under our number."""
    return Signal.model_validate(
        {
            "id": identifier,
            "kind": result.kind,
            "date": date.fromordinal(result.day),
            "sites": result.sites,
            "scanners": result.scanners,
            "scanner_models": result.scanner_models,
            "readers": result.readers,
            "history": tuple(
                Attribution.model_validate(
                    {
                        "date": date.fromordinal(b.day),
                        "causes": b.causes,
                        "probability": b.probability,
                        "candidates": b.candidates,
                    }
                )
                for b in result.history
            ),
            "change_date": _date(result.change_day),
            "change_interval": result.change_interval
            and tuple(date.fromordinal(d) for d in result.change_interval),
            "characteristics": tuple(
                Effect(name=c.name, effect=c.effect, interval=c.interval, unit=c.unit)
                for c in result.characteristics
            ),
            "stream": result.stream,
            "statistic": result.statistic,
            "limit": result.limit,
            "event": result.event,
        }
    )


@dataclass(frozen=True, slots=True)
class StoredEvidence:
    """An evaluation for storage.

    content : canonical JSON in frames of zstd, one for the traces of each site, so that those of
    one are read without the others. digest : SHA-256 of the JSON. outline : of the JSON, what was
    `missing` by signal; and `paths`, from where to where in the content the frames of a site lie.
    """

    content: bytes
    digest: str
    outline: dict[str, Any]


def stored_evidence(evaluation: Evaluation) -> StoredEvidence:
    """Canonical JSON of an evaluation: the same result is the same bytes."""
    missing = {r.id: list(r.missing) for r in evaluation.signals if r.missing}
    head = canonical(
        {
            "signals": {
                r.id: signal_document(r.id, r).model_dump(mode="json") for r in evaluation.signals
            },
            "missing": missing,
            "assessability": dict(evaluation.assessability),
            "promised": evaluation.false_signals_promised_per_year,
        }
    )
    # "traces" is the last of the names: its place in canonical JSON is the end.
    parts = [("", head[:-1] + b',"traces":[')]
    for i, (site, some) in enumerate(groupby(evaluation.traces, lambda trace: trace.site)):
        joined = b",".join(canonical(_trace(trace)) for trace in some)
        parts.append((site, (b"," if i else b"") + joined))
    parts.append(("", b"]}"))
    return _framed(parts, missing)


def _framed(parts: Sequence[tuple[str, bytes]], missing: dict[str, list[str]]) -> StoredEvidence:
    """Parts with their sites, the first and the last of which are no traces, as frames."""
    frames = [zstandard.ZstdCompressor(level=6).compress(part) for _, part in parts]
    paths: dict[str, list[list[int]]] = {}
    end = 0
    for i, ((site, _), frame) in enumerate(zip(parts, frames, strict=True)):
        start, end = end, end + len(frame)
        if 0 < i < len(parts) - 1:
            paths.setdefault(site, []).append([start, end])
    digest = sha256(b"".join(part for _, part in parts))
    return StoredEvidence(b"".join(frames), digest, {"missing": missing, "paths": paths})


def standing_of(evaluation: Evaluation) -> dict[str, Any]:
    """What the fleet's pages say of every site, without its paths.

    `blocks`: warning or quiet by site and block, where a stream could be followed;
    `assessability` as the engine has it.
    """
    blocks: dict[str, dict[str, str]] = {}
    for trace in evaluation.traces:
        if trace.site and trace.block in BLOCKS and trace.day.size:
            words = blocks.setdefault(trace.site, {})
            is_near = bool(trace.statistic[-1] >= trace.warning)
            words[trace.block] = "warning" if is_near else words.get(trace.block, "quiet")
    return {"blocks": blocks, "assessability": dict(evaluation.assessability)}


def read_traces(frames: Sequence[bytes]) -> tuple[TraceView, ...]:
    """The traces in some frames of stored evidence."""
    parts = (_inflated(frame).strip(b",") for frame in frames)
    return tuple(_trace_view(t) for t in json.loads(b"[" + b",".join(parts) + b"]"))


def _inflated(stored: bytes) -> bytes:
    """What is in all frames."""
    return zstandard.ZstdDecompressor().stream_reader(stored, read_across_frames=True).read()


def read_evidence(stored: bytes) -> Evidence:
    """Stored evidence as views."""
    data: dict[str, Any] = json.loads(_inflated(stored))
    return Evidence(
        signals={k: Signal.model_validate(v) for k, v in data["signals"].items()},
        missing={k: tuple(v) for k, v in data["missing"].items()},
        traces=tuple(_trace_view(t) for t in data["traces"]),
        assessability=data["assessability"],
        promised=data["promised"],
    )


def _trace(trace: Trace) -> dict[str, Any]:
    return {
        "stream": trace.stream,
        "block": trace.block,
        "site": trace.site,
        "scanner": trace.scanner,
        "reader": trace.reader,
        "days": trace.day.tolist(),
        "statistic": trace.statistic.tolist(),
        "limit": trace.limit,
        "warning": trace.warning,
    }


def _trace_view(data: dict[str, Any]) -> TraceView:
    days = tuple(date.fromordinal(d) for d in data["days"])
    return TraceView(**{**data, "days": days, "statistic": tuple(map(float, data["statistic"]))})


def _date(ordinal: int | None) -> date | None:
    return None if ordinal is None else date.fromordinal(ordinal)
