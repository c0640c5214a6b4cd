"""Window random effects: what is estimated, and that z has the variance it claims."""

from __future__ import annotations

import numpy as np
import pytest

from monitors.errors import NotAssessable
from monitors.null_model import coordinates, directed, fit_null_model, make_basis, regularised

P = 4


def windows(
    rng: np.random.Generator, units: int, count: int, n: int, between: float, ar: float = 0.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """n, mean and unit of windows of correlated coordinates with a day effect."""
    size = np.full(units * count, n)
    unit = np.repeat(np.arange(units), count)
    day = rng.normal(0, np.sqrt(between), (units * count, P))
    for i in range(1, day.shape[0]):
        if unit[i] == unit[i - 1]:
            day[i] = ar * day[i - 1] + np.sqrt(1 - ar**2) * day[i]
    mean = rng.normal(size=(units * count, P)) / np.sqrt(n) + day + unit[:, None]
    return size, mean, unit


def test_both_variance_components_are_recovered() -> None:
    n, mean, unit = windows(np.random.default_rng(1), 6, 150, 40, 0.02)

    null = fit_null_model(n, mean, unit, 6, np.eye(P))

    assert np.diag(null.between) == pytest.approx(np.full(P, 0.02), abs=0.006)
    assert null.mean[:, 0] == pytest.approx(np.arange(6), abs=0.05)
    assert null.cases == pytest.approx(np.full(6, 6000.0))


def test_later_windows_have_the_variance_that_the_model_claims() -> None:
    rng = np.random.default_rng(2)
    n, mean, unit = windows(rng, 6, 100, 40, 0.02)
    null = fit_null_model(n, mean, unit, 6, np.eye(P))
    basis = make_basis(null, np.arange(P))

    n2, mean2, unit2 = windows(rng, 6, 400, 60, 0.02)
    value, variance, reference = coordinates(null, basis, n2, mean2, unit2)

    spread = (value**2 / variance).mean()
    assert 0.85 < spread < 1.1
    assert (reference < variance).all()


def test_treating_cases_of_a_day_as_independent_would_understate_it() -> None:
    rng = np.random.default_rng(3)
    n, mean, unit = windows(rng, 4, 100, 200, 0.02)
    null = fit_null_model(n, mean, unit, 4, np.eye(P))
    basis = make_basis(null, np.arange(P), single=False)

    value, variance, _ = coordinates(null, basis, n, mean, unit)

    assert (value**2 * n[:, None]).mean() > 3  # what a test of 1 / n would see
    assert (value**2 / variance).mean() < 1.1


def test_days_that_hang_together_widen_the_between_variance() -> None:
    free = fit_null_model(*windows(np.random.default_rng(4), 4, 200, 40, 0.03), 4, np.eye(P))
    tied = fit_null_model(
        *windows(np.random.default_rng(4), 4, 200, 40, 0.03, ar=0.7), 4, np.eye(P)
    )

    assert np.trace(tied.between) > 1.3 * np.trace(free.between)


def test_a_shift_along_the_direction_is_seen_there() -> None:
    n, mean, unit = windows(np.random.default_rng(5), 2, 60, 40, 0.01)
    null = fit_null_model(n, mean, unit, 2, np.eye(P))
    along = np.array([1.0, -1.0, 0.0, 0.0])
    basis = make_basis(null, np.arange(P), along)

    z, share = directed(basis, *coordinates(null, basis, n, mean + 0.2 * along, unit))

    assert z.mean() > 1.2
    assert ((share > 0) & (share < 1)).all()


def test_a_coordinate_that_never_varies_is_left_out() -> None:
    within, varies = regularised(np.diag([1.0, 0.0, 2.0]))

    assert varies.tolist() == [0, 2]
    assert np.linalg.eigvalsh(within).min() > 0


def test_no_window_and_no_direction_are_refused() -> None:
    empty = np.zeros(0, dtype=np.int64)
    with pytest.raises(NotAssessable, match="at least one window, got none"):
        fit_null_model(empty, np.zeros((0, P)), empty, 1, np.eye(P))
    n, mean, unit = windows(np.random.default_rng(6), 2, 30, 40, 0.01)
    null = fit_null_model(n, mean, unit, 2, np.eye(P))
    basis = make_basis(null, np.arange(P))
    with pytest.raises(NotAssessable, match="no label-shift direction is known"):
        directed(basis, *coordinates(null, basis, n, mean, unit))
