"""Whether strata moved, all at once: the same as one by one with matrices, and wider with noise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import chi2

from monitors.case_windows import CaseWindows, case_windows
from monitors.null_model import TOLERANCE
from monitors.reference import Reference
from monitors.unmoved import p_unmoved
from tests.engine.fleets import ORDINARY, PREVALENCE, SCANNER, a_history, a_reference

DRIFTS = (SCANNER, PREVALENCE)


def watched() -> tuple[Reference, CaseWindows, np.ndarray]:
    reference, history = a_reference(*DRIFTS), a_history(*DRIFTS)
    windows = case_windows(history, reference.unit_of(history.strata), 20)
    return reference, windows, np.flatnonzero(windows.start >= ORDINARY.reference_end + 12)


def dense(reference: Reference, windows: CaseWindows, which: np.ndarray) -> float:
    """One stratum, with its covariance as a matrix."""
    null, n, unit = reference.null, windows.n[which], int(windows.unit[which[0]])
    members = np.flatnonzero(reference.joint.projection.any(axis=1))
    share = n / n.sum()
    x = (share @ windows.mean[which] - null.mean[unit])[members]
    within = 1 / n.sum() + 1 / null.cases[unit] + TOLERANCE**2
    between = (share**2).sum() + null.n0[unit] / null.cases[unit]
    covariance = within * null.within + between * null.between
    scale = reference.entry_scale[unit]
    covariance = (covariance * np.outer(scale, scale))[np.ix_(members, members)]
    anywhere = chi2.sf(x @ np.linalg.solve(covariance, x), members.size)
    assert reference.shift is not None
    weight = np.linalg.solve(covariance, reference.shift.direction[members])
    along = chi2.sf((weight @ x) ** 2 / (weight @ reference.shift.direction[members]), 1)
    return float(min(1.0, 2 * min(anywhere, along)))


def test_all_strata_at_once_are_each_stratum_alone() -> None:
    reference, windows, which = watched()

    together = p_unmoved(reference, windows, which)

    alone = [
        dense(reference, windows, which[windows.unit[which] == unit])
        for unit in range(len(reference.units))
    ]
    # The part of `between` that is not positive is set to 0 in the eigenbasis, hence not exact.
    assert together == pytest.approx(alone, rel=1e-6, abs=1e-12)
    assert together.min() < 1e-6
    assert together.max() > 1e-3


def test_a_stratum_without_windows_did_not_move() -> None:
    reference, windows, which = watched()

    p = p_unmoved(reference, windows, which[windows.unit[which] == 1])

    assert p[0] == 1.0
    assert p[1] < 1.0


def test_noise_on_windows_makes_a_shift_less_certain() -> None:
    reference, windows, which = watched()
    width = windows.mean.shape[1]
    noisy = replace(windows, noise=np.full((windows.n.size, width), 0.05))

    without, with_noise = (p_unmoved(reference, w, which) for w in (windows, noisy))

    assert np.all(with_noise >= without)
    assert with_noise.min() > without.min() * 10
