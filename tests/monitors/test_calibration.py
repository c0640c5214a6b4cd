from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from monitors.calibration import Affine, affine, calibration_error
from monitors.errors import MonitorError, NotAssessable
from monitors.expected import Expectation
from monitors.prevalence import Classes, mlls
from monitors.recalibration import consequence


def some_scores(n: int = 4000, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = rng.random(n) < 0.3
    return expit(1.7 * rng.normal(2.0 * y - 1.2, 1.0)), y.astype(float)


def test_at_its_own_prevalence_it_is_logistic_regression() -> None:
    scores, y = some_scores()
    x = np.log(scores / (1 - scores))[:, None]

    found = affine(scores, y, y.mean())

    peer = LogisticRegression(C=np.inf, tol=1e-10).fit(x, y)
    assert (found.slope, found.intercept) == pytest.approx(
        (peer.coef_[0, 0], peer.intercept_[0]), abs=1e-4
    )


def test_another_prevalence_moves_the_mean_there() -> None:
    scores, y = some_scores()
    weight = np.where(y == 1, 0.08 / y.mean(), 0.92 / (1 - y.mean()))

    p = affine(scores, y, 0.08).probability(scores)

    assert np.average(p, weights=weight) == pytest.approx(0.08, abs=1e-4)


def test_the_calibration_error_is_the_mean_gap() -> None:
    assert calibration_error([0.1, 0.1, 0.9, 0.9], [0, 0, 1, 1]) == pytest.approx(0.1)
    assert calibration_error([0.52, 0.53, 0.51, 0.5], [0, 1, 0, 1]) == pytest.approx(0.015)


def test_what_cannot_be_calibrated_is_refused() -> None:
    with pytest.raises(NotAssessable, match="both classes"):
        affine([0.2, 0.3], [1, 1], 0.5)
    with pytest.raises(MonitorError, match=r"prevalence in \(0, 1\)"):
        affine([0.2, 0.3], [0, 1], 0.0)
    with pytest.raises(MonitorError, match=r"scores in \[0, 1\]"):
        Affine(1.0, 0.0).probability([1.2])
    with pytest.raises(MonitorError, match="every label"):
        calibration_error([0.2], [0, 1])


def test_joint_draws_agree_with_independent_ones_but_for_the_shared_error() -> None:
    classes = Classes([500, 250, 120, 80, 40, 10], [2, 4, 14, 40, 60, 80])
    current = [900, 480, 260, 220, 180, 160]

    joint = Expectation(classes, current).at(3)
    apart = consequence(classes, mlls(classes, current), 3)

    for name in ("sensitivity", "specificity", "alerts_per_1000"):
        assert getattr(joint, name).value == pytest.approx(getattr(apart, name).value, rel=0.02)
    # The flagged share is seen directly; drawn apart, its interval was far too wide.
    width = joint.alerts_per_1000.high - joint.alerts_per_1000.low
    assert width < 0.8 * (apart.alerts_per_1000.high - apart.alerts_per_1000.low)
    assert joint.ppv.low < apart.ppv.value < joint.ppv.high


def test_an_expectation_is_the_same_twice_and_refuses_other_bins() -> None:
    classes = Classes([500, 250, 120], [20, 40, 140])

    assert Expectation(classes, [300, 200, 90], seed=3).at(1) == Expectation(
        classes, [300, 200, 90], seed=3
    ).at(1)
    with pytest.raises(MonitorError, match="counts expected"):
        Expectation(classes, [1, 2])
    with pytest.raises(MonitorError, match="1 to 2 expected"):
        Expectation(classes, [300, 200, 90]).at(3)
