from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from monitors.equivalence import aligned, from_labels
from monitors.errors import MonitorError, NotAssessable
from monitors.prevalence import Classes, Estimate

EDGES = np.concatenate([[0.0], norm.cdf(np.linspace(-2, 4, 15), 1, 1.5), [1.0]])
CUTS = norm.ppf(EDGES, 1, 1.5)


def shares(mean: float, shift: float = 0.0) -> np.ndarray:
    return np.diff(norm.cdf(CUTS, mean + shift))


def known(value: float, error: float = 0.003) -> Estimate:
    return Estimate(*(np.array(x) for x in (value, error, value - 2 * error, value + 2 * error)))


CLASSES = Classes(shares(0) * 40_000, shares(2) * 10_000)


@pytest.mark.parametrize("shift", [-0.4, 0.0, 0.4])
def test_the_equivalent_threshold_follows_a_shift_of_the_scores(shift: float) -> None:
    threshold = float(EDGES[7])
    now = (0.8 * shares(0, shift) + 0.2 * shares(2, shift)) * 30_000

    found = aligned(CLASSES, now, known(0.2), EDGES, threshold)

    true = float(norm.cdf(norm.ppf(threshold, 1, 1.5) + shift, 1, 1.5))
    assert found.value == pytest.approx(true, abs=0.015)
    assert found.low <= true + 0.005
    assert found.high >= true - 0.005
    assert EDGES[found.threshold_bin] <= found.value * (1 + 1e-9)


def test_an_unmodelled_prevalence_would_have_moved_it() -> None:
    threshold = float(EDGES[7])
    now = (0.6 * shares(0) + 0.4 * shares(2)) * 30_000

    modelled = aligned(CLASSES, now, known(0.4), EDGES, threshold)
    ignored = aligned(CLASSES, now, known(0.2), EDGES, threshold)

    assert modelled.value == pytest.approx(threshold, abs=0.003)
    assert ignored.value > threshold + 0.05


def test_too_few_cases_name_no_threshold() -> None:
    with pytest.raises(NotAssessable, match="spans more than 2 bins"):
        aligned(CLASSES, shares(0) * 12, known(0.2, 0.1), EDGES, float(EDGES[7]))


def test_fresh_labels_give_a_guaranteed_threshold_or_none() -> None:
    fresh = Classes(shares(0, -0.4) * 2000, np.rint(shares(2, -0.4) * 400))

    chosen = from_labels(fresh, 0.9, 0.85)

    assert shares(2, -0.4)[chosen:].sum() >= 0.9
    with pytest.raises(NotAssessable, match="below the claim"):
        from_labels(fresh, 0.8, 0.95)
    with pytest.raises(NotAssessable, match="needs at least"):
        from_labels(Classes(shares(0) * 2000, shares(2) * 20), 0.9, 0.5)


def test_what_is_no_threshold_is_refused() -> None:
    with pytest.raises(MonitorError, match="between the outer edges"):
        aligned(CLASSES, shares(0) * 100, known(0.2), EDGES, 1.0)
    with pytest.raises(MonitorError, match="one edge more"):
        aligned(CLASSES, np.ones(3), known(0.2), EDGES, 0.5)
