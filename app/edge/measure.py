"""A case's result as a packed row of numbers aligned with the schema of its device version.

A row is float64, little endian: the numeric characteristics, the categorical codes, the
scores, the embedding, then the level of each sub-group margin. NaN means missing; so does
anything that is not finite, because a monitor must never meet it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from app.device.result import CaseResult, Outcome
from monitors.schema import TALLIES, FloatArray, IntArray, Schema
from monitors.summaries import Cases

STATES: Mapping[Outcome, str] = {
    Outcome.NOT_FLAGGED: "analysed",
    Outcome.FLAGGED: "flagged",
    Outcome.ABSTAINED: "abstained",
    Outcome.QUALITY_REJECTED: "quality_rejected",
    Outcome.OUTSIDE_LIMITS: "outside_limits",
    Outcome.FAILED: "failed",
}


def pack(schema: Schema, result: CaseResult) -> bytes:
    """The row of one case."""
    embedding = result.embedding or (math.nan,) * schema.joint.embedding
    row = [
        *(result.numeric.get(f.name, math.nan) for f in schema.numeric),
        *(_code(c.categories, result.categorical.get(c.name)) for c in schema.categorical),
        *(_probability(result.scores.get(s.stage, math.nan)) for s in schema.scores),
        *embedding[: schema.joint.embedding],
        *(_level(m.levels, result.categorical.get(m.name)) for m in schema.margins),
    ]
    values = np.array(row, dtype="<f8")
    values[~np.isfinite(values)] = np.nan
    return values.tobytes()


def nothing(schema: Schema) -> bytes:
    """The row of a case that gave no measurement."""
    return pack(schema, CaseResult(Outcome.FAILED))


def unpack(schema: Schema, rows: Sequence[bytes], states: Sequence[str]) -> tuple[Cases, IntArray]:
    """n cases, and their margin levels (n, margins), -1 where there is none."""
    sizes = [
        len(schema.numeric),
        len(schema.categorical),
        len(schema.scores),
        schema.joint.embedding,
        len(schema.margins),
    ]
    table = np.frombuffer(b"".join(rows), dtype="<f8").reshape(len(rows), sum(sizes))
    numeric, codes, scores, embedding, levels = np.split(table, np.cumsum(sizes)[:-1], axis=1)
    outcome = np.array([TALLIES.index(state) for state in states], dtype=np.int64)
    cases = Cases(numeric, _integers(codes), scores, embedding, outcome)
    return cases, _integers(levels)


def take(cases: Cases, which: IntArray) -> Cases:
    """The cases at these places."""
    return Cases(
        cases.numeric[which],
        cases.categorical[which],
        cases.scores[which],
        cases.embedding[which],
        cases.outcome[which],
    )


def _code(categories: Sequence[str], value: str | None) -> float:
    if value is None:
        return math.nan
    return categories.index(value) if value in categories else len(categories)


def _level(levels: Sequence[str], value: str | None) -> float:
    return levels.index(value) if value in levels else math.nan


def _probability(value: float) -> float:
    return value if 0 <= value <= 1 else math.nan


def _integers(values: FloatArray) -> IntArray:
    return np.where(np.isnan(values), -1, values).astype(np.int64)
