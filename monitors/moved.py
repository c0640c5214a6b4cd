"""How far the images moved, and how likely that is under each cause that can move them.

The images' side of attribution: acquisition characteristics, score and embedding as one vector of
mean shifts. Free movements have normal priors and are integrated out (statistics.md C1).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh
from scipy.special import expit, logit

from monitors.detectors import log_sum
from monitors.schema import FloatArray, IntArray

SPARSE_SD = 1.0  # prior spread of one characteristic's shift, standard deviations of a case
DENSE_SD = 0.5  # of all characteristics together, per whitened coordinate
FOLLOW_SD = 0.3  # of score and embedding
DIRECTION_ERROR = 0.2  # relative error of the label-shift direction from one site to another
SHIFTS = np.linspace(-2.5, 2.5, 51)  # log odds of prevalence
SHIFT_SD = 1.0
UNKNOWN_DIRECTION = -20.0  # log evidence of prevalence where no label-shift direction is known


@dataclass(frozen=True, slots=True, eq=False)
class Moved:
    """Mean shift x (d,) of phi in standard deviations within a day, and its covariance (d, d).

    within : (d, d) correlation within a day. acquisition : (a,) entries; the rest is score and
    embedding. direction : (d,) of a label shift, or None, with the variance of its entries;
    direction_from_labels says that its classes are labels, not the cohort's truth.
    """

    x: FloatArray
    covariance: FloatArray
    within: FloatArray
    acquisition: IntArray
    direction: FloatArray | None
    direction_variance: float
    direction_from_labels: bool = True


def cause_densities(moved: Moved | None, rate: float) -> dict[str, float]:
    """Log marginal likelihood of the mean shifts under each image-side hypothesis."""
    if moved is None:
        return dict.fromkeys(("null", "scanner", "population", "performance"), 0.0)
    kept, along, follow = moved.covariance, _along(moved, rate), _follow(moved)
    log_det, square = _scanner_terms(moved, moved.x[:, None])
    scanner = np.log(_mixture(moved)) - 0.5 * (log_det + square[..., 0, 0])
    performance = [_log_normal(moved, kept + along + more) for more in (0.0, follow)]
    return {
        "null": _log_normal(moved, kept),
        "scanner": float(log_sum(scanner)),
        "population": _log_normal(moved, kept + follow + along),
        "performance": float(log_sum(np.array(performance)) - np.log(2)),
    }


def _log_normal(moved: Moved, covariance: FloatArray) -> float:
    """Log density of the shifts about 0, less a constant."""
    square = moved.x @ np.linalg.solve(covariance, moved.x)
    return float(-0.5 * (np.linalg.slogdet(covariance)[1] + square))


def _mixture(moved: Moved) -> FloatArray:
    """Half on one characteristic (each equally), half on all; evenly over whether score follows.

    (kinds, 2), as `_scanner_terms`.
    """
    single = moved.acquisition.size
    weight = np.full(single + 1, 0.5 / max(single, 1))
    weight[-1] = 0.5 if single else 1.0
    return np.repeat(weight[:, None], 2, axis=1) / 2


def _scanner_terms(moved: Moved, vectors: FloatArray) -> tuple[FloatArray, FloatArray]:
    """log det S (kinds, 2) and V' S^-1 V (kinds, 2, m, m) of a scanner's covariances S, V (d, m).

    kinds : each acquisition characteristic alone, then all together; without and with what
    follows. One characteristic alone is an update of rank 1 (Sherman and Morrison 1950, Annals of
    Mathematical Statistics 21), so that only four matrices are ever inverted.
    """
    terms = []
    for follow in (np.zeros_like(moved.covariance), _follow(moved)):
        base = moved.covariance + follow
        log_det, inner = _singles(moved, base, vectors)
        every = base + _dense(moved)
        all_det = np.append(log_det, np.linalg.slogdet(every)[1])
        product = vectors.T @ np.linalg.solve(every, vectors)
        terms.append((all_det, np.concatenate([inner, product[None]])))
    (det0, in0), (det1, in1) = terms
    return np.stack([det0, det1], axis=1), np.stack([in0, in1], axis=1)


def _singles(moved: Moved, base: FloatArray, vectors: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The same of `base` with one characteristic free, (a,) and (a, m, m)."""
    inverse, at = np.linalg.inv(base), moved.acquisition
    solved = inverse @ vectors
    gain = 1 + SPARSE_SD**2 * np.diag(inverse)[at]
    lost = SPARSE_SD**2 / gain[:, None, None] * solved[at, :, None] * solved[at, None, :]
    return np.linalg.slogdet(base)[1] + np.log(gain), vectors.T @ solved - lost


def _single(moved: Moved) -> FloatArray:
    """Prior covariance of every acquisition characteristic on its own."""
    free = np.zeros_like(moved.covariance)
    free[moved.acquisition, moved.acquisition] = SPARSE_SD**2
    return free


def _dense(moved: Moved) -> FloatArray:
    """Prior covariance of all acquisition characteristics together."""
    return _spread(moved, moved.acquisition, DENSE_SD)


def _follow(moved: Moved) -> FloatArray:
    """Prior covariance of score and embedding where they follow."""
    rest = np.setdiff1d(np.arange(moved.x.size), moved.acquisition)
    return _spread(moved, rest, FOLLOW_SD)


def _spread(moved: Moved, entries: IntArray, sd: float) -> FloatArray:
    inside = np.ix_(entries, entries)
    free = np.zeros_like(moved.covariance)
    free[inside] = sd**2 * moved.within[inside]
    return free


def _along(moved: Moved, rate: float) -> FloatArray:
    """Prior covariance of a movement along the label-shift direction."""
    if moved.direction is None:
        return np.zeros_like(moved.covariance)
    spread = SHIFT_SD * rate * (1 - rate)
    return np.asarray(spread**2 * np.outer(moved.direction, moved.direction))


def prevalence_densities(moved: Moved | None, rate: float, gain: float) -> FloatArray:
    """Log density of the mean shifts for each of `SHIFTS`; `gain` lengthens the direction."""
    if moved is None:
        return np.zeros(SHIFTS.size)
    if moved.direction is None:
        return np.full(SHIFTS.size, UNKNOWN_DIRECTION + _log_normal(moved, moved.covariance))
    rho = gain * (expit(logit(rate) + SHIFTS) - rate)
    # In the common eigenbasis every covariance of the family is diagonal.
    values, vectors = eigh(moved.covariance, moved.within)
    x, along = vectors.T @ moved.x, vectors.T @ moved.direction
    variance = values + (rho**2 * _inflation(moved))[:, None]
    apart = x - rho[:, None] * along
    log_det = np.log(variance).sum(axis=1) + np.linalg.slogdet(moved.within)[1]
    return np.asarray(-0.5 * (log_det + (apart**2 / variance).sum(axis=1)))


def scanner_densities(moved: Moved | None, rate: float) -> FloatArray:
    """Log density of the mean shifts for each of `SHIFTS` when a scanner moved them too."""
    if moved is None:
        return np.zeros(SHIFTS.size)
    along = np.zeros(moved.x.size) if moved.direction is None else moved.direction
    log_det, inner = _scanner_terms(moved, np.column_stack([moved.x, along]))
    rho = (expit(logit(rate) + SHIFTS) - rate)[:, None, None]
    square = inner[..., 0, 0] - 2 * rho * inner[..., 0, 1] + rho**2 * inner[..., 1, 1]
    return np.asarray(log_sum(np.log(_mixture(moved)) - 0.5 * (log_det + square), axis=(1, 2)))


def _inflation(moved: Moved) -> float:
    """Variance of the label-shift direction per unit of `within`: estimation and model error."""
    if moved.direction is None:
        return 0.0
    length = float(moved.direction @ np.linalg.solve(moved.within, moved.direction))
    return moved.direction_variance + DIRECTION_ERROR**2 * length / moved.x.size


def best_fit(moved: Moved, rate: float, causes: tuple[str, ...]) -> tuple[FloatArray, FloatArray]:
    """Mean and covariance of the set's most likely component."""
    zero = np.zeros(moved.x.size)
    if "prevalence" in causes and "scanner" not in causes and moved.direction is not None:
        best = float(SHIFTS[int(prevalence_densities(moved, rate, 1.0).argmax())])
        rho = float(expit(logit(rate) + best) - rate)
        spread = moved.covariance + rho**2 * _inflation(moved) * moved.within
        return rho * moved.direction, spread
    free = np.zeros_like(moved.covariance)
    if "scanner" in causes:
        free = _largest(moved) ** 2 * (_single(moved) + _dense(moved) + _follow(moved))
    if {"population", "performance", "prevalence"}.intersection(causes):
        free = free + _follow(moved) + _along(moved, rate)
    return zero, moved.covariance + free


def _largest(moved: Moved) -> float:
    """Largest shift of an acquisition characteristic in prior spreads, at least 1.

    The priors weigh causes against each other. What a scanner can explain has no upper bound: the
    more its images changed, the further score and embedding may follow.
    """
    return max(1.0, float(np.abs(moved.x[moved.acquisition]).max(initial=0.0)) / SPARSE_SD)
