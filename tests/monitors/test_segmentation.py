"""Contours, several readers, and criteria of acceptance."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from monitors.agreement import fleiss_kappa
from monitors.annotation import recalibrate
from monitors.confirmation import (
    chance_of_acceptance,
    confirm_calibration,
    confirm_change,
    confirm_rate,
    confirm_subgroups,
)
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


# Acceptance ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("claim", "truth", "n"), [(0.80, 0.90, 113), (0.85, 0.92, 185), (0.90, 0.95, 255)]
)
def test_the_published_numbers_of_positives_are_accepted_in_four_of_five(
    claim: float, truth: float, n: int
) -> None:
    # statistics of exact one-sided 97.5% bounds, as in the tests of `positives_needed`.
    now, before = chance_of_acceptance([n, n - 1], truth, claim, margin=0.0)
    assert before < 0.8 <= now  # a saw-tooth: 0.84 at the first n from which on 0.8 holds


def test_a_rate_is_confirmed_by_its_exact_bound() -> None:
    bound = stats.beta.ppf(0.025, 95, 6)  # Clopper and Pearson (1934), 95 of 100
    found = confirm_rate("sensitivity", 95, 100, claim=0.90, margin=0.03)

    assert found.found == pytest.approx(bound)
    assert found.passed
    assert not confirm_rate("sensitivity", 90, 100, claim=0.90, margin=0.03).passed


def test_calibration_passes_only_where_it_was_shown() -> None:
    at, n = np.array([-3.0, -1.0, 1.0, 3.0]), np.full(4, 2000)
    rate = 1 / (1 + np.exp(-at))
    good = recalibrate((n, np.rint(n * rate)), at)
    flat = recalibrate((n, np.rint(n / (1 + np.exp(-0.6 * at)))), at)
    few = recalibrate((n / 100, np.rint(n / 100 * rate)), at)

    assert all(c.passed for c in confirm_calibration(good))
    assert [c.passed for c in confirm_calibration(flat)][1] is False
    assert not all(c.passed for c in confirm_calibration(few))  # too few labels prove nothing
    with pytest.raises(MonitorError, match="one scope expected"):
        confirm_calibration(recalibrate((n[None], np.rint(n * rate)[None]), at))


def test_subgroups_and_size_of_a_change() -> None:
    criteria = confirm_subgroups(
        ("women", "men"), (np.array([450, 440]), np.array([500, 500])), ([445, 380], [500, 500])
    )
    assert [c.passed for c in criteria] == [True, True, False, False]
    assert criteria[2].found == pytest.approx(0.12)
    assert all(c.passed for c in confirm_change(0.15, 0.25, 0.10, 0.08, 120))
    assert [c.passed for c in confirm_change(0.15, 0.5, 0.10, 0.25, 30)] == [False, False, False]
    with pytest.raises(MonitorError, match=r"threshold must lie in \(0, 1\)"):
        confirm_change(0.0, 0.5, 0.1, 0.1)
    with pytest.raises(NotAssessable, match="some case flagged before"):
        confirm_change(0.1, 0.2, 0.0, 0.1)
    with pytest.raises(MonitorError, match="sub-groups: 2 expected, got 1"):
        confirm_subgroups(("a", "b"), (1, 2), (1, 2))
    with pytest.raises(MonitorError, match="0 <= margin < claim"):
        confirm_rate("x", 1, 2, claim=0.5, margin=0.6)
