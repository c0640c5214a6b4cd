"""Do contours agree as they did? Dice, volume ratio and surface distance of reader and device.

The device is locked, so its own volumes move only with the patients. Where the agreement of
readers with it falls while their contours grow or shrink against it, the readers' convention
moved; where device volumes and agreement move together and the readers' bias does not, the images
did (statistics.md A13). A Dice is not normal, so its logit is watched; its sums by month and
reader group are all that is needed. Overlap: Dice (1945), Ecology 26, 297-302.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import logit

from monitors.errors import MonitorError
from monitors.means import Baseline, MeanShift, mean_shift
from monitors.proportions import Interval, wilson
from monitors.schema import FloatArray

DICE_FLOOR = 1e-3  # a Dice is kept this far from 0 and 1 before its logit is taken
POOR = 0.7  # Dice below which an overlap is called poor (Zijdenbos et al. 1994, IEEE TMI 13, 716)
MEASURES = ("logit_dice", "log_volume_ratio", "surface_distance")


def measures(
    dice: npt.ArrayLike, volume_ratio: npt.ArrayLike, surface_distance: npt.ArrayLike = 0.0
) -> FloatArray:
    """The `MEASURES` (..., 3) of each pair of contours, reader's against device's.

    volume_ratio : reader / device, > 0; surface_distance : mean signed, mm, positive outside.
    """
    d, r, s = np.broadcast_arrays(
        *(np.asarray(x, dtype=np.float64) for x in (dice, volume_ratio, surface_distance))
    )
    if not np.all((d >= 0) & (d <= 1)):
        raise MonitorError("dice must lie in [0, 1]")
    if not np.all((r > 0) & np.isfinite(r)):
        raise MonitorError("volume_ratio must be positive")
    if not np.all(np.isfinite(s)):
        raise MonitorError("surface_distance must be finite")
    return np.stack([logit(np.clip(d, DICE_FLOOR, 1 - DICE_FLOOR)), np.log(r), s], axis=-1)


def poor_overlap(dice: npt.ArrayLike, below: float = POOR) -> Interval:
    """Share of contours (n,) with a Dice under `below`, with Wilson's interval."""
    d = np.asarray(dice, dtype=np.float64)
    return wilson(float((d < below).sum()), float(d.size))


@dataclass(frozen=True, slots=True)
class ContourShift:
    """Each of `MEASURES` (..., 3) against the reference, and what it says.

    agreement : P value that the Dice did not move. bias : that volume ratio and surface distance
    did not (Bonferroni over both). convention : both moved at `level`: a changed way of drawing.
    """

    shift: MeanShift
    agreement: FloatArray
    bias: FloatArray
    convention: np.ndarray


def contour_shift(
    reference: Baseline, n: npt.ArrayLike, mean: npt.ArrayLike, level: float = 0.01
) -> ContourShift:
    """Contours of the current windows: n (windows, ..., 1), mean of `MEASURES` (windows, ..., 3).

    reference : `means.baseline` of the reference's months or weeks. Windows, not contours, are
    the replicates, so what a month's readers share is not taken for a change.
    """
    found = mean_shift(reference, n, mean)
    if found.p_value.shape[-1:] != (len(MEASURES),):
        raise MonitorError(f"contours: {len(MEASURES)} measures expected on the last axis")
    agreement = found.p_value[..., 0]
    bias = np.minimum(2 * found.p_value[..., 1:].min(axis=-1), 1.0)
    return ContourShift(found, agreement, bias, np.asarray((agreement < level) & (bias < level)))
