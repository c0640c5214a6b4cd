"""How well does the device do? From labels where there are any, from the model only if allowed.

Labels are selected: most come from flagged cases. So every labelled figure is post-stratified
by score bin (Begg and Greenes 1983, Biometrics 39, 207-215), with the case counts of all
cases. Bins without a label leave sensitivity unidentified: then there are bounds, no estimate.

CBPE (confidence-based performance estimation) assumes that P(positive | score) is the
reference's, or moved by a known prior shift: after an acquisition shift that took sensitivity
to 0.68 it says 0.77. Publish it only where the cause is "none" or an accepted prevalence
change, and call it model-based. Counts are (..., B) over score bins; leading axes are strata.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit, ndtri

from monitors.errors import MonitorError, NotAssessable
from monitors.prevalence import Classes, Estimate, prior_corrected
from monitors.proportions import Interval, clopper_pearson
from monitors.schema import FloatArray

DRAWS = 2000


# From labels ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Audit:
    """Cases of a window and those of them with a label, (..., B): cases, labelled, positive.

    Labels are taken to be a random sample within their bin; compare audit labels with
    follow-up labels (`annotation.mantel_haenszel`) before mixing them.
    """

    cases: FloatArray
    labelled: FloatArray
    positive: FloatArray

    def __post_init__(self) -> None:
        for name in ("cases", "labelled", "positive"):
            value = np.asarray(getattr(self, name), dtype=np.float64)
            object.__setattr__(self, name, value)
        ordered = (self.positive >= 0) & (self.positive <= self.labelled)
        if not np.all(ordered & (self.labelled <= self.cases)):
            raise MonitorError("labels: 0 <= positive <= labelled <= cases expected in every bin")

    @property
    def identified(self) -> npt.NDArray[np.bool_]:
        """Whether every bin with cases has a label, (...)."""
        return np.asarray(((self.labelled > 0) | (self.cases == 0)).all(axis=-1))

    @property
    def rate(self) -> FloatArray:
        """Share of positive labels in each bin, (..., B); 0 where there is none."""
        return np.asarray(self.positive / np.maximum(self.labelled, 1))

    @property
    def rate_variance(self) -> FloatArray:
        """Variance of `rate`, (..., B): Jeffreys, so that 0 of 5 is not certain."""
        p = (self.positive + 0.5) / (self.labelled + 1)
        left = 1 - self.labelled / np.maximum(self.cases, 1)  # labelled cases are known
        return np.asarray(p * (1 - p) / (self.labelled + 2) * left)


@dataclass(frozen=True, slots=True)
class Performance:
    """Sensitivity and specificity at a threshold, with confidence intervals."""

    sensitivity: Interval
    specificity: Interval


def post_stratified(audit: Audit, threshold_bin: int, confidence: float = 0.95) -> Performance:
    """Sensitivity and specificity of all cases; bins from `threshold_bin` up are flagged.

    Variance by the delta method, interval on the logit scale (Agresti 2013, section 3.1.6).
    """
    if not np.all(audit.identified):
        raise NotAssessable("sensitivity is not identified: a score bin with cases has no label")
    positive = audit.cases * audit.rate
    variance = audit.cases**2 * audit.rate_variance
    flagged = np.arange(audit.cases.shape[-1]) >= _threshold(audit, threshold_bin)
    return Performance(
        _share(positive, variance, flagged, confidence),
        _share(audit.cases - positive, variance, ~flagged, confidence),
    )


@dataclass(frozen=True, slots=True)
class PredictiveValues:
    """Share of positives among flagged, of negatives among other cases, with intervals."""

    ppv: Interval
    npv: Interval


def predictive_values(
    audit: Audit, threshold_bin: int, confidence: float = 0.95
) -> PredictiveValues:
    """PPV and NPV of all cases; bins from `threshold_bin` up are flagged, (...).

    The stratified mean on either side of the threshold (Cochran 1977, Sampling Techniques,
    section 5.3), each bin's labels weighted by its cases; interval on the logit scale.
    """
    if not np.all(audit.identified):
        raise NotAssessable("predictive values: a score bin with cases has no label")
    flagged = np.arange(audit.cases.shape[-1]) >= _threshold(audit, threshold_bin)
    return PredictiveValues(
        _mean_rate(audit, audit.rate, flagged, confidence),
        _mean_rate(audit, 1 - audit.rate, ~flagged, confidence),
    )


def _mean_rate(
    audit: Audit, rate: FloatArray, inside: npt.NDArray[np.bool_], confidence: float
) -> Interval:
    """Mean of `rate` (..., B) over the cases of the bins `inside` (B,)."""
    cases = audit.cases * inside
    total = cases.sum(axis=-1)
    if not np.all(total > 0):
        raise NotAssessable("predictive values: cases on both sides of the threshold expected")
    error = np.sqrt((cases**2 * audit.rate_variance).sum(axis=-1)) / total
    return _on_logit(np.asarray((cases * rate).sum(axis=-1) / total), error, confidence)


def audited_prevalence(audit: Audit, confidence: float = 0.95) -> Estimate:
    """Share of positives among all cases, each bin's labels weighted by its cases, (...).

    The stratified mean: Cochran (1977), Sampling Techniques, section 5.3.
    """
    if not np.all(audit.identified):
        raise NotAssessable("prevalence is not identified: a score bin with cases has no label")
    weight = audit.cases / audit.cases.sum(axis=-1, keepdims=True)
    value = np.asarray((weight * audit.rate).sum(axis=-1))
    error = np.asarray(np.sqrt((weight**2 * audit.rate_variance).sum(axis=-1)))
    half = ndtri((1 + confidence) / 2) * error
    return Estimate(value, error, np.maximum(value - half, 0.0), np.minimum(value + half, 1.0))


def _threshold(audit: Audit, threshold_bin: int) -> int:
    bins = audit.cases.shape[-1]
    if not 0 < threshold_bin < bins:
        raise MonitorError(f"threshold_bin: 1 to {bins - 1} expected, got {threshold_bin}")
    return threshold_bin


def _share(
    mass: FloatArray, variance: FloatArray, inside: npt.NDArray[np.bool_], confidence: float
) -> Interval:
    """Share of `mass` (..., B) that is `inside` (B,), with independent variances per bin."""
    a, b = (mass * inside).sum(axis=-1), (mass * ~inside).sum(axis=-1)
    if not np.all(a + b > 0):
        raise NotAssessable("performance: labels of both kinds expected")
    spread = b**2 * (variance * inside).sum(axis=-1) + a**2 * (variance * ~inside).sum(axis=-1)
    value, error = a / (a + b), np.sqrt(spread) / (a + b) ** 2
    return _on_logit(value, error, confidence)


def _on_logit(value: FloatArray, error: FloatArray, confidence: float) -> Interval:
    """A share with standard error `error` (...), its interval made on the logit scale."""
    half = ndtri((1 + confidence) / 2) * error
    interior = (value > 0) & (value < 1)
    curve = np.where(interior, value * (1 - value), 1.0)
    at = logit(np.where(interior, value, 0.5))
    # At 0 or 1 there is no logit: there the plain scale is used, and it is one-sided.
    low = np.where(interior, expit(at - half / curve), value - half)
    high = np.where(interior, expit(at + half / curve), value + half)
    return Interval(value, np.clip(low, 0.0, 1.0), np.clip(high, 0.0, 1.0))


@dataclass(frozen=True, slots=True)
class Bounds:
    """What labels cannot rule out, (...): no estimate inside."""

    sensitivity_low: FloatArray
    sensitivity_high: FloatArray
    specificity_low: FloatArray
    specificity_high: FloatArray


def performance_bounds(audit: Audit, threshold_bin: int, confidence: float = 0.95) -> Bounds:
    """Bounds that hold even where bins have no label: each bin at its worst Clopper-Pearson limit.

    An unlabelled bin may be all positive or all negative.
    """
    flagged = np.arange(audit.cases.shape[-1]) >= _threshold(audit, threshold_bin)
    known = audit.labelled > 0
    limits = clopper_pearson(audit.positive, np.maximum(audit.labelled, 1), confidence)
    low, high = np.where(known, limits.low, 0.0), np.where(known, limits.high, 1.0)
    few_flagged, many_flagged = np.where(flagged, low, high), np.where(flagged, high, low)
    return Bounds(
        _part(audit.cases * few_flagged, flagged),
        _part(audit.cases * many_flagged, flagged),
        _part(audit.cases * (1 - few_flagged), ~flagged),
        _part(audit.cases * (1 - many_flagged), ~flagged),
    )


def _part(mass: FloatArray, inside: npt.NDArray[np.bool_]) -> FloatArray:
    total = mass.sum(axis=-1)
    if not np.all(total > 0):
        raise NotAssessable("performance: no case of one kind is possible")
    return np.asarray((mass * inside).sum(axis=-1) / total)


def classes_of(audit: Audit) -> Classes:
    """Score counts of both classes among all cases, from labels selected by score, (..., B).

    Each label stands for cases / labelled of its bin; the counts are scaled down to what such
    unequal weights are worth (Kish 1965, section 11.7), so that intervals stay honest.
    """
    if not np.all(audit.identified):
        raise NotAssessable("classes are not identified: a score bin with cases has no label")
    weight = audit.cases / np.maximum(audit.labelled, 1)
    return Classes(*(_worth(x, weight) for x in (audit.labelled - audit.positive, audit.positive)))


def _worth(labels: FloatArray, weight: FloatArray) -> FloatArray:
    total = (labels * weight).sum(axis=-1, keepdims=True)
    square = (labels * weight**2).sum(axis=-1, keepdims=True)
    if not np.all(total > 0):
        raise NotAssessable("classes: labels of both kinds expected")
    return np.asarray(labels * weight * (total / square))


# Area under the curve ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Auc:
    """Area under the ROC curve with ties counted half, and its standard error, (...)."""

    value: FloatArray
    standard_error: FloatArray


def auc(classes: Classes) -> Auc:
    """AUC of labelled counts, with the error of DeLong, DeLong and Clarke-Pearson (1988)."""
    n1, n0 = classes.positive.sum(axis=-1), classes.negative.sum(axis=-1)
    if not np.all((n1 >= 2) & (n0 >= 2)):
        raise NotAssessable("AUC: at least 2 positive and 2 negative labels expected")
    beaten, beating = _placements(classes.negative, classes.positive)
    beaten, beating = beaten / n0[..., None], beating / n1[..., None]
    p1, p0 = classes.positive / n1[..., None], classes.negative / n0[..., None]
    value = (p1 * beaten).sum(axis=-1)
    spread1 = (p1 * (beaten - value[..., None]) ** 2).sum(axis=-1) / (n1 - 1)
    spread0 = (p0 * (beating - value[..., None]) ** 2).sum(axis=-1) / (n0 - 1)
    return Auc(value, np.sqrt(spread1 + spread0))


def auc_interval(found: Auc, confidence: float = 0.95) -> Interval:
    """The area with an interval on the logit scale, (...).

    Pepe (2003), The Statistical Evaluation of Medical Tests, chapter 5.
    """
    return _on_logit(found.value, found.standard_error, confidence)


def _placements(negative: FloatArray, positive: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Negatives below each bin and positives above it, its own counted half, (..., B)."""
    below = np.cumsum(negative, axis=-1) - negative / 2
    above = positive.sum(axis=-1, keepdims=True) - np.cumsum(positive, axis=-1) + positive / 2
    return below, above


def auc_post_stratified(audit: Audit) -> Auc:
    """AUC of all cases from labels selected by score, with its delta-method error."""
    if not np.all(audit.identified):
        raise NotAssessable("AUC is not identified: a score bin with cases has no label")
    positive = audit.cases * audit.rate
    negative = audit.cases - positive
    total1, total0 = positive.sum(axis=-1), negative.sum(axis=-1)
    if not np.all((total1 > 0) & (total0 > 0)):
        raise NotAssessable("AUC: labels of both kinds expected")
    below, above = _placements(negative, positive)
    pairs = total1 * total0
    value = (positive * below).sum(axis=-1) / pairs
    gain = (below - above) / pairs[..., None] - (value / total1 - value / total0)[..., None]
    variance = ((audit.cases * gain) ** 2 * audit.rate_variance).sum(axis=-1)
    return Auc(value, np.sqrt(variance))


# Without labels ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ModelBased:
    """What the reference's P(positive | score) implies for these cases; not a measurement."""

    sensitivity: Interval
    specificity: Interval
    ppv: Interval
    auc: Interval


def cbpe(
    classes: Classes,
    cases: npt.ArrayLike,
    threshold_bin: int,
    *,
    prevalence: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> ModelBased:
    """Expected performance of `cases` (..., B) from the reference's calibration.

    prevalence : value and standard error of the present one, if it is known to have moved and
    nothing else has. Interval by simulation of calibration, case mix and prevalence.
    """
    counts = np.asarray(cases, dtype=np.float64)
    if not 0 < threshold_bin < counts.shape[-1]:
        raise MonitorError(
            f"threshold_bin: 1 to {counts.shape[-1] - 1} expected, got {threshold_bin}"
        )
    if not np.all(counts.sum(axis=-1) >= 1):
        raise NotAssessable("CBPE: no case in a row")
    n = classes.negative + classes.positive + 1
    rate = isotonic((classes.positive + 0.5) / n, n)
    rng = np.random.default_rng(seed)
    rates = rng.beta(rate * n, (1 - rate) * n, size=(DRAWS, *np.broadcast(rate, counts).shape))
    mixes = rng.standard_gamma(counts + 0.5 / counts.shape[-1], size=rates.shape)
    now = None if prevalence is None else _logit_normal(rng, *prevalence, rates.shape[:-1])
    point = _implied(_shifted(rate, classes, prevalence and prevalence[0]), counts, threshold_bin)
    drawn = _implied(_shifted(rates, classes, now), mixes, threshold_bin)
    return ModelBased(
        *(_summary(value, draws, confidence) for value, draws in zip(point, drawn, strict=True))
    )


def isotonic(values: npt.ArrayLike, weights: npt.ArrayLike) -> FloatArray:
    """Weighted least-squares fit that never falls along the last axis, (..., B).

    By the max-min formula of Robertson, Wright and Dykstra (1988), section 1.4, which needs no
    loop over rows.
    """
    y, w = np.broadcast_arrays(np.asarray(values, dtype=float), np.asarray(weights, dtype=float))
    pad = [(0, 0)] * (y.ndim - 1) + [(1, 0)]
    mass, moment = (np.cumsum(np.pad(x, pad), axis=-1) for x in (w, w * y))
    upper = np.triu(np.ones((y.shape[-1],) * 2, dtype=bool))
    size = mass[..., None, 1:] - mass[..., :-1, None]
    mean = (moment[..., None, 1:] - moment[..., :-1, None]) / np.where(upper, size, 1.0)
    least = np.minimum.accumulate(np.where(upper, mean, np.inf)[..., ::-1], axis=-1)[..., ::-1]
    return np.asarray(np.where(upper, least, -np.inf).max(axis=-2))


def _logit_normal(
    rng: np.random.Generator, value: npt.ArrayLike, error: npt.ArrayLike, shape: tuple[int, ...]
) -> FloatArray:
    pi = np.asarray(value, dtype=np.float64)
    return np.asarray(
        expit(logit(pi) + np.asarray(error) / (pi * (1 - pi)) * rng.standard_normal(shape))
    )


def _shifted(rate: FloatArray, classes: Classes, prevalence: npt.ArrayLike | None) -> FloatArray:
    if prevalence is None:
        return rate
    now = np.asarray(prevalence, dtype=np.float64)[..., None]
    return prior_corrected(rate, classes.prevalence[..., None], now)


def _implied(rate: FloatArray, counts: FloatArray, at: int) -> tuple[FloatArray, ...]:
    """Sensitivity, specificity, PPV and area under the curve."""
    positive, negative = counts * rate, counts * (1 - rate)
    true, false = positive[..., at:].sum(axis=-1), negative[..., at:].sum(axis=-1)
    positives, negatives = positive.sum(axis=-1), negative.sum(axis=-1)
    below, _ = _placements(negative, positive)
    tiny = np.finfo(float).tiny  # a mix drawn without any flagged case has a PPV of 0, not 0/0
    return (
        true / positives,
        negative[..., :at].sum(axis=-1) / negatives,
        true / np.maximum(true + false, tiny),
        (positive * below).sum(axis=-1) / positives / negatives,
    )


def _summary(value: FloatArray, draws: FloatArray, confidence: float) -> Interval:
    low, high = np.quantile(draws, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    return Interval(value, low, high)
