"""How much noise hides one case's measurements in a case row, and what that promises.

Neighbours differ in what was measured on one case; numbers of cases are the same (docs/decisions
0124). Column j changes by at most D_j and gets discrete Gaussian noise of scale s_j; the loss is
rho = 1/2 sum (D_j / s_j)^2, zero-concentrated (Bun and Steinke 2016, TCC; for the discrete
Gaussian: Canonne, Kamath and Steinke 2020, NeurIPS, theorem 4). Pure rules, shared by edge, centre
and laboratory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from app.errors import ContractError
from monitors.schema import (
    BLOCKS,
    JOINT_CLIP,
    JOINT_UNITS,
    TALLIES,
    FloatArray,
    IntArray,
    Joint,
    Schema,
)
from monitors.summaries import SCORE_FLOOR

Draw = Callable[[int], int]
DELTA = 1e-6
LEAST_EPSILON, MOST_EPSILON = 0.5, 50.0
LARGEST_SCALE = 1 << 40
FLAGGED = TALLIES.index("flagged")
SHARES = {"counts": 1 / 16, "score": 6 / 16, "acquisition": 6 / 16, "embedding": 3 / 16}


@dataclass(frozen=True, slots=True, eq=False)
class Mechanism:
    """Scales (width,) of the columns of a case row, 0 for an exact one, and the loss of a case."""

    scales: IntArray
    rho: float


@lru_cache(maxsize=32)
def mechanism(schema: Schema, epsilon: float) -> Mechanism:
    """The noise of a case row that costs a case at most `epsilon` at `DELTA`."""
    if not LEAST_EPSILON <= epsilon <= MOST_EPSILON:
        raise ContractError(
            "noise", f"epsilon: {LEAST_EPSILON:g} to {MOST_EPSILON:g} expected, got {epsilon:g}"
        )
    rho = rho_of(epsilon)
    scales = np.zeros(schema.width(schema.columns), dtype=np.int64)
    spent = 0.0
    for share, (squares, columns) in _parts(schema).items():
        # Each column costs 1/2 D^2 / s^2 with s in proportion to D.
        factor = np.sqrt(squares.sum() / (2 * rho * SHARES[share]))
        scales[columns] = np.ceil(_unit(schema, columns) * factor).astype(np.int64)
        spent += float((squares * (_unit(schema, columns) / scales[columns]) ** 2).sum() / 2)
    scales.setflags(write=False)
    return Mechanism(scales, spent)


def noised_columns(schema: Schema) -> IntArray:
    """The columns of a case row that get noise."""
    return np.sort(np.concatenate([columns for _, columns in _parts(schema).values()]))


def cleared(schema: Schema, row: IntArray) -> IntArray:
    """A case row without what does not leave beside noise: all that is not tested."""
    kept = row.copy()
    for part in ("numeric_counts", "numeric_sums", "categorical_counts"):
        kept[schema.columns[part]] = 0
    return kept


def noised(schema: Schema, row: IntArray, scales: IntArray, draw: Draw) -> IntArray:
    """A case row as it may leave beside noise; `draw` gives one integer of a scale.

    Joint moments that no case had stay 0: that none had them is no secret.
    """
    found = cleared(schema, row)
    at = np.flatnonzero(scales)
    if row[schema.columns["joint_n"]].item() == 0:
        at = at[at < schema.columns["joint_sum"].start]
    found[at] += np.array([draw(int(scales[i])) for i in at], dtype=np.int64)
    return found


def rho_of(epsilon: float, delta: float = DELTA) -> float:
    """The largest loss rho that is (`epsilon`, `delta`)-private, by bisection."""
    low, high = 0.0, epsilon
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if epsilon_of(middle, delta) <= epsilon else (low, middle)
    return low


def epsilon_of(rho: float, delta: float = DELTA) -> float:
    """The epsilon at `delta` of a loss rho.

    delta = min over a > 1 of exp((a - 1)(a rho - epsilon)) / (a - 1) (1 - 1/a)^a: Canonne, Kamath
    and Steinke 2020, corollary 13. Solved for epsilon and minimised on a grid; every a is valid.
    """
    if rho <= 0:
        return 0.0
    a = 1 + np.geomspace(1e-3, 1e5, 40_000)
    bound = a * rho + (np.log(1 / delta) - np.log(a - 1) + a * np.log1p(-1 / a)) / (a - 1)
    return max(float(bound.min()), 0.0)


def _parts(schema: Schema) -> dict[str, tuple[FloatArray, IntArray]]:
    """By share: cost of each column at D = s, and the columns. A histogram of B bins costs 2
    in all, whichever two of them change, so 2 / B stands at each."""
    scores = schema.columns["score_counts"]
    bins = schema.score_bins
    of_stage = [scores.start + s * (bins + 1) for s in range(len(schema.scores))]
    columns = [FLAGGED, *(first + b for first in of_stage for b in range(bins))]
    squares = [1.0, *(2 / bins for _ in of_stage for _ in range(bins))]
    found = {"counts": (np.array(squares), np.array(columns, dtype=np.int64))}
    start = schema.columns["joint_sum"].start
    for share, blocks in BLOCKS.items():
        where = [schema.joint.blocks[b] for b in blocks]
        entries = start + np.concatenate([np.arange(s.start, s.stop) for s in where])
        if entries.size:
            found[share] = (np.ones(entries.size), entries.astype(np.int64))
    return found


def _unit(schema: Schema, columns: IntArray) -> FloatArray:
    """The most D by which one case can change each of the columns."""
    unit = np.ones(schema.width(schema.columns))
    unit[schema.columns["joint_sum"]] = joint_ranges(schema)
    return np.asarray(unit[columns])


def joint_ranges(schema: Schema) -> FloatArray:
    """Largest less smallest fixed-point value (p,) that a case can have in each joint term."""
    joint = schema.joint
    low, high = _raw_bounds(schema, joint)
    ends = np.stack([(low - joint.centre) / joint.scale, (high - joint.centre) / joint.scale])
    ends = np.clip(ends, -JOINT_CLIP, JOINT_CLIP)
    measured = slice(joint.blocks["acquisition"].start, joint.blocks["acquisition_square"].stop)
    ends[0, measured] = np.minimum(ends[0, measured], 0)  # one that is missing counts as 0
    ends[1, measured] = np.maximum(ends[1, measured], 0)
    steps = np.rint(ends * JOINT_UNITS)
    return np.asarray(steps[1] - steps[0] + 1)  # one more, for the last bit of a logarithm


def _raw_bounds(schema: Schema, joint: Joint) -> tuple[FloatArray, FloatArray]:
    """Smallest and largest phi (p,) before standardising; infinite for the embedding."""
    low, high = np.full(joint.size, -np.inf), np.full(joint.size, np.inf)
    top = float(np.log((1 - SCORE_FLOOR) / SCORE_FLOOR))
    low[joint.blocks["score"]] = [-top, SCORE_FLOOR, 0.0]
    high[joint.blocks["score"]] = [top, 1 - SCORE_FLOOR, top**2]
    edges = {f.name: f.edges for f in schema.numeric}
    ends = np.array([(edges[a][0], edges[a][-1]) for a in joint.acquisition]).reshape(-1, 2)
    where = joint.blocks["acquisition"]
    low[where], high[where] = ends[:, 0], ends[:, 1]
    standard = (ends - joint.centre[where, None]) / joint.scale[where, None]
    inside = (standard[:, 0] <= 0) & (standard[:, 1] >= 0)
    squares = joint.blocks["acquisition_square"]
    low[squares] = np.where(inside, 0.0, (standard**2).min(axis=1))
    high[squares] = (standard**2).max(axis=1)
    wave = float(np.sqrt(2.0 / max(joint.phase.size, 1)))
    low[joint.blocks["fourier"]], high[joint.blocks["fourier"]] = -wave, wave
    return low, high
