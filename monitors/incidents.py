"""What is known about one open signal on a given day: since when, where, and why.

Evidence is gathered from everything that arrived by that day and lies after the change date. The
same question asked on a later day of a longer history gives the same answer for the earlier day.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.special import chdtrc

from monitors.annotation_stream import site_read_shift
from monitors.attribution import (
    EVENT_LOG_ODDS,
    INTERCEPTS,
    READ_GAIN,
    Labels,
    Reads,
    Verdict,
    attribute,
)
from monitors.case_windows import CaseWindows
from monitors.change_point import ChangePoint, change_point
from monitors.label_stream import OVERDISPERSION, expected_read_shift
from monitors.moved import Moved
from monitors.null_model import (
    TOLERANCE,
    coordinates,
    correlated,
    noise_of_reference,
    noise_of_shift,
)
from monitors.observations import Event, LabelRows, SentinelRows
from monitors.plan import Plan
from monitors.reference import Reference, shares
from monitors.schema import FloatArray, IntArray
from monitors.unmoved import p_unmoved

AFFECTED = 1e-3  # p-value below which a stratum takes part in a change
JOINING = 1e-4  # stricter for another site, which must also move in the same direction
SAME_DIRECTION = 0.8  # cosine of two whitened shifts that are one change, whatever their sizes
LIKE_DIRECTION = 0.3  # and of two shifts whose difference is no more than noise
NO_DIFFERENCE = 0.05  # p-value down to which two shifts do not differ
CLEARLY = 9.0  # twice the log likelihood ratio at which one site stands for the fleet's signal
LABELS_MOVED = 3.0  # z of labels given the score, of a site or reader group that takes part
CONVINCING = 1e-5  # p-value from which case windows, not labels, date the change
WEEK = 7
LABEL_DAYS = 3  # a label's own date is a week, a change's is sharper: half of a week before counts


@dataclass(frozen=True, slots=True)
class BrokenLock:
    """Scores of fixed images at `site` that changed between `low` and `day`, known on `known`."""

    site: str
    low: int
    day: int
    known: int


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """All that had arrived by a day."""

    reference: Reference
    windows: CaseWindows
    labels: LabelRows
    sentinels: SentinelRows
    events: tuple[Event, ...]
    day: int
    locks: tuple[BrokenLock, ...] = ()
    _unmoved: dict[int, FloatArray] = field(default_factory=dict, init=False, repr=False)

    def windows_of(self, units: IntArray, since: int = 0) -> IntArray:
        """Places of the windows of `units` that begin on or after `since`."""
        w = self.windows
        which = w.of(units)
        return which[(w.start[which] >= since) & (w.arrival[which] <= self.day)]

    def p_unmoved(self, since: int) -> FloatArray:
        """Of every stratum (U,), over its windows that begin on or after `since`."""
        if since not in self._unmoved:
            w = self.windows
            arrived = int(np.searchsorted(w.arrival, self.day, side="right"))
            which = np.flatnonzero(w.start[:arrived] >= since)
            self._unmoved[since] = p_unmoved(self.reference, w, which)
        return self._unmoved[since]

    def tables_of(self, sites: set[str], since: int) -> list[int]:
        """Places of the label tables of `sites` whose labels were read from `since` on."""
        la = self.labels
        return [
            int(i)
            for i in np.flatnonzero((la.arrival <= self.day) & (la.week >= since))
            if la.site[i] in sites
        ]

    def rounds_of(self, sites: set[str], since: int) -> list[int]:
        """Places of the re-read rounds of `sites` from `since` on."""
        s = self.sentinels
        return [
            int(i)
            for i in np.flatnonzero((s.arrival <= self.day) & (s.day >= since))
            if s.site[i] in sites and s.reader_group[i]
        ]


@dataclass(frozen=True, slots=True, eq=False)
class Assessment:
    """One day's view of a signal: dates, units and reader groups that moved, and the verdict."""

    change: ChangePoint
    units: IntArray
    readers: tuple[str, ...]
    verdict: Verdict


def assess(plan: Plan, seen: Seen, sites: set[str], named: tuple[str, ...] = ()) -> Assessment:
    """Date, localise and attribute what happened at `sites`; `named` is the cause so far."""
    every = units_at(seen.reference, sites)
    change, by_cases = _date(seen, sites, every)
    units = affected(seen, every, change.day) if by_cases else every[:0]
    scope = units if units.size else every
    since = change.day - LABEL_DAYS
    if _is_broken(seen, sites, change):
        verdict = Verdict(("lock",), 1.0, {"lock": 1.0}, ())
    else:
        verdict = attribute(
            _moved(seen, scope, change.day),
            _labels(seen, sites, since, change.day),
            _reads(seen, sites, change.day),
            _events(seen, sites, change),
            plan.naming_probability,
            named,
            _is_rescored(seen, sites, change.day),
        )
    return Assessment(change, units, _readers(seen, sites, since), verdict)


def _is_broken(seen: Seen, sites: set[str], change: ChangePoint) -> bool:
    """Whether fixed images of `sites` score otherwise, from about the time of the change on."""
    return any(
        lock.site in sites and lock.known <= seen.day and change.high >= lock.low - WEEK
        for lock in seen.locks
    )


def _is_rescored(seen: Seen, sites: set[str], since: int) -> bool:
    """Whether every site that scores the fixed images did so again after the change."""
    s = seen.sentinels
    last: dict[str, int] = {}
    for i in np.flatnonzero(s.arrival <= seen.day):
        if s.site[i] in sites and not s.reader_group[i]:
            last[s.site[i]] = max(int(s.day[i]), last.get(s.site[i], 0))
    return all(day >= since for day in last.values())


def units_at(reference: Reference, sites: set[str]) -> IntArray:
    """The watched strata of `sites`."""
    at = reference.at_site
    return np.sort(
        np.concatenate([np.zeros(0, dtype=np.int64), *(at[s] for s in sites if s in at)])
    )


def strongest(seen: Seen, sites: set[str], by_labels: bool) -> set[str]:
    """The one site of `sites` that moved most; all of them if no one stands out."""
    size: dict[str, float] = {}
    for site in sorted(sites):
        change = _label_date(seen, {site}) if by_labels else _case_date(seen, {site})
        if change is not None:
            size[site] = change.statistic
    if not size:
        return sites
    best = max(size, key=lambda site: (size[site], site))
    stands_out = size[best] > CLEARLY or 2 * size[best] > sum(size.values())
    return {best} if stands_out else sites


def same_change(seen: Seen, first: set[str], since: int, second: set[str]) -> bool:
    """Whether two sets of sites changed alike since `since`.

    Either both sets' cases moved, in the same direction; or neither's did and their labels, given
    the score, moved to the same side.
    """
    reference = seen.reference
    a = affected(seen, units_at(reference, first), since)
    b = affected(seen, units_at(reference, second), since, JOINING if a.size else AFFECTED)
    if a.size and b.size:
        mine, theirs = _moved(seen, a, since), _moved(seen, b, since)
        return mine is not None and theirs is not None and _is_alike(mine, theirs)
    if a.size or b.size:
        return False
    z, other = label_z(seen, first, since), label_z(seen, second, since)
    return min(abs(z), abs(other)) > LABELS_MOVED and z * other > 0


def label_z(seen: Seen, sites: set[str], since: int, reader: str = "") -> float:
    """z of the intercept of labels given the score, read since `since`; 0 without labels."""
    fitted, columns = seen.reference.labels, seen.reference.schema.label_columns
    excess = variance = 0.0
    for site in sorted(sites):
        at = None if fitted is None else fitted.index((site, reader))
        mine = [
            i for i in seen.tables_of({site}, since) if reader in ("", seen.labels.reader_group[i])
        ]
        if fitted is None or at is None or not mine:
            continue
        row, p = seen.labels.rows[mine].sum(axis=0), fitted.probability[at]
        n, y = row[columns["labelled"]], row[columns["positive"]]
        spread = float((n * p * (1 - p)).sum())
        excess += float((y - n * p).sum())
        variance += spread * OVERDISPERSION + (spread * float(fitted.error[at])) ** 2
    return excess / float(np.sqrt(max(variance, 0.5)))


def _is_alike(a: Moved, b: Moved) -> bool:
    """Whether two shifts point the same way, as far as their noise lets that be seen."""
    cosine, apart = _cosine(a, b), a.x - b.x
    if cosine >= SAME_DIRECTION:
        return True
    difference = float(apart @ np.linalg.solve(a.covariance + b.covariance, apart))
    return cosine >= LIKE_DIRECTION and bool(chdtrc(apart.size, difference) >= NO_DIFFERENCE)


def _cosine(a: Moved, b: Moved) -> float:
    """Of two shifts, in the metric of the within-day covariance."""
    metric = np.linalg.inv(a.within)
    length = np.sqrt((a.x @ metric @ a.x) * (b.x @ metric @ b.x))
    return float(a.x @ metric @ b.x / length) if length > 0 else 0.0


def _date(seen: Seen, sites: set[str], units: IntArray) -> tuple[ChangePoint, bool]:
    """The change date, by case windows if they moved convincingly, else by labels."""
    cases = _case_date(seen, sites)
    if cases is not None:
        tests = max(np.unique(seen.windows.start[seen.windows_of(units)]).size, 1)
        if tests * chdtrc(seen.reference.joint.whitened, cases.statistic) < CONVINCING:
            return cases, True
    labels = _label_date(seen, sites)
    if labels is not None:
        return labels, False
    if cases is not None:
        return cases, True
    return ChangePoint(seen.day, seen.reference.until, seen.day, 0.0), False


def _case_date(seen: Seen, sites: set[str]) -> ChangePoint | None:
    """Change date from all case windows of `sites`."""
    which = seen.windows_of(units_at(seen.reference, sites))
    if not which.size:
        return None
    value, variance = _whitened(seen, which)
    return change_point(seen.windows.start[which], seen.windows.end[which], value, variance)


def _whitened(seen: Seen, which: IntArray) -> tuple[FloatArray, FloatArray]:
    reference, w = seen.reference, seen.windows
    value, variance, _ = coordinates(
        reference.null,
        reference.joint,
        w.n[which],
        w.mean[which],
        w.unit[which],
        w.noise[which],
    )
    noise = w.noise[which] + noise_of_reference(reference.null, w.unit[which])
    variance = variance + correlated(reference.joint, noise)
    return value, variance * reference.joint_scale[w.unit[which]] ** 2


def _label_date(seen: Seen, sites: set[str]) -> ChangePoint | None:
    """Change date from labels given the score and re-reads, widened by a week on either side."""
    fitted, columns = seen.reference.labels, seen.reference.schema.label_columns
    tables = seen.tables_of(sites, seen.reference.until - WEEK)
    start, value, variance = [], [], []
    for i in tables:
        at = None if fitted is None else fitted.index((seen.labels.site[i], ""))
        if fitted is None or at is None:
            continue
        row, p = seen.labels.rows[i], fitted.probability[at]
        n, y = row[columns["labelled"]], row[columns["positive"]]
        information = max(float((n * p * (1 - p)).sum()), 0.5)
        start.append(int(seen.labels.week[i]))
        value.append(float((y - n * p).sum()) / information)
        variance.append(1 / information + float(fitted.error[at]) ** 2)
    if not start:
        return None
    at_day = np.array(start)
    found = change_point(
        at_day, at_day + WEEK, np.array(value)[:, None], np.array(variance)[:, None]
    )
    low = max(found.low - WEEK + 1, seen.reference.until)
    day = max(found.day, seen.reference.until)
    return ChangePoint(day, min(low, day), min(found.high + WEEK, seen.day), found.statistic)


def affected(seen: Seen, units: IntArray, since: int, level: float = AFFECTED) -> IntArray:
    """Those of `units` whose cases since `since` differ from their reference."""
    return np.asarray(units[seen.p_unmoved(since)[units] < level])


def _moved(seen: Seen, units: IntArray, since: int) -> Moved | None:
    """Mean shift of phi over the windows of `units` since `since`, in standard deviations."""
    which = seen.windows_of(units, since)
    if not which.size:
        return None
    reference, w = seen.reference, seen.windows
    null = reference.null
    n = w.n[which].astype(np.float64)
    share = n / n.sum()
    members = np.flatnonzero(reference.joint.projection.any(axis=1))
    x = share @ (w.mean[which] - null.mean[w.unit[which]])
    by_unit = np.bincount(w.unit[which], share, len(reference.units))
    known = by_unit > 0
    borrowed = by_unit[known] ** 2 / null.cases[known]
    within = 1 / n.sum() + borrowed.sum() + TOLERANCE**2
    between = (share**2).sum() + (borrowed * null.n0[known]).sum()
    inside = np.ix_(members, members)
    sd = np.sqrt(np.diag(null.within))[members]
    correlation = null.within[inside] / np.outer(sd, sd)
    scale = by_unit[known] @ reference.entry_scale[known][:, members]
    covariance = within * correlation + between * null.between[inside] / np.outer(sd, sd)
    covariance = covariance * np.outer(scale, scale)
    covariance = covariance + np.diag(_noise(seen, which, share, by_unit, members) / sd**2)
    blocks = reference.schema.joint.blocks
    first, last = blocks["acquisition"].start, blocks["acquisition_square"].stop
    shift = reference.shift
    return Moved(
        x=x[members] / sd,
        covariance=covariance,
        within=correlation,
        acquisition=np.flatnonzero((members >= first) & (members < last)),
        direction=None if shift is None else shift.direction[members] / sd,
        direction_variance=0.0 if shift is None else 1 / shift.positives + 1 / shift.negatives,
        direction_from_labels=shift is None or shift.from_labels,
    )


def _noise(
    seen: Seen,
    which: IntArray,
    share: FloatArray,
    by_unit: FloatArray | IntArray,
    members: IntArray,
) -> FloatArray:
    """Variance (d,) that edges' noise gives a shift: of its windows, and of their references."""
    null = seen.reference.null
    found = noise_of_shift(null, seen.windows.noise[which], share, by_unit)
    return np.broadcast_to(found, len(null.within))[members]


def _labels(seen: Seen, sites: set[str], since: int, changed: int) -> Labels | None:
    """Label tables after the change by site, with the score mix of all cases after it."""
    reference = seen.reference
    fitted, columns = reference.labels, reference.schema.label_columns
    if fitted is None:
        return None
    rows = []
    for site in sorted(sites):
        at = fitted.index((site, ""))
        tables = seen.tables_of({site}, since)
        which = seen.windows_of(units_at(reference, {site}), changed)
        if at is None or not tables or not which.size:
            continue
        total = seen.labels.rows[tables].sum(axis=0)
        mix = shares(seen.windows.scores[which].sum(axis=0))
        rows.append((total[columns["labelled"]], total[columns["positive"]], at, mix, site))
    if not rows:
        return None
    at_all = [r[2] for r in rows]
    return Labels(
        labelled=np.array([r[0] for r in rows]),
        positive=np.array([r[1] for r in rows]),
        probability=fitted.probability[at_all],
        mix=np.array([r[3] for r in rows]),
        before=np.array([reference.score_mix[r[4]] for r in rows]),
        error=fitted.error[at_all],
        rate=fitted.rate[at_all],
    )


def _reads(seen: Seen, sites: set[str], since: int) -> Reads | None:
    """Re-reads of the fixed images after the change, over `sites`."""
    reference, columns = seen.reference, seen.reference.schema.sentinel_columns
    shift = variance = 0.0
    expected = np.zeros((READ_GAIN.size, INTERCEPTS.size))
    for site in sorted(sites):
        row = seen.sentinels.rows[seen.rounds_of({site}, since)].sum(axis=0)
        found = site_read_shift(reference, (site, ""), row)
        sentinels = reference.sentinels
        if found is None or sentinels is None:
            continue
        at = sentinels.groups.index((site, ""))
        shift, variance = shift + found[0], variance + found[1]
        odds = (READ_GAIN[:, None] * INTERCEPTS).ravel()
        expected += expected_read_shift(
            odds, row[columns["reads"]], sentinels.reads[at], sentinels.positive[at]
        ).reshape(expected.shape)
    return Reads(shift, variance, expected) if variance else None


def _readers(seen: Seen, sites: set[str], since: int) -> tuple[str, ...]:
    """Reader groups whose labels given the score moved beyond their colleagues'."""
    fitted = seen.reference.labels
    if fitted is None:
        return ()
    z = {
        group: label_z(seen, {group[0]}, since, group[1])
        for group in fitted.groups
        if group[0] in sites and group[1]
    }
    moved = tuple(sorted(reader for (_, reader), value in z.items() if abs(value) > LABELS_MOVED))
    return moved if len(moved) < len(z) else ()


def _events(seen: Seen, sites: set[str], change: ChangePoint) -> dict[str, float]:
    """Log prior odds of registered events within the change date's interval."""
    kinds = {"software_version", "model", "new_scanner", "protocol", "planned"}
    near = [
        e
        for e in seen.events
        if e.kind in kinds
        and e.site in sites
        and e.day <= change.high + 1
        and change.low - 1 <= max(e.day, e.last)
    ]
    return {"scanner": EVENT_LOG_ODDS} if near else {}
