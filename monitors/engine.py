"""The engine: a reference, then everything that arrived since, into signals.

Pure: the same plan, reference and history give the same result, in whatever order the rows stand,
and a longer history repeats the signals of a shorter one. Windows are consumed in arrival order.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace

import numpy as np

from monitors.annotation_stream import AnnotationStreams
from monitors.case_stream import CaseStreams
from monitors.case_windows import POOLED, case_windows, predecessor
from monitors.detectors import limit
from monitors.effects import EffectSize, effects, label_effects
from monitors.incidents import (
    Assessment,
    BrokenLock,
    Seen,
    assess,
    same_change,
    strongest,
    units_at,
)
from monitors.observations import (
    Cohort,
    Event,
    History,
    LabelRows,
    MomentRows,
    SentinelRows,
    Stratum,
)
from monitors.plan import Plan
from monitors.reference import Reference, Stream, build_reference, stratum_name, too_few
from monitors.schema import NUMERIC_UNITS, FloatArray, IntArray
from monitors.stages import in_retrospect, staged, unstaged

__all__ = [
    "Cohort",
    "Evaluation",
    "History",
    "Plan",
    "Reference",
    "SignalResult",
    "Trace",
    "build_reference",
    "evaluate",
]

WARNING = 0.05  # share of the limit from which a trace is worth a look; no guarantee
SCANNER_EVENTS = ("new_scanner", "model", "software_version", "protocol")
UNDETERMINED = ("undetermined",)
NEWS_DAYS = 3  # labels and re-reads that come day by day are looked at together
SAME_DATE_DAYS = 21  # two sites' changes further apart are two changes


@dataclass(frozen=True, slots=True)
class Belief:
    """What was believed of the cause on `day`."""

    day: int
    causes: tuple[str, ...]
    probability: float
    candidates: dict[str, float]


@dataclass(frozen=True, slots=True)
class SignalResult:
    """One signal; the fields of `app.contracts.signals.Signal`, with days as ordinals."""

    id: str
    kind: str
    day: int
    sites: tuple[str, ...]
    scanners: tuple[str, ...]
    scanner_models: tuple[str, ...]
    readers: tuple[str, ...]
    history: tuple[Belief, ...]
    change_day: int | None
    change_interval: tuple[int, int] | None
    characteristics: tuple[EffectSize, ...]
    stream: str
    statistic: float | None
    limit: float | None
    event: str = ""
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """A stream over time. day : (t,) ordinals; statistic : (t,) in days, against `limit`."""

    stream: str
    block: str
    site: str
    scanner: str
    reader: str
    day: IntArray
    statistic: FloatArray
    limit: float
    warning: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What one evaluation found."""

    signals: tuple[SignalResult, ...]
    traces: tuple[Trace, ...]
    assessability: dict[str, str]
    false_signals_promised_per_year: float


@dataclass(slots=True)
class _Incident:
    """A statistical signal while the walk goes on."""

    day: int
    stream: Stream
    statistic: float
    sites: set[str]
    views: list[tuple[int, Assessment]] = field(default_factory=list)


def evaluate(
    plan: Plan, reference: Reference, history: History, upto: int | None = None
) -> Evaluation:
    """Signals raised by everything that arrived up to and including the day `upto`."""
    return _Walk(plan, reference, history, upto).run()


class _Walk:
    """One walk forward through a history, day by day."""

    def __init__(
        self, plan: Plan, reference: Reference, history: History, upto: int | None
    ) -> None:
        self.plan, self.reference = plan, reference
        self.upto = _last_day(history, reference) if upto is None else upto
        self.waiting = _waiting(plan, reference, history, self.upto)
        history = staged(history, {s.stage for s in reference.known})
        self.history = _monitored(history, reference.until, self.upto)
        unit_of = reference.unit_of(history.strata)
        self.windows = case_windows(self.history, unit_of, plan.window_cases)
        self.sites = np.array([u.site for u in reference.units])
        self.limit = limit(max(len(reference.streams), 1), plan.false_signals_per_year)
        self.cases = CaseStreams(reference, self.windows, self.limit)
        self.labels = AnnotationStreams(
            reference, self.history.labels, self.history.sentinels, self.limit
        )
        self.muted: dict[str, int] = {}
        self.incidents: list[_Incident] = []
        self.events = _events(reference, self.history, self.upto)
        self.locks = _broken_locks(plan, self.history)
        self.streams = (*self.cases.streams, *self.labels.streams)
        self.path: list[tuple[int, FloatArray]] = []

    def run(self) -> Evaluation:
        """Walk all days and report."""
        for day in range(self.reference.until, self.upto + 1):
            self._day(day)
        statistical = [self._result(i) for i in self.incidents]
        signals = sorted(
            [*statistical, *self._deterministic()], key=lambda s: (s.day, s.kind, s.id)
        )
        return Evaluation(
            signals=tuple(signals),
            traces=tuple(self._traces()),
            assessability=self._assessability(),
            false_signals_promised_per_year=self.plan.false_signals_per_year,
        )

    def _day(self, day: int) -> None:
        """Consume what arrived on `day`, raise, and look again at what is open."""
        self._unmute(day)
        arrived = np.arange(*np.searchsorted(self.windows.arrival, [day, day + 1]))
        tables = np.flatnonzero(self.history.labels.arrival == day)
        rounds = np.flatnonzero(self.history.sentinels.arrival == day)
        if arrived.size or tables.size or rounds.size:
            muted = set(self.muted)
            score = self.cases.step(day, arrived, ~np.isin(self.sites, list(muted)))
            self.labels.step(day, tables, rounds, muted, score)
            self._raise(day)
        self._look_again(day, tables, rounds)

    def _unmute(self, day: int) -> None:
        over = {site for site, until in self.muted.items() if until <= day}
        if over:
            self._begin_again(day, over)
            self.muted = {s: u for s, u in self.muted.items() if s not in over}

    def _begin_again(self, day: int, sites: set[str]) -> None:
        self.cases.reset(day, units_at(self.reference, sites))
        self.labels.reset(day, sites)

    def _raise(self, day: int) -> None:
        """Every stream over its limit whose scope is not part of an open signal."""
        found = np.concatenate([self.cases.statistics(), self.labels.statistics()])
        self.path.append((day, found))
        over = {self.streams[i]: float(found[i]) for i in np.flatnonzero(found >= self.limit)}
        heard = False
        # What one site explains must not be told again of another: the sites' own streams first,
        # and the fleet's, which holds what they have just told, not at all on that day.
        for stream in sorted(over, key=lambda s: (not s.site, -over[s], s.name)):
            sites = self._scope(stream, day) - set(self.muted)
            if sites and (stream.site or not heard):
                self._open(day, stream, over[stream], sites)
                heard = True

    def _scope(self, stream: Stream, day: int) -> set[str]:
        """The sites a stream speaks for; of the fleet's, the one that moved most, if any did."""
        if stream.site:
            return {stream.site}
        free = {u.site for u in self.reference.units} - set(self.muted)
        return strongest(self._seen(day), free, stream.block == "labels")

    def _open(self, day: int, stream: Stream, statistic: float, sites: set[str]) -> None:
        """A new signal, unless an open one is about the same change."""
        seen = self._seen(day)
        for incident in self.incidents:
            if self._joins(seen, incident, sites):
                incident.sites |= sites
                self._mute(day, sites)
                return
        view = assess(self.plan, seen, sites)
        others = {u.site for u in self.reference.units} - sites - set(self.muted)
        sites = sites | {o for o in others if self._is_same(seen, view, sites, {o})}
        incident = _Incident(day, stream, statistic, set(sites))
        self.incidents.append(incident)
        self._mute(day, sites)
        incident.views.append((day, assess(self.plan, seen, incident.sites)))

    def _joins(self, seen: Seen, incident: _Incident, sites: set[str]) -> bool:
        if seen.day - incident.day > self.plan.mute_days:
            return False
        return self._is_same(seen, incident.views[-1][1], incident.sites, sites)

    def _is_same(self, seen: Seen, view: Assessment, first: set[str], second: set[str]) -> bool:
        """Whether `second` on its own shows the same date and direction, and no other cause."""
        since = view.change.day
        if not same_change(seen, first, since, second):
            return False
        theirs = assess(self.plan, seen, second)
        causes = {view.verdict.causes, theirs.verdict.causes} - {UNDETERMINED}
        return abs(theirs.change.day - since) <= SAME_DATE_DAYS and len(causes) <= 1

    def _mute(self, day: int, sites: set[str]) -> None:
        """The sites' own streams go on, unheard; those of the fleet begin again without them."""
        self.muted |= dict.fromkeys(sites, day + self.plan.mute_days)
        self.cases.reset_fleet(day)
        self.labels.reset(day, set())

    def _look_again(self, day: int, tables: IntArray, rounds: IntArray) -> None:
        """Open signals: every `reassess_days`, and when labels or re-reads of their sites came."""
        news = {self.history.labels.site[i] for i in tables}
        news |= {self.history.sentinels.site[i] for i in rounds}
        for incident in self.incidents:
            age = day - incident.day
            if not 0 < age <= self.plan.mute_days:
                continue
            since = day - incident.views[-1][0]
            due = NEWS_DAYS if news & incident.sites else self.plan.reassess_days
            if since >= due:
                named = incident.views[-1][1].verdict.causes
                seen = self._seen(day)
                view = assess(self.plan, seen, incident.sites, named)
                if self._grow(seen, incident, view):
                    view = assess(self.plan, seen, incident.sites, named)
                incident.views.append((day, view))

    def _grow(self, seen: Seen, incident: _Incident, view: Assessment) -> bool:
        """Take in the sites that by now show the same change, signalled or not."""
        others = {u.site for u in self.reference.units} - incident.sites
        same = {o for o in sorted(others) if self._is_same(seen, view, incident.sites, {o})}
        incident.sites |= same
        if same - set(self.muted):
            self._mute(seen.day, same - set(self.muted))
        return bool(same)

    def _seen(self, day: int) -> Seen:
        events = tuple(e for e in self.events if max(e.day, e.known) <= day)
        return Seen(
            self.reference,
            self.windows,
            self.history.labels,
            self.history.sentinels,
            events,
            day,
            tuple(self.locks),
        )

    def _result(self, incident: _Incident) -> SignalResult:
        view = incident.views[-1][1]
        reference = self.reference
        causes = view.verdict.causes
        units = [reference.units[u] for u in view.units]
        at_site = [u for u in reference.units if u.site in incident.sites]
        # A change of patients or readers is the site's, whichever scanners show it most.
        local = "scanner" in causes or (causes == UNDETERMINED and len(units) < len(at_site))
        scanners = units if local else []
        scope = view.units if view.units.size else units_at(reference, incident.sites)
        return SignalResult(
            id=_identity("statistical", incident.day, incident.stream.name),
            kind="statistical",
            day=incident.day,
            sites=tuple(sorted(incident.sites)),
            scanners=tuple(sorted({u.scanner for u in scanners})),
            scanner_models=tuple(sorted({u.model for u in scanners if u.model})),
            readers=view.readers if "annotation" in causes else (),
            history=_history(incident.views),
            change_day=view.change.day,
            change_interval=(view.change.low, view.change.high),
            characteristics=self._effects(incident, scope),
            stream=incident.stream.name,
            statistic=incident.statistic,
            limit=self.limit,
            missing=view.verdict.missing,
        )

    def _effects(self, incident: _Incident, units: IntArray) -> tuple[EffectSize, ...]:
        """What moved; of the labels, where they raised the signal or are named as its cause."""
        day, view = incident.views[-1]
        seen, since = self._seen(day), view.change.day
        of_labels = incident.stream.block == "labels" or "annotation" in view.verdict.causes
        labels = label_effects(seen, incident.sites, since) if of_labels else ()
        return (*labels, *effects(seen, units, since))

    def _deterministic(self) -> list[SignalResult]:
        models = {(s.site, s.scanner): s.model for s in self.history.strata}
        told = [e for e in self.events if e.kind != "planned"]  # people know: they registered it
        found = [_event_signal(e, models.get((e.site, e.scanner), "")) for e in told]
        return found + [_lock_signal(self.plan, lock, size) for lock, size in self.locks.items()]

    def _traces(self) -> list[Trace]:
        day = np.array([day for day, _ in self.path], dtype=np.int64)
        statistic = np.array([m for _, m in self.path]).reshape(day.size, len(self.streams))
        return [
            Trace(
                stream.name,
                stream.block,
                stream.site,
                stream.scanner,
                stream.reader,
                day,
                statistic[:, at],
                self.limit,
                self.limit * WARNING,
            )
            for at, stream in sorted(enumerate(self.streams), key=lambda item: item[1].name)
            if day.size
        ]

    def _assessability(self) -> dict[str, str]:
        words = self.reference.assessability | self.waiting
        for i in np.unique(self.history.cases.stratum):
            stratum = self.history.strata[i]
            name = stratum_name(stratum)
            if name in words or stratum.scanner == POOLED:
                continue
            at = predecessor(stratum, self.reference.units)
            words[name] = (
                "not assessable: no reference"
                if at is None
                else f"tested against {stratum_name(self.reference.units[at])}"
            )
        return words


def _last_day(history: History, reference: Reference) -> int:
    arrivals = (history.cases.arrival, history.labels.arrival, history.sentinels.arrival)
    return max([reference.until - 1, *(int(a.max()) for a in arrivals if a.size)])


def _monitored(history: History, until: int, upto: int) -> History:
    """What is not part of the reference and arrived by `upto`."""
    c, la, s = history.cases, history.labels, history.sentinels
    # A window that straddles the end of the reference was not part of it, so it is watched.
    cases = c.where((c.end > until) & (c.arrival <= upto))
    in_l = np.flatnonzero((la.week + 7 > until) & (la.arrival <= upto))
    in_s = np.flatnonzero((s.day >= until) & (s.arrival <= upto))
    in_l = in_l[_label_order(la, in_l)]
    in_s = in_s[np.lexsort((_codes(s.reader_group, in_s), _codes(s.site, in_s), s.day[in_s]))]
    return History(
        history.schema,
        history.strata,
        replace(cases, arrival=np.maximum(cases.arrival, until)),
        MomentRows(*(a[:0] for a in _moment_arrays(history.moments))),
        LabelRows(
            la.rows[in_l],
            la.week[in_l],
            np.maximum(la.arrival[in_l], until),
            tuple(la.site[i] for i in in_l),
            tuple(la.source[i] for i in in_l),
            tuple(la.reader_group[i] for i in in_l),
        ),
        SentinelRows(
            s.rows[in_s],
            s.day[in_s],
            s.arrival[in_s],
            tuple(s.site[i] for i in in_s),
            tuple(s.reader_group[i] for i in in_s),
        ),
        history.events,
    )


def _moment_arrays(
    m: MomentRows,
) -> tuple[IntArray, IntArray, IntArray, IntArray, IntArray]:
    return m.rows, m.start, m.end, m.arrival, m.stratum


def _codes(names: tuple[str, ...], which: IntArray) -> IntArray:
    chosen = np.array([names[i] for i in which], dtype=np.str_)
    return np.asarray(np.unique(chosen, return_inverse=True)[1], dtype=np.int64)


def _label_order(labels: LabelRows, which: IntArray) -> IntArray:
    return np.lexsort(
        (
            _codes(labels.reader_group, which),
            _codes(labels.source, which),
            _codes(labels.site, which),
            labels.week[which],
            labels.arrival[which],
        )
    )


def _events(reference: Reference, history: History, upto: int) -> tuple[Event, ...]:
    """Registered events, and those that the windows' own strata show; each once."""
    registered = [e for e in history.events if reference.until <= e.day <= upto]
    known = {(e.kind, e.site, e.scanner) for e in registered}
    # A stage is no news: people opened it.
    before = tuple(dict.fromkeys(unstaged(s) for s in reference.known))
    is_known = set(before)
    seen: dict[tuple[str, str, str], Event] = {}
    for i in np.unique(history.cases.stratum):
        stratum = unstaged(history.strata[i])
        if stratum in is_known or stratum.scanner == POOLED:
            continue
        kind = _event_kind(stratum, before)
        first = int(history.cases.arrival[history.cases.stratum == i].min())
        key = (kind, stratum.site, stratum.scanner)
        if key not in known and (key not in seen or first < seen[key].day):
            seen[key] = Event(first, *key, stratum_name(stratum))
    every = {_place(e): e for e in [*registered, *seen.values()]}
    return tuple(every[key] for key in sorted(every))


def _place(event: Event) -> tuple[int, str, str, str, str]:
    """What makes an event itself, in the order of time; people may plan several on one day."""
    name = event.detail if event.kind == "planned" else ""
    return event.day, event.kind, event.site, event.scanner, name


def _waiting(plan: Plan, reference: Reference, history: History, upto: int) -> dict[str, str]:
    """Stages that the reference holds no baseline of, and how many cases there are for one."""
    whole = in_retrospect(history)
    n = whole.cases.rows[:, whole.schema.columns["joint_n"]][:, 0] * (whole.cases.arrival <= upto)
    cases = np.bincount(whole.cases.stratum, n, len(whole.strata)).astype(np.int64)
    return {
        stratum_name(s): too_few(plan, s, int(k))
        for s, k in zip(whole.strata, cases, strict=True)
        if s.stage and s not in reference.units
    }


def _event_kind(stratum: Stratum, known: tuple[Stratum, ...]) -> str:
    at = predecessor(stratum, known)
    if at is None:
        return "new_scanner"
    if known[at].model != stratum.model or known[at].manufacturer != stratum.manufacturer:
        return "model"
    return (
        "software_version"
        if known[at].software_version != stratum.software_version
        else ("protocol")
    )


def _event_signal(event: Event, model: str) -> SignalResult:
    """An event is certain; whether it changed anything is for the statistics to say."""
    cause = {"lock": "lock", "silence": "data_quality", "new_scanner": "scanner"}.get(event.kind)
    causes = UNDETERMINED if cause is None else (cause,)
    belief = Belief(
        event.day, causes, 0.0 if cause is None else 1.0, {} if cause is None else {cause: 1.0}
    )
    return SignalResult(
        id=_identity(event.kind, event.day, f"{event.site}:{event.scanner}"),
        kind="deterministic",
        day=event.day,
        sites=(event.site,) if event.site else (),
        scanners=(event.scanner,) if event.scanner else (),
        scanner_models=(model,) if model else (),
        readers=(),
        history=(belief,),
        change_day=event.day,
        change_interval=(event.day, event.day),
        characteristics=(),
        stream=f"event:{event.site}:{event.scanner}",
        statistic=None,
        limit=None,
        event=event.kind,
    )


def _broken_locks(plan: Plan, history: History) -> dict[BrokenLock, float]:
    """The first changed score of a fixed image at each site, and by how much it changed."""
    rounds, at = history.sentinels, history.schema.sentinel_columns["deviation"].start
    found: dict[BrokenLock, float] = {}
    before: dict[str, int] = {}
    broken: set[str] = set()
    for i in np.argsort(rounds.day, kind="stable"):
        deviation, site = float(rounds.rows[i, at]) / NUMERIC_UNITS, rounds.site[i]
        day, known = int(rounds.day[i]), int(rounds.arrival[i])
        if deviation > plan.sentinel_tolerance and site not in broken:
            found[BrokenLock(site, before.get(site, day - 7) + 1, day, known)] = deviation
            broken.add(site)
        if not rounds.reader_group[i]:
            before[site] = day
    return found


def _lock_signal(plan: Plan, lock: BrokenLock, deviation: float) -> SignalResult:
    """A fixed image whose score changed: the chain no longer scores as cleared."""
    return SignalResult(
        id=_identity("lock", lock.known, lock.site),
        kind="deterministic",
        day=lock.known,
        sites=(lock.site,),
        scanners=(),
        scanner_models=(),
        readers=(),
        history=(Belief(lock.known, ("lock",), 1.0, {"lock": 1.0}),),
        change_day=lock.day,
        change_interval=(lock.low, lock.day),
        characteristics=(
            EffectSize("sentinel_score", deviation, (deviation, deviation), "probability"),
        ),
        stream=f"sentinel:{lock.site}",
        statistic=deviation,
        limit=plan.sentinel_tolerance,
        event="lock",
    )


def _history(views: list[tuple[int, Assessment]]) -> tuple[Belief, ...]:
    """One entry whenever the named set changed."""
    entries: list[Belief] = []
    for day, view in views:
        verdict = view.verdict
        if not entries or entries[-1].causes != verdict.causes:
            entries.append(
                Belief(day, verdict.causes, verdict.probability, dict(verdict.candidates))
            )
    return tuple(entries)


def _identity(kind: str, day: int, name: str) -> str:
    return hashlib.sha256(f"{kind}\n{day}\n{name}".encode()).hexdigest()[:16]
