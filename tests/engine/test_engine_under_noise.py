"""Noise that edges add is part of every variance: no false signal by it, and none hidden."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from scipy.stats import norm

from app.central.references.freezing import freeze, thaw
from app.lab.simulate import Drift, Fleet, simulate, simulate_cohort
from monitors.case_windows import case_windows
from monitors.engine import Evaluation, Plan, Reference, build_reference, evaluate
from monitors.errors import NotAssessable
from monitors.null_model import (
    EXACT,
    NoiseShare,
    coordinates,
    correlated,
    directed,
    fit_null_model,
    make_basis,
    noise_of_reference,
)
from monitors.observations import History
from monitors.reference import block_z
from monitors.schema import FloatArray, IntArray
from tests.support.noisy import undeclared, with_noise

P = 4
EPSILON = 8.0
SIGMA = np.array([30.0, 10.0, 5.0, 20.0])  # of sums, in standard deviations of a case
# Two nearly collinear entries, as logit and probability are.
WITHIN = np.eye(P) + 0.95 * np.array([[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
ALONG = np.array([1.0, 0.8, 0.3, 0.0])


def windows(
    rng: np.random.Generator, units: int, count: int, n: int, sigma: FloatArray
) -> tuple[IntArray, FloatArray, IntArray, FloatArray]:
    """n, mean, unit and the variance by noise of windows of strata in control."""
    size = np.repeat(n, units * count) + rng.integers(0, n, units * count)
    day = np.sqrt(0.01) * rng.standard_normal((size.size, P)) @ np.linalg.cholesky(WITHIN).T
    sampled = rng.standard_normal((size.size, P)) @ np.linalg.cholesky(WITHIN).T
    noise = (sigma / size[:, None]) ** 2
    mean = day + sampled / np.sqrt(size)[:, None] + np.sqrt(noise) * rng.standard_normal(day.shape)
    return size, mean, np.repeat(np.arange(units), count), noise


def z_of(
    rng: np.random.Generator, n: int, before: FloatArray, declared: bool = True
) -> tuple[FloatArray, FloatArray]:
    """z of single entries and along the direction, of windows with noise."""
    *known, noise = windows(rng, 6, 80, n, before)
    null = fit_null_model(*known, 6, WITHIN, noise)
    basis = make_basis(null, np.arange(P), ALONG)
    size, mean, unit, noise = windows(rng, 6, 2000, n, SIGMA)
    lent = noise_of_reference(null, unit)
    noise = noise if declared else np.zeros_like(noise)
    value, variance, reference = coordinates(null, basis, size, mean, unit, noise)
    along, _ = directed(basis, value, variance, reference, NoiseShare(noise + lent, lent))
    return (value / np.sqrt(variance))[:, P:], along


@pytest.mark.parametrize("n", [20, 50, 150])
@pytest.mark.parametrize("before", [0.0, 1.0])
def test_tests_of_means_keep_their_size_under_noise(n: int, before: float) -> None:
    """0.8 to 1.1 of nominal, with noise since the watch began, or always. Much noise in the
    reference makes the variation between days uncertain, which is then not understated."""
    single, along = z_of(np.random.default_rng(n), n, before * SIGMA)

    for z in (single, along):
        rate = float((np.abs(z) > norm.ppf(0.975)).mean())
        slack = 3 * np.sqrt(0.05 * 0.95 / along.size)
        assert rate <= 0.055 + slack, rate
        assert rate >= (0.04 if before == 0 else 0.02) - slack, rate


def test_noise_that_the_centre_is_not_told_of_breaks_them() -> None:
    single, along = z_of(np.random.default_rng(1), 50, 0 * SIGMA, declared=False)

    assert (np.abs(single) > 1.96).mean() > 0.2
    assert (np.abs(along) > 1.96).mean() > 0.2


def test_noise_along_the_direction_is_not_taken_for_uncorrelated() -> None:
    """Nearly collinear entries: the eigenbasis would misstate what noise adds up to."""
    rng = np.random.default_rng(3)
    null = fit_null_model(*windows(rng, 6, 400, 50, 0 * SIGMA)[:3], 6, WITHIN)
    basis = make_basis(null, np.arange(P), np.array([1.0, -0.5, 0.0, 0.0]))
    size, mean, unit, noise = windows(rng, 6, 4000, 50, SIGMA)
    found = coordinates(null, basis, size, mean, unit, noise)

    exact, _ = directed(basis, *found, NoiseShare(noise, np.zeros((1, 1))))
    naive, _ = directed(basis, *found, EXACT)
    assert exact.std() == pytest.approx(1, abs=0.05)
    assert abs(naive.std() - 1) > 0.1


def test_a_diagonal_stands_for_correlated_noise_in_every_direction() -> None:
    null = fit_null_model(*windows(np.random.default_rng(4), 6, 80, 50, 0 * SIGMA)[:3], 6, WITHIN)
    basis = make_basis(null, np.arange(P))
    noise = (SIGMA / 50)[None] ** 2
    p = basis.projection[:, :P]
    own = (noise @ p**2)[0]

    bound = np.diag(own + correlated(basis, noise)[0])
    assert np.linalg.eigvalsh(bound - (p.T * noise[0]) @ p).min() > -1e-9
    assert np.linalg.eigvalsh(np.diag(own) - (p.T * noise[0]) @ p).min() < -0.01


def test_noise_is_no_variation_between_days() -> None:
    rng = np.random.default_rng(5)
    size, mean, unit, noise = windows(rng, 6, 400, 50, SIGMA)

    told = fit_null_model(size, mean, unit, 6, WITHIN, noise)
    not_told = fit_null_model(size, mean, unit, 6, WITHIN)
    assert np.diag(told.between) == pytest.approx(np.full(P, 0.01), abs=0.01)
    assert np.diag(not_told.between)[0] > 0.1


def test_the_noise_of_the_reference_is_part_of_its_own_error() -> None:
    """A reference of four windows: its mean has a quarter of their noise."""
    n, unit = np.full(4, 50), np.zeros(4, dtype=np.int64)
    mean, noise = np.zeros((4, P)), np.tile(SIGMA / 50, (4, 1)) ** 2
    told, exact = (fit_null_model(n, mean, unit, 1, np.eye(P), v) for v in (noise, None))
    shares = []
    for null in (told, exact):
        basis = make_basis(null, np.arange(P), ALONG)
        own = coordinates(null, basis, n, mean, unit, noise)
        lent = noise_of_reference(null, unit)
        along = directed(basis, *own, NoiseShare(noise + lent, lent))[1]
        shares.append((own[2][:, P:], along))

    assert shares[0][0] - shares[1][0] == pytest.approx(noise / 4)
    assert (shares[0][1] > 2 * shares[1][1]).all()


# The engine ----------------------------------------------------------------------------------

FLEET = Fleet(sites=2, volume=400.0, reference_days=60, monitored_days=50)
SCANNER = Drift(kind="scanner", day=12, site="H1", scanner="S1", size=1.0)


@cache
def fleet(*drifts: Drift, seed: int = 3) -> tuple[History, Reference]:
    """Plain windows, and the reference of those of before the noise."""
    made = replace(FLEET, drifts=drifts)
    history = simulate(made, seed)
    cohort = simulate_cohort(made, history.schema, seed)
    return history, build_reference(Plan(), history, FLEET.reference_end, cohort)


def look(history: History, reference: Reference) -> Evaluation:
    return evaluate(Plan(), reference, history)


def statistical(found: Evaluation) -> list[tuple[str, ...]]:
    return [s.sites for s in found.signals if s.kind == "statistical"]


def test_switching_noise_on_raises_nothing_unless_it_is_not_declared() -> None:
    history, reference = fleet()
    noisy = with_noise(history, EPSILON, 3, since=FLEET.reference_end)

    assert statistical(look(noisy, reference)) == []
    assert statistical(look(undeclared(noisy), reference)) != []


def test_a_changed_scanner_is_found_through_noise() -> None:
    history, reference = fleet(SCANNER)
    noisy = with_noise(history, EPSILON, 3, since=FLEET.reference_end)

    [signal] = [s for s in look(noisy, reference).signals if s.kind == "statistical"]
    assert signal.sites == ("H1",)
    assert signal.change_day is not None
    assert abs(signal.change_day - FLEET.reference_end - SCANNER.day) <= 5
    assert not {"prevalence", "annotation"} & set(signal.history[-1].causes)  # no labels
    exact = next(s for s in look(history, reference).signals if s.kind == "statistical")
    widths = [
        next(c.interval[1] - c.interval[0] for c in s.characteristics if c.name == "noise")
        for s in (exact, signal)
    ]
    assert widths[1] > 1.05 * widths[0]


def test_sites_without_noise_are_watched_as_before() -> None:
    history, reference = fleet(SCANNER)
    noisy = with_noise(history, EPSILON, 3, {"H2"}, since=FLEET.reference_end)

    plain, beside = (
        [t for t in look(h, reference).traces if t.site == "H1" and t.block != "labels"]
        for h in (history, noisy)
    )
    assert len(plain) == len(beside) > 0
    for one, other in zip(plain, beside, strict=True):
        k = min(one.day.size, SCANNER.day)
        assert one.statistic[:k] == pytest.approx(other.statistic[:k])


def test_a_reference_with_noise_freezes_and_thaws_and_one_without_is_what_it_was() -> None:
    history, plain = fleet()
    cohort = simulate_cohort(FLEET, history.schema, 3)
    noisy = build_reference(Plan(), with_noise(history, EPSILON, 3), FLEET.reference_end, cohort)

    assert b"NoisyNullModel" in freeze(noisy) and b"NoisyNullModel" not in freeze(plain)
    back = thaw(freeze(noisy))
    assert back.null.noise.tolist() == noisy.null.noise.tolist()
    assert freeze(back) == freeze(noisy)


def test_a_reference_of_noise_alone_says_that_it_needs_a_cohort() -> None:
    history, _ = fleet()

    with pytest.raises(NotAssessable, match="not assessable under noise"):
        build_reference(Plan(), with_noise(history, EPSILON, 3), FLEET.reference_end)


def z_by_block(history: History, reference: Reference) -> Iterator[FloatArray]:
    """z of every window in every coordinate, as the streams of the strata see them."""
    inside = replace(history, cases=history.cases.select(history.cases.start >= reference.until))
    w = case_windows(inside, reference.unit_of(inside.strata), Plan().window_cases)
    lent = noise_of_reference(reference.null, w.unit)
    for name, basis in reference.bases.items():
        value, variance, share = coordinates(reference.null, basis, w.n, w.mean, w.unit, w.noise)
        square = reference.scale[name][w.unit] ** 2
        noise = NoiseShare(w.noise + lent, lent).scaled(square.max(axis=1, keepdims=True))
        yield block_z(basis, value, variance * square, share * square, noise)[0]


def test_every_look_of_the_engine_keeps_its_size_under_noise() -> None:
    history, reference = fleet()
    noisy = with_noise(history, EPSILON, 3, since=FLEET.reference_end)

    for plain, told, not_told in zip(
        *(z_by_block(h, reference) for h in (history, noisy, undeclared(noisy))), strict=True
    ):
        rates = [float((np.abs(z) > 1.96).mean()) for z in (plain, told, not_told)]
        assert rates[1] < 0.06
        assert rates[2] > 0.15
        assert rates[0] < 0.06
