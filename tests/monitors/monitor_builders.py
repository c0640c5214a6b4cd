"""Schemas and cases for tests: small, with every kind of part present."""

from __future__ import annotations

import numpy as np

from monitors.schema import (
    TALLIES,
    Categorical,
    FloatArray,
    IntArray,
    Joint,
    Numeric,
    Schema,
    Score,
)
from monitors.summaries import Cases

ANALYSED, FLAGGED = TALLIES.index("analysed"), TALLIES.index("flagged")
THRESHOLD = 0.35


def a_joint(**changes: object) -> Joint:
    rng = np.random.default_rng(7)
    score, acquisition = [(-1.8, 1.3), (0.23, 0.16), (4.0, 4.0)], [(15.0, 5.0), (100.0, 10.0)]
    squares, embedding, fourier = [(1.0, 1.5)] * 2, [(0.0, 1.0)] * 3, [(0.0, 0.7)] * 4
    standard = np.array(score + acquisition + squares + embedding + fourier)
    parts: dict[str, object] = {
        "acquisition": ("noise", "kvp"),
        "embedding": 3,
        "omega": rng.normal(size=(4, 3)),
        "phase": rng.uniform(0, 2 * np.pi, 4),
        "centre": standard[:, 0],
        "scale": standard[:, 1],
    }
    return Joint(**(parts | changes))


def a_schema(**changes: object) -> Schema:
    parts: dict[str, object] = {
        "numeric": (
            Numeric("noise", "HU", np.linspace(0.0, 40.0, 9)),
            Numeric("kvp", "kV", np.linspace(60.0, 140.0, 9)),
        ),
        "categorical": (Categorical("view", ("PA", "AP")), Categorical("sex", ("F", "M", "O"))),
        "scores": (
            Score("finding", np.array([0.0, 0.1, 0.2, THRESHOLD, 0.5, 0.8, 1.0])),
            Score("quality", np.linspace(0.0, 1.0, 7)),
        ),
        "joint": a_joint(),
        "label_bins": (0, 0, 1, 2, 3, 3),
        "sentinels": 5,
    }
    return Schema(**(parts | changes))


def some_cases(n: int, *, seed: int = 0) -> Cases:
    rng = np.random.default_rng(seed)
    score = rng.beta(1.2, 4.0, n)
    return Cases(
        numeric=np.column_stack([rng.normal(15, 5, n), rng.normal(100, 10, n)]),
        categorical=np.column_stack([rng.integers(-1, 3, n), rng.integers(-1, 4, n)]),
        scores=np.column_stack([score, rng.random(n)]),
        embedding=rng.normal(size=(n, 3)),
        outcome=np.where(score >= THRESHOLD, FLAGGED, ANALYSED),
    )


def take(cases: Cases, index: IntArray) -> Cases:
    return Cases(
        cases.numeric[index],
        cases.categorical[index],
        cases.scores[index],
        cases.embedding[index],
        cases.outcome[index],
    )


def one_case(
    *,
    numeric: tuple[float, float] = (15.0, 100.0),
    categorical: tuple[int, int] = (0, 0),
    scores: tuple[float, float] = (0.2, 0.9),
    embedding: FloatArray | None = None,
    outcome: int = ANALYSED,
) -> Cases:
    return Cases(
        np.array([numeric]),
        np.array([categorical]),
        np.array([scores]),
        np.zeros((1, 3)) if embedding is None else embedding[None],
        np.array([outcome]),
    )
