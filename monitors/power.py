"""What could be seen at this volume, and how many cases a given change needs.

Normal limits; all arguments broadcast. Sizes are two-sided. The tables of Cohen, Statistical
Power Analysis for the Behavioral Sciences (1988), are reproduced in the tests.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.optimize import elementwise
from scipy.special import chdtri, ndtr, ndtri
from scipy.stats import ncx2

from monitors.detectors import SHIFTS, SIGNS, advance, average, shift_evidence
from monitors.errors import DesignError, NotAssessable
from monitors.prevalence import Classes
from monitors.schema import FloatArray


def _level(size: float) -> float:
    if not 0 < size < 1:
        raise DesignError(f"size must lie in (0, 1), got {size!r}")
    return size


def _numbers(name: str, value: npt.ArrayLike, least: float) -> FloatArray:
    x = np.asarray(value, dtype=np.float64)
    if not np.all(x >= least):
        raise DesignError(f"{name}: at least {least:g} expected, got {float(np.min(x))!r}")
    return x


# Means ---------------------------------------------------------------------------------------


def mean_power(
    effect: npt.ArrayLike,
    n: npt.ArrayLike,
    reference_n: npt.ArrayLike,
    *,
    between: npt.ArrayLike = 0.0,
    windows: npt.ArrayLike = 1.0,
    size: float = 0.05,
) -> FloatArray:
    """Chance that a test of a mean at `size` sees a shift of `effect` standard deviations.

    n : current cases over `windows` equal windows; between : variance of windows' true means in
    units of the variance within (ICC / (1 - ICC)). The reference's own day effects are left out.
    """
    noise = 1 / _numbers("n", n, 1) + 1 / _numbers("reference_n", reference_n, 1)
    noise = noise + _numbers("between", between, 0) / _numbers("windows", windows, 1)
    z, cut = np.abs(np.asarray(effect, dtype=np.float64)) / np.sqrt(noise), -ndtri(_level(size) / 2)
    return np.asarray(ndtr(z - cut) + ndtr(-z - cut))


def mean_effect(
    n: npt.ArrayLike,
    reference_n: npt.ArrayLike,
    *,
    between: npt.ArrayLike = 0.0,
    windows: npt.ArrayLike = 1.0,
    size: float = 0.05,
    power: float = 0.8,
) -> FloatArray:
    """Smallest shift, in standard deviations, that `mean_power` sees with `power`."""
    noise = 1 / _numbers("n", n, 1) + 1 / _numbers("reference_n", reference_n, 1)
    noise = noise + _numbers("between", between, 0) / _numbers("windows", windows, 1)
    return np.asarray((ndtri(_level(power)) - ndtri(_level(size) / 2)) * np.sqrt(noise))


def windows_for_mean(
    effect: npt.ArrayLike,
    n: npt.ArrayLike,
    reference_n: npt.ArrayLike,
    *,
    between: npt.ArrayLike = 0.0,
    size: float = 0.05,
    power: float = 0.8,
) -> FloatArray:
    """Windows of `n` cases each that a shift of `effect` standard deviations needs, whole."""
    reach = (ndtri(_level(power)) - ndtri(_level(size) / 2)) ** 2
    room = _numbers("effect", np.abs(effect), 1e-12) ** 2 / reach
    room = room - 1 / _numbers("reference_n", reference_n, 1)
    if not np.all(room > 0):
        raise NotAssessable("no number of windows is enough: the reference is too small")
    each = 1 / _numbers("n", n, 1) + _numbers("between", between, 0)
    return np.asarray(np.ceil(each / room - 1e-9))


# Distributions -------------------------------------------------------------------------------


def psi_power(
    psi: npt.ArrayLike, df: npt.ArrayLike, noise: npt.ArrayLike, size: float = 0.05
) -> FloatArray:
    """Chance that a chi-square test at `size` sees a population PSI.

    df : bins less 1; noise : 1/m + 1/n of effective sizes, as in `two_sample.Pair.noise`.
    """
    effect = _numbers("psi", psi, 0) / _numbers("noise", noise, 1e-300)
    df = _numbers("df", df, 1)
    return np.asarray(ncx2.sf(chdtri(df, _level(size)), df, effect))


def psi_effect(
    df: npt.ArrayLike, noise: npt.ArrayLike, size: float = 0.05, power: float = 0.8
) -> FloatArray:
    """Smallest population PSI that `psi_power` sees with `power`."""
    df, noise = np.broadcast_arrays(_numbers("df", df, 1), _numbers("noise", noise, 1e-300))
    cut = chdtri(df, _level(size))
    top = cut + 10 * np.sqrt(4 * cut + 2 * df + 100) + 100
    found = elementwise.find_root(
        lambda nc, x, k: ncx2.sf(x, k, nc) - power, (np.zeros_like(cut), top), args=(cut, df)
    )
    return np.asarray(np.where(_level(power) <= size, 0.0, found.x) * noise)


# Rates ---------------------------------------------------------------------------------------


def rate_power(
    rate: npt.ArrayLike,
    reference_rate: npt.ArrayLike,
    n: npt.ArrayLike,
    reference_n: npt.ArrayLike,
    *,
    effect: npt.ArrayLike = 1.0,
    size: float = 0.05,
) -> FloatArray:
    """Chance that a comparison of two rates at `size` sees them apart.

    effect : design effect of the current cases. Fleiss, Levin and Paik (2003), section 4.2,
    without continuity correction.
    """
    p1, p0 = np.asarray(rate, dtype=np.float64), np.asarray(reference_rate, dtype=np.float64)
    if not np.all((p1 > 0) & (p1 < 1) & (p0 > 0) & (p0 < 1)):
        raise DesignError("rates must lie in (0, 1)")
    worth = _numbers("n", n, 1) / _numbers("effect", effect, 1)
    known = _numbers("reference_n", reference_n, 1)
    pooled = (worth * p1 + known * p0) / (worth + known)
    null = np.sqrt(pooled * (1 - pooled) * (1 / worth + 1 / known))
    real = np.sqrt(p1 * (1 - p1) / worth + p0 * (1 - p0) / known)
    cut = -ndtri(_level(size) / 2) * null
    return np.asarray(ndtr((p1 - p0 - cut) / real) + ndtr((p0 - p1 - cut) / real))


def prevalence_error(classes: Classes, prevalence: npt.ArrayLike, n: npt.ArrayLike) -> FloatArray:
    """Standard error of a maximum-likelihood prevalence from the scores of `n` unlabelled cases.

    From the information of the mixing proportion (Hill 1963); a known reference is assumed.
    """
    pi = np.asarray(prevalence, dtype=np.float64)
    if not np.all((pi > 0) & (pi < 1)):
        raise DesignError("prevalence must lie in (0, 1)")
    q0, q1 = classes.q0, classes.q1
    mix = q0 + pi[..., None] * (q1 - q0)
    information = ((q1 - q0) ** 2 / mix).sum(axis=-1)
    return np.asarray(1 / np.sqrt(_numbers("n", n, 1) * information))


# Time to a signal ----------------------------------------------------------------------------


def days_to_signal(
    z: npt.ArrayLike,
    limit: float,
    *,
    margin: float = 0.0,
    weight: float = 1.0,
    days: float = 1.0,
    longest: int = 365,
    runs: int = 400,
    seed: int = 0,
) -> FloatArray:
    """Median days until a stream's detector reaches `limit`, inf beyond `longest` windows, (...).

    z : (...) mean of one coordinate's standardised window value after the change; margin : what
    the reference's error may pretend; weight : that coordinate's share of its stream; days : of
    a window. By simulation of the Shiryaev-Roberts e-detector, from a start at zero.
    """
    if not (limit > 0 and 0 < weight <= 1 and margin >= 0):
        raise DesignError("limit > 0, 0 < weight <= 1 and margin >= 0 expected")
    shift = np.asarray(z, dtype=np.float64)
    rng = np.random.default_rng(seed)
    m = np.zeros((runs, *shift.shape, SIGNS.size, SHIFTS.size))
    share = np.full((SIGNS.size, SHIFTS.size), weight / (SIGNS.size * SHIFTS.size))
    first = np.full((runs, *shift.shape), np.inf)
    apart = np.asarray(margin)
    for window in range(1, longest + 1):
        reading = shift + rng.standard_normal((runs, *shift.shape))
        m = advance(m, days, shift_evidence(reading, apart))
        here = average(m, share) >= limit
        first = np.minimum(first, np.where(here, window * days, np.inf))
        if np.all(np.isfinite(first)):
            break
    return np.asarray(np.quantile(first, 0.5, axis=0, method="higher"))
