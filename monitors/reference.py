"""The frozen reference: what every stratum, reader and fixed image did before it was watched."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from scipy.sparse import csr_array

from monitors.case_windows import POOLED, CaseWindows, case_windows, predecessor
from monitors.detectors import CLIP
from monitors.errors import NotAssessable
from monitors.label_stream import (
    Group,
    LabelReference,
    SentinelReference,
    fit_labels,
)
from monitors.null_model import (
    EXACT,
    Basis,
    NoiseShare,
    NullModel,
    coordinates,
    directed,
    fit_null_model,
    make_basis,
    regularised,
)
from monitors.observations import Cohort, History, MomentRows, Stratum
from monitors.plan import Plan
from monitors.schema import BLOCKS, FloatArray, IntArray, Schema
from monitors.stages import in_retrospect
from monitors.summaries import (
    SCORE_FLOOR,
    first_stage,
    joint_covariance,
    merge_score_bins,
    score_counts,
)

LEAST_DOF = 200  # of second moments, for a covariance within days
FEW_POSITIVES = 30  # reference positives below which no label-shift direction is estimated
WILD = 8.0  # a reference z counts for no more in a scale
TRUST = 10.0  # windows that the pooled model counts for in a stratum's own scale
COHORT_WEIGHT = 100.0  # labels that the validation cohort counts for in P(label | score bin)
MERGED_GROUP = "fleet"


@dataclass(frozen=True, slots=True)
class Stream:
    """One monitored stream. `site` and `scanner` are "" where it covers several."""

    block: str  # acquisition, score, embedding or labels
    site: str = ""
    scanner: str = ""
    reader: str = ""
    protocol: str = ""

    @property
    def name(self) -> str:
        """Block and scope in one line."""
        parts = (self.site, self.scanner, self.protocol, self.reader)
        return (
            ":".join((self.block, *(p for p in parts if p)))
            if self.site
            else (f"{self.block}:{MERGED_GROUP}")
        )


@dataclass(frozen=True, slots=True, eq=False)
class Shift:
    """How phi moves per unit of prevalence: `direction` (p,), and the cases it was learned from."""

    direction: FloatArray
    positives: float
    negatives: float
    from_labels: bool


@dataclass(frozen=True, eq=False)
class Reference:
    """Everything `evaluate` compares with. Built once, then frozen.

    until : first day that is not part of it. units : the watched strata. scale : by block (U, K),
    joint_scale (U, d) and group_scale (groups, blocks): by how much more the windows of a stratum
    or group vary than the pooled model says, >= 1. entry_scale : (U, p) the same for phi itself.
    prevalence, score_mix : by site; score_mix (merged label bins,) of all cases.
    """

    until: int
    schema: Schema
    units: tuple[Stratum, ...]
    known: tuple[Stratum, ...]
    windows: IntArray
    null: NullModel
    bases: dict[str, Basis]
    joint: Basis
    scale: dict[str, FloatArray]
    joint_scale: FloatArray
    entry_scale: FloatArray
    groups: tuple[tuple[str, IntArray], ...]
    group_scale: FloatArray
    shift: Shift | None
    labels: LabelReference | None
    sentinels: SentinelReference | None
    score_mix: dict[str, FloatArray]
    streams: tuple[Stream, ...]
    assessability: dict[str, str] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """SHA-256 over what was estimated: names the reference."""
        parts = [str(self.until), repr(self.units), repr(self.streams)]
        hashed = hashlib.sha256("\n".join(parts).encode())
        for array in (self.null.within, self.null.between, self.null.mean, self.joint_scale):
            hashed.update(np.ascontiguousarray(array).tobytes())
        if self.labels is not None:
            hashed.update(np.ascontiguousarray(self.labels.probability).tobytes())
        return hashed.hexdigest()

    @cached_property
    def at_site(self) -> dict[str, IntArray]:
        """The places in `units` of every site's strata."""
        names, of = np.unique([u.site for u in self.units], return_inverse=True)
        return {str(name): np.flatnonzero(of == i) for i, name in enumerate(names)}

    def unit_of(self, strata: tuple[Stratum, ...]) -> IntArray:
        """Unit that each stratum is tested against, -1 for none (a new scanner, pooled cases)."""
        index = {unit: i for i, unit in enumerate(self.units)}
        found = []
        for stratum in strata:
            at = index.get(stratum)
            if at is None and stratum.scanner != POOLED:
                at = predecessor(stratum, self.units)
            found.append(-1 if at is None else at)
        return np.array(found, dtype=np.int64)


def build_reference(
    plan: Plan, history: History, until: int, cohort: Cohort | None = None
) -> Reference:
    """The reference of everything acquired, labelled and re-read before the day `until`.

    Raises `NotAssessable` if no stratum has `plan.least_reference_cases`.
    """
    past = _before(in_retrospect(history), until)
    units, assessability = _units(plan, past)
    place = {unit: i for i, unit in enumerate(units)}
    unit_of = np.array([place.get(s, -1) for s in past.strata])
    windows = case_windows(past, unit_of, plan.window_cases)
    in_time = np.lexsort((windows.start, windows.unit))
    windows = windows.select(in_time)
    within, varies = regularised(_within(past, windows, len(units), cohort))
    null = fit_null_model(windows.n, windows.mean, windows.unit, len(units), within, windows.noise)
    labels = _labels(past, cohort)
    shift = _shift(past, labels, cohort, within)
    bases = _bases(history.schema, null, varies, shift)
    groups = _groups(units)
    joint = _joint_basis(history.schema, null, varies, shift)
    scale = {name: _scale(null, basis, windows) for name, basis in bases.items()}
    counts = np.bincount(windows.unit, minlength=len(units))
    return Reference(
        until=until,
        schema=history.schema,
        units=units,
        known=tuple(sorted({past.strata[i] for i in np.unique(past.cases.stratum)})),
        windows=counts,
        null=null,
        bases=bases,
        joint=joint,
        scale=scale,
        joint_scale=_scale(null, joint, windows),
        entry_scale=_entry_scale(bases, scale, len(units), history.schema.joint.size),
        groups=groups,
        group_scale=_group_scale(null, bases, windows, groups, scale),
        shift=shift,
        labels=labels,
        sentinels=_sentinels(past),
        score_mix=_score_mix(past),
        streams=_streams(units, bases, groups, labels),
        assessability=assessability,
    )


def _before(history: History, until: int) -> History:
    """The part of `history` that lies wholly before the day `until`."""
    c, m, la, s = history.cases, history.moments, history.labels, history.sentinels
    in_m = m.end <= until
    in_l, in_s = np.flatnonzero(la.week + 7 <= until), np.flatnonzero(s.day < until)
    return History(
        history.schema,
        history.strata,
        c.where(c.end <= until),
        MomentRows(m.rows[in_m], m.start[in_m], m.end[in_m], m.arrival[in_m], m.stratum[in_m]),
        type(la)(
            la.rows[in_l],
            la.week[in_l],
            la.arrival[in_l],
            tuple(la.site[i] for i in in_l),
            tuple(la.source[i] for i in in_l),
            tuple(la.reader_group[i] for i in in_l),
        ),
        type(s)(
            s.rows[in_s],
            s.day[in_s],
            s.arrival[in_s],
            tuple(s.site[i] for i in in_s),
            tuple(s.reader_group[i] for i in in_s),
        ),
    )


def _units(plan: Plan, past: History) -> tuple[tuple[Stratum, ...], dict[str, str]]:
    n = past.cases.rows[:, past.schema.columns["joint_n"]][:, 0]
    cases = np.bincount(past.cases.stratum, n, len(past.strata)).astype(np.int64)
    windows = np.bincount(past.cases.stratum, minlength=len(past.strata))
    units, words = [], {}
    for i in sorted(range(len(past.strata)), key=lambda i: past.strata[i]):
        stratum = past.strata[i]
        if not windows[i]:
            continue
        name = stratum_name(stratum)
        if stratum.scanner == POOLED:
            words[name] = f"not assessable: {cases[i]} cases of pooled strata"
        elif cases[i] < plan.least_reference_cases:
            words[name] = too_few(plan, stratum, int(cases[i]))
        else:
            units.append(stratum)
            enough = (
                cases[i] >= plan.full_reference_cases and windows[i] >= plan.full_reference_windows
            )
            words[name] = "full" if enough else f"provisional: {cases[i]} reference cases"
    if not units:
        raise NotAssessable(
            f"no stratum has {plan.least_reference_cases} reference cases, "
            f"the largest has {int(cases.max(initial=0))}"
        )
    return tuple(units), words


def too_few(plan: Plan, stratum: Stratum, cases: int) -> str:
    """Why a stratum with so few cases in its baseline is not assessable."""
    needed = plan.least_reference_cases
    if stratum.stage:
        return f"not assessable: new stage, {cases} of {needed} cases"
    return f"not assessable: {cases} reference cases, {needed} needed"


def stratum_name(stratum: Stratum) -> str:
    """Site, scanner, software version, protocol and stage in one line."""
    parts = (stratum.site, stratum.scanner, stratum.software_version, stratum.protocol)
    return ":".join(p for p in (*parts, stratum.stage) if p)


def _within(past: History, windows: CaseWindows, units: int, cohort: Cohort | None) -> FloatArray:
    """Covariance of phi within a day: from second moments, else the cohort, else the windows."""
    if past.moments.rows.size:
        row = past.moments.rows.sum(axis=0)
        if row[past.schema.moment_columns["dof"]][0] >= LEAST_DOF:
            return joint_covariance(past.schema, row)
    if cohort is not None and int(cohort.joint_n.sum()) >= LEAST_DOF:
        share = np.array([1 - cohort.prevalence, cohort.prevalence])
        mean = share @ cohort.joint_mean
        apart = cohort.joint_mean - mean
        inner = np.tensordot(share, cohort.joint_covariance, axes=1)
        return np.asarray(inner + (apart * share[:, None]).T @ apart)
    if windows.noise.any():
        raise NotAssessable(
            "the covariance within a day is not assessable under noise: second moments of "
            "windows without noise or a validation cohort needed"
        )
    n = windows.n[:, None]
    total = np.bincount(windows.unit, windows.n, units)
    sums = np.zeros((units, windows.mean.shape[1]))
    np.add.at(sums, windows.unit, n * windows.mean)
    apart = windows.mean - (sums / np.maximum(total, 1)[:, None])[windows.unit]
    return np.asarray((apart * n).T @ apart / max(len(apart) - units, 1))


def _labels(past: History, cohort: Cohort | None) -> LabelReference | None:
    if not past.labels.site:
        return None
    columns = past.schema.label_columns
    prior = None
    if cohort is not None:
        prior = _cohort_prior(past.schema, cohort)
    fitted = fit_labels(
        past.labels.rows[:, columns["labelled"]],
        past.labels.rows[:, columns["positive"]],
        past.labels.site,
        past.labels.reader_group,
        [source == "random_audit" for source in past.labels.source],
        prior,
    )
    return fitted if fitted.groups else None


def _cohort_prior(schema: Schema, cohort: Cohort) -> FloatArray:
    merged = np.zeros((2, schema.merged_label_bins))
    bins = np.asarray(schema.label_bins)
    for label in (0, 1):
        counts = cohort.score_counts[label, 0, : schema.score_bins].astype(np.float64)
        np.add.at(merged[label], bins, counts / max(counts.sum(), 1))
    merged *= np.array([[1 - cohort.prevalence], [cohort.prevalence]]) * COHORT_WEIGHT
    return np.stack([merged.sum(axis=0), merged[1]])


def _shift(
    past: History, labels: LabelReference | None, cohort: Cohort | None, within: FloatArray
) -> Shift | None:
    """The label-shift direction: the cohort's class means, else reference labels by score bin."""
    if cohort is not None and cohort.joint_n.min() >= FEW_POSITIVES:
        n0, n1 = (float(n) for n in cohort.joint_n)
        return Shift(cohort.joint_mean[1] - cohort.joint_mean[0], n1, n0, False)
    if labels is None:
        return None
    rows = past.labels.rows.sum(axis=0)
    n = rows[past.schema.label_columns["labelled"]]
    y = rows[past.schema.label_columns["positive"]]
    if y.sum() < FEW_POSITIVES or (n - y).sum() < FEW_POSITIVES:
        return None
    score = _score_direction(past, y / np.maximum(n, 1))
    where = past.schema.joint.blocks["score"]
    # Given the score, the rest of phi is taken to be the same for both classes.
    weights = np.linalg.solve(within[where, where], score)
    return Shift(within[:, where] @ weights, float(y.sum()), float((n - y).sum()), True)


def _score_direction(past: History, probability: FloatArray) -> FloatArray:
    """Difference of the classes' mean score terms (3,), from all cases and P(label | bin)."""
    schema = past.schema
    counts = score_counts(schema, past.cases.rows.sum(axis=0))[0, :-1].astype(np.float64)
    counts = np.maximum(counts, 0)  # with noise a pooled bin may fall below
    p = probability[np.asarray(schema.label_bins)]
    edges = np.clip(schema.scores[0].edges, SCORE_FLOOR, 1 - SCORE_FLOOR)
    middle = (edges[1:] + edges[:-1]) / 2
    level = np.log(middle / (1 - middle))
    terms = np.column_stack([level, middle, level**2])
    where = schema.joint.blocks["score"]
    terms = (terms - schema.joint.centre[where]) / schema.joint.scale[where]
    one, zero = counts * p, counts * (1 - p)
    return np.asarray(one @ terms / one.sum() - zero @ terms / zero.sum())


def _bases(
    schema: Schema, null: NullModel, varies: IntArray, shift: Shift | None
) -> dict[str, Basis]:
    bases = {}
    for block in BLOCKS:
        members = _members(schema, block, varies)
        if members.size:
            direction = None if shift is None or block == "acquisition" else shift.direction
            bases[block] = make_basis(null, members, direction)
    return bases


def _members(schema: Schema, block: str, varies: IntArray) -> IntArray:
    parts = [schema.joint.blocks[part] for part in BLOCKS[block]]
    entries = np.concatenate([np.arange(s.start, s.stop) for s in parts])
    return np.asarray(np.intersect1d(entries, varies), dtype=np.int64)


def _joint_basis(schema: Schema, null: NullModel, varies: IntArray, shift: Shift | None) -> Basis:
    """One whitened basis over score, acquisition and embedding, for attribution and change dates.

    Random Fourier features are left out: they see shapes, but name nothing.
    """
    fourier = schema.joint.blocks["fourier"]
    members = varies[(varies < fourier.start) | (varies >= fourier.stop)]
    return make_basis(null, members, None if shift is None else shift.direction, single=False)


def _groups(units: tuple[Stratum, ...]) -> tuple[tuple[str, IntArray], ...]:
    """Sites with several units, then the fleet ("") if it has several sites."""
    sites = sorted({u.site for u in units})
    groups = []
    for site in sites:
        members = np.array([i for i, u in enumerate(units) if u.site == site])
        if members.size > 1 and len(sites) > 1:
            groups.append((site, members))
    if len(units) > 1:
        groups.append(("", np.arange(len(units))))
    return tuple(groups)


def block_z(
    basis: Basis,
    value: FloatArray,
    variance: FloatArray,
    reference: FloatArray,
    noise: NoiseShare = EXACT,
) -> tuple[FloatArray, FloatArray]:
    """z and margin share (W, K') of a block: the directed coordinate first, where there is one."""
    z, share = value / np.sqrt(variance), reference / variance
    if basis.direction is None:
        return z, share
    along, part = directed(basis, value, variance, reference, noise)
    return np.column_stack([along, z]), np.column_stack([part, share])


def _coordinates(
    null: NullModel, basis: Basis, windows: CaseWindows
) -> tuple[FloatArray, FloatArray, FloatArray]:
    w = windows
    return coordinates(null, basis, w.n, w.mean, w.unit, w.noise)


def _scale(null: NullModel, basis: Basis, windows: CaseWindows) -> FloatArray:
    """Root mean square (U, K) of each stratum's reference z, at least 1.

    Strata share one covariance. Where a scanner stands far from the others, its squares and
    clipped values vary more than theirs; here that is found and allowed for.
    """
    units = len(null.cases)
    value, variance, reference = _coordinates(null, basis, windows)
    own = np.maximum(1 - windows.n / null.cases[windows.unit], 0.5)[:, None]
    square = np.minimum(value**2 / ((variance - reference) * own), WILD**2)
    total = np.zeros((units, basis.size))
    np.add.at(total, windows.unit, square)
    count = np.bincount(windows.unit, minlength=units)[:, None]
    return np.asarray(np.sqrt(np.maximum((total + TRUST) / (count + TRUST), 1)))


def _entry_scale(
    bases: dict[str, Basis], scale: dict[str, FloatArray], units: int, size: int
) -> FloatArray:
    """Scale (U, p) of single entries of phi: those coordinates of each block that are entries."""
    found = np.ones((units, size))
    for name, basis in bases.items():
        single = basis.projection[:, basis.whitened :]
        found[:, single.argmax(axis=0)] = scale[name][:, basis.whitened :]
    return found


def combine(
    place: IntArray,
    groups: int,
    value: FloatArray,
    variance: FloatArray,
    reference: FloatArray,
    noise: NoiseShare,
    n: IntArray,
) -> tuple[FloatArray, FloatArray, FloatArray, NoiseShare]:
    """Case-weighted means over windows of independent strata, by group: value, variance, share,
    noise.

    place : (W,) the group of each window, every one of 0 .. groups - 1. Returns (groups, K) each.
    """
    share = n / np.bincount(place, n, groups)[place]
    shape, at = (groups, n.size), (place, np.arange(n.size))
    plain, squared = csr_array((share, at), shape), csr_array((share**2, at), shape)
    pooled = NoiseShare(squared @ noise.total, squared @ noise.reference)
    return plain @ value, squared @ variance, squared @ reference, pooled


def groups_of_units(
    groups: tuple[tuple[str, IntArray], ...], units: int
) -> tuple[IntArray, IntArray]:
    """Place in `groups` of each stratum's site, and of the fleet, (units,) each; -1 for none."""
    site, fleet = np.full(units, -1), np.full(units, -1)
    for g, (name, members) in enumerate(groups):
        (site if name else fleet)[members] = g
    return site, fleet


def _group_scale(
    null: NullModel,
    bases: dict[str, Basis],
    windows: CaseWindows,
    groups: tuple[tuple[str, IntArray], ...],
    scale: dict[str, FloatArray],
) -> FloatArray:
    """As `_scale` for groups: strata may share their good and bad days."""
    square = np.ones((len(groups), len(bases)))
    for b, (name, basis) in enumerate(bases.items()):
        value, variance, reference = _coordinates(null, basis, windows)
        variance = (variance - reference) * scale[name][windows.unit] ** 2
        for of_unit in groups_of_units(groups, len(null.cases)):
            used = np.flatnonzero(of_unit[windows.unit] >= 0)
            keys = np.stack([of_unit[windows.unit[used]], windows.arrival[used]])
            (group, _), place = np.unique(keys, axis=1, return_inverse=True)
            n, nothing = windows.n[used], NoiseShare(*(np.zeros((used.size, 1)),) * 2)
            parts = (value[used], variance[used], reference[used], nothing, n)
            v, s2, _, _ = combine(place.ravel(), group.size, *parts)
            of_day = (np.clip(v / np.sqrt(s2), -CLIP, CLIP) ** 2).mean(axis=1)
            present, days = np.unique(group, return_counts=True)
            square[present, b] = np.bincount(group, of_day)[present] / days
    return np.asarray(np.sqrt(np.maximum(square, 1.0)))


def _sentinels(past: History) -> SentinelReference | None:
    schema, rounds = past.schema, past.sentinels
    read = [i for i, reader in enumerate(rounds.reader_group) if reader]
    if not read or not schema.sentinels:
        return None
    columns = schema.sentinel_columns
    groups: list[Group] = sorted(
        {(rounds.site[i], "") for i in read}
        | {(rounds.site[i], rounds.reader_group[i]) for i in read}
    )
    mine = [
        [i for i in read if rounds.site[i] == s and r in ("", rounds.reader_group[i])]
        for s, r in groups
    ]
    return SentinelReference(
        tuple(groups),
        np.array([rounds.rows[m][:, columns["reads"]].sum(axis=0) for m in mine]),
        np.array([rounds.rows[m][:, columns["positive"]].sum(axis=0) for m in mine]),
    )


def _score_mix(past: History) -> dict[str, FloatArray]:
    """Share of all cases in each merged label bin, by site."""
    names = sorted({past.strata[i].site for i in np.unique(past.cases.stratum)})
    of_stratum = np.array([names.index(s.site) if s.site in names else -1 for s in past.strata])
    counts = merge_score_bins(past.schema, past.cases.rows[:, first_stage(past.schema)])
    total = np.zeros((len(names), counts.shape[1]), dtype=np.int64)
    np.add.at(total, of_stratum[past.cases.stratum], counts)
    return {name: shares(row) for name, row in zip(names, total, strict=True)}


def shares(counts: IntArray) -> FloatArray:
    """Share of the cases in each bin, of counts (bins,); one that noise leaves below 0 is none."""
    counts = np.maximum(counts, 0)
    return np.asarray(counts / max(int(counts.sum()), 1))


def _streams(
    units: tuple[Stratum, ...],
    bases: dict[str, Basis],
    groups: tuple[tuple[str, IntArray], ...],
    labels: LabelReference | None,
) -> tuple[Stream, ...]:
    """Every stream that shares the budget: units, groups, then labels."""
    streams = [
        Stream(block, u.site, u.scanner, protocol=u.protocol) for block in bases for u in units
    ]
    streams += [
        Stream(block, site) for site, _ in groups for block in bases if not site or block == "score"
    ]
    if labels is not None:
        sites = [g for g in labels.groups if not g[1]]
        readers = [g for g in labels.groups if g[1] and _has_others(g, labels.groups)]
        streams += [Stream("labels", s, reader=r) for s, r in (*sites, *readers)]
        streams += [Stream("labels")] if len(sites) > 1 else []
    return tuple(streams)


def _has_others(group: Group, groups: tuple[Group, ...]) -> bool:
    return sum(1 for site, reader in groups if site == group[0] and reader) > 1
