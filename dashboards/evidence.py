"""Charts from what is stored: windows as arrays (`monitors.observations.History`) and traces.

Pure: the same windows give the same chart. Readings follow the windows' own days; what the edges
merged for disclosure stays merged. Control limits here are Shewhart's three sigma with sigma
estimated from the reference readings themselves, so that day-to-day variation is in it; they
are drawn for the eye. Signals come from the engine's traces, which carry the stated budget.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise

import numpy as np

from dashboards import wording
from dashboards.charts.limits import are_outside, funnel_limits
from dashboards.charts.spec import (
    Comparison,
    ControlChart,
    Funnel,
    FunnelPoint,
    Mix,
    MixDay,
    Panel,
    PathChart,
    PathPoint,
    Reading,
    Span,
    Stage,
)
from monitors.observations import History
from monitors.schema import (
    JOINT_UNITS,
    SCORE_TERMS,
    TALLIES,
    BoolArray,
    FloatArray,
    IntArray,
    Schema,
)
from monitors.summaries import (
    categorical_counts,
    joint_means,
    numeric_counts,
    score_counts,
    tallies,
)

LEAST_READINGS = 10  # in the reference, for limits
LEAST_CASES = 20  # of a panel; also the least that leaves a site
GAP_OF_USUAL_STEP = 3  # a week-end is not missing data
LEAST_WEEKS = 5  # the same, where readings are weeks
MOST_READINGS = 180  # then weeks instead of days
LEVELS_SHOWN = 5  # named levels of a mix, before "other"
PANELS_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Scope:
    """Which windows a chart is of: sites and scanners, empty for all."""

    sites: tuple[str, ...] = ()
    scanners: tuple[str, ...] = ()

    def strata(self, history: History) -> IntArray:
        """Indices of the strata inside the scope."""
        return np.array(
            [
                i
                for i, s in enumerate(history.strata)
                if (not self.sites or s.site in self.sites)
                and (not self.scanners or s.scanner in self.scanners)
            ],
            dtype=np.int64,
        )

    @property
    def words(self) -> str:
        """The scope as a page names it."""
        where = wording.listed(self.sites) or "all sites"
        return f"{where}, scanner {wording.listed(self.scanners)}" if self.scanners else where


@dataclass(frozen=True, slots=True)
class Series:
    """Readings in time order: day (t,), n (t,) cases, value (t,) in `unit`; noise (t,) variance of
    the value by noise that edges added, None where there is none."""

    name: str
    unit: str
    day: IntArray
    n: IntArray
    value: FloatArray
    noise: FloatArray | None = None

    @property
    def noises(self) -> FloatArray:
        """Variance of each value by noise, (t,)."""
        return np.zeros(self.n.size) if self.noise is None else self.noise


@dataclass(frozen=True, slots=True)
class Period:
    """Reference up to `until` (exclusive), monitored up to and including `upto`."""

    until: date
    upto: date


def coordinate(schema: Schema, name: str) -> int | None:
    """Where the effect `name` stands in the joint vector, or None."""
    blocks = schema.joint.blocks
    places = {f"score_{term}": i for i, term in enumerate(SCORE_TERMS)}
    first = blocks["acquisition"].start
    places |= {a: first + i for i, a in enumerate(schema.joint.acquisition)}
    first = blocks["embedding"].start
    places |= {f"embedding_{i}": first + i for i in range(schema.joint.embedding)}
    return places.get(name)


def unit_of(schema: Schema, name: str) -> str:
    """The unit of a characteristic, or "" for a pure number."""
    return next((f.unit for f in schema.numeric if f.name == name and f.unit != "1"), "")


def series_of(history: History, name: str, scope: Scope, upto: date) -> Series | None:
    """Means of one characteristic per window day; None if it is not in the schema."""
    at = coordinate(history.schema, name)
    if at is None:
        return None
    day, rows = _by_day(history, scope, upto)
    n, mean = joint_means(history.schema, rows)
    joint = history.schema.joint
    value = mean[:, at] * joint.scale[at] + joint.centre[at] if len(day) else np.zeros(0)
    used = n > 0
    noise = _noise(history, scope, upto, history.schema.columns["joint_sum"].start + at, n)
    in_units = noise * (joint.scale[at] / JOINT_UNITS) ** 2
    unit = unit_of(history.schema, name)
    return Series(name, unit, day[used], n[used], value[used], in_units[used])


def flagged_series(history: History, scope: Scope, upto: date) -> Series:
    """Share of analysed cases that were flagged, per window day."""
    day, rows = _by_day(history, scope, upto)
    counts = tallies(history.schema, rows)
    n = counts["analysed"]
    share = np.clip(counts["flagged"] / np.maximum(n, 1), 0.0, 1.0)
    noise = _noise(history, scope, upto, TALLIES.index("flagged"), n)
    return Series("flagged rate", "", day[n > 0], n[n > 0], share[n > 0], noise[n > 0])


def label_series(history: History, scope: Scope, upto: date) -> Series:
    """Share of labelled cases that readers called positive, per labelling week."""
    labels, columns = history.labels, history.schema.label_columns
    inside = [
        i
        for i, site in enumerate(labels.site)
        if (not scope.sites or site in scope.sites)
        and labels.arrival[i] <= upto.toordinal()
        and labels.source[i] == "random_audit"
    ]
    week = labels.week[inside]
    days = np.unique(week)
    rows = np.array([labels.rows[inside][week == d].sum(axis=0) for d in days])
    if not len(days):
        empty = np.zeros(0, dtype=np.int64)
        return Series("share read as positive", "", empty, empty, np.zeros(0))
    n = rows[:, columns["labelled"]].sum(axis=1)
    positive = rows[:, columns["positive"]].sum(axis=1)
    used = n > 0
    return Series("share read as positive", "", days[used], n[used], positive[used] / n[used])


def _by_day(history: History, scope: Scope, upto: date) -> tuple[IntArray, IntArray]:
    """Days (t,) and summed rows (t, width) of the windows in scope that had arrived."""
    inside, days, place = _days(history, scope, upto)
    summed = np.zeros((days.size, history.cases.rows.shape[1]), dtype=np.int64)
    np.add.at(summed, place, history.cases.rows[inside])
    return days, summed


def _days(history: History, scope: Scope, upto: date) -> tuple[BoolArray, IntArray, IntArray]:
    """Mask of the windows in scope that had arrived; their days (t,); which of them each is of."""
    cases = history.cases
    inside = np.isin(cases.stratum, scope.strata(history)) & (cases.arrival <= upto.toordinal())
    start = cases.start[inside]
    days, place = np.unique(start, return_inverse=True)
    if days.size > MOST_READINGS:
        days, place = np.unique(start - (start - 1) % 7, return_inverse=True)  # Mondays
    return inside, days, place


def _noise(history: History, scope: Scope, upto: date, column: int, n: IntArray) -> FloatArray:
    """Variance (t,) by edges' noise of a column over n (t,) cases, by the days of `_by_day`."""
    inside, days, place = _days(history, scope, upto)
    if history.cases.noise is None:
        return np.zeros(days.size)
    variance = history.cases.select(inside).variance(slice(column, column + 1))[:, 0]
    return np.bincount(place, variance, days.size) / np.maximum(n, 1).astype(np.float64) ** 2


def control_chart(
    series: Series,
    scope: Scope,
    period: Period,
    stages: Sequence[Stage] = (),
    least: int = LEAST_READINGS,
    least_sigma: float = 0.0,
) -> ControlChart | None:
    """The series against its own reference; None where the reference has too few readings.

    Sigma, of one case, is estimated from the reference readings, but never below `least_sigma`.
    From a stage that has a centre of its own, readings are held against that; from one that
    restarts, against its own readings in the reference, or against nothing while they are few.
    """
    levels = _levels(series, period, stages, least, least_sigma)
    if all(level is None for _, level in levels):
        return None
    readings = [
        _reading(int(d), float(v), int(k), float(s), _level(levels, int(d)))
        for d, v, k, s in zip(series.day, series.value, series.n, series.noises, strict=True)
    ]
    name = wording.characteristic(series.name)
    outside = sum(1 for r in readings if r.mark)
    least, most = int(series.n.min()), int(series.n.max())
    return ControlChart(
        title=f"{wording.sentence_case(name)}, {scope.words}",
        caption=(
            f"{wording.sentence_case(name)} by window, {_between(least, most)} cases each. "
            "Triangles: outside three sigma of the reference readings "
            f"({wording.count(outside, 'reading')})."
            + (wording.NO_LIMITS if any(r.centre is None for r in readings) else "")
            + (wording.NOISE if series.noises.any() else "")
        ),
        description=(
            f"Control chart of {name} from {readings[0].day} to {readings[-1].day}; "
            f"{wording.count(outside, 'reading')} outside the control limits."
        ),
        unit=f"{name}, {series.unit}" if series.unit else name,
        readings=_with_gaps(readings),
        reference=Span(readings[0].day, period.until - timedelta(1)),
        stages=tuple(s for s in stages if s.day <= readings[-1].day),
    )


Level = tuple[float, float]  # centre, and sigma of one case


def _levels(
    series: Series, period: Period, stages: Sequence[Stage], least: int, least_sigma: float
) -> list[tuple[int, Level | None]]:
    """First day and level of each stage, oldest first; None where there is no baseline.

    A stage's centre is a proportion: sigma changes as the binomial does, and the factor by which
    days vary more than that stays (Laney 2002, Qual. Eng. 14, 531-537).
    """
    until = period.until.toordinal()
    ordered = sorted(stages, key=lambda s: s.day)
    begins = [0, *(s.day.toordinal() for s in ordered if s.restarts), until]
    ends = {day: min(end, until) for day, end in pairwise(begins)}
    own = {day: _baseline(series, day, end, least, least_sigma) for day, end in ends.items()}
    base = own[0]
    found = [(0, base)]
    for stage in ordered:
        day = stage.day.toordinal()
        if stage.restarts:
            base = own[day]
            found.append((day, base))
        elif stage.centre is not None and base is not None:
            centre, sigma = base
            there = sigma * _binomial(stage.centre) / _binomial(centre) if 0 < centre < 1 else sigma
            found.append((day, (stage.centre, there)))
    return found


def _baseline(series: Series, start: int, end: int, least: int, least_sigma: float) -> Level | None:
    """Level of the readings in [start, end); None where they are fewer than `least`."""
    inside = (series.day >= start) & (series.day < end)
    if inside.sum() < least:
        return None
    n, value = series.n[inside], series.value[inside]
    centre = float(np.average(value, weights=n))
    square = float((n * (value - centre) ** 2).sum() / (len(n) - 1))
    by_noise = float((n * series.noises[inside]).mean())  # has its own place in the limits
    return centre, max(float(np.sqrt(max(square - by_noise, 0.0))), least_sigma)


def _level(levels: Sequence[tuple[int, Level | None]], day: int) -> Level | None:
    """Centre and sigma that hold on `day`."""
    return next(level for first, level in reversed(levels) if first <= day)


def _binomial(p: float) -> float:
    """Standard deviation of one case with probability `p`."""
    return float(np.sqrt(p * (1 - p)))


def _between(least: int, most: int) -> str:
    return f"{least}" if least == most else f"{least} to {most}"


def _reading(day: int, value: float, n: int, noise: float, level: Level | None) -> Reading:
    if level is None:
        return Reading(date.fromordinal(day), value, n, None, None, None)
    centre, sigma = level
    half = 3 * (sigma**2 / n + noise) ** 0.5
    outside = abs(value - centre) > half > 0
    return Reading(
        date.fromordinal(day),
        value,
        n,
        centre - half,
        centre,
        centre + half,
        "outside" if outside else "",
    )


def _with_gaps(readings: Sequence[Reading]) -> tuple[Reading, ...]:
    """One empty reading inside each stretch without data, so that no line joins over it."""
    steps = [(after.day - before.day).days for before, after in pairwise(readings)]
    longest = GAP_OF_USUAL_STEP * float(np.median(steps)) if steps else 0.0
    out = list(readings[:1])
    for step, (before, after) in zip(steps, pairwise(readings), strict=True):
        if step > longest:
            middle = before.day + (after.day - before.day) / 2
            out.append(Reading(middle, None, 0, before.lower, before.centre, before.upper))
        out.append(after)
    return tuple(out)


def path_chart(
    stream: str,
    day: Sequence[int],
    statistic: Sequence[float],
    limit: float,
    onset: tuple[date, date] | None,
    raised: date | None,
) -> PathChart | None:
    """The engine's own evidence over time; None if the stream left no path."""
    if not len(day):
        return None
    points = tuple(
        PathPoint(date.fromordinal(int(d)), float(v)) for d, v in zip(day, statistic, strict=True)
    )
    crossed = next((p.day for p in points if p.upper >= limit), None)
    return PathChart(
        title=f"Evidence of a change, {stream_words(stream)}",
        caption=(
            f"Evidence against “nothing has changed”, in days: at {limit:,.0f} a signal is "
            "raised. Shaded: when the change most likely began."
        ),
        unit="evidence, days",
        points=points,
        limit=limit,
        onset=Span(*onset) if onset else None,
        signal=crossed or raised,
        log=True,
    )


BLOCKS = {
    "acquisition": "Image physics",
    "score": "Scores",
    "embedding": "Image content",
    "labels": "Readers' labels",
    "lock": "Lock",
    "data": "Data received",
}


def stream_words(stream: str) -> str:
    """A stream's name as a page writes it."""
    block, *scope = stream.split(":")
    return ", ".join([BLOCKS.get(block, wording.sentence_case(block)).lower(), *scope])


Pair = tuple[tuple[int, ...], tuple[int, ...]]
"""Counts on the bins of a characteristic: in the reference period, and now."""


def comparison(
    history: History,
    name: str,
    sites: Sequence[str],
    period: Period,
    since: date,
    everywhere: History | None = None,
) -> Comparison | None:
    """Reference against now, one panel per scanner of `sites`, then all other sites together.

    `everywhere` has the cases of all sites where `history` has those of `sites` alone.
    """
    bins = _bins(history.schema, name)
    if bins is None:
        return None
    scanners = sorted({(s.site, s.scanner) for s in history.strata if s.site in sites})
    span = since.toordinal(), period.upto.toordinal() + 1
    counted = []
    for site, one in scanners:
        only = Scope((site,), (one,))
        pair = _pair(history, name, only, period, since)
        counted.append((f"{site} · {one}", pair, _is_noisy(history, only, *span)))
    here, fleet = Scope(tuple(sites)), everywhere or history
    if _has_others(history, here, fleet):
        every = _pair(fleet, name, Scope(), period, since)
        others = _without(every, _pair(history, name, here, period, since))
        counted.append(("all other sites", others, _is_noisy(fleet, Scope(), *span)))
    panels = [_panel(*one) for one in counted[-PANELS_SHOWN:]]
    words = wording.characteristic(name)
    return Comparison(
        title=f"{wording.sentence_case(words)}, reference period and since {since.isoformat()}",
        caption=(
            f"Grey: reference period. Blue: since {since.isoformat()}. All panels share both axes."
        ),
        unit=f"{words}, {bins[0]}" if bins[0] else words,
        bins=tuple(f"{a:.4g} to {b:.4g}" for a, b in pairwise(bins[1])),
        edges=tuple(float(e) for e in bins[1]),
        panels=tuple(p for p in panels if p is not None),
    )


def _bins(schema: Schema, name: str) -> tuple[str, FloatArray] | None:
    """Unit and edges of the bins that hold `name`; None where windows hold none."""
    if name.startswith("score_"):
        return "", schema.scores[0].edges
    return next(
        ((unit_of(schema, name), f.edges) for f in schema.numeric if f.name == name),
        None,
    )


def counts_between(
    history: History, name: str, scope: Scope, start: int, end: int
) -> tuple[int, ...]:
    """Counts on the bins of `name` over windows of the days [start, end)."""
    cases, schema = history.cases, history.schema
    inside = np.isin(cases.stratum, scope.strata(history))
    inside &= (cases.start >= start) & (cases.start < end)
    row = cases.rows[inside].sum(axis=0)
    if name.startswith("score_"):
        counts = score_counts(schema, row)[0, :-1]
    else:
        at = next(i for i, f in enumerate(schema.numeric) if f.name == name)
        counts = numeric_counts(schema, row)[at, 1:-2]
    return tuple(max(int(c), 0) for c in counts)  # what noise leaves below 0 is about 0


def _is_noisy(history: History, scope: Scope, start: int, end: int) -> bool:
    """Whether an edge added noise to windows of the days [start, end): then no distribution of a
    characteristic leaves it."""
    cases = history.cases
    inside = np.isin(cases.stratum, scope.strata(history)) & cases.is_noisy
    return bool((inside & (cases.start >= start) & (cases.start < end)).any())


def _pair(history: History, name: str, scope: Scope, period: Period, since: date) -> Pair:
    first, last = since.toordinal(), period.upto.toordinal() + 1
    return (
        counts_between(history, name, scope, 0, period.until.toordinal()),
        counts_between(history, name, scope, first, last),
    )


def _without(every: Pair, some: Pair) -> Pair:
    reference, current = (
        tuple(max(a - b, 0) for a, b in zip(*both, strict=True))
        for both in zip(every, some, strict=True)
    )
    return reference, current


def _has_others(history: History, here: Scope, everywhere: History) -> bool:
    """Whether `everywhere` has cases of other sites than `here`."""
    mine = np.isin(history.cases.stratum, here.strata(history))
    rest = everywhere.cases.rows.sum(axis=0) - history.cases.rows[mine].sum(axis=0)
    return bool(rest.any())


def _panel(words: str, counts: Pair, is_noisy: bool) -> Panel | None:
    reference, current = counts
    if not sum(reference) and not sum(current):
        return None
    if not sum(current) and is_noisy:
        return Panel(words, reference, (), wording.UNDER_NOISE)
    if sum(current) < LEAST_CASES:
        return Panel(words, reference, (), f"not assessable: {sum(current)} cases")
    note = "" if sum(reference) >= LEAST_CASES else "no reference"
    return Panel(words, reference, current, note)


@dataclass(frozen=True, slots=True)
class SiteRate:
    """Flagged among analysed cases of one site."""

    name: str
    flagged: int
    analysed: int
    href: str = ""


def funnel_of(
    sites: Sequence[SiteRate], rate: float, span: Span, centre_words: str
) -> Funnel | None:
    """A funnel plot of these sites around `rate`; None where nothing was analysed."""
    largest = max((s.analysed for s in sites), default=0)
    if not largest:
        return None
    flagged, analysed = np.array([(s.flagged, s.analysed) for s in sites], dtype=np.int64).T
    outside = are_outside(rate, flagged, analysed).tolist()
    return Funnel(
        title="Flagged rate by site",
        caption=(
            f"{span.start} to {span.end}. Limits 95 % (dotted) and 99.8 % (dashed) around "
            f"{centre_words}, {100 * rate:.1f} %, for independent cases and counts without noise. "
            "Sites are not ranked."
        ),
        unit="flagged",
        count="cases",
        centre=rate,
        points=tuple(
            FunnelPoint(s.name, s.flagged, s.analysed, is_out, s.href)
            for s, is_out in zip(sites, outside, strict=True)
        ),
        limits=funnel_limits(rate, largest),
    )


def mix(history: History, at: int, scope: Scope, upto: date) -> Mix | None:
    """Weekly shares of the categorical characteristic number `at`."""
    spec = history.schema.categorical[at]
    day, rows = _by_day(history, scope, upto)
    if not len(day):
        return None
    monday = day - (day - 1) % 7
    weeks = np.unique(monday)
    weekly = np.array([rows[monday == week].sum(axis=0) for week in weeks])
    counts = categorical_counts(history.schema, weekly)[at]
    names = [*spec.categories, "OTHER", "missing"]
    order = np.argsort(-counts.sum(axis=0), kind="stable")
    shown = [int(i) for i in order[:LEVELS_SHOWN] if counts[:, i].sum()]
    rest = [i for i in range(len(names)) if i not in shown]
    other = counts[:, rest].sum(axis=1)
    table = np.column_stack([counts[:, shown], *([other] if other.any() else [])])
    words = wording.characteristic(spec.name)
    return Mix(
        title=f"{wording.sentence_case(words)} mix, {scope.words}",
        caption=f"Weekly shares of {words}; the line below is the number of cases.",
        levels=(*(names[i] for i in shown), *(("other",) if other.any() else ())),
        days=tuple(
            MixDay(date.fromordinal(int(w)), tuple(int(c) for c in row))
            for w, row in zip(weeks, table, strict=True)
        ),
    )
