"""A CUSUM of outcomes that expects what each case's score says: the risk-adjusted CUSUM.

Each outcome y of a case with expected probability p adds log(R^y / (1 - p + p R)) for an odds ratio
R: a changing patient mix moves p, not the sum. Steiner, Cook, Farewell and Treasure (2000),
Biostatistics 1, 441-452. The expected probabilities come from the reference, so with few labels
in it their error shortens run lengths (Jones and Steiner 2012); the detectors of
`monitors.detectors` pay for that, this chart is for display and audit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from monitors.errors import DesignError
from monitors.schema import FloatArray

CELLS = 400  # of the chain on [0, h): run lengths agree to 0.5% with twice as many


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskAdjustedDesign:
    """odds_ratio : of an event, to be detected; above 1 too many, below 1 too few. h : interval."""

    odds_ratio: float = 2.0
    h: float = 4.5

    def __post_init__(self) -> None:
        if not (self.odds_ratio > 0 and self.odds_ratio != 1):
            raise DesignError(f"odds_ratio must be positive and not 1, got {self.odds_ratio!r}")
        if not 0 < self.h < np.inf:
            raise DesignError(f"h must be positive, got {self.h!r}")


def weights(design: RiskAdjustedDesign, risk: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """What a case of expected probability `risk` (...) adds without and with an event."""
    p = np.asarray(risk, dtype=np.float64)
    if not np.all((p > 0) & (p < 1)):
        raise DesignError("risk must lie in (0, 1)")
    without = -np.log1p(p * (design.odds_ratio - 1))
    return np.asarray(without), np.asarray(without + np.log(design.odds_ratio))


def risk_adjusted_trace(
    design: RiskAdjustedDesign,
    outcomes: npt.ArrayLike,
    risk: npt.ArrayLike,
    start: npt.ArrayLike = 0.0,
) -> FloatArray:
    """Path (n, streams...) of 0/1 `outcomes` in time order with their `risk`; signals at >= h."""
    y, p = np.broadcast_arrays(np.asarray(outcomes), np.asarray(risk, dtype=np.float64))
    if y.ndim < 1 or not np.all((y == 0) | (y == 1)):
        raise DesignError("outcomes must be 0 or 1 along a time axis")
    without, event = weights(design, p)
    step = np.where(y == 1, event, without)
    path = np.empty(step.shape)
    value = np.broadcast_to(np.asarray(start, dtype=np.float64), step.shape[1:])
    for i, gain in enumerate(step):
        value = np.maximum(0.0, value + gain)
        path[i] = value
    return path


def risk_adjusted_run_length(
    design: RiskAdjustedDesign,
    risk: npt.ArrayLike,
    share: npt.ArrayLike | None = None,
    odds_ratio: float = 1.0,
) -> float:
    """Expected cases until a signal for a mix of risks (g,) with its `share` (g,), all alike.

    odds_ratio : of events in truth; 1 gives the interval between false signals. By a Markov
    chain on `CELLS` cells (Brook and Evans 1972), each sum split between its two nearest so that
    the chain has its mean.
    """
    p = np.atleast_1d(np.asarray(risk, dtype=np.float64))
    part = np.full(p.shape, 1 / p.size) if share is None else np.asarray(share, dtype=np.float64)
    if part.shape != p.shape or not np.all(part >= 0) or not part.sum() > 0:
        raise DesignError(f"share: {p.shape} values of at least 0 expected, got {part.shape}")
    without, event = weights(design, p)
    odds = odds_ratio * p / (1 - p)
    real, part = odds / (1 + odds), part / part.sum()
    moves = _moves(
        design.h, np.concatenate([without, event]), np.concatenate([part * (1 - real), part * real])
    )
    return float(np.linalg.solve(np.eye(CELLS) - moves, np.ones(CELLS))[0])


def _moves(h: float, gain: FloatArray, chance: FloatArray) -> FloatArray:
    """Chances (CELLS, CELLS) of moving between sums 0, h/CELLS ...; what reaches h is gone."""
    to = np.maximum(np.arange(CELLS)[:, None] + gain * (CELLS / h), 0.0)
    below = np.floor(to).astype(np.int64)
    moves = np.zeros((CELLS, CELLS + 2))
    for cell, weight in ((below, below + 1 - to), (below + 1, to - below)):
        np.add.at(moves, (np.arange(CELLS)[:, None], np.minimum(cell, CELLS)), weight * chance)
    return moves[:, :CELLS]
