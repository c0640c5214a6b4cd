"""When it changed: profile likelihood of a sustained shift, with an interval.

    l(tau) = 1/2 (sum_{t >= tau} s_t)^2 / sum_{t >= tau} i_t

with s_t the score and i_t the information of reading t for a shift of given direction. The
interval holds every tau with 2 (l_max - l(tau)) <= c: at the true date that statistic is the
maximum of two independent exponential variables, c = -2 log(1 - sqrt(confidence))
(Siegmund 1986, Annals of Statistics 14; statistics.md C3, measured coverage 222 of 232).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from monitors.errors import DesignError, NotAssessable
from monitors.schema import FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class ChangePoint:
    """First day of the new state, its interval (both days inclusive), and 2 l_max."""

    day: int
    low: int
    high: int
    statistic: float


def critical(confidence: float) -> float:
    """5.94, 7.35 and 10.59 for 90, 95 and 99 %."""
    if not 0 < confidence < 1:
        raise DesignError(f"confidence: between 0 and 1 expected, got {confidence}")
    return float(-2 * np.log(1 - np.sqrt(confidence)))


def change_point(
    start: IntArray,
    end: IntArray,
    value: FloatArray,
    variance: FloatArray,
    confidence: float = 0.95,
) -> ChangePoint:
    """Change date of readings with centred `value` (W, d) and `variance` (W, d), all (W,) days.

    The direction of the shift is estimated first, over all d coordinates; the date is then
    profiled along it, so that coordinates that did not move add no noise.
    """
    if not start.size:
        raise NotAssessable("change date: at least 1 reading expected, got none")
    days = np.unique(start)
    score = _tail_sums(start, days, value / variance)
    information = _tail_sums(start, days, 1 / variance)
    pilot = int((score**2 / information).sum(axis=1).argmax())
    direction = score[pilot] / information[pilot]
    along = _tail_sums(start, days, (value / variance * direction).sum(axis=1))
    known = _tail_sums(start, days, (direction**2 / variance).sum(axis=1))
    twice = np.where(along > 0, along**2 / np.maximum(known, 1e-300), 0.0)
    best = int(twice.argmax())
    inside = np.flatnonzero(twice >= twice[best] - critical(confidence))
    return ChangePoint(
        day=int(days[best]),
        low=_earliest(int(days[inside[0]]), end),
        high=int(end[start == days[inside[-1]]].max()) - 1,
        statistic=float(twice[best]),
    )


def _earliest(day: int, end: IntArray) -> int:
    """The change may lie within the reading before the first shifted one: after its middle."""
    before = end[end <= day]
    return int(before.max()) - 1 if before.size else day


def _tail_sums(start: IntArray, days: IntArray, terms: FloatArray) -> FloatArray:
    """Sum of `terms` (W, ...) over readings that start on or after each of `days`."""
    sums = np.zeros((days.size, *terms.shape[1:]))
    np.add.at(sums, np.searchsorted(days, start), terms)
    return np.asarray(sums[::-1].cumsum(axis=0)[::-1])
