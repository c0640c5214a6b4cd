"""The margin that pays for the reference's own error, priced in false signals.

A stream compares windows with an estimated mean. Its error never averages out: a detector that
ignores it signals in the end, and one that allows for a fixed quantile of it (1.645 standard
errors, say) keeps its promise for a few streams and breaks it for many, since a fleet of a
thousand streams holds errors of three standard errors. So the factor grows with the rarity asked
for, and falls with the length of the reference. It is chosen such that a year after the
reference, averaged over the reference's error, expects half of the false signals promised; the
other half is left to days that are not as the model says. Fitted to simulated years of the
detector itself (references of 10 to 400 windows, one false signal in 10 to 10,240 years;
`tests/statistics/test_margins.py` simulates again); docs/methods/signals.md.
"""

from __future__ import annotations

import numpy as np

from monitors.detectors import DAYS_A_YEAR
from monitors.errors import DesignError
from monitors.schema import FloatArray

LEAST_FACTOR = 0.7  # however long the reference
SHORTEST, LONGEST = 2.0, 400.0  # reference windows, beyond which the fit is not followed


def reference_margin(share: FloatArray, limit: float, weight: FloatArray) -> FloatArray:
    """Largest in-control mean (...) of z that the reference's own error may pretend.

    share (...) : the reference's part of the variance of z, in [0, 1). weight (...) : a
    coordinate's share of its stream, > 0; `limit` in days: alone it signals at limit / weight.
    """
    return np.asarray(margin_factor(share, limit / weight) * np.sqrt(share))


def margin_factor(share: FloatArray, limit: FloatArray | float) -> FloatArray:
    """Standard errors (...) to allow for, when a false signal comes once in `limit` days."""
    if not (np.all((share >= 0) & (share < 1)) and np.all(np.asarray(limit) > 0)):
        raise DesignError("a share in [0, 1) and a positive limit expected")
    ratio = np.clip(share, 1 / (1 + LONGEST), 1 / (1 + SHORTEST))
    windows = np.log((1 - ratio) / ratio / 10)  # of the reference, as a multiple of ten
    years = np.log(limit / DAYS_A_YEAR / 40)
    factor = 1.82 - 0.338 * windows + (0.265 - 0.0527 * windows) * years
    return np.asarray(np.maximum(factor, LEAST_FACTOR))
