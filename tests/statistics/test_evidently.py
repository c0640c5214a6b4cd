"""Bins against rows: what Evidently's tests say of the very cases that our histograms count."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from monitors.schema import FloatArray
from monitors.two_sample import Pair, jensen_shannon, pair, psi, wasserstein

CASES = 20_000
SHIFTS = ((0.0, 1.0), (0.1, 1.0), (0.25, 1.0), (0.5, 1.2), (0.0, 0.8))
Test = Callable[[FloatArray, FloatArray], float]


@pytest.fixture(scope="module")
def evidently() -> Callable[[str], Test]:
    """Evidently's drift score of one numeric column, by the name of its test."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its imports are deprecated by its own dependencies
        from evidently.legacy.calculations.stattests import get_stattest
        from evidently.legacy.core import ColumnType

    def named(name: str) -> Test:
        def score(reference: FloatArray, current: FloatArray) -> float:
            columns = pd.Series(reference), pd.Series(current)
            test: Any = get_stattest(*columns, ColumnType.Numerical, name)
            return float(test(*columns, ColumnType.Numerical, 0.1).drift_score)

        return score

    return named


def rows(shift: float, spread: float) -> tuple[FloatArray, FloatArray]:
    """Two samples of a skewed characteristic, the second moved and stretched in its logarithm."""
    rng = np.random.default_rng(round(100 * (shift + spread)))
    z = rng.standard_normal((2, CASES))
    return np.exp(0.3 * z[0]), np.exp(0.3 * (shift + spread * z[1]))


def counted(reference: FloatArray, current: FloatArray, edges: FloatArray) -> Pair:
    return pair(np.histogram(reference, edges)[0], np.histogram(current, edges)[0])


def common_edges(reference: FloatArray, current: FloatArray, bins: int | str) -> FloatArray:
    return np.histogram_bin_edges(np.concatenate([reference, current]), bins)


@pytest.mark.parametrize(("shift", "spread"), SHIFTS)
def test_the_population_stability_index_of_its_own_bins(
    evidently: Callable[[str], Test], shift: float, spread: float
) -> None:
    # In an empty bin its index is that of the 0.0001 it puts there: the tails join the outer bins.
    reference, current = rows(shift, spread)
    low, high = np.quantile(np.concatenate([reference, current]), [0.01, 0.99])
    samples = np.clip(reference, low, high), np.clip(current, low, high)

    ours = psi(counted(*samples, common_edges(*samples, "sturges"))).value

    assert float(ours) == pytest.approx(evidently("psi")(*samples), abs=0.005)


@pytest.mark.parametrize(("shift", "spread"), SHIFTS)
def test_the_wasserstein_distance_from_128_bins(
    evidently: Callable[[str], Test], shift: float, spread: float
) -> None:
    samples = rows(shift, spread)
    edges = common_edges(*samples, 128)

    ours = wasserstein(counted(*samples, edges), edges)

    theirs = evidently("wasserstein")(*samples) * samples[0].std()
    assert float(ours.value) == pytest.approx(theirs, abs=0.001)
    assert float(ours.low) <= theirs <= float(ours.high)


@pytest.mark.parametrize(("shift", "spread"), SHIFTS)
def test_the_jensen_shannon_distance_of_its_own_bins(
    evidently: Callable[[str], Test], shift: float, spread: float
) -> None:
    samples = rows(shift, spread)

    ours = jensen_shannon(counted(*samples, common_edges(*samples, "sturges")))

    theirs = evidently("jensenshannon")(*samples) / np.sqrt(np.log(2))  # of base e
    assert float(ours) == pytest.approx(theirs, abs=1e-9)
