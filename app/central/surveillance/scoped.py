"""What somebody bound to one site is shown of a signal that lies at several.

Other sites are a count. What is named of scanners, models and readers is what the own site has
itself sent; the stream loses its place where that is another site's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy.orm import Session

from app.central.surveillance.history import arrived_windows
from app.contracts.signals import PartOfSignal, Signal

DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class _Own:
    """What a site has named in its windows."""

    scanners: frozenset[str]
    models: frozenset[str]
    readers: frozenset[str]


def part_of(session: Session, signal: Signal, lock_digest: str, scope: str | None) -> Signal:
    """The signal itself where `scope` is None or its only site, else what `scope` is shown."""
    if scope is None or set(signal.sites) <= {scope}:
        return signal
    named = signal.scanners or signal.scanner_models or signal.readers
    own = _own(session, signal, lock_digest, scope) if named else _Own(*[frozenset()] * 3)
    shown = {
        "sites": tuple(s for s in signal.sites if s == scope),
        "scanners": tuple(s for s in signal.scanners if s in own.scanners),
        "scanner_models": tuple(m for m in signal.scanner_models if m in own.models),
        "readers": tuple(r for r in signal.readers if r in own.readers),
        "stream": _placed(signal.stream, scope),
        "other_sites": len([s for s in signal.sites if s != scope]),
    }
    return PartOfSignal(**(dict(signal) | shown))


def assessability_of(words: Mapping[str, str], scope: str | None) -> dict[str, str]:
    """What could be assessed, without what is said of other sites than `scope`."""
    return {k: v for k, v in words.items() if scope is None or scope in k.split(":")}


def _placed(stream: str, scope: str) -> str:
    block, *place = stream.split(":")
    return stream if place[:1] == [scope] else block


def _own(session: Session, signal: Signal, lock_digest: str, scope: str) -> _Own:
    """Of the windows that the signal's newest evaluation saw."""
    upto = signal.history[-1].date + DAY if signal.history else signal.date + DAY
    tables = [
        one.window.tables
        for one in arrived_windows(session, lock_digest, upto=upto, sites=(scope,))
    ]
    strata = [key for t in tables if "strata" in t for key in t["strata"].keys]
    labels = [key for t in tables if "labels" in t for key in t["labels"].keys]
    rounds = [key for t in tables if "sentinel" in t for key in t["sentinel"].keys]
    return _Own(
        scanners=frozenset(key[2] for key in strata),
        models=frozenset(key[4] for key in strata),
        readers=frozenset([*(key[2] for key in labels), *(key[1] for key in rounds)]),
    )
