"""The threshold that does after a scanner shift what the cleared one did before. Scores stay.

From fresh labels of the new state: distribution-free, by order statistics. Without labels: the
mixture that the reference classes would give at the present prevalence is matched to the scores
seen now, by a piecewise-linear CDF within bins; a changed prevalence would move the match, so it
must have been excluded or be modelled with its interval. Matching assumes that the shift keeps
the order of cases.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from monitors.errors import MonitorError, NotAssessable
from monitors.prevalence import Classes, Estimate
from monitors.recalibration import bin_for_sensitivity, require_claim
from monitors.schema import FloatArray

DRAWS = 2000
WIDEST_BINS = 2  # an interval over more bins than this does not name a threshold


@dataclass(frozen=True, slots=True)
class Equivalent:
    """An equivalent threshold with its 95 % interval, and the bin at or below it."""

    value: float
    low: float
    high: float
    threshold_bin: int


def from_labels(fresh: Classes, target: float, floor: float) -> int:
    """Flagged-from bin guaranteed to keep sensitivity `target` on fresh labels of the new state.

    A floor above 0 is met by the exact 97.5 % bound on the same labels.
    """
    chosen = int(bin_for_sensitivity(fresh, target))
    if chosen < 1:
        raise NotAssessable(f"no threshold keeps a sensitivity of {target} on the fresh labels")
    if floor > 0:
        require_claim(fresh, chosen, floor)
    return chosen


def aligned(
    classes: Classes,
    current: npt.ArrayLike,
    prevalence: Estimate,
    edges: npt.ArrayLike,
    threshold: float,
    *,
    seed: int = 0,
) -> Equivalent:
    """The threshold on `current` scores (B,) that flags what `threshold` flagged in the reference.

    prevalence : of the present cases, known from elsewhere than these scores (fresh labels, or
    scanners of the same site that did not change); its error and those of all counts are in the
    interval. edges (B + 1,). Refused where the interval spans more than `WIDEST_BINS` bins.
    """
    at, counts = np.asarray(edges, dtype=np.float64), np.asarray(current, dtype=np.float64)
    if counts.shape != classes.positive.shape or at.shape != (counts.size + 1,):
        raise MonitorError("aligned: one count a bin and one edge more expected")
    if not at[0] < threshold < at[-1]:
        raise MonitorError(f"threshold between the outer edges expected, got {threshold!r}")
    rng = np.random.default_rng(seed)
    draws = [
        _matched(*_draw(rng, classes, counts, prevalence), at, threshold) for _ in range(DRAWS)
    ]
    value = _matched(classes.q0, classes.q1, counts, float(prevalence.value), at, threshold)
    low, high = (float(x) for x in np.quantile(draws, [0.025, 0.975]))
    spanned = np.searchsorted(at, [low, high], side="right")
    if spanned[1] - spanned[0] > WIDEST_BINS:
        raise NotAssessable(
            f"equivalent threshold: {low:.3f} to {high:.3f} spans more than {WIDEST_BINS} bins"
        )
    # The edge at or below: rounding down keeps sensitivity. An edge met exactly is itself.
    place = int(np.searchsorted(at, value * (1 + 1e-9), side="right")) - 1
    return Equivalent(value, low, high, place)


def _draw(
    rng: np.random.Generator, classes: Classes, counts: FloatArray, prevalence: Estimate
) -> tuple[FloatArray, FloatArray, FloatArray, float]:
    q0, q1, now = (
        rng.dirichlet(x + 0.5 / x.size) for x in (classes.negative, classes.positive, counts)
    )
    pi = rng.normal(float(prevalence.value), float(prevalence.standard_error))
    return q0, q1, now, float(np.clip(pi, 0.0, 1.0))


def _matched(
    q0: FloatArray,
    q1: FloatArray,
    current: FloatArray,
    prevalence: float,
    edges: FloatArray,
    threshold: float,
) -> float:
    """Where the present CDF reaches the value that the reference mixture has at `threshold`."""
    mixture = (1 - prevalence) * q0 + prevalence * q1
    before, now = (np.concatenate([[0.0], np.cumsum(x / x.sum())]) for x in (mixture, current))
    return float(np.interp(np.interp(threshold, edges, before), now, edges))
