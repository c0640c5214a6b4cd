"""Many p values or e values at once: for tables inside a report, never for raising a signal.

Signals have a budget of their own (false signals per fleet-year). These procedures rank the
characteristics of one signal, or test one-off hypotheses such as acceptance at a new site.
Benjamini and Hochberg (1995), JRSS B 57, 289-300; Benjamini and Yekutieli (2001), Ann. Stat.
29, 1165-1188; Wang and Ramdas (2022), JRSS B 84, 822-852; LORD++: Ramdas, Yang, Wainwright
and Jordan (2017), NIPS 30. The hypotheses of one family are the last axis.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from monitors.errors import MonitorError
from monitors.schema import BoolArray, FloatArray

SPENDING = 0.07720838  # of `lord_plus_plus`: makes the spending sequence add to 1


def _p_values(p: npt.ArrayLike) -> FloatArray:
    values = np.asarray(p, dtype=np.float64)
    if values.ndim < 1 or not np.all((values >= 0) & (values <= 1)):
        raise MonitorError("p values must lie in [0, 1] and have an axis of hypotheses")
    return values


def _level(alpha: float) -> float:
    if not 0 < alpha < 1:
        raise MonitorError(f"alpha must lie in (0, 1), got {alpha!r}")
    return alpha


def benjamini_hochberg(p: npt.ArrayLike) -> FloatArray:
    """Adjusted p values (..., H): valid for independent or positively dependent tests."""
    values = _p_values(p)
    count = values.shape[-1]
    order = np.argsort(values, axis=-1)
    scaled = np.take_along_axis(values, order, axis=-1) * count / np.arange(1, count + 1)
    lowest = np.minimum.accumulate(scaled[..., ::-1], axis=-1)[..., ::-1]
    adjusted = np.empty_like(values)
    np.put_along_axis(adjusted, order, np.minimum(lowest, 1.0), axis=-1)
    return adjusted


def benjamini_yekutieli(p: npt.ArrayLike) -> FloatArray:
    """Adjusted p values (..., H): valid for any dependence, at a factor of about log H."""
    adjusted = benjamini_hochberg(p)
    price = (1 / np.arange(1, adjusted.shape[-1] + 1)).sum()
    return np.asarray(np.minimum(adjusted * price, 1.0))


def e_benjamini_hochberg(e: npt.ArrayLike, alpha: float) -> BoolArray:
    """Which of the e values (..., H) to reject: valid for any dependence."""
    values = np.asarray(e, dtype=np.float64)
    if values.ndim < 1 or not np.all(values >= 0):
        raise MonitorError("e values must not be negative and have an axis of hypotheses")
    count = values.shape[-1]
    falling = -np.sort(-values, axis=-1)
    rank = np.arange(1, count + 1)
    passes = falling * rank * _level(alpha) >= count
    last = np.where(passes, rank, 0).max(axis=-1, keepdims=True)
    least = np.take_along_axis(falling, np.maximum(last - 1, 0), axis=-1)
    return np.asarray((last > 0) & (values >= least))


def lord_plus_plus(
    p: npt.ArrayLike, alpha: float = 0.05, initial: float | None = None
) -> tuple[FloatArray, BoolArray]:
    """Levels and rejections (H,) of p values (H,) that arrive one by one (independent tests).

    initial : wealth at the start, alpha / 10 unless given. It starves: without discoveries
    the level of test 365,000 is about 4e-10, so it is not for daily streams.
    """
    values = _p_values(p)
    if values.ndim != 1:
        raise MonitorError(f"online testing: one sequence expected, got shape {values.shape}")
    w0 = _level(alpha) / 10 if initial is None else initial
    if not 0 < w0 < alpha:
        raise MonitorError(f"initial wealth must lie in (0, alpha), got {w0!r}")
    share = _spending(values.size)
    levels = np.empty(values.size)
    discoveries: list[int] = []
    for i, value in enumerate(values):
        earned = alpha * share[i - 1 - np.array(discoveries, dtype=np.int64)]
        earned[:1] *= 1 - w0 / alpha  # the first discovery pays back the initial wealth
        levels[i] = w0 * share[i] + earned.sum()
        if value <= levels[i]:
            discoveries.append(i)
    return levels, values <= levels


def _spending(count: int) -> FloatArray:
    j = np.arange(1, count + 1, dtype=np.float64)
    return np.asarray(SPENDING * np.log(np.maximum(j, 2)) / (j * np.exp(np.sqrt(np.log(j)))))
