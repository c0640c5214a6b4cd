"""What can be taken away as a table: columns of one kind each, rows in a fixed order.

Windows and what they count are read from the stored bytes; signals and traces from what was
evaluated. A person bound to a site gets that site's rows only, and of
signals at several sites its own part (`other_sites` counts the rest).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Literal

from sqlalchemy.orm import Session

from app.central.fleet import repository as fleet_repository
from app.central.fleet import service as fleet
from app.central.intake import repository as intake
from app.central.surveillance import service as surveillance
from app.central.surveillance.service import SignalView
from app.contracts.signals import Effect
from app.contracts.window import Table as WindowTable
from app.contracts.window import decode
from monitors.schema import TALLIES, Schema
from monitors.summaries import numeric_means, tallies

Kind = Literal["text", "whole", "real", "day", "instant"]
Cell = str | int | float | date | datetime | None
MOST_SIGNALS = 10_000


class Name(StrEnum):
    """The tables."""

    WINDOWS = "windows"
    COUNTS = "counts"
    SIGNALS = "signals"
    EFFECTS = "effects"
    TRACES = "traces"


@dataclass(frozen=True, slots=True)
class Table:
    """Columns by name and kind, and rows of as many cells."""

    columns: dict[str, Kind]
    rows: list[tuple[Cell, ...]]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Of which device version, of one site only (or None), days from `since` to before `until`."""

    lock_digest: str
    scope: str | None
    since: date
    until: date

    @property
    def span(self) -> tuple[datetime, datetime]:
        """The days as instants."""
        return _midnight(self.since), _midnight(self.until)


def table(session: Session, name: Name, wanted: Wanted) -> Table:
    """One table."""
    fleet.get_device_version(session, wanted.lock_digest)
    return TABLES[name](session, wanted)


def _windows(session: Session, wanted: Wanted) -> Table:
    columns: dict[str, Kind] = {
        "site": "text",
        "edge": "text",
        "epoch": "whole",
        "sequence": "whole",
        "revision": "whole",
        "stream": "text",
        "start": "instant",
        "end": "instant",
        "closed_at": "instant",
        "received_at": "instant",
        "cases": "whole",
        "digest": "text",
    }
    rows = intake.stored_windows(session, wanted.lock_digest, wanted.scope, *wanted.span)
    return Table(columns, rows)


def _counts(session: Session, wanted: Wanted) -> Table:
    schema = fleet.layout_of(session, wanted.lock_digest)
    columns: dict[str, Kind] = {"site": "text", "edge": "text", "sequence": "whole"}
    columns |= {"revision": "whole", "start": "day", "end": "day"}
    for key in STRATUM:
        columns[key] = "text"
    for tally in TALLIES:
        columns[tally] = "whole"
    for numeric in schema.numeric:
        columns |= {f"n_{numeric.name}": "whole", f"mean_{numeric.name}": "real"}
    rows: list[tuple[Cell, ...]] = []
    rings = fleet_repository.key_rings(session)
    for site, edge, epoch, sequence, raw in intake.stored_cases(
        session, wanted.lock_digest, wanted.scope, *wanted.span
    ):
        window = decode(raw, rings[edge].at(epoch, sequence))
        header = window.header
        first: tuple[Cell, ...] = (site, edge, header.sequence, header.revision)
        rows += [(*first, *row) for row in _stratum_rows(schema, window.tables.get("strata"))]
    return Table(columns, rows)


STRATUM = ("scanner", "manufacturer", "model", "software_version", "protocol")


def _stratum_rows(schema: Schema, strata: WindowTable | None) -> Iterator[tuple[Cell, ...]]:
    if strata is None:
        return
    counted = tallies(schema, strata.values)
    n, mean, _ = numeric_means(schema, strata.values)
    for i, (start, end, *stratum) in enumerate(strata.keys):
        means = [
            part
            for k in range(len(schema.numeric))
            for part in (int(n[i, k]), float(mean[i, k]) if n[i, k] else None)
        ]
        days = date.fromisoformat(start), date.fromisoformat(end)
        yield (*days, *stratum, *(int(counted[t][i]) for t in TALLIES), *means)


def _signals(session: Session, wanted: Wanted) -> Table:
    columns: dict[str, Kind] = {
        "signal": "text",
        "kind": "text",
        "severity": "text",
        "state": "text",
        "raised_on": "day",
        "sites": "text",
        "other_sites": "whole",
        "scanners": "text",
        "causes": "text",
        "probability": "real",
        "change_date": "day",
        "change_from": "day",
        "change_to": "day",
        "event": "text",
        "stream": "text",
        "statistic": "real",
        "limit": "real",
    }
    return Table(columns, [_signal_row(view) for view in _views(session, wanted)])


def _signal_row(view: SignalView) -> tuple[Cell, ...]:
    s = view.signal
    low, high = s.change_interval or (None, None)
    belief = s.history[-1]
    return (
        *(view.id, s.kind, view.severity.value, view.state.value, s.date),
        *("; ".join(s.sites), view.other_sites, "; ".join(s.scanners), "; ".join(belief.causes)),
        *(belief.probability, s.change_date, low, high),
        *(s.event, s.stream, s.statistic, s.limit),
    )


def _effects(session: Session, wanted: Wanted) -> Table:
    columns: dict[str, Kind] = {
        "signal": "text",
        "raised_on": "day",
        "characteristic": "text",
        "effect": "real",
        "low": "real",
        "high": "real",
        "unit": "text",
    }

    def row(view: SignalView, e: Effect) -> tuple[Cell, ...]:
        return (view.id, view.signal.date, e.name, e.effect, *e.interval, e.unit)

    rows = [row(v, e) for v in _views(session, wanted) for e in v.signal.characteristics]
    return Table(columns, rows)


def _views(session: Session, wanted: Wanted) -> list[SignalView]:
    found = surveillance.signals(
        session, lock_digest=wanted.lock_digest, scope=wanted.scope, limit=MOST_SIGNALS
    )
    return [v for v in reversed(found) if wanted.since <= v.signal.date < wanted.until]


def _traces(session: Session, wanted: Wanted) -> Table:
    columns: dict[str, Kind] = {
        "stream": "text",
        "site": "text",
        "scanner": "text",
        "reader": "text",
        "day": "day",
        "statistic": "real",
        "warning": "real",
        "limit": "real",
    }
    newest = surveillance.last_evaluation(
        session, wanted.lock_digest, upto=wanted.until - timedelta(days=1)
    )
    rows: list[tuple[Cell, ...]] = [
        (t.stream, t.site, t.scanner, t.reader, day, value, t.warning, t.limit)
        for t in (newest.evidence.traces if newest else ())
        if wanted.scope in (None, t.site)
        for day, value in zip(t.days, t.statistic, strict=True)
        if wanted.since <= day < wanted.until
    ]
    return Table(columns, rows)


TABLES: dict[Name, Callable[[Session, Wanted], Table]] = {
    Name.WINDOWS: _windows,
    Name.COUNTS: _counts,
    Name.SIGNALS: _signals,
    Name.EFFECTS: _effects,
    Name.TRACES: _traces,
}


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
