"""Did labels move further than the prevalence? Readers err, and erring readers hide a part of it.

In score bin g a reader calls a share a + c p_g positive, where p_g is the share that is: a is one
less the reader's specificity, c sensitivity plus specificity less one (Rogan and Gladen 1978, Am.
J. Epidemiol. 107, 71-76). Labels from before the change tell a and c; labels since then tell how
far p_g moved on the logit scale, to be held against the shift that the scores show.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit

from monitors.annotation import Difference, double_difference
from monitors.errors import NotAssessable
from monitors.prevalence import Estimate
from monitors.schema import FloatArray

ROUNDS = 60
LEAST_INFORMED = 0.1  # of c: labels that hardly follow the scores tell nothing
EDGE = 1e-4  # rates are kept this far from 0 and 1
Counts = tuple[npt.ArrayLike, npt.ArrayLike]


@dataclass(frozen=True, slots=True)
class Reading:
    """False-call rate a, Youden's c, and the labels' shift on the logit scale with its error."""

    false_calls: float
    youden: float
    shift: float
    shift_error: float


def read_shift(
    before: Counts, since: Counts, log_ratio: npt.ArrayLike, prevalence: float
) -> Reading:
    """Maximum likelihood of (a, c, shift) from (labelled, positive) counts (G,) of both periods.

    log_ratio : (G,) log likelihood ratio of each bin, positive over negative; prevalence : before.
    """
    (n0, y0), (n1, y1) = (
        [np.asarray(x, dtype=np.float64) for x in pair] for pair in (before, since)
    )
    at = np.asarray(log_ratio, dtype=np.float64) + logit(prevalence)
    n, y = np.concatenate([n0, n1]), np.concatenate([y0, y1])
    moves = np.concatenate([np.zeros_like(at), np.ones_like(at)])
    theta = np.array([0.02, 0.95, 0.0])
    for _ in range(ROUNDS):
        rate, slopes = _rates(theta, np.concatenate([at, at]), moves)
        weight = n / (rate * (1 - rate))
        information = (slopes * weight) @ slopes.T
        score = (slopes / (rate * (1 - rate))) @ (y - n * rate)
        step = np.linalg.lstsq(information, score, rcond=None)[0]
        theta = _inside(theta + step)
        if np.abs(step).max() < 1e-9:
            break
    if theta[1] < LEAST_INFORMED or not np.linalg.matrix_rank(information) == 3:
        raise NotAssessable("labels: they do not follow the scores")
    error = float(np.sqrt(np.linalg.inv(information)[2, 2]))
    a, c, shift = theta.tolist()
    return Reading(a, c, shift, error)


def _rates(theta: FloatArray, at: FloatArray, moves: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Rates (2G,) and their derivatives (3, 2G)."""
    a, c, shift = theta
    p = expit(at + shift * moves)
    rate = np.clip(a + c * p, EDGE, 1 - EDGE)
    return rate, np.stack([np.ones_like(p), p, c * p * (1 - p) * moves])


def _inside(theta: FloatArray) -> FloatArray:
    a = np.clip(theta[0], 0.0, 0.5)
    return np.array([a, np.clip(theta[1], 0.01, 1 - a), np.clip(theta[2], -6.0, 6.0)])


def beyond_shift(
    before: Counts, since: Counts, log_ratio: npt.ArrayLike, prevalence: float, now: Estimate
) -> Difference:
    """By how much labels moved beyond the shift of prevalence from `prevalence` to `now`."""
    found, pi = read_shift(before, since, log_ratio, prevalence), float(now.value)
    error = float(now.standard_error) / (pi * (1 - pi))
    return double_difference(found.shift, found.shift_error, logit(pi) - logit(prevalence), error)
