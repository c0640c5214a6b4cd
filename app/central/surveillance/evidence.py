"""What a page shows beside a signal or a site: distributions, series and counts from windows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache

import numpy as np
from sqlalchemy.dialects.postgresql import Range
from sqlalchemy.orm import Session

from app.central.events import service as events
from app.central.fleet import service as fleet
from app.central.fleet.service import SiteView
from app.central.intake import case_counts
from app.central.intake.case_counts import SiteCount
from app.central.plain import Number
from app.central.references import repository as references_repository
from app.central.surveillance import repository, service
from app.central.surveillance.history import history_at
from app.central.surveillance.results import BLOCKS, TraceView
from app.central.surveillance.service import SignalView
from monitors.observations import History, Stratum
from monitors.schema import TALLIES, BoolArray, FloatArray, IntArray, Schema
from monitors.summaries import (
    categorical_counts,
    numeric_counts,
    numeric_means,
    score_counts,
    tallies,
)

WEEK = 7
RECENT_DAYS = 28
FLAGGED = slice(TALLIES.index("flagged"), TALLIES.index("flagged") + 1)


@dataclass(frozen=True, slots=True)
class Comparison:
    """One characteristic, reference against current, on the bins of the reference.

    Numeric and score characteristics have `edges` (bins + 1,); categorical ones `levels`.
    `missing` are (reference, current) cases without a value; `outside` those beyond the edges.
    """

    name: str
    kind: str  # numeric, score or categorical
    unit: str
    edges: tuple[float, ...]
    levels: tuple[str, ...]
    reference: tuple[int, ...]
    current: tuple[int, ...]
    outside: tuple[int, int]
    missing: tuple[int, int]


@dataclass(frozen=True, slots=True)
class WeekPoint:
    """A week's mean with its number of cases; `se` is the standard error of the mean."""

    week: date
    n: int
    mean: Number
    se: Number


@dataclass(frozen=True, slots=True)
class WeeklySeries:
    """A characteristic by week of acquisition, with its mean and SD in the reference period."""

    name: str
    unit: str
    centre: Number
    sd: Number
    points: tuple[WeekPoint, ...]


@dataclass(frozen=True, slots=True)
class OtherChange:
    """Something that changed at the same site within two weeks: another signal, or an event that a
    person registered, in whose words it is `described`. `detail` is its number."""

    day: date
    what: str
    site: str
    scanner: str
    detail: str
    described: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewestEvaluation:
    """What a signal's newest evaluation says of it."""

    signal: SignalView
    reference_id: str
    reference_until: date
    evaluated_upto: date
    promised: float
    windows: int
    result_digest: str
    missing: tuple[str, ...]
    traces: tuple[TraceView, ...]
    changes: tuple[OtherChange, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalEvidence(NewestEvaluation):
    """All that stands beside a signal. `current` counts windows from the change date on."""

    comparisons: tuple[Comparison, ...]
    series: tuple[WeeklySeries, ...]
    scanners: tuple[Stratum, ...]
    reference_cases: int
    current_cases: int


@dataclass(frozen=True, slots=True)
class SiteStanding:
    """One site of a device version for the fleet page. `blocks`: signal, warning, quiet or
    not_assessable by block (acquisition, score, embedding, labels)."""

    site_id: str
    name: str
    blocks: dict[str, str]
    analysed: int
    flagged: int
    days_received: frozenset[date]
    open_signals: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FleetStanding:
    """A device version over all its sites, over the last four weeks."""

    lock_digest: str
    since: date
    upto: date
    evaluated_upto: date | None
    promised: float | None
    reference_id: str | None
    assessability: dict[str, str]
    sites: tuple[SiteStanding, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof(NewestEvaluation):
    """A signal's newest evaluation, and the windows of the signal's sites that it saw.

    `scoped`, `before` and `after` mask the case windows of `history`: those of the signal's own
    scanners, of these those of the reference period, and those from the change date on.
    """

    history: History
    scoped: BoolArray
    before: BoolArray
    after: BoolArray

    @property
    def reference_cases(self) -> int:
        """Cases analysed in the reference period."""
        return _cases(self.history, self.before)

    @property
    def current_cases(self) -> int:
        """Cases analysed since the change."""
        return _cases(self.history, self.after)


def signal_proof(session: Session, signal_id: str, *, scope: str | None = None) -> Proof | None:
    """The proof of a signal; None for one raised without statistics.

    Where a person is bound to site `scope`, that of this site alone.
    """
    view = service.signal(session, signal_id, scope=scope)
    if view.evaluation is None:
        return None
    evaluated = repository.find_evaluation(session, view.evaluation)
    source = repository.find_signal(session, signal_id)
    assert evaluated is not None
    assert source is not None
    reference = references_repository.find_reference(session, evaluated.reference_id)
    assert reference is not None
    sites = view.signal.sites
    found = service.findings(session, evaluated, source=source.source, sites=sites)
    history = history_at(session, view.lock_digest, upto=evaluated.upto, sites=sites)
    since = view.signal.change_date or view.signal.date
    scoped = _scoped(history, view)
    return Proof(
        signal=view,
        reference_id=reference.id,
        reference_until=reference.until,
        evaluated_upto=evaluated.upto,
        promised=evaluated.promised,
        windows=evaluated.windows,
        result_digest=evaluated.result_digest,
        missing=found.missing,
        traces=_traces(found.traces, view),
        changes=_changes(session, view, scope),
        history=history,
        scoped=scoped,
        before=scoped & (history.cases.end <= reference.until.toordinal() + 1),
        after=scoped & (history.cases.start >= since.toordinal()),
    )


def signal_evidence(
    session: Session, signal_id: str, *, scope: str | None = None
) -> SignalEvidence | None:
    """The proof of a signal with every comparison and series, to be kept; None without one."""
    proof = signal_proof(session, signal_id, scope=scope)
    if proof is None:
        return None
    history = proof.history
    return SignalEvidence(
        signal=proof.signal,
        reference_id=proof.reference_id,
        reference_until=proof.reference_until,
        evaluated_upto=proof.evaluated_upto,
        promised=proof.promised,
        windows=proof.windows,
        result_digest=proof.result_digest,
        missing=proof.missing,
        traces=proof.traces,
        comparisons=comparisons(history, proof.before, proof.after),
        series=weekly_series(history, proof.scoped, proof.before),
        changes=proof.changes,
        scanners=tuple(history.strata[i] for i in np.unique(history.cases.stratum[proof.scoped])),
        reference_cases=proof.reference_cases,
        current_cases=proof.current_cases,
    )


def fleet_standing(
    session: Session,
    lock_digest: str,
    today: date,
    *,
    sites: Sequence[SiteView] | None = None,
    open_signals: Sequence[SignalView] | None = None,
    counts: Mapping[str, SiteCount] | None = None,
    scope: str | None = None,
) -> FleetStanding:
    """How every site of a device version stands; what the caller has read is not read again."""
    since = today - timedelta(days=RECENT_DAYS)
    evaluated = repository.last_evaluation(session, lock_digest)
    if counts is None:
        counts = recent_counts(session, lock_digest, today, scope=scope)
    if sites is None:
        sites = fleet.sites(session, scope=scope)
    if open_signals is None:
        open_signals = service.signals(session, only_open=True, scope=scope, limit=service.EVERY)
    found = evaluated.standing if evaluated else {}
    mine = _signals_by_site(s for s in open_signals if s.lock_digest == lock_digest)
    return FleetStanding(
        lock_digest=lock_digest,
        since=since,
        upto=today,
        evaluated_upto=evaluated.upto if evaluated else None,
        promised=evaluated.promised if evaluated else None,
        reference_id=evaluated.reference_id if evaluated else None,
        assessability=found.get("assessability", {}),
        sites=tuple(
            _standing(
                site,
                counts.get(site.id, case_counts.NOTHING),
                found.get("blocks", {}).get(site.id, {}),
                mine.get(site.id, ()),
            )
            for site in sites
            if _runs(site, lock_digest)
        ),
    )


def recent_counts(
    session: Session, lock_digest: str, today: date, *, scope: str | None = None
) -> dict[str, SiteCount]:
    """Cases of the last four weeks by site, and the days they were acquired on."""
    since, upto = today - timedelta(days=RECENT_DAYS), today + timedelta(days=1)
    return case_counts.received(session, lock_digest, since=since, upto=upto, scope=scope)


def site_series(
    session: Session, lock_digest: str, site_id: str, today: date
) -> tuple[WeeklySeries, ...]:
    """Weekly means of a site's characteristics; the centre is that of the reference in force."""
    upto = today + timedelta(days=1)
    history = history_at(session, lock_digest, upto=upto, sites=(site_id,))
    reference = references_repository.in_force(session, lock_digest)
    mine = _at(history, lambda s: s.site == site_id)
    end = reference.until.toordinal() + 1 if reference else None
    before = mine & (history.cases.end <= end) if end is not None else mine
    return weekly_series(history, mine, before)


def comparisons(history: History, before: BoolArray, after: BoolArray) -> tuple[Comparison, ...]:
    """Every characteristic: cases of the windows `before` against those `after` (masks).

    Counts are as they are shown: one that noise leaves below 0 is about 0.
    """
    schema = history.schema
    rows = np.stack([history.cases.rows[m].sum(axis=0) for m in (before, after)])
    return (*_numeric(schema, rows), *_scores(schema, rows), *_categorical(schema, rows))


def weekly_series(history: History, mine: BoolArray, before: BoolArray) -> tuple[WeeklySeries, ...]:
    """Weekly means over the windows `mine`; centre and SD from those `before` (masks)."""
    schema, cases = history.schema, history.cases
    week = cases.start - (cases.start - 1) % WEEK  # Mondays: ordinal 1 is one
    weeks = np.unique(week[mine])
    summed = [cases.rows[mine & (week == w)].sum(axis=0) for w in weeks]
    rows = np.stack([cases.rows[before].sum(axis=0), *summed])
    n, mean, square = numeric_means(schema, rows)
    sd = np.sqrt(np.maximum(square - mean**2, 0.0))
    days = [date.fromordinal(int(w)) for w in weeks]
    made = []
    for i, f in enumerate(schema.numeric):
        points = _points(days, n[1:, i], mean[1:, i], sd[1:, i])
        made.append(WeeklySeries(f.name, f.unit, float(mean[0, i]), float(sd[0, i]), points))
    flags = cases.variance(FLAGGED)[:, 0]
    noise = np.array([flags[before].sum(), *(flags[mine & (week == w)].sum() for w in weeks)])
    return (_flag_rate(schema, rows, noise, days), *made)


def _flag_rate(schema: Schema, rows: IntArray, noise: FloatArray, days: list[date]) -> WeeklySeries:
    """`noise` is the variance that edges' noise gives the flagged count of each row."""
    tally = tallies(schema, rows)
    n = tally["analysed"]
    with np.errstate(invalid="ignore", divide="ignore"):
        rate = np.clip(tally["flagged"] / n, 0.0, 1.0)
        sd = np.sqrt(rate * (1 - rate) + noise / n)  # of one case: a mean's is less by root n
    points = _points(days, n[1:], rate[1:], sd[1:])
    return WeeklySeries("flag_rate", "1", float(rate[0]), float(sd[0]), points)


def _points(
    days: list[date], n: IntArray, mean: np.ndarray, sd: np.ndarray
) -> tuple[WeekPoint, ...]:
    return tuple(
        WeekPoint(day, int(k), float(m), float(s) / float(np.sqrt(k)))
        for day, k, m, s in zip(days, n, mean, sd, strict=True)
        if k > 0
    )


def _numeric(schema: Schema, rows: IntArray) -> list[Comparison]:
    counts = numeric_counts(schema, rows)
    return [
        Comparison(
            name=f.name,
            kind="numeric",
            unit=f.unit,
            edges=tuple(f.edges.tolist()),
            levels=(),
            reference=tuple(counts[0, i, 1:-2].tolist()),
            current=tuple(counts[1, i, 1:-2].tolist()),
            outside=_pair(counts[:, i, 0] + counts[:, i, -2]),
            missing=_pair(counts[:, i, -1]),
        )
        for i, f in enumerate(schema.numeric)
    ]


def _scores(schema: Schema, rows: IntArray) -> list[Comparison]:
    counts = score_counts(schema, rows)
    return [
        Comparison(
            name=f"score_{s.stage}",
            kind="score",
            unit="probability",
            edges=tuple(s.edges.tolist()),
            levels=(),
            reference=tuple(np.maximum(counts[0, i, :-1], 0).tolist()),
            current=tuple(np.maximum(counts[1, i, :-1], 0).tolist()),
            outside=(0, 0),
            missing=_pair(counts[:, i, -1]),
        )
        for i, s in enumerate(schema.scores)
    ]


def _categorical(schema: Schema, rows: IntArray) -> list[Comparison]:
    parts = zip(schema.categorical, categorical_counts(schema, rows), strict=True)
    return [
        Comparison(
            name=c.name,
            kind="categorical",
            unit="",
            edges=(),
            levels=(*c.categories, "OTHER"),
            reference=tuple(part[0, :-1].tolist()),
            current=tuple(part[1, :-1].tolist()),
            outside=(0, 0),
            missing=_pair(part[:, -1]),
        )
        for c, part in parts
    ]


def _pair(values: IntArray) -> tuple[int, int]:
    return int(values[0]), int(values[1])


def _at(history: History, wanted: Callable[[Stratum], bool]) -> BoolArray:
    """Mask of the case windows whose stratum is wanted."""
    is_wanted = np.array([*(wanted(s) for s in history.strata), False], dtype=np.bool_)
    return np.asarray(is_wanted[history.cases.stratum])


def _scoped(history: History, view: SignalView) -> BoolArray:
    sites, scanners = view.signal.sites, view.signal.scanners
    return _at(history, lambda s: s.site in sites and (not scanners or s.scanner in scanners))


def _cases(history: History, mask: BoolArray) -> int:
    return int(tallies(history.schema, history.cases.rows[mask])["analysed"].sum())


def _traces(traces: tuple[TraceView, ...], view: SignalView) -> tuple[TraceView, ...]:
    """The stream that signalled first."""
    return tuple(sorted(traces, key=lambda t: (t.stream != view.signal.stream, t.stream)))


def _changes(session: Session, view: SignalView, scope: str | None) -> tuple[OtherChange, ...]:
    around = view.signal.change_date or view.signal.date
    found = _planned(session, view, around, scope)
    near = around - timedelta(days=2 * WEEK), around + timedelta(days=2 * WEEK)
    others = service.signals(
        session, lock_digest=view.lock_digest, scope=scope, raised=near, limit=service.EVERY
    )
    for other in others:
        s = other.signal
        if other.id != view.id and set(s.sites) & set(view.signal.sites):
            what = s.event or ", ".join(s.history[-1].causes)
            found.append(
                OtherChange(s.date, what, ", ".join(s.sites), ", ".join(s.scanners), other.id)
            )
    return tuple(sorted(found, key=lambda c: (c.day, c.detail)))


def _planned(
    session: Session, view: SignalView, around: date, scope: str | None
) -> list[OtherChange]:
    near = timedelta(days=2 * WEEK)
    return [
        OtherChange(e.first_day, e.kind.value, e.site_id, e.scanner, e.id, e.description)
        for e in events.events(session, lock_digest=view.lock_digest, site_id=scope)
        if e.site_id in view.signal.sites and e.first_day - near <= around <= e.last_day + near
    ]


def _runs(site: SiteView, lock_digest: str) -> bool:
    return any(e.expected_lock == lock_digest for e in site.edges)


def _signals_by_site(signals: Iterable[SignalView]) -> dict[str, list[SignalView]]:
    by_site: dict[str, list[SignalView]] = {}
    for one in signals:
        for site in one.signal.sites:
            by_site.setdefault(site, []).append(one)
    return by_site


def _standing(
    site: SiteView, count: SiteCount, words: Mapping[str, str], mine: Sequence[SignalView]
) -> SiteStanding:
    raised = {s.signal.stream.split(":")[0] for s in mine}
    return SiteStanding(
        site_id=site.id,
        name=site.name,
        blocks={
            block: "signal" if block in raised else words.get(block, "not_assessable")
            for block in BLOCKS
        },
        analysed=count.analysed,
        flagged=count.flagged,
        days_received=_days(count.days),
        open_signals=tuple(s.id for s in mine),
    )


@lru_cache(maxsize=4096)
def _days(spans: tuple[Range[date], ...]) -> frozenset[date]:
    """The days of half-open ranges; most sites of a fleet have the same."""
    return frozenset(
        span.lower + timedelta(days=i)
        for span in spans
        if span.lower is not None and span.upper is not None
        for i in range((span.upper - span.lower).days)
    )
