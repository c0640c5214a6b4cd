"""Noise is what it is said to be: its distribution, its scales against the worst case, its loss."""

from __future__ import annotations

from math import erfc, exp, log, sqrt

import numpy as np
import pytest
from scipy import stats

from app.contracts.discrete_gaussian import discrete_gaussian
from app.contracts.noise import (
    DELTA,
    FLAGGED,
    SHARES,
    epsilon_of,
    joint_ranges,
    mechanism,
    noised,
    noised_columns,
    rho_of,
)
from app.errors import ContractError
from monitors.schema import TALLIES, IntArray
from monitors.summaries import Cases, summarise
from tests.contracts.examples import a_schema, some_cases

SCHEMA = a_schema()
EXTREMES = (1e-9, 0.0, 1.0, -1e6, 1e6)


def draws(scale: int, n: int, seed: int = 0) -> IntArray:
    """From a seeded source of uniform integers, so that the test cannot fail by chance."""
    rng = np.random.default_rng(seed)
    bits = lambda below: int.from_bytes(rng.bytes(below.bit_length() // 8 + 9)) % below  # noqa: E731
    return np.array([discrete_gaussian(scale, bits) for _ in range(n)])


@pytest.mark.parametrize("scale", [1, 2, 5, 23])
def test_draws_follow_the_exact_distribution(scale: int) -> None:
    n, far = 12_000, 4 * scale
    found = np.clip(draws(scale, n), -far, far)
    support = np.arange(-40 * scale, 40 * scale + 1)
    mass = np.exp(-(support**2) / (2 * scale**2))
    clipped = np.clip(support, -far, far)
    expected = n * np.bincount(clipped + far, mass / mass.sum())
    bins = np.minimum(np.cumsum(expected) // 20, n).astype(np.int64)  # at least 20 expected in each
    merged = [
        np.bincount(bins, x) for x in (np.bincount(found + far, minlength=2 * far + 1), expected)
    ]
    used = merged[1] > 0

    assert stats.chisquare(merged[0][used], merged[1][used]).pvalue > 1e-3


def test_draws_of_large_scales_keep_their_scale_and_never_overflow() -> None:
    found = draws(1 << 40, 2000)

    assert np.std(found / 2**40) == pytest.approx(1, abs=0.06)
    assert abs(np.mean(found / 2**40)) < 0.08
    assert any(x % 2 for x in found)  # not rounded to a coarse grid


def test_the_system_source_is_used_unless_told_otherwise() -> None:
    assert len({discrete_gaussian(1 << 30) for _ in range(50)}) == 50
    with pytest.raises(ContractError, match="at least 1"):
        discrete_gaussian(0)


def test_the_loss_of_any_change_of_one_case_is_at_most_the_stated_one() -> None:
    """Against the definition, share by share: sum of squared changes over twice the squares of
    the scales."""
    rng = np.random.default_rng(1)
    made = mechanism(SCHEMA, 6.0)
    scale = np.where(made.scales > 0, made.scales, 1)
    largest = dict.fromkeys(SHARES, 0.0)
    for _ in range(400):
        before, after = (noised(SCHEMA, _row(rng), made.scales, lambda _: 0) for _ in range(2))
        change = (after - before).astype(np.float64)
        assert not change[made.scales == 0].any()  # does not leave, or is the same
        assert np.all(np.abs(change[SCHEMA.columns["joint_sum"]]) <= joint_ranges(SCHEMA))
        for share, columns in _columns().items():
            loss = float(((change / scale)[columns] ** 2).sum() / 2)
            largest[share] = max(largest[share], loss)

    for share, loss in largest.items():
        assert 0.2 * SHARES[share] * rho_of(6.0) < loss <= SHARES[share] * rho_of(6.0), share
    assert sum(largest.values()) <= made.rho <= rho_of(6.0)


def _columns() -> dict[str, IntArray]:
    first = SCHEMA.columns["joint_sum"].start
    blocks = {name: np.arange(b.start, b.stop) + first for name, b in SCHEMA.joint.blocks.items()}
    scores = SCHEMA.columns["score_counts"]
    return {
        "counts": np.array([FLAGGED, *range(scores.start, scores.stop)]),
        "score": blocks["score"],
        "acquisition": np.concatenate([blocks["acquisition"], blocks["acquisition_square"]]),
        "embedding": np.concatenate([blocks["embedding"], blocks["fourier"]]),
    }


def _row(rng: np.random.Generator) -> IntArray:
    """One case that was measured in every way, often at an extreme."""

    def some(n: int) -> np.ndarray:
        return np.where(rng.random(n) < 0.7, rng.choice(EXTREMES, n), rng.normal(size=n) * 50)

    score = float(np.clip(some(1)[0], 0, 1))
    case = Cases(
        numeric=some(2)[None],
        categorical=rng.integers(0, 2, (1, 1)),
        scores=np.array([[score]]),
        embedding=some(2)[None],
        outcome=np.array([int(rng.random() < 0.5)]),
    )
    return summarise(SCHEMA, case, np.zeros(1, dtype=np.int64), 1)[0]


def test_a_row_leaves_with_exact_numbers_of_cases_and_without_what_is_not_tested() -> None:
    cases = some_cases()
    [row] = summarise(SCHEMA, cases, np.zeros(len(cases), dtype=np.int64), 1)
    made = mechanism(SCHEMA, 6.0)
    found = noised(SCHEMA, row, made.scales, discrete_gaussian)

    columns = SCHEMA.columns
    for part in ("numeric_counts", "numeric_sums", "categorical_counts"):
        assert not found[columns[part]].any()
    exact = [i for i in range(len(TALLIES)) if i != FLAGGED]
    assert found[exact].tolist() == row[exact].tolist()
    assert found[columns["joint_n"]] == row[columns["joint_n"]]
    assert found[columns["score_counts"]][-1] == row[columns["score_counts"]][-1]  # missing
    assert np.flatnonzero(made.scales).tolist() == noised_columns(SCHEMA).tolist()
    assert (found != row)[columns["joint_sum"]].all()


def test_moments_that_no_case_had_stay_zero() -> None:
    row = np.zeros(SCHEMA.width(SCHEMA.columns), dtype=np.int64)

    found = noised(SCHEMA, row, mechanism(SCHEMA, 6.0).scales, lambda scale: scale)

    assert not found[SCHEMA.columns["joint_sum"]].any()
    assert found[FLAGGED] > 0


@pytest.mark.parametrize("rho", [0.01, 0.1, 0.5, 1.0, 3.0])
def test_epsilon_lies_between_the_gaussian_mechanisms_own_and_the_simple_bound(rho: float) -> None:
    """A Gaussian of this rho has the exact delta(epsilon) of Balle and Wang (2018)."""
    epsilon = epsilon_of(rho)

    def exact(e: float) -> float:
        mu = sqrt(2 * rho)
        tail = lambda x: erfc(x / sqrt(2)) / 2  # noqa: E731
        return tail(e / mu - mu / 2) - exp(e) * tail(e / mu + mu / 2)

    assert exact(epsilon) <= DELTA
    assert exact(0.85 * epsilon) > DELTA
    assert epsilon <= rho + 2 * sqrt(rho * log(1 / DELTA))
    assert rho_of(epsilon) == pytest.approx(rho, rel=1e-6)


def test_an_epsilon_that_promises_nothing_is_refused() -> None:
    with pytest.raises(ContractError, match=r"epsilon: 0\.5 to 50"):
        mechanism(SCHEMA, 0.0)
