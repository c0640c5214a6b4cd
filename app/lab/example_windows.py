"""A simulated history cut into the windows that its edges send: by site, stream and arrival."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

import numpy as np

from app.contracts.window import Table
from app.lab.example_device import PLACE
from monitors.observations import History, Stratum
from monitors.schema import IntArray
from monitors.summaries import tallies


@dataclass(frozen=True)
class Cut:
    """One window's content: a stream, the days [start, end) that it is about, and its table."""

    site: str
    stream: str
    start: int
    end: int
    tables: dict[str, Table]
    cases: int = 0


def cuts_by_arrival(history: History, last: int) -> dict[int, list[Cut]]:
    """What arrives on each day up to `last`, by site and stream."""
    found: dict[int, list[Cut]] = {}
    for arrival, cut in (*_spans(history), *_labels(history), *_sentinels(history)):
        if arrival <= last:
            found.setdefault(arrival, []).append(cut)
    return found


def _spans(history: History) -> Iterator[tuple[int, Cut]]:
    """Windows of cases and of moments: of one site and arrival each."""
    site_of = np.array([s.site for s in history.strata])
    for stream, table, rows in (
        ("cases", "strata", history.cases),
        ("moments", "moments", history.moments),
    ):
        for arrival, site in _groups(rows.arrival, site_of[rows.stratum]):
            here = np.flatnonzero((rows.arrival == arrival) & (site_of[rows.stratum] == site))
            keys = tuple(
                (day_words(s), day_words(e), *_renamed(history.strata[g]))
                for s, e, g in zip(
                    rows.start[here], rows.end[here], rows.stratum[here], strict=True
                )
            )
            values = rows.rows[here]
            cases = 0
            if stream == "cases":
                cases = int(tallies(history.schema, values)["analysed"].sum())
            start, end = int(rows.start[here].min()), int(rows.end[here].max())
            tables = {table: Table(keys, values)}
            yield arrival, Cut(site, stream, start, end, tables, cases)


def _labels(history: History) -> Iterator[tuple[int, Cut]]:
    rows, sites = history.labels, np.array(history.labels.site)
    for arrival, site in _groups(rows.arrival, sites):
        here = np.flatnonzero((rows.arrival == arrival) & (sites == site))
        keys = tuple(
            (day_words(rows.week[i]), rows.source[i], rows.reader_group[i], "") for i in here
        )
        week = rows.week[here]
        tables = {"labels": Table(keys, rows.rows[here])}
        yield arrival, Cut(site, "labels", int(week.min()), int(week.max()) + 7, tables)


def _sentinels(history: History) -> Iterator[tuple[int, Cut]]:
    rows, sites = history.sentinels, np.array(history.sentinels.site)
    for arrival, site in _groups(rows.arrival, sites):
        here = np.flatnonzero((rows.arrival == arrival) & (sites == site))
        keys = tuple((day_words(rows.day[i]), rows.reader_group[i]) for i in here)
        day = rows.day[here]
        tables = {"sentinel": Table(keys, rows.rows[here])}
        yield arrival, Cut(site, "sentinel", int(day.min()), int(day.max()) + 1, tables)


def _groups(arrival: IntArray, site: np.ndarray) -> list[tuple[int, str]]:
    return sorted({(int(a), str(s)) for a, s in zip(arrival, site, strict=True)})


def _renamed(stratum: Stratum) -> tuple[str, ...]:
    """The key of a stratum; scanners are named as the example's sites are."""
    return (
        stratum.scanner.replace("H", PLACE, 1),
        stratum.manufacturer,
        stratum.model,
        stratum.software_version,
        stratum.protocol,
    )


def day_words(day: int) -> str:
    """An ordinal as an ISO date."""
    return date.fromordinal(int(day)).isoformat()
