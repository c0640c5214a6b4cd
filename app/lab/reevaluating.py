"""The locked chain on a freshly labelled holdout, compared with what it was cleared with.

A holdout is a folder with `labels.csv` (one row a file: `file`, `label` 0 or 1; `cleared_label`
where the case was in the cleared cohort; further columns are levels of the cleared sub-groups)
and the DICOM files it names. Nothing of a single case gets into the record.
"""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib import metadata
from pathlib import Path

import numpy as np
from scipy.stats import binomtest

from app.contracts.change_control import cleared, scanner_class, thresholds_for
from app.contracts.holdout import (
    Change,
    HoldoutCriterion,
    HoldoutRate,
    HoldoutRecord,
    HoldoutRow,
    ScoreCounts,
    SharedCases,
    Verdict,
)
from app.contracts.manifest import Manifest, Proportion, SubgroupRow
from app.contracts.signing import canonical, sha256
from app.device.chain import Chain
from app.device.result import CaseResult, Outcome
from app.errors import ContractError
from monitors.confirmation import Criterion, confirm_rate, confirm_subgroups
from monitors.proportions import Interval, clopper_pearson, newcombe, newcombe_paired, wilson
from monitors.summaries import score_bin

LABELS = "labels.csv"
ANSWERED = (Outcome.FLAGGED, Outcome.NOT_FLAGGED)
MARGIN = 0.03  # by which an exact bound may lie below the cleared bound
Found = tuple[int, int]  # called right, of
ALL = ("all", "all")


@dataclass(frozen=True, slots=True)
class Labelled:
    """One row of `labels.csv`. levels : of sub-groups, by margin."""

    path: Path
    label: int
    cleared_label: int | None
    levels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Case:
    """One file with what the chain said."""

    of: Labelled
    result: CaseResult

    @property
    def flagged(self) -> bool:
        """Whether it was flagged."""
        return self.result.outcome is Outcome.FLAGGED

    def level(self, margin: str) -> str | None:
        """Its level of a margin: as in the table, else as in its header."""
        return self.of.levels.get(margin) or self.result.categorical.get(margin)

    @property
    def scanner_class(self) -> str:
        """Of the scanner that made it, by its header."""
        names = ("Manufacturer", "ManufacturerModelName")
        return scanner_class(*(self.result.stratum.get(name, "") for name in names))


def read_holdout(folder: Path) -> tuple[Labelled, ...]:
    """The rows of `labels.csv`, checked; `ContractError` names the line."""
    try:
        with (folder / LABELS).open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ContractError("holdout", f"{LABELS} expected in {folder}: {error}") from error
    found = tuple(_row(folder, line, row) for line, row in enumerate(rows, start=2))
    if not found:
        raise ContractError("holdout", f"{LABELS}: at least one row expected")
    if len({labelled.path for labelled in found}) != len(found):
        raise ContractError("holdout", f"{LABELS}: a file is named twice")
    return found


def _row(folder: Path, line: int, row: Mapping[str, str | None]) -> Labelled:
    values = {name: (value or "").strip() for name, value in row.items() if name}
    name, label = values.pop("file", ""), values.pop("label", "")
    before = values.pop("cleared_label", "")
    path = (folder / name).resolve()
    if not name or folder.resolve() not in path.parents or not path.is_file():
        raise ContractError("holdout", f"{LABELS} line {line}: a file of the folder expected")
    if label not in ("0", "1") or before not in ("", "0", "1"):
        raise ContractError("holdout", f"{LABELS} line {line}: a label 0 or 1 expected")
    levels = {margin: level for margin, level in values.items() if level}
    return Labelled(path, int(label), int(before) if before else None, levels)


def reevaluate(
    chain: Chain,
    folder: Path,
    at: datetime,
    progress: Callable[[Iterable[Labelled]], Iterable[Labelled]] = iter,
) -> HoldoutRecord:
    """Run the chain on every file at the cleared operating point, and compare."""
    manifest, holdout = chain.manifest, read_holdout(folder)
    deviation = chain.prove()
    thresholds = cleared(manifest).thresholds
    point = {t.stage: t.value for t in thresholds if not t.scanner_class}
    classes = {t.scanner_class: thresholds_for(thresholds, t.scanner_class) for t in thresholds}
    cases = [_run(chain, one, point, classes) for one in progress(holdout)]
    answered = [case for case in cases if case.result.outcome in ANSWERED]
    rows = tuple(_rows(manifest, answered))
    if not rows or not answered:
        raise ContractError("holdout", "the chain answered no case: nothing can be compared")
    criteria = tuple(_criteria(rows))
    stage = thresholds[0].stage
    return HoldoutRecord(
        lock_digest=manifest.lock_digest,
        device=manifest.device,
        version=manifest.version,
        holdout=folder.resolve().name,
        labels_digest=sha256((folder / LABELS).read_bytes()),
        files_digest=_digest(holdout),
        evaluated_at=at,
        agent_version=metadata.version("lockwatch"),
        stage=stage,
        threshold=point[stage],
        known_answer_deviation=deviation,
        cases=len(cases),
        outcomes=dict(sorted(Counter(c.result.outcome.value for c in cases).items())),
        rows=rows,
        shared=_shared(answered),
        scores=tuple(_scores(manifest, stage, answered)),
        criteria=criteria,
        verdict=_verdict(rows, criteria),
    )


def _run(
    chain: Chain,
    one: Labelled,
    point: Mapping[str, float],
    classes: Mapping[str, Mapping[str, float]],
) -> Case:
    case = Case(one, chain.run(one.path, point))
    own = classes.get(case.scanner_class)
    return case if own is None else Case(one, chain.run(one.path, own))


def _digest(holdout: Sequence[Labelled]) -> str:
    """One hash over the files, whatever their names."""
    return sha256(
        canonical(sorted(hashlib.sha256(h.path.read_bytes()).hexdigest() for h in holdout))
    )


# Sub-groups ----------------------------------------------------------------------------------


def _rows(manifest: Manifest, cases: Sequence[Case]) -> Iterator[HoldoutRow]:
    """Every cleared sub-group that the holdout has a case of."""
    for row in manifest.validation.subgroups:
        inside = [case for case in cases if _is_in(case, row)]
        if inside:
            found = [_found(inside, label) for label in (1, 0)]
            yield HoldoutRow(
                margin=row.margin,
                level=row.level,
                cases=len(inside),
                positives=found[0][1],
                sensitivity=_rate(found[0], row.sensitivity),
                specificity=_rate(found[1], row.specificity),
            )


def _is_in(case: Case, row: SubgroupRow) -> bool:
    return (row.margin, row.level) == ALL or case.level(row.margin) == row.level


def _found(cases: Iterable[Case], label: int) -> Found:
    """Called right, of the cases with this fresh label."""
    right = [case.flagged == bool(label) for case in cases if case.of.label == label]
    return sum(right), len(right)


def _rate(found: Found, before: Proportion | None) -> HoldoutRate | None:
    if not found[1]:
        return None
    compared = before is not None and before.n > 0
    change = newcombe(*found, before.successes, before.n) if before and compared else None
    return HoldoutRate(
        found=_proportion(*found),
        cleared=before,
        change=_change(change) if change is not None else None,
    )


def _proportion(successes: int, n: int) -> Proportion:
    interval = wilson(successes, n)
    return Proportion(successes=successes, n=n, low=float(interval.low), high=float(interval.high))


def _change(x: Interval) -> Change:
    return Change(value=float(x.value), low=float(x.low), high=float(x.high))


# Shared cases --------------------------------------------------------------------------------


def _shared(cases: Iterable[Case]) -> SharedCases | None:
    """What reading the same cases anew changes: the scores are the same, so only labels can."""
    pairs = [
        (case.flagged, bool(case.of.label), bool(case.of.cleared_label))
        for case in cases
        if case.of.cleared_label is not None
    ]
    if not pairs:
        return None
    up = sum(now and not then for _, now, then in pairs)
    down = sum(then and not now for _, now, then in pairs)
    agree = Counter((flag == now, flag == then) for flag, now, then in pairs)
    order = ((True, True), (True, False), (False, True), (False, False))
    return SharedCases(
        cases=len(pairs),
        now_positive=up,
        now_negative=down,
        p_value=float(binomtest(up, up + down).pvalue) if up + down else 1.0,
        agreement_change=_change(newcombe_paired(*(agree[key] for key in order))),
    )


def _scores(manifest: Manifest, stage: str, cases: Sequence[Case]) -> Iterator[ScoreCounts]:
    """Fresh labels on the score bins, of all and of each scanner class."""
    schema = manifest.schema_.layout()
    bins = len(manifest.schema_.scores[0].edges) - 1
    groups = {"": list(cases)} | {
        name: [c for c in cases if c.scanner_class == name]
        for name in sorted({c.scanner_class for c in cases})
    }
    for name, inside in groups.items():
        for label in (0, 1):
            scores = [c.result.scores[stage] for c in inside if c.of.label == label]
            counts = np.bincount(score_bin(schema, np.array(scores)), minlength=bins)
            yield ScoreCounts(
                scanner_class=name, label=label, counts=tuple(int(n) for n in counts[:bins])
            )


# Criteria ------------------------------------------------------------------------------------


def _criteria(rows: Sequence[HoldoutRow]) -> Iterator[HoldoutCriterion]:
    """Overall figures by exact bounds, then no sub-group may lose."""
    whole = next((row for row in rows if (row.margin, row.level) == ALL), None)
    groups = [row for row in rows if row is not whole]
    for name in ("sensitivity", "specificity"):
        rate: HoldoutRate | None = getattr(whole, name, None)
        if rate is not None and rate.cleared is not None:
            yield from map(_met, _overall(name, rate))
    for name in ("sensitivity", "specificity"):
        compared = [
            (f"{name}, {row.margin} {row.level}", rate)
            for row in groups
            if (rate := getattr(row, name)) is not None and rate.cleared is not None
        ]
        if compared:
            yield from map(_met, _no_loss(compared))


def _overall(name: str, rate: HoldoutRate) -> Iterator[Criterion]:
    assert rate.cleared is not None
    claim = float(clopper_pearson(rate.cleared.successes, rate.cleared.n).low)
    if claim > MARGIN:
        words = f"{name}, lower 97.5 % bound"
        yield confirm_rate(words, rate.found.successes, rate.found.n, claim, MARGIN)


def _no_loss(compared: Sequence[tuple[str, HoldoutRate]]) -> tuple[Criterion, ...]:
    before = [rate.cleared for _, rate in compared if rate.cleared is not None]
    after = [rate.found for _, rate in compared]
    return confirm_subgroups(
        tuple(name for name, _ in compared),
        ([p.successes for p in before], [p.n for p in before]),
        ([p.successes for p in after], [p.n for p in after]),
    )


def _met(c: Criterion) -> HoldoutCriterion:
    return HoldoutCriterion(name=c.name, found=c.found, limit=c.limit, met=c.passed)


def _verdict(rows: Sequence[HoldoutRow], criteria: Sequence[HoldoutCriterion]) -> Verdict:
    """Worse only where an interval of the whole says so; few cases prove nothing either way."""
    whole = next((row for row in rows if (row.margin, row.level) == ALL), None)
    rates = () if whole is None else (whole.sensitivity, whole.specificity)
    if any(rate and rate.change and rate.change.high < 0 for rate in rates):
        return "worse than cleared"
    return "as cleared" if criteria and all(c.met for c in criteria) else "not shown"
