"""What an operating point will do at a prevalence that was estimated from the same scores.

The prevalence is estimated with the reference's class distributions, and so are sensitivity and
false-positive rate; their errors go together. Drawn apart, as in `recalibration.consequence`,
intervals of PPV cover about 92 of 100 instead of 95; here all three are drawn together:
Dirichlet posteriors of both classes and of the current mixture, and the prevalence of each draw.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from monitors.errors import MonitorError
from monitors.prevalence import Classes, most_likely
from monitors.prevalence import consequences as bayes
from monitors.proportions import Interval
from monitors.recalibration import PER_MILLE, Consequence
from monitors.schema import FloatArray

DRAWS = 2000
INSIDE = 1e-9  # prevalences are kept this far from 0 and 1, where PPV and NPV have no value


@dataclass(frozen=True)
class Expectation:
    """Joint draws of both classes and of the prevalence, for every threshold of one device.

    classes : labelled reference (B,); current (B,): unlabelled scores since the change, of what
    is affected. design_effect : variance of the current counts over that of independent cases.
    """

    classes: Classes
    current: npt.ArrayLike
    design_effect: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        counts = np.asarray(self.current, dtype=np.float64)
        if counts.shape != self.classes.positive.shape or counts.ndim != 1:
            raise MonitorError(
                f"current: {self.classes.positive.shape} counts expected, got {counts.shape}"
            )
        if not self.design_effect >= 1:
            raise MonitorError(f"design_effect of at least 1 expected, got {self.design_effect!r}")

    @cached_property
    def _drawn(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """P(bin | negative), P(bin | positive), each (D, B), and prevalence (D,)."""
        rng = np.random.default_rng(self.seed)
        current = np.asarray(self.current, dtype=np.float64) / self.design_effect
        q0, q1, mix = (
            _posterior(rng, x) for x in (self.classes.negative, self.classes.positive, current)
        )
        return q0, q1, np.clip(most_likely(q0, q1, mix), INSIDE, 1 - INSIDE)

    def at(self, threshold_bin: int, *, confidence: float = 0.95) -> Consequence:
        """Consequences of flagging from `threshold_bin` up, each with its interval."""
        bins = len(np.asarray(self.current))
        if not 0 < threshold_bin < bins:
            raise MonitorError(f"threshold_bin: 1 to {bins - 1} expected, got {threshold_bin}")
        q0, q1, pi = self._drawn
        found, false = (q[:, threshold_bin:].sum(axis=1) for q in (q1, q0))
        drawn = _figures(pi, found, false)
        point = _figures(self._value, *self._shares(threshold_bin))
        tails = [(1 - confidence) / 2, (1 + confidence) / 2]
        return Consequence(
            *(
                Interval(np.asarray(p), *np.quantile(d, tails))
                for p, d in zip(point, drawn, strict=True)
            )
        )

    def _shares(self, threshold_bin: int) -> tuple[FloatArray, FloatArray]:
        shares = ((c + 0.5 / c.size) for c in (self.classes.positive, self.classes.negative))
        found, false = (x[threshold_bin:].sum() / x.sum() for x in shares)
        return np.asarray(found), np.asarray(false)

    @cached_property
    def _value(self) -> FloatArray:
        pi = most_likely(self.classes.q0, self.classes.q1, self.current)
        return np.clip(pi, INSIDE, 1 - INSIDE)


def _posterior(rng: np.random.Generator, counts: FloatArray) -> FloatArray:
    """Draws (D, B) of bin probabilities; half a case is spread over the bins."""
    drawn = rng.dirichlet(counts + 0.5 / counts.size, size=DRAWS) + INSIDE  # no bin is impossible
    return np.asarray(drawn / drawn.sum(axis=1, keepdims=True))


def _figures(pi: FloatArray, found: FloatArray, false: FloatArray) -> tuple[FloatArray, ...]:
    """In the order of `Consequence`."""
    c = bayes(pi, found, 1 - false)
    return found, 1 - false, c.ppv, c.npv, PER_MILLE * c.alert_rate, PER_MILLE * c.missed_rate
