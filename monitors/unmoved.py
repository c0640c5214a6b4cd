"""Whether a stratum's cases moved at all: one p-value of every watched stratum at once."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array
from scipy.special import chdtrc

from monitors.case_windows import CaseWindows
from monitors.null_model import TOLERANCE, correlated, noise_of_reference
from monitors.reference import Reference
from monitors.schema import FloatArray, IntArray


def p_unmoved(reference: Reference, windows: CaseWindows, which: IntArray) -> FloatArray:
    """p-value (U,) of no shift over each stratum's windows among `which`; 1 where it has none.

    In any direction, or along a label shift, where a weak one shows. In the joint eigenbasis the
    covariance of every mean shift is diagonal, whatever the number of cases and windows behind it.
    """
    null, basis = reference.null, reference.joint
    unit, n = windows.unit[which], windows.n[which].astype(np.float64)
    cases = np.bincount(unit, n, len(reference.units))
    share = n / cases[unit]
    sums = csr_array((share, (unit, np.arange(n.size))), (cases.size, n.size))
    own = 1 / reference.entry_scale
    x = (sums @ windows.mean[which] - null.mean) * own @ basis.projection
    within = 1 / np.maximum(cases, 1) + 1 / null.cases + TOLERANCE**2
    between = np.bincount(unit, share**2, cases.size) + null.n0 / null.cases
    variance = within[:, None] + between[:, None] * basis.between
    variance = variance + _noise(reference, windows.noise[which], unit, share)
    p = chdtrc(basis.size, (x**2 / variance).sum(axis=1))
    if reference.shift is not None:
        direction = reference.shift.direction * own @ basis.projection
        information = (direction**2 / variance).sum(axis=1)
        along = chdtrc(1, (direction * x / variance).sum(axis=1) ** 2 / information)
        p = np.minimum(1.0, 2 * np.minimum(p, along))
    return np.where(cases > 0, p, 1.0)


def _noise(
    reference: Reference, noise: FloatArray, unit: IntArray, share: FloatArray
) -> FloatArray | float:
    """Variance (U, K) of the coordinates by edges' noise on windows (W, p) and references, at
    least what it is in every direction."""
    units = len(reference.units)
    squares = csr_array((share**2, (unit, np.arange(unit.size))), (units, unit.size))
    found = squares @ noise + noise_of_reference(reference.null, np.arange(units))
    if not found.any():
        return 0.0
    found = found / reference.entry_scale**2
    return np.asarray(found @ reference.joint.projection**2 + correlated(reference.joint, found))
