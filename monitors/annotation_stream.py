"""The label streams: labels given the score and re-reads of fixed images, by site and reader.

A stream averages five kinds of e-detectors: labels alone, re-reads alone, both together in the
same direction, the dependence of labels on the score, and labels together with the score along
the label-shift direction. Labels with re-reads is what a changed labelling convention moves,
labels with the score what a changed prevalence moves; alone is for a site that has only one.
Evidence of several channels multiplies, since labels are weighed given the score.
"""

from __future__ import annotations

import numpy as np

from monitors.detectors import advance, shift_evidence
from monitors.errors import NotAssessable
from monitors.label_stream import Group, likelihood_ratios, read_shift, slope_z
from monitors.observations import LabelRows, SentinelRows
from monitors.reference import Reference, Stream
from monitors.schema import FloatArray, IntArray

ODDS = np.array([1.5, 2.0, 3.0, 1 / 1.5, 1 / 2.0, 1 / 3.0])  # up, then down; weak to strong
READ_MARGIN = 0.4  # standard deviations of a round that reads may be off in control
SLOPE_MARGIN = 0.3
_Table = tuple[int, IntArray, IntArray]  # place in the label reference, labelled, positive
KINDS = ("labels", "reads", "both", "slope", "patients")


class AnnotationStreams:
    """Running state of every label stream; `step` once a day."""

    def __init__(
        self, reference: Reference, labels: LabelRows, sentinels: SentinelRows, limit: float
    ) -> None:
        self.reference, self.labels, self.sentinels = reference, labels, sentinels
        self.limit = limit * len(KINDS)  # of one kind alone
        self.columns = reference.schema.label_columns
        self.streams = tuple(s for s in reference.streams if s.block == "labels")
        self.m = np.zeros((len(self.streams), len(KINDS), ODDS.size))
        self.last = np.full((len(self.streams), len(KINDS)), reference.until)

    def step(
        self,
        day: int,
        tables: IntArray,
        rounds: IntArray,
        excluded: set[str],
        score: dict[str, FloatArray],
    ) -> None:
        """Consume the label tables and sentinel rounds, by place, that arrive on `day`.

        score : each site's log e-values (2, 3) along the label-shift direction.
        """
        of_site, rounds_of_site = _by_site(self.labels, tables), _by_site(self.sentinels, rounds)
        for s, stream in enumerate(self.streams):
            mine = _seen(stream, self.labels, of_site, excluded)
            read = _seen(stream, self.sentinels, rounds_of_site, excluded)
            tables_of_sites = self._tables(stream, mine)
            label = self._label_evidence(tables_of_sites)
            reads = self._read_evidence(stream, read)
            self._advance(s, "labels", day, label)
            self._advance(s, "reads", day, reads)
            self._advance(s, "both", day, _product(label, reads))
            along = None if stream.reader else score.get(stream.site)
            self._advance(s, "patients", day, _product(label, along))
            self._advance(s, "slope", day, self._slope_evidence(tables_of_sites))

    def reset(self, day: int, sites: set[str]) -> None:
        """Begin again for the streams of `sites`, and for the fleet's."""
        for s, stream in enumerate(self.streams):
            if not stream.site or stream.site in sites:
                self.m[s] = 0
                self.last[s] = day

    def statistics(self) -> FloatArray:
        """M of every label stream, in the order of `streams`."""
        return np.asarray(self.m.mean(axis=(1, 2)))

    def _group(self, stream: Stream, site: str) -> Group:
        return (site, stream.reader if stream.site else "")

    def _advance(self, s: int, kind: str, day: int, evidence: FloatArray | None) -> None:
        if evidence is None:
            return
        k = KINDS.index(kind)
        self.m[s, k] = advance(self.m[s, k], max(day - int(self.last[s, k]), 1), evidence)
        self.last[s, k] = day

    def _tables(self, stream: Stream, mine: list[int]) -> list[_Table]:
        """Reference group, labelled and positive of each site's tables together."""
        fitted, columns = self.reference.labels, self.columns
        found = []
        for site in sorted({self.labels.site[i] for i in mine}):
            at = None if fitted is None else fitted.index(self._group(stream, site))
            if at is not None:
                row = self.labels.rows[[i for i in mine if self.labels.site[i] == site]].sum(axis=0)
                found.append((at, row[columns["labelled"]], row[columns["positive"]]))
        return found

    def _label_evidence(self, tables: list[_Table]) -> FloatArray | None:
        fitted = self.reference.labels
        if not tables or fitted is None:
            return None
        parts = [
            likelihood_ratios(fitted.probability[g], float(fitted.error[g]), n, y, ODDS, self.limit)
            for g, n, y in tables
        ]
        return np.asarray(np.sum(parts, axis=0))

    def _slope_evidence(self, tables: list[_Table]) -> FloatArray | None:
        fitted = self.reference.labels
        if not tables or fitted is None:
            return None
        z = [slope_z(fitted.probability[g], float(fitted.error[g]), n, y) for g, n, y in tables]
        together = np.array(sum(z) / np.sqrt(len(z)))
        return shift_evidence(together, np.array(SLOPE_MARGIN)).reshape(-1)

    def _read_evidence(self, stream: Stream, read: list[int]) -> FloatArray | None:
        """Re-reads of all rounds of the day, in the order of `ODDS`: up, then down."""
        if not read:
            return None
        shift = variance = 0.0
        for site in sorted({self.sentinels.site[i] for i in read}):
            mine = [i for i in read if self.sentinels.site[i] == site and self._is_read(i)]
            found = site_read_shift(
                self.reference, self._group(stream, site), self.sentinels.rows[mine].sum(axis=0)
            )
            if found is not None:
                shift, variance = shift + found[0], variance + found[1]
        if variance == 0:
            return None
        z = np.array(shift / np.sqrt(variance))
        return shift_evidence(z, np.array(READ_MARGIN)).reshape(-1)

    def _is_read(self, i: int) -> bool:
        return bool(self.sentinels.reader_group[i])


def _by_site(rows: LabelRows | SentinelRows, which: IntArray) -> dict[str, list[int]]:
    """Places `which` of the rows, by site."""
    found: dict[str, list[int]] = {}
    for i in which.tolist():
        found.setdefault(rows.site[i], []).append(i)
    return found


def _seen(
    stream: Stream,
    rows: LabelRows | SentinelRows,
    by_site: dict[str, list[int]],
    excluded: set[str],
) -> list[int]:
    """Places of the rows that a stream sees: its site's, or of all sites that are not excluded."""
    if not stream.site:
        return [i for site, mine in by_site.items() if site not in excluded for i in mine]
    mine = by_site.get(stream.site, [])
    return [i for i in mine if stream.reader in ("", rows.reader_group[i])]


def _product(first: FloatArray | None, second: FloatArray | None) -> FloatArray | None:
    """The log of two e-values' product, or the one there is, in the order of `ODDS`."""
    present = [part.reshape(-1) for part in (first, second) if part is not None]
    return np.asarray(np.sum(present, axis=0)) if present else None


def site_read_shift(
    reference: Reference, group: Group, row: IntArray
) -> tuple[float, float] | None:
    """Net shift of re-reads and its variance; None if they cannot be compared."""
    sentinels, columns = reference.sentinels, reference.schema.sentinel_columns
    at = None if sentinels is None else sentinels.index(group)
    if sentinels is None or at is None or row.ndim == 0:
        return None
    try:
        return read_shift(
            row[columns["reads"]],
            row[columns["positive"]],
            sentinels.reads[at],
            sentinels.positive[at],
        )
    except NotAssessable:
        return None
