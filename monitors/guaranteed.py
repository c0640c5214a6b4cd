"""Chart limits that hold although centre and sigma were estimated.

A limit that is right for known parameters is wrong for estimated ones, and by luck of the
reference often much too narrow. The limits here keep the interval between false signals with a
stated probability over reference periods: Gandy and Kvaloy (2013), Scand. J. Stat. 40, 647-668.
Normal readings. For a reading x, (x - estimated centre) / estimated sigma is a chart whose limits
are `ratio` times as wide in true sigma, seen `error` off its centre.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy.optimize import brentq

from monitors.charts import CusumDesign, EwmaDesign, cusum_run_length, ewma_run_length
from monitors.errors import DesignError
from monitors.schema import FloatArray

DRAWS = 200

RunLength = Callable[[float, float, float], float]  # limit, error, ratio


def guaranteed_cusum_interval(
    run_length: float,
    windows: int,
    *,
    probability: float = 0.9,
    k: float = 0.5,
    draws: int = DRAWS,
    seed: int = 0,
) -> float:
    """The h whose interval between false signals is `run_length` or more with `probability`.

    windows : readings from which centre and sigma are estimated.
    """

    def actual(h: float, error: float, ratio: float) -> float:
        return cusum_run_length(CusumDesign(k=k * ratio, h=h * ratio), error)

    return _limit(actual, run_length, windows, probability, draws, seed)


def guaranteed_ewma_width(
    run_length: float,
    windows: int,
    *,
    probability: float = 0.9,
    weight: float = 0.1,
    draws: int = DRAWS,
    seed: int = 0,
) -> float:
    """The EWMA width whose interval between false signals is `run_length` or more, likewise."""

    def actual(width: float, error: float, ratio: float) -> float:
        return ewma_run_length(EwmaDesign(weight=weight, width=width * ratio), error)

    return _limit(actual, run_length, windows, probability, draws, seed)


def reference_draws(windows: int, draws: int, seed: int = 0) -> tuple[FloatArray, FloatArray]:
    """Error of the centre in sigma and ratio of estimated to true sigma, (draws,) each."""
    if windows < 2:
        raise DesignError(f"at least 2 windows needed to estimate sigma, got {windows}")
    rng = np.random.default_rng(seed)
    error = rng.standard_normal(draws) / np.sqrt(windows)
    return error, np.sqrt(rng.chisquare(windows - 1, draws) / (windows - 1))


def _limit(
    actual: RunLength, run_length: float, windows: int, probability: float, draws: int, seed: int
) -> float:
    """The limit at which the (1 - probability) quantile of run lengths is `run_length`."""
    if not 0 < probability < 1:
        raise DesignError(f"probability must lie in (0, 1), got {probability!r}")
    error, ratio = reference_draws(windows, draws, seed)
    # Only the unlucky half can hold a low quantile; ranking them once at a middling limit and
    # keeping the worst `2 (1 - probability)` share saves most of the work and changes nothing.
    luck = np.array([actual(2.0, e, r) for e, r in zip(error, ratio, strict=True)])
    worst = np.argsort(luck)[: max(math.ceil(2 * (1 - probability) * draws), 2)]
    rank = max(math.ceil((1 - probability) * draws) - 1, 0)

    def short(limit: float) -> float:
        lengths = np.sort([actual(limit, error[i], ratio[i]) for i in worst])
        return math.log(lengths[rank] / run_length)

    high = 2.0
    while short(high) < 0:
        high *= 1.5
        if high > 100:
            raise DesignError(f"no limit gives a run length of {run_length!r}")
    return float(brentq(short, 1e-3, high, xtol=1e-4))
