"""Two tables, one verdict: what differs, how far, and the likeliest cause. From windows alone."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from app.lab.two_tables import SITE, TwoTables
from monitors.annotation import mantel_haenszel
from monitors.attribution import Verdict
from monitors.case_windows import case_windows
from monitors.dispersion import design_effect, intraclass_correlation
from monitors.effects import EffectSize, effects
from monitors.errors import NotAssessable
from monitors.incidents import Seen, assess
from monitors.means import MeanShift, baseline, mean_shift
from monitors.multiplicity import benjamini_hochberg
from monitors.plan import Plan
from monitors.proportions import unseen_category
from monitors.quadratic_forms import hotelling, kernel_mean_test
from monitors.reference import Reference, build_reference
from monitors.schema import FloatArray, IntArray
from monitors.summaries import categorical_counts, numeric_counts, numeric_means, score_counts
from monitors.two_sample import (
    Pair,
    chi_square,
    directed,
    kolmogorov_smirnov,
    merge_counts,
    merge_sparse,
    pair,
    psi,
    wasserstein,
)

LEVEL = 0.05  # of the whole comparison


@dataclass(frozen=True, slots=True)
class Row:
    """One characteristic. effect : reference SD, None for categories. distance : Wasserstein's, in
    the characteristic's unit, with its band. p : of its test; adjusted : over all rows (BH)."""

    name: str
    kind: str  # numeric | score | categorical | labels
    reference: int
    current: int
    effect: float | None
    interval: tuple[float, float] | None
    psi: float
    psi_interval: tuple[float, float]
    distance: tuple[float, float, float] | None
    kolmogorov_smirnov: float
    p: float
    adjusted: float = 1.0


@dataclass(frozen=True, slots=True)
class Test:
    """A test over several characteristics at once."""

    name: str
    statistic: float
    p: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """Everything that was found. `differs`: at `LEVEL`, over all rows and tests together."""

    reference_cases: int
    current_cases: int
    reference_windows: int
    current_windows: int
    rows: tuple[Row, ...]
    tests: tuple[Test, ...]
    effects: tuple[EffectSize, ...]
    verdict: Verdict | None
    not_assessable: tuple[str, ...]
    differs: bool


def compare(tables: TwoTables, plan: Plan | None = None) -> Comparison:
    """The current table against the reference."""
    words: list[str] = []
    rows = [*_numeric(tables, words), *_score(tables, words), *_categorical(tables, words)]
    seen, tests = _joint(tables, plan or Plan(), words)
    tests += _labels(tables, words)
    p = np.array([r.p for r in rows] + [t.p for t in tests])
    adjusted = benjamini_hochberg(p) if p.size else p
    rows = [replace(row, adjusted=float(a)) for row, a in zip(rows, adjusted, strict=False)]
    differs = bool(p.size and adjusted.min() <= LEVEL)
    verdict = None
    moved: tuple[EffectSize, ...] = ()
    if seen is not None:
        moved = effects(seen, np.array([0]), tables.until)
        verdict = assess(plan or Plan(), seen, {SITE}).verdict if differs else None
    analysed = tables.schema.columns["tallies"].start
    before, after = tables.case_rows(False), tables.case_rows(True)
    return Comparison(
        reference_cases=int(before[:, analysed].sum()),
        current_cases=int(after[:, analysed].sum()),
        reference_windows=len(before),
        current_windows=len(after),
        rows=tuple(rows),
        tests=tuple(tests),
        effects=moved,
        verdict=verdict,
        not_assessable=tuple(words),
        differs=differs,
    )


# One characteristic at a time ----------------------------------------------------------------


def _numeric(tables: TwoTables, words: list[str]) -> list[Row]:
    """Mean (days as replicates) and distribution of each characteristic; the smaller p, doubled."""
    schema = tables.schema
    r, c = tables.case_rows(False), tables.case_rows(True)
    n, mean, square = numeric_means(schema, r)
    now_n, now, _ = numeric_means(schema, c)
    found = []
    for i, f in enumerate(schema.numeric):
        counts = [numeric_counts(schema, x)[:, i, :-1] for x in (r, c)]
        try:
            shift = mean_shift(
                baseline(n[:, i], mean[:, i], square[:, i] - mean[:, i] ** 2),
                now_n[:, i],
                now[:, i],
            )
            found.append(_row(f.name, "numeric", counts, f.edges, shift))
        except NotAssessable as error:
            words.append(f"{f.name}: {error}")
    return found


def _score(tables: TwoTables, words: list[str]) -> list[Row]:
    schema, found = tables.schema, []
    for i, stage in enumerate(schema.scores):
        counts = [score_counts(schema, tables.case_rows(x))[:, i, :-1] for x in (False, True)]
        try:
            found.append(_row(stage.stage, "score", counts, stage.edges, None))
        except NotAssessable as error:
            words.append(f"{stage.stage}: {error}")
    return found


def _categorical(tables: TwoTables, words: list[str]) -> list[Row]:
    schema, found = tables.schema, []
    parts = [categorical_counts(schema, tables.case_rows(x)) for x in (False, True)]
    for f, reference, current in zip(schema.categorical, *parts, strict=True):
        counts = [reference[:, :-1], current[:, :-1]]
        try:
            found.append(_row(f.name, "categorical", counts, None, None))
        except NotAssessable as error:
            words.append(f"{f.name}: {error}")
    return found


def _pair(counts: list[IntArray], ordered: bool) -> Pair:
    """Both rows added up, sparse bins merged by the reference, day effects in the sizes."""
    total = [x.sum(axis=0) for x in counts]
    icc = intraclass_correlation(counts[0])
    effect = [design_effect(x.sum(axis=1)[x.sum(axis=1) > 0], icc) for x in counts]
    if ordered:
        least = min(float(t.sum() / e) for t, e in zip(total, effect, strict=True))
        group = merge_sparse(total[0], least)
        total = [merge_counts(x, group).astype(np.int64) for x in total]
    return pair(*total, reference_effect=effect[0], current_effect=effect[1])


def _row(
    name: str,
    kind: str,
    counts: list[IntArray],
    edges: FloatArray | None,
    shift: MeanShift | None,
) -> Row:
    of = _pair(counts, edges is not None)
    size, plain = psi(of), _pair(counts, False)
    p = float(chi_square(of).p_value)
    effect = interval = None
    if shift is not None:
        p = min(1.0, 2 * min(p, float(shift.p_value)))
        effect = float(shift.effect)
        interval = (float(shift.effect_low), float(shift.effect_high))
    elif edges is not None:
        along = directed(of)
        effect = float(along.shift)
        half = 1.96 * abs(effect / float(along.z_shift)) if along.z_shift else 0.0
        interval = (effect - half, effect + half)
    else:
        p = _with_unseen(counts, p)
    distance = None if edges is None else wasserstein(plain, edges)
    return Row(
        name=name,
        kind=kind,
        reference=int(counts[0].sum()),
        current=int(counts[1].sum()),
        effect=effect,
        interval=interval,
        psi=float(size.estimate),
        psi_interval=(float(size.low), float(size.high)),
        distance=None
        if distance is None
        else (float(distance.value), float(distance.low), float(distance.high)),
        kolmogorov_smirnov=float(kolmogorov_smirnov(plain).low) if edges is not None else 0.0,
        p=p,
    )


def _with_unseen(counts: list[IntArray], p: float) -> float:
    """The smaller of the chi-square and of the likeliest new category, doubled."""
    reference, current = (x.sum(axis=0) for x in counts)
    new = (reference == 0) & (current > 0)
    if not new.any():
        return p
    unseen = unseen_category(current[new], current.sum(), reference.sum()).min() * new.sum()
    return min(1.0, 2 * min(p, float(unseen)))


# Several at once -----------------------------------------------------------------------------


def _joint(tables: TwoTables, plan: Plan, words: list[str]) -> tuple[Seen | None, list[Test]]:
    """Hotelling's T2 and the kernel mean test of the joint vector, and what attribution sees."""
    history, until = tables.history, tables.until
    try:
        reference = build_reference(plan, history, until)
    except NotAssessable as error:
        words.append(f"joint tests and cause: {error}")
        return None, []
    windows = case_windows(history, np.array([0]), plan.window_cases)
    windows = windows.select(np.flatnonzero(windows.start >= until))
    if not windows.n.size:
        words.append(f"joint tests and cause: {plan.window_cases} complete current cases needed")
        return None, []
    last = int(history.cases.arrival.max()) + 1
    seen = Seen(reference, windows, history.labels, history.sentinels, (), last)
    return seen, _vector_tests(reference, windows.n, windows.mean)


def _vector_tests(reference: Reference, n: IntArray, mean: FloatArray) -> list[Test]:
    null, blocks = reference.null, reference.schema.joint.blocks
    size = n.sum()
    x = n @ mean / size - null.mean[0]
    c = null.within * (1 / size + 1 / null.cases[0])
    c = c + null.between * ((n**2).sum() / size**2 + null.n0[0] / null.cases[0])
    dof = float(reference.windows[0] - 1)
    tests = []
    for name in ("acquisition", "embedding"):
        part = blocks[name]
        if part.stop > part.start:
            t2 = hotelling(x[part], c[part, part], max(dof, part.stop - part.start + 1.0))
            tests.append(Test(f"T2 of {name}", float(t2.statistic), float(t2.p_value)))
    part = blocks["fourier"]
    if part.stop > part.start:
        kernel = kernel_mean_test(x[part], c[part, part])
        tests.append(
            Test("kernel mean of embedding", float(kernel.unbiased), float(kernel.p_value))
        )
    return tests


def _labels(tables: TwoTables, words: list[str]) -> list[Test]:
    """Labels given the score between the tables, of the source both have most of."""
    rows = [tables.label_row(x) for x in (False, True)]
    columns = tables.schema.label_columns
    if not all(row[columns["labelled"]].sum() for row in rows):
        words.append("labels given the score: no labels that may leave in one of the tables")
        return []
    groups = [(row[columns["labelled"]], row[columns["positive"]]) for row in rows]
    try:
        found = mantel_haenszel(*groups)
    except NotAssessable as error:
        words.append(f"labels given the score: {error}")
        return []
    return [Test("labels given the score (CMH)", float(found.statistic), float(found.p_value))]
