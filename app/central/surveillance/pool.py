"""All sites of a device version together, and each by its sums: what pages and reports ask."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property

import numpy as np
import numpy.typing as npt
from sqlalchemy.orm import Session

from app.central.fleet import service as fleet
from app.central.surveillance.arrivals import Arrived
from app.central.surveillance.history import arrived_windows
from app.central.surveillance.measured import Counts, Days
from app.central.surveillance.summing import sums_of
from app.central.surveillance.sums import (
    AUDITED,
    NOTHING,
    Kind,
    Source,
    Span,
    Sums,
    from_bits,
)
from app.contracts.window import Table
from monitors.observations import (
    CaseRows,
    History,
    LabelRows,
    MomentRows,
    Noise,
    SentinelRows,
    Stratum,
)
from monitors.schema import NUMERIC_UNITS, TALLIES, IntArray, Schema
from monitors.summaries import score_counts

EVERYWHERE = Stratum("", "")


@dataclass(frozen=True, slots=True)
class Round:
    """A round of the sentinel set at a site; `reader_group` "" is a re-scoring."""

    day: date
    site: str
    reader_group: str
    row: IntArray


@dataclass(frozen=True, slots=True)
class Deviations:
    """Largest deviations of a site, in probability; None where none was received."""

    known_answers: float | None
    sentinel: float | None


class Pool:
    """Answers of one source of sums; each question reads what it needs of it."""

    def __init__(self, schema: Schema, source: Source) -> None:
        self.schema = schema
        self._source = source

    @classmethod
    def of(cls, schema: Schema, windows: Iterable[Arrived]) -> Pool:
        """Of these windows alone."""
        return cls(schema, Sums.of(schema, windows))

    @cached_property
    def history(self) -> History:
        """Cases and labels of all sites, as windows of one stratum that lies nowhere."""
        return History(
            schema=self.schema,
            strata=(EVERYWHERE,),
            cases=_cases(
                self.schema, self._source.lines(Kind.CASES), self._source.lines(Kind.NOISY)
            ),
            moments=_no_moments(self.schema),
            labels=_labels(self._source.lines(Kind.LABELS), self.schema),
            sentinels=_no_sentinels(self.schema),
        )

    def arrived_by(self, upto: date) -> History:
        """Of that, what the evaluation of `upto` saw."""
        cases, labels = self.history.cases, self.history.labels
        seen, read = (np.flatnonzero(x.arrival <= upto.toordinal()) for x in (cases, labels))
        return replace(
            self.history,
            cases=cases.select(seen),
            labels=LabelRows(
                labels.rows[read],
                labels.week[read],
                labels.arrival[read],
                *(
                    tuple(x[i] for i in read)
                    for x in (labels.site, labels.source, labels.reader_group)
                ),
            ),
        )

    @cached_property
    def sites(self) -> tuple[str, ...]:
        """Sites that have sent cases, by name."""
        return tuple(sorted(self._source.sites()))

    def senders(self, margin: str) -> set[str]:
        """Sites that have ever sent a margin of sub-groups."""
        return self._source.senders(margin)

    def received(self, days: Days) -> dict[str, list[Span]]:
        """Of `days`, those that the cases of each site cover; sites without any are left out."""
        return self._source.received(*_span(days))

    def counts(self, days: Days) -> Counts:
        """Cases and audited reads of all sites; of edges without noise, which alone send reads."""
        cases = self.history.cases
        row = cases.rows[days.holds(cases.start) & ~cases.is_noisy].sum(axis=0)
        return Counts(score_counts(self.schema, row)[0, :-1], *self.reads(days))

    def reads(self, days: Days, group: str = "") -> tuple[IntArray, IntArray]:
        """Labelled and positive per bin of labels, (G,) each, of audited reads of all sites."""
        labels, part = self.history.labels, self.schema.label_columns
        mine = _are(labels.source, AUDITED) & days.holds(labels.week)
        if group:
            mine &= _are(labels.reader_group, group)
        row = labels.rows[mine].sum(axis=0)
        return row[part["labelled"]], row[part["positive"]]

    def counts_by_site(self, days: Days, sites: Iterable[str]) -> dict[str, Counts]:
        """The same of each of `sites`."""
        start, end = _span(days)
        cases = _by_first(self._source.total(Kind.SITES, start, end))
        reads = _by_first(self._source.total(Kind.READS, start, end))
        return {site: self._of_site(cases.get(site), reads.get(site)) for site in sites}

    def _of_site(self, cases: IntArray | None, reads: IntArray | None) -> Counts:
        part, bins = self.schema.label_columns, self.schema.score_bins
        read = np.zeros(self.schema.width(part), dtype=np.int64) if reads is None else reads
        scores = np.zeros(bins, dtype=np.int64) if cases is None else cases[len(TALLIES) :]
        return Counts(scores, read[part["labelled"]], read[part["positive"]])

    def models(self, days: Days) -> dict[str, IntArray]:
        """Tallies of all sites by manufacturer and model of the scanner."""
        table, found = self._source.lines(Kind.MODELS), dict[str, IntArray]()
        start, end = (day.isoformat() for day in _span(days))
        for (day, manufacturer, model), row in zip(table.keys, table.values, strict=True):
            if start <= day < end:
                name = f"{manufacturer} {model}".strip() or "unnamed"
                found[name] = found.get(name, 0) + row
        return found

    def margins(self, days: Days) -> dict[tuple[str, str], IntArray]:
        """Rows of all sites by margin and level, of windows of sub-groups that touch `days`."""
        table, found = self._source.lines(Kind.MARGINS), dict[tuple[str, str], IntArray]()
        first, last = (day.isoformat() for day in _span(days))
        for (start, end, *name), row in zip(table.keys, table.values, strict=True):
            if start < last and end > first:
                margin, level = name
                found[margin, level] = found.get((margin, level), 0) + row
        return found

    def deviations(self, days: Days) -> dict[str, Deviations]:
        """Of every site that has sent anything of these days."""
        found = _by_first(self._source.total(Kind.WORST, *_span(days)))
        return {
            site: Deviations(
                None if known == NOTHING else from_bits(int(known)),
                None if sentinel == NOTHING else int(sentinel) / NUMERIC_UNITS,
            )
            for site, (known, sentinel) in found.items()
        }

    def rounds(self, most: int) -> list[Round]:
        """The newest rounds of the sentinel set; of one day by site, as it sent them."""
        table = self._source.newest(Kind.ROUNDS, most)
        order = sorted(
            (-_ordinal(day), site, edge, int(epoch), int(sequence), int(line), i)
            for i, (day, edge, epoch, sequence, line, site, _) in enumerate(table.keys)
        )
        return [
            Round(date.fromordinal(-first), table.keys[i][5], table.keys[i][6], table.values[i])
            for first, *_, i in order[:most]
        ]


def pool_within(session: Session, lock_digest: str, *, upto: date, scope: str | None) -> Pool:
    """What a person bound to site `scope`, or to none, may see of a device version.

    Of one site by its windows that had arrived by the evaluation of `upto`; of all sites by sums
    over everything that has arrived.
    """
    schema = fleet.layout_of(session, lock_digest)
    if scope is None:
        return Pool(schema, sums_of(session, lock_digest))
    return Pool.of(schema, arrived_windows(session, lock_digest, upto=upto, sites=(scope,)))


def _span(days: Days) -> Span:
    return date.fromordinal(max(days.start, 1)), date.fromordinal(max(days.end, 1))


def _by_first(table: Table) -> dict[str, IntArray]:
    return {key[0]: row for key, row in zip(table.keys, table.values, strict=True)}


def _are(names: tuple[str, ...], wanted: str) -> npt.NDArray[np.bool_]:
    return np.array([name == wanted for name in names], dtype=np.bool_)


def _ordinals(table: Table, at: int) -> IntArray:
    return np.array([_ordinal(key[at]) for key in table.keys], dtype=np.int64)


def _ordinal(day: str) -> int:
    return date.fromisoformat(day).toordinal()


def _rows(table: Table, width: int) -> IntArray:
    return table.values if table.keys else np.zeros((0, width), dtype=np.int64)


def _cases(schema: Schema, exact: Table, noisy: Table) -> CaseRows:
    """Rows without noise, then those with it, which stand before their variance."""
    width = schema.width(schema.columns)
    with_noise = _rows(noisy, 2 * width)
    keys = (*exact.keys, *noisy.keys)
    start, end, arrival = (
        np.array([_ordinal(key[at]) for key in keys], dtype=np.int64) for at in range(3)
    )
    rows = np.concatenate([_rows(exact, width), with_noise[:, :width]])
    nowhere = np.zeros(len(keys), dtype=np.int64)
    noise = _noise(len(exact.keys), with_noise[:, width:]) if noisy.keys else None
    return CaseRows(rows, start, end, arrival, nowhere, noise)


def _noise(exact: int, variance: IntArray) -> Noise:
    none, level = np.zeros((1, variance.shape[1])), np.arange(1, len(variance) + 1)
    return Noise(
        np.concatenate([none, variance.astype(np.float64)]),
        np.concatenate([np.zeros(exact, dtype=np.int64), level]),
    )


def _labels(table: Table, schema: Schema) -> LabelRows:
    return LabelRows(
        rows=_rows(table, schema.width(schema.label_columns)),
        week=_ordinals(table, 0),
        arrival=_ordinals(table, 1),
        site=("",) * len(table.keys),
        source=tuple(key[2] for key in table.keys),
        reader_group=tuple(key[3] for key in table.keys),
    )


def _no_moments(schema: Schema) -> MomentRows:
    none = np.zeros(0, dtype=np.int64)
    rows = np.zeros((0, schema.width(schema.moment_columns)), dtype=np.int64)
    return MomentRows(rows, none, none, none, none)


def _no_sentinels(schema: Schema) -> SentinelRows:
    none = np.zeros(0, dtype=np.int64)
    rows = np.zeros((0, schema.width(schema.sentinel_columns)), dtype=np.int64)
    return SentinelRows(rows, none, none, (), ())
