"""Do people label as they did? Comparisons of labels that hold the score or the image fixed.

Labels are compared within strata of site and score bin, so that neither a changed case mix nor
a selection of cases by score moves them. What they cannot tell apart on new images is a change
of the labels from a true change of P(positive | score): only re-reads of fixed images
(sentinels) or groups reading the same cases can.

Mantel and Haenszel (1959), JNCI 22, 719-748; variance of the odds ratio: Robins, Breslow and
Greenland (1986), Biometrics 42, 311-323; recalibration: Cox (1958), Biometrika 45, 562-565.
Strata of one test are the last axis; leading axes are separate tests.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import bdtr, chdtrc, expit, gammaln, ndtr, ndtri

from monitors.errors import MonitorError, NotAssessable
from monitors.schema import FloatArray

LEAST_SPREAD = 5.0  # distance of the expected count from its bounds (Mantel and Fleiss 1980)
STEPS = 50  # Newton steps allowed; a binomial likelihood with a maximum needs fewer than ten
CONVERGED = 1e-10
FURTHEST = 3.0  # of a Newton step, on the logit scale

Counts = tuple[npt.ArrayLike, npt.ArrayLike]  # labelled, positive


def _labels(name: str, counts: Counts) -> tuple[FloatArray, FloatArray]:
    n, y = np.broadcast_arrays(*(np.asarray(x, dtype=np.float64) for x in counts))
    if n.ndim < 1 or not np.all(np.isfinite(n) & (y >= 0) & (y <= n)):
        raise MonitorError(f"{name}: 0 <= positive <= labelled expected in every stratum")
    return n, y


# Two groups within strata --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Stratified:
    """Cochran-Mantel-Haenszel comparison of two groups of labels, (...).

    statistic : X2 on 1 df, without continuity correction; p_value : of an odds ratio of 1,
    exact and conditional where the normal limit does not hold. odds_ratio, low, high : of a
    positive label in the second group against the first. homogeneity : p value of one odds
    ratio in all strata (Woolf 1955; 1 with fewer than two): a small one is a change that
    depends on score.
    """

    statistic: FloatArray
    p_value: FloatArray
    odds_ratio: FloatArray
    low: FloatArray
    high: FloatArray
    homogeneity: FloatArray


@dataclass(frozen=True, slots=True)
class _Tables:
    """2 x 2 tables (..., S): second group's positive a, negative b, first group's c and d."""

    a: FloatArray
    b: FloatArray
    c: FloatArray
    d: FloatArray

    @property
    def n(self) -> FloatArray:
        return self.a + self.b + self.c + self.d

    @property
    def expected(self) -> FloatArray:
        return (self.a + self.b) * (self.a + self.c) / np.maximum(self.n, 1)

    @property
    def variance(self) -> FloatArray:
        margins = (self.a + self.b) * (self.c + self.d) * (self.a + self.c) * (self.b + self.d)
        return np.asarray(margins / np.maximum(self.n**2 * (self.n - 1), 1))

    @property
    def bounds(self) -> tuple[FloatArray, FloatArray]:
        """Smallest and largest a that the margins allow."""
        return np.maximum(0, self.a - self.d), np.minimum(self.a + self.b, self.a + self.c)


def mantel_haenszel(
    first: Counts,
    second: Counts,
    *,
    design_effect: npt.ArrayLike = 1.0,
    confidence: float = 0.95,
) -> Stratified:
    """Compare (labelled, positive) counts (..., S) of two groups over S strata.

    design_effect : clustering of labels by reader; it divides X2 and widens the interval.
    """
    tables = _tables(first, second)
    total = tables.variance.sum(axis=-1)
    if not np.all(total > 0):
        raise NotAssessable("CMH: labels of both kinds and of both groups needed in some stratum")
    effect = np.asarray(design_effect, dtype=np.float64)
    statistic = (tables.a - tables.expected).sum(axis=-1) ** 2 / total / effect
    p_value = np.asarray(chdtrc(1.0, statistic))
    sparse = np.broadcast_to(_spread(tables) < LEAST_SPREAD, p_value.shape)
    if sparse.any():
        exact, clustered = p_value.copy(), np.broadcast_to(effect > 1, p_value.shape)
        exact[sparse] = _exact(_rows(tables, sparse))
        p_value = np.where(clustered, np.maximum(exact, p_value), exact)
    ratio, error = _odds_ratio(tables)
    bounded = np.isfinite(error)
    half = ndtri((1 + confidence) / 2) * np.where(bounded, error, 0.0) * np.sqrt(effect)
    low = np.where(bounded, ratio * np.exp(-half), 0.0)
    high = np.where(bounded, ratio * np.exp(half), np.inf)
    return Stratified(statistic, p_value, ratio, low, high, _woolf(tables))


def _tables(first: Counts, second: Counts) -> _Tables:
    (n1, y1), (n2, y2) = _labels("first group", first), _labels("second group", second)
    return _Tables(*np.broadcast_arrays(y2, n2 - y2, y1, n1 - y1))


def _rows(tables: _Tables, where: npt.NDArray[np.bool_]) -> _Tables:
    return _Tables(tables.a[where], tables.b[where], tables.c[where], tables.d[where])


def _spread(tables: _Tables) -> FloatArray:
    low, high = (bound.sum(axis=-1) for bound in tables.bounds)
    expected = tables.expected.sum(axis=-1)
    return np.asarray(np.minimum(expected - low, high - expected))


def _exact(tables: _Tables) -> FloatArray:
    """Two-sided conditional p value: all totals no more likely than the one seen, (m,).

    The total of independent hypergeometric counts, by the product of their transforms.
    """
    low, high = tables.bounds
    size = int((high - low).sum(axis=-1).max()) + 1
    k = low[..., None] + np.arange(size)
    inside = k <= high[..., None]
    k = np.where(inside, k, low[..., None])
    a_b, a_c, n = tables.a + tables.b, tables.a + tables.c, tables.n
    log_p = _log_choose(a_c[..., None], k) + _log_choose((n - a_c)[..., None], a_b[..., None] - k)
    p = np.where(inside, np.exp(log_p - _log_choose(n, a_b)[..., None]), 0.0)
    total = np.fft.irfft(np.fft.rfft(p, 2 * size).prod(axis=-2), 2 * size)[..., :size]
    at = (tables.a - low).sum(axis=-1).astype(np.int64)
    seen = np.take_along_axis(total, at[..., None], axis=-1)
    beyond = np.where(total <= seen * (1 + 1e-7) + 1e-15, total, 0.0).sum(axis=-1)
    return np.asarray(np.clip(beyond, 0.0, 1.0))


def _log_choose(n: FloatArray, k: FloatArray) -> FloatArray:
    return np.asarray(gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1))


def _odds_ratio(tables: _Tables) -> tuple[FloatArray, FloatArray]:
    """Mantel-Haenszel odds ratio and the standard error of its logarithm (RBG), (...).

    0 or infinite, with an infinite error, where the strata leave it unbounded on that side.
    """
    n = np.maximum(tables.n, 1)
    r, s = tables.a * tables.d / n, tables.b * tables.c / n
    p, q = (tables.a + tables.d) / n, (tables.b + tables.c) / n
    sum_r, sum_s = r.sum(axis=-1), s.sum(axis=-1)
    bounded = (sum_r > 0) & (sum_s > 0)
    up, down = np.where(bounded, sum_r, 1.0), np.where(bounded, sum_s, 1.0)
    variance = (p * r).sum(axis=-1) / (2 * up**2) + (q * s).sum(axis=-1) / (2 * down**2)
    variance = variance + (p * s + q * r).sum(axis=-1) / (2 * up * down)
    ratio = np.where(bounded, up / down, np.where(sum_r > 0, np.inf, 0.0))
    return ratio, np.where(bounded, np.sqrt(variance), np.inf)


def _woolf(tables: _Tables) -> FloatArray:
    used = tables.variance > 0
    cells = np.stack([tables.a, tables.b, tables.c, tables.d])
    cells = cells + 0.5 * (cells == 0).any(axis=0)
    weight = np.where(used, 1 / (1 / cells).sum(axis=0), 0.0)
    log_ratio = np.log(cells[0] * cells[3] / (cells[1] * cells[2]))
    mean = (weight * log_ratio).sum(axis=-1) / np.maximum(weight.sum(axis=-1), 1e-300)
    statistic = (weight * (log_ratio - mean[..., None]) ** 2).sum(axis=-1)
    df = used.sum(axis=-1) - 1.0
    return np.where(df > 0, chdtrc(np.maximum(df, 1), statistic), 1.0)


# Labels against the reference's P(positive | score) ------------------------------------------


@dataclass(frozen=True, slots=True)
class Recalibration:
    """logit P(positive) = intercept + slope L, with L the reference's logit, (...).

    intercept : with the slope held at 1 (calibration in the large): above 0 more positives
    than expected. slope : below 1, labels noisier or the score weaker. Wald errors; tests by
    likelihood ratio: of the intercept given slope 1, of slope 1, of both.
    """

    intercept: FloatArray
    intercept_error: FloatArray
    slope: FloatArray
    slope_error: FloatArray
    intercept_p: FloatArray
    slope_p: FloatArray
    joint_p: FloatArray


def recalibrate(
    labels: Counts, expected_logit: npt.ArrayLike, *, design_effect: npt.ArrayLike = 1.0
) -> Recalibration:
    """Logistic recalibration of (labelled, positive) counts (..., G) on their expected logits.

    expected_logit : (..., G) reference logit of each score bin (and site: own intercepts go in
    here). design_effect : clustering by reader; scales errors and tests.
    """
    n, y = _labels("labels", labels)
    n, y, at = np.broadcast_arrays(n, y, np.asarray(expected_logit, dtype=np.float64))
    if not np.all(np.isfinite(at)):
        raise MonitorError("expected_logit must be finite")
    effect = np.asarray(design_effect, dtype=np.float64)
    nothing = np.zeros(n.shape[:-1])
    shift, _ = _newton(n, y, at, slopes=False)
    both, information = _newton(n, y, at, slopes=True)
    plain = _log_likelihood(n, y, at, nothing, nothing + 1)
    shifted = _log_likelihood(n, y, at, shift[0], shift[1])
    full = _log_likelihood(n, y, at, both[0], both[1])
    p = expit(shift[0][..., None] + at)
    return Recalibration(
        shift[0],
        np.sqrt(effect / (n * p * (1 - p)).sum(axis=-1)),
        both[1],
        np.sqrt(effect * information[..., 0, 0] / np.linalg.det(information)),
        _lr_tail(1, shifted - plain, effect),
        _lr_tail(1, full - shifted, effect),
        _lr_tail(2, full - plain, effect),
    )


def _lr_tail(df: int, gain: FloatArray, effect: FloatArray) -> FloatArray:
    return np.asarray(chdtrc(float(df), np.maximum(2 * gain / effect, 0.0)))


def _log_likelihood(
    n: FloatArray, y: FloatArray, at: FloatArray, intercept: FloatArray, slope: FloatArray
) -> FloatArray:
    eta = intercept[..., None] + slope[..., None] * at
    return np.asarray((y * eta - n * np.logaddexp(0.0, eta)).sum(axis=-1))


def _newton(
    n: FloatArray, y: FloatArray, at: FloatArray, *, slopes: bool
) -> tuple[tuple[FloatArray, FloatArray], FloatArray]:
    """Maximum over the intercept, and the slope if `slopes`; its information (..., 2, 2)."""
    design = np.stack([np.ones_like(at), at], axis=-1)
    free = np.array([1.0, float(slopes)])
    beta = np.broadcast_to(np.array([0.0, 1.0]), (*at.shape[:-1], 2))
    for _ in range(STEPS):
        p = expit((design @ beta[..., None])[..., 0])
        score = np.einsum("...g,...gk->...k", y - n * p, design) * free
        information = np.einsum("...g,...gj,...gk->...jk", n * p * (1 - p), design, design)
        masked = information * free * free[:, None] + np.diag(1 - free)
        if not np.all(np.linalg.det(masked) > 1e-12):
            break
        step = np.linalg.solve(masked, score[..., None])[..., 0]
        # A step that moves a logit further than this can overshoot and never come back.
        reach = np.abs(design @ step[..., None]).max(axis=(-2, -1), initial=FURTHEST)
        beta = beta + step * (FURTHEST / reach)[..., None]
        if np.all(np.abs(step) < CONVERGED):
            return (beta[..., 0], beta[..., 1]), information
    raise NotAssessable("recalibration: labels of both kinds at 2 or more expected rates needed")


@dataclass(frozen=True, slots=True)
class Difference:
    """A difference with its standard error, z and two-sided p value, (...)."""

    value: FloatArray
    standard_error: FloatArray
    z: FloatArray
    p_value: FloatArray


def _difference(value: FloatArray, variance: FloatArray) -> Difference:
    error = np.sqrt(variance)
    z = value / error
    return Difference(value, error, z, np.asarray(2 * ndtr(-np.abs(z))))


def double_difference(
    intercept: npt.ArrayLike,
    intercept_error: npt.ArrayLike,
    prior_shift: npt.ArrayLike,
    prior_shift_error: npt.ArrayLike,
) -> Difference:
    """Change of labelling on the logit scale that a changed prevalence does not explain.

    Under pure label shift logit P(positive | score) moves by exactly `prior_shift`, the change
    of logit prevalence seen in the scores; what remains of the labels' `intercept` is theirs.
    """
    a, se, b, prior_se = (
        np.asarray(x, dtype=np.float64)
        for x in (intercept, intercept_error, prior_shift, prior_shift_error)
    )
    if not np.all((se > 0) & (prior_se >= 0)):
        raise MonitorError("standard errors: intercept > 0 and prior shift >= 0 expected")
    return _difference(np.asarray(a - b), np.asarray(se**2 + prior_se**2))


# Fixed images --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SentinelReads:
    """Re-reads of fixed images against their reference reads, (...).

    net : mean change of P(positive) per image; disagreement : gain in disagreement with the
    reference reads over what those have among themselves. images : compared.
    """

    net: Difference
    disagreement: Difference
    images: FloatArray


def sentinel_reads(reference: Counts, current: Counts) -> SentinelReads:
    """Compare (reads, positive) of fixed images (..., I) with their reference reads (..., I).

    Images with fewer than 2 reference reads or none now are left out. Reference variation is
    2k(n-k)/(n(n-1)), unbiased: the plug-in 2r(1-r) is too small and gave z of -2 to -4 with
    nothing changed. Several re-reads of an image are one cluster.
    """
    n, k, m, y = np.broadcast_arrays(
        *_labels("reference reads", reference), *_labels("current reads", current)
    )
    used = (n >= 2) & (m >= 1)
    images = used.sum(axis=-1).astype(np.float64)
    if not np.all(images >= 2):
        raise NotAssessable("sentinels: at least 2 images read now and twice before needed")
    n, m = np.where(used, n, 2.0), np.where(used, m, 1.0)
    rate, now = np.where(used, k / n, 0.0), np.where(used, y / m, 0.0)
    spread = np.where(used, k * (n - k) / (n * (n - 1)), 0.0)
    noise = (spread * (1 / m + 1 / n)).sum(axis=-1) / images**2
    gain = np.where(used, now * (1 - rate) + (1 - now) * rate - 2 * spread, 0.0)
    mean = gain.sum(axis=-1) / images
    scatter = np.where(used, (gain - mean[..., None]) ** 2, 0.0).sum(axis=-1)
    if not np.all((noise > 0) & (scatter > 0)):
        raise NotAssessable("sentinels: no image on which the reads ever differed")
    net = _difference((now - rate).sum(axis=-1) / images, noise)
    return SentinelReads(net, _difference(mean, scatter / (images - 1) / images), images)


def mcnemar(gained: npt.ArrayLike, lost: npt.ArrayLike) -> FloatArray:
    """Exact two-sided p value of paired reads that turned positive and negative, (...)."""
    b, c = np.broadcast_arrays(np.asarray(gained), np.asarray(lost))
    if np.any((b < 0) | (c < 0)):
        raise MonitorError("paired reads: counts must not be negative")
    return np.asarray(np.minimum(1.0, 2 * bdtr(np.minimum(b, c), b + c, 0.5)))
