"""Do the cleared figures hold on cases that had no part in choosing the operating point?

Each criterion is agreed before the data are seen (FDA, Predetermined Change Control Plans,
December 2024: "acceptance criteria"). They are tested in a fixed order and all must pass, so none
needs an adjusted level (gatekeeping: Westfall and Krishen 2001, J. Stat. Plan. Inference 99,
25-40). Non-inferiority margins are shares, not percentages.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import binom

from monitors.errors import MonitorError, NotAssessable
from monitors.proportions import clopper_pearson, newcombe
from monitors.schema import FloatArray

LARGEST_LOSS = 0.05  # of a sub-group's rate, as estimated
LARGEST_LOSS_BOUND = 0.10  # and as its upper confidence bound allows


@dataclass(frozen=True, slots=True)
class Criterion:
    """One criterion: what was found, the limit it was held to, and whether it passed."""

    name: str
    found: float
    limit: float
    passed: bool


def confirm_rate(
    name: str, found: int, n: int, claim: float, margin: float = 0.03, confidence: float = 0.975
) -> Criterion:
    """The exact lower bound of `found` in `n` must reach `claim` - `margin` (one-sided)."""
    if not (0 < claim < 1 and 0 <= margin < claim):
        raise MonitorError(f"0 <= margin < claim < 1 expected, got {margin!r} and {claim!r}")
    bound = float(clopper_pearson(found, n, 2 * confidence - 1).low)
    return Criterion(name, bound, claim - margin, bound >= claim - margin)


def confirm_subgroups(
    names: tuple[str, ...],
    before: tuple[npt.ArrayLike, npt.ArrayLike],
    after: tuple[npt.ArrayLike, npt.ArrayLike],
    confidence: float = 0.95,
) -> tuple[Criterion, ...]:
    """No sub-group may lose more than `LARGEST_LOSS`, nor possibly `LARGEST_LOSS_BOUND`.

    before, after : (events, n), each (groups,), of independent cases. Newcombe's interval.
    """
    loss = newcombe(*before, *after, confidence)
    value, high = np.atleast_1d(loss.value), np.atleast_1d(loss.high)
    if value.shape != (len(names),):
        raise MonitorError(f"sub-groups: {len(names)} expected, got {value.size}")
    estimates = (
        Criterion(f"{name}: loss", float(v), LARGEST_LOSS, bool(v <= LARGEST_LOSS))
        for name, v in zip(names, value, strict=True)
    )
    bounds = (
        Criterion(
            f"{name}: loss, upper bound", float(h), LARGEST_LOSS_BOUND, bool(h < LARGEST_LOSS_BOUND)
        )
        for name, h in zip(names, high, strict=True)
    )
    return tuple(c for pair in zip(estimates, bounds, strict=True) for c in pair)


def chance_of_acceptance(
    n: npt.ArrayLike, truth: float, claim: float, margin: float = 0.03, confidence: float = 0.975
) -> FloatArray:
    """Chance that `confirm_rate` passes with `n` cases of its class at a rate of `truth`, (...)."""
    size = np.asarray(n, dtype=np.int64)
    if not np.all(size >= 1):
        raise NotAssessable("acceptance: at least 1 case expected")
    needed = binom.isf(1 - confidence, size, claim - margin) + 1
    return np.asarray(np.where(needed > size, 0.0, binom.sf(needed - 1, size, truth)))
