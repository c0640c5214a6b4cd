"""Case measurements into summary rows, and rows back into statistics.

Rows are int64 and additive (see `monitors.schema`): merging is `rows.sum(axis=0)`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from monitors.errors import MonitorError
from monitors.schema import (
    JOINT_CLIP,
    JOINT_UNITS,
    NUMERIC_UNITS,
    TALLIES,
    BoolArray,
    FloatArray,
    IntArray,
    Joint,
    Schema,
)

Counts = TypeVar("Counts", bound=np.number[Any])

SCORE_FLOOR = 1e-6  # a probability is kept this far from 0 and 1 before its logit is taken
# Cases summarised at a time: what they need stays near the processor, and the largest sum, of
# 8192 squares of up to 2^40, is 2^53: whole numbers up to there are exact in a double.
CHUNK = 8192
LEAST_MEASURED = 20  # cases that must have a characteristic before its products leave


@dataclass(frozen=True, slots=True)
class Cases:
    """Measurements of n cases of one device version, aligned with a schema.

    numeric : (n, F), NaN where missing, in each characteristic's unit.
    categorical : (n, C) codes; -1 missing, len(categories) for OTHER.
    scores : (n, S) in [0, 1], NaN where the stage gave none.
    embedding : (n, e) projected embedding, NaN where there is none.
    outcome : (n,) index into `TALLIES`. A flagged case counts as analysed and as flagged; the
        others are not analysed.
    """

    numeric: FloatArray
    categorical: IntArray
    scores: FloatArray
    embedding: FloatArray
    outcome: IntArray

    def __len__(self) -> int:
        return int(self.outcome.size)


def joint_vector(joint: Joint, schema: Schema, cases: Cases) -> FloatArray:
    """Standardised phi of each case, shape (n, p), clipped to +-`JOINT_CLIP`; NaN if incomplete.

    A case needs its score and embedding. An acquisition characteristic that it lacks counts as
    the reference mean, 0: a tag that some scanners leave out must not cost all of their cases.
    Random Fourier features after Rahimi and Recht (2007), NIPS 20.
    """
    phi, complete = _joint(joint, schema, cases)
    phi[~complete] = np.nan
    return phi


def _joint(joint: Joint, schema: Schema, cases: Cases) -> tuple[FloatArray, BoolArray]:
    """phi (n, p), and which of the n have a score and an embedding. Written in place throughout:
    this is where an edge spends its time."""
    phi = np.empty((len(cases), joint.size))
    part = {name: phi[:, where] for name, where in joint.blocks.items()}
    _acquisition(joint, schema, cases, part["acquisition"])
    np.square(part["acquisition"], out=part["acquisition_square"])
    probability = np.clip(cases.scores[:, 0], SCORE_FLOOR, 1 - SCORE_FLOOR)
    logit = np.log(probability / (1 - probability))
    part["score"][:] = np.column_stack([logit, probability, logit**2])
    part["embedding"][:] = np.where(np.isfinite(cases.embedding), cases.embedding, np.nan)
    np.cos(part["embedding"] @ joint.omega.T + joint.phase, out=part["fourier"])
    part["fourier"] *= np.sqrt(2.0 / max(joint.phase.size, 1))
    acquisition = joint.blocks["acquisition"]
    for rest in (slice(acquisition.start), slice(acquisition.stop, None)):
        phi[:, rest] -= joint.centre[rest]
        phi[:, rest] /= joint.scale[rest]
    np.clip(phi, -JOINT_CLIP, JOINT_CLIP, out=phi)
    measured = phi[:, acquisition.start : joint.blocks["acquisition_square"].stop]
    np.copyto(measured, 0.0, where=np.isnan(measured))
    return phi, np.isfinite(probability) & np.isfinite(part["embedding"]).all(axis=1)


def _acquisition(joint: Joint, schema: Schema, cases: Cases, out: FloatArray) -> None:
    """The characteristics of phi, clipped to their outer edges and standardised."""
    place = {f.name: i for i, f in enumerate(schema.numeric)}
    index = [place[name] for name in joint.acquisition]
    low = np.array([schema.numeric[i].edges[0] for i in index])
    high = np.array([schema.numeric[i].edges[-1] for i in index])
    where = joint.blocks["acquisition"]
    np.clip(np.take(cases.numeric, index, axis=1), low, high, out=out)
    out -= joint.centre[where]
    out /= joint.scale[where]


def summarise(schema: Schema, cases: Cases, group: IntArray, groups: int) -> IntArray:
    """One summary row per group, shape (groups, width). `group` (n,) holds 0 .. groups - 1."""
    _check(schema, cases)
    if group.shape != (len(cases),) or np.any((group < 0) | (group >= groups)):
        raise MonitorError(f"group: one of 0 .. {groups - 1} expected for each case")
    parts = [slice(start, start + CHUNK) for start in range(0, len(cases), CHUNK)]

    def share(mine: Sequence[slice]) -> IntArray:
        total = np.zeros((groups, schema.width(schema.columns)), dtype=np.int64)
        for part in mine:
            total += _rows(schema, _select(cases, part), group[part], groups)
        return total

    workers = min(len(parts), os.cpu_count() or 1)
    if workers <= 1:
        return share(parts)
    # Whole numbers add to the same sum in any order, so that any number of cores may share them.
    with ThreadPoolExecutor(workers) as pool:
        totals = list(pool.map(share, [parts[i::workers] for i in range(workers)]))
    return np.asarray(np.sum(totals, axis=0))


def _select(cases: Cases, which: slice | npt.NDArray[np.bool_]) -> Cases:
    return Cases(
        cases.numeric[which],
        cases.categorical[which],
        cases.scores[which],
        cases.embedding[which],
        cases.outcome[which],
    )


def _rows(schema: Schema, cases: Cases, group: IntArray, groups: int) -> IntArray:
    rows = np.zeros((groups, schema.width(schema.columns)), dtype=np.int64)
    analysed = _is_analysed(cases)
    rows[:, schema.columns["tallies"]] = _tallies(cases.outcome, group, groups)
    inside, at = (cases, group) if analysed.all() else (_select(cases, analysed), group[analysed])
    rows[:, schema.columns["numeric_counts"]] = _numeric_counts(schema, inside, at, groups)
    rows[:, schema.columns["numeric_sums"]] = _numeric_sums(schema, inside, at, groups)
    rows[:, schema.columns["categorical_counts"]] = _categorical_counts(schema, inside, at, groups)
    rows[:, schema.columns["score_counts"]] = _score_counts(schema, inside, at, groups)
    quantised, complete = quantised_joint(schema, inside)
    rows[:, schema.columns["joint_n"]] = np.bincount(at[complete], minlength=groups)[:, None]
    rows[:, schema.columns["joint_sum"]] = _summed(quantised, at[complete], groups)
    return rows


def _summed(values: FloatArray, group: IntArray, groups: int) -> IntArray:
    """Sums (groups, k) of whole numbers `values` (n, k) by group, exact for n up to `CHUNK`."""
    sums = np.zeros((groups, values.shape[1]), dtype=np.int64)
    if np.any(group[1:] < group[:-1]):
        order = np.argsort(group, kind="stable")
        values, group = values[order], group[order]
    first = np.flatnonzero(np.diff(group, prepend=-1))
    if first.size:
        sums[group[first]] = np.add.reduceat(values, first, axis=0)
    return sums


def quantised_joint(schema: Schema, cases: Cases) -> tuple[FloatArray, BoolArray]:
    """phi in fixed point for the complete cases, whole numbers (m, p), and which of the n are."""
    phi, complete = _joint(schema.joint, schema, cases)
    phi = phi if complete.all() else phi[complete]
    phi *= JOINT_UNITS
    return np.rint(phi, out=phi), complete


def second_moments(schema: Schema, cases: Cases, day: IntArray) -> IntArray:
    """One weekly second-moment row of the analysed `cases`; `day` (n,) is any day label.

    Products are centred on each day's mean before they are added and rounded to fixed point
    per day, so that rows of different weeks and scanners still add exactly.
    """
    _check(schema, cases)
    quantised, complete = quantised_joint(schema, cases)
    quantised = quantised[_is_analysed(cases)[complete]]
    complete = complete & _is_analysed(cases)
    quantised[:, _hardly_measured(schema, cases.numeric[complete])] = 0
    row = np.zeros(schema.width(schema.moment_columns), dtype=np.int64)
    upper = np.triu_indices(schema.joint.size)
    for one in np.unique(day[complete]):
        phi = quantised[day[complete] == one]
        centred = phi - phi.mean(axis=0)
        row[schema.moment_columns["n"]] += len(phi)
        row[schema.moment_columns["dof"]] += len(phi) - 1
        row[schema.moment_columns["products"]] += np.rint((centred.T @ centred)[upper]).astype(
            np.int64
        )
    return row


def _hardly_measured(schema: Schema, numeric: FloatArray) -> IntArray:
    """Joint coordinates of characteristics that some cases lack and under `LEAST_MEASURED` have.

    Their products would be those few cases' values.
    """
    measured = np.isfinite(numeric).sum(axis=0)
    return acquisition_coordinates(schema, measured < min(LEAST_MEASURED, len(numeric)))


def acquisition_coordinates(schema: Schema, chosen: npt.NDArray[np.bool_]) -> IntArray:
    """Joint coordinates, plain and squared, of the `chosen` (F,) numeric characteristics."""
    names = [f.name for f, taken in zip(schema.numeric, chosen, strict=True) if taken]
    at = [i for i, name in enumerate(schema.joint.acquisition) if name in names]
    blocks = schema.joint.blocks
    return np.array(
        [blocks[part].start + i for part in ("acquisition", "acquisition_square") for i in at],
        dtype=np.int64,
    )


def joint_means(schema: Schema, rows: IntArray) -> tuple[IntArray, FloatArray]:
    """n (...,) and mean phi (..., p) of summary rows; NaN where n is 0."""
    n = rows[..., schema.columns["joint_n"]][..., 0]
    total = rows[..., schema.columns["joint_sum"]] / JOINT_UNITS
    with np.errstate(invalid="ignore", divide="ignore"):
        return n, np.asarray(total / n[..., None], dtype=np.float64)


def joint_covariance(schema: Schema, row: IntArray) -> FloatArray:
    """Within-day covariance of phi, shape (p, p), from a (merged) second-moment row."""
    dof = int(row[schema.moment_columns["dof"]][0])
    if dof < 1:
        raise MonitorError(f"second moments need at least 2 cases on one day, got {dof} dof")
    p = schema.joint.size
    products = np.zeros((p, p))
    products[np.triu_indices(p)] = row[schema.moment_columns["products"]]
    products += np.triu(products, 1).T
    return np.asarray(products / dof / JOINT_UNITS**2, dtype=np.float64)


def numeric_counts(schema: Schema, rows: IntArray) -> IntArray:
    """Counts (..., F, B + 3): under, the bins, over, missing."""
    return _split(rows, schema, "numeric_counts", len(schema.numeric))


def numeric_means(schema: Schema, rows: IntArray) -> tuple[IntArray, FloatArray, FloatArray]:
    """n, mean and mean square (..., F) of the clipped values, in each characteristic's unit."""
    counts = numeric_counts(schema, rows)
    n = counts[..., :-1].sum(axis=-1)
    sums = _split(rows, schema, "numeric_sums", len(schema.numeric)) / [
        NUMERIC_UNITS,
        float(NUMERIC_UNITS) ** 2,
    ]
    low = np.array([f.edges[0] for f in schema.numeric])
    span = np.array([f.edges[-1] - f.edges[0] for f in schema.numeric])
    with np.errstate(invalid="ignore", divide="ignore"):
        u, uu = sums[..., 0] / n, sums[..., 1] / n
    return n, low + span * u, low**2 + 2 * low * span * u + span**2 * uu


def score_counts(schema: Schema, rows: IntArray) -> IntArray:
    """Counts (..., S, B + 1): the bins, then missing."""
    return _split(rows, schema, "score_counts", len(schema.scores))


def first_stage(schema: Schema) -> slice:
    """Where the counts by score of the first stage stand in a summary row, without the missing."""
    begin = schema.columns["score_counts"].start
    return slice(begin, begin + schema.score_bins)


def merge_score_bins(schema: Schema, counts: npt.NDArray[Counts]) -> npt.NDArray[Counts]:
    """Counts (..., score bins) in the coarser bins (..., merged) in which labels leave."""
    begin = np.flatnonzero(np.diff(schema.label_bins, prepend=-1))
    return np.asarray(np.add.reduceat(counts, begin, axis=-1))


def categorical_counts(schema: Schema, rows: IntArray) -> list[IntArray]:
    """Per categorical characteristic, counts (..., categories + 2): approved, OTHER, missing."""
    flat = rows[..., schema.columns["categorical_counts"]]
    ends = np.cumsum([len(c.categories) + 2 for c in schema.categorical])
    return list(np.split(flat, ends[:-1], axis=-1)) if schema.categorical else []


def tallies(schema: Schema, rows: IntArray) -> dict[str, IntArray]:
    """Outcome counts by name, each of shape (...)."""
    flat = rows[..., schema.columns["tallies"]]
    return {name: flat[..., i] for i, name in enumerate(TALLIES)}


def score_bin(schema: Schema, scores: FloatArray, stage: int = 0) -> IntArray:
    """Bin of each score: edges belong to the bin above them, so `score >= threshold` is exact."""
    edges = schema.scores[stage].edges
    return np.clip(np.searchsorted(edges, scores, side="right") - 1, 0, edges.size - 2)


def _split(rows: IntArray, schema: Schema, part: str, items: int) -> IntArray:
    flat = rows[..., schema.columns[part]]
    width = flat.shape[-1] // items if items else 0
    return flat.reshape(*rows.shape[:-1], items, width)


def _check(schema: Schema, cases: Cases) -> None:
    n = len(cases)
    for name, array, width in (
        ("numeric", cases.numeric, len(schema.numeric)),
        ("categorical", cases.categorical, len(schema.categorical)),
        ("scores", cases.scores, len(schema.scores)),
        ("embedding", cases.embedding, schema.joint.embedding),
    ):
        if array.shape != (n, width):
            raise MonitorError(f"{name}: shape {(n, width)} expected, got {array.shape}")
    known = cases.scores[~np.isnan(cases.scores)]
    if known.size and (known.min() < 0 or known.max() > 1):
        raise MonitorError("scores must lie in [0, 1]")
    most = np.array([len(c.categories) for c in schema.categorical])
    if np.any((cases.categorical < -1) | (cases.categorical > most)):
        raise MonitorError("categorical: codes must run from -1 (missing) to OTHER")
    if np.any((cases.outcome < 0) | (cases.outcome >= len(TALLIES))):
        raise MonitorError(f"outcome: an index into {len(TALLIES)} tallies expected")


def _is_analysed(cases: Cases) -> npt.NDArray[np.bool_]:
    return np.asarray(cases.outcome <= TALLIES.index("flagged"))


def _tallies(outcome: IntArray, group: IntArray, groups: int) -> IntArray:
    counts = np.bincount(group * len(TALLIES) + outcome, minlength=groups * len(TALLIES))
    table = counts.reshape(groups, len(TALLIES)).astype(np.int64)
    table[:, 0] += table[:, 1]  # flagged cases are analysed cases
    return table


def _binned(
    codes: npt.NDArray[np.integer[Any]], width: int, group: IntArray, groups: int
) -> IntArray:
    """Counts (groups, items * width) of integer `codes` (items, n) in 0 .. width - 1."""
    items = len(codes)
    flat = np.arange(0, items * width, width)[:, None] + group * (items * width)
    flat += codes
    return np.bincount(flat.ravel(), minlength=groups * items * width).reshape(groups, -1)


def _numeric_counts(schema: Schema, cases: Cases, group: IntArray, groups: int) -> IntArray:
    x = np.ascontiguousarray(cases.numeric.T)
    small = np.int8 if schema.numeric_bins < 120 else np.int16
    codes = np.zeros(x.shape, dtype=small)
    edges = np.array([f.edges for f in schema.numeric]).reshape(len(x), schema.numeric_bins + 1, 1)
    for i in range(edges.shape[1]):  # a dozen comparisons of everything are faster than a search
        codes += (x >= edges[:, i]).view(np.int8)
    if len(x):
        np.copyto(codes, schema.numeric_bins, where=x == edges[:, -1])  # the last bin is closed
        np.copyto(codes, schema.numeric_bins + 2, where=np.isnan(x))
    return _binned(codes, schema.numeric_bins + 3, group, groups)


def _numeric_sums(schema: Schema, cases: Cases, group: IntArray, groups: int) -> IntArray:
    low = np.array([f.edges[0] for f in schema.numeric])
    unit = cases.numeric - low
    unit /= np.array([f.edges[-1] for f in schema.numeric]) - low
    np.fmax(unit, 0, out=unit)  # a missing value becomes 0, and adds nothing
    np.fmin(unit, 1, out=unit)
    unit *= NUMERIC_UNITS
    q = np.rint(unit, out=unit)
    sums = np.stack([_summed(part, group, groups) for part in (q, q * q)], axis=-1)
    return sums.reshape(groups, -1)


def _categorical_counts(schema: Schema, cases: Cases, group: IntArray, groups: int) -> IntArray:
    parts = [np.zeros((groups, 0), dtype=np.int64)]
    for i, c in enumerate(schema.categorical):
        width = len(c.categories) + 2
        codes = np.where(cases.categorical[:, i] < 0, width - 1, cases.categorical[:, i])
        parts.append(_binned(codes[None], width, group, groups))
    return np.concatenate(parts, axis=1)


def _score_counts(schema: Schema, cases: Cases, group: IntArray, groups: int) -> IntArray:
    bins = schema.score_bins
    codes = np.empty(cases.scores.shape[::-1], dtype=np.int64)
    for s in range(len(schema.scores)):
        x = cases.scores[:, s]
        codes[s] = np.where(np.isnan(x), bins, score_bin(schema, np.nan_to_num(x), s))
    return _binned(codes, bins + 1, group, groups)
