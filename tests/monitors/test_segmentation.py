"""Contours, several readers, and labels selected by score."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from monitors.agreement import fleiss_kappa
from monitors.errors import MonitorError, NotAssessable
from monitors.means import baseline
from monitors.performance import Audit, classes_of
from monitors.segmentation import contour_shift, measures, poor_overlap

# Fleiss (1971) as reprinted by many: 10 subjects, 14 raters, 5 categories; kappa 0.210.
FOURTEEN = np.array(
    [
        [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
        [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
    ]
)  # fmt: skip


def test_fleiss_s_kappa_of_fourteen_raters() -> None:
    found = fleiss_kappa(FOURTEEN)

    assert float(found.value) == pytest.approx(0.210, abs=5e-4)
    pieces = [float(fleiss_kappa(np.delete(FOURTEEN, i, axis=0)).value) for i in range(10)]
    jackknife = np.sqrt(9 / 10 * ((pieces - np.mean(pieces)) ** 2).sum())
    assert float(found.standard_error) == pytest.approx(jackknife)


def test_fleiss_s_kappa_does_not_know_the_order_of_items_or_names() -> None:
    order, names = np.array([3, 1, 4, 0, 5, 9, 2, 6, 8, 7]), [4, 2, 0, 1, 3]
    assert fleiss_kappa(FOURTEEN[order][:, names]).value == pytest.approx(
        float(fleiss_kappa(FOURTEEN).value)
    )
    assert float(fleiss_kappa([[2, 0], [0, 2], [2, 0], [0, 2]]).value) == 1.0


def test_fleiss_s_kappa_refuses() -> None:
    with pytest.raises(NotAssessable, match="at least 3 items, each read twice"):
        fleiss_kappa([[1, 0], [2, 0], [0, 2]])
    with pytest.raises(NotAssessable, match="a single category"):
        fleiss_kappa([[2, 0], [2, 0], [2, 0]])
    with pytest.raises(MonitorError, match="finite and not negative"):
        fleiss_kappa([[2, -1], [2, 0], [2, 0]])


# Contours ------------------------------------------------------------------------------------


def months(rng: np.random.Generator, count: int, dice: float, ratio: float) -> np.ndarray:
    """Mean and variance of the measures of 40 contours in each of `count` months."""
    each = measures(
        stats.norm.cdf(stats.norm.ppf(dice) + 0.3 * rng.standard_normal((count, 40))),
        np.exp(np.log(ratio) + 0.1 * rng.standard_normal((count, 40))),
        rng.standard_normal((count, 40)) + 4 * (ratio - 1),
    )
    return np.stack([each.mean(axis=1), each.var(axis=1)])


def test_readers_who_draw_wider_are_a_changed_convention_and_blur_is_not() -> None:
    rng = np.random.default_rng(1)
    mean, variance = months(rng, 12, 0.9, 1.0)
    reference, n = baseline(np.full((12, 1), 40), mean, variance), np.full((3, 1), 40)

    same = contour_shift(reference, n, months(rng, 3, 0.9, 1.0)[0])
    wider = contour_shift(reference, n, months(rng, 3, 0.86, 1.15)[0])
    blurred = contour_shift(reference, n, months(rng, 3, 0.85, 1.0)[0])

    assert not same.convention
    assert wider.convention
    assert float(np.exp(wider.shift.difference[1])) == pytest.approx(1.15, abs=0.03)
    assert float(blurred.agreement) < 0.01
    assert not blurred.convention


def test_contours_by_hand_and_refusals() -> None:
    assert measures(0.75, 2.0, -1.0) == pytest.approx([np.log(3), np.log(2), -1.0])
    assert float(poor_overlap([0.6, 0.8, 0.9, 0.95]).value) == 0.25
    with pytest.raises(MonitorError, match=r"dice must lie in \[0, 1\]"):
        measures(1.2, 1.0)
    with pytest.raises(MonitorError, match="volume_ratio must be positive"):
        measures(0.9, 0.0)
    with pytest.raises(MonitorError, match="surface_distance must be finite"):
        measures(0.9, 1.0, np.nan)


# Selected labels -----------------------------------------------------------------------------


def test_labels_selected_by_score_are_weighted_to_all_cases() -> None:
    audit = Audit([800, 200], [80, 200], [8, 100])
    classes = classes_of(audit)

    # 10% of 800 and 50% of 200 are positive: 80 and 100 of 180.
    assert classes.positive[1] / classes.positive.sum() == pytest.approx(100 / 180)
    assert classes.negative[0] / classes.negative.sum() == pytest.approx(720 / 820)
    assert classes.positive.sum() < 108  # unequal weights are worth less than their number
    even = classes_of(Audit([800, 200], [400, 100], [40, 50]))
    assert even.positive == pytest.approx([40, 50])
    with pytest.raises(NotAssessable, match="a score bin with cases has no label"):
        classes_of(Audit([800, 200], [80, 0], [8, 0]))
