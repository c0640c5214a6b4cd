"""Which cause: marginal likelihoods of structural hypotheses over four channels of evidence.

Channels: acquisition characteristics and score with embedding (one vector of mean shifts),
labels given the score, and re-reads of fixed images. Each cause says which channels may move and
how they hang together (statistics.md C1):

    scanner      acquisition moves freely, score and embedding may follow; the true rate does not
    prevalence   one number moves score, embedding, label rate; labels given the score follow it
    population   score and embedding move freely, labels given the score by an intercept alone
    performance  score and embedding move; labels given the score too, so that the rate is kept
    annotation   only labels given the score and re-reads of fixed images move, in one direction
    lock         the scores of fixed images changed: deterministic, never weighed here

Free movements have normal priors and are integrated out, so a cause that could explain anything
pays for it; no count of parameters is needed. Where the channels that tell two causes apart are
missing, their posteriors stay close and nothing is named: what is missing cannot be guessed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.special import chdtrc, expit, logit

from monitors.detectors import log_sum
from monitors.label_stream import OVERDISPERSION
from monitors.moved import (
    SHIFT_SD,
    SHIFTS,
    Moved,
    best_fit,
    cause_densities,
    prevalence_densities,
    scanner_densities,
)
from monitors.schema import FloatArray, IntArray

SINGLE = ("scanner", "prevalence", "population", "performance", "annotation")
PAIRS = (
    ("scanner", "prevalence"),
    ("scanner", "annotation"),
    ("prevalence", "annotation"),
    ("performance", "annotation"),
)
UNEXPLAINED = ("unexplained",)  # labels moved, images did not, and re-reads do not agree: unnamed
LOG_PRIOR = {"performance": -0.7, "population": -1.0, "unexplained": -1.5}
LOG_PRIOR_PAIR = -3.0
LOG_PRIOR_HIDDEN = -1.0  # more: nothing ties what positives and readers do together
LOG_PRIOR_NONE = -1.0
EVENT_LOG_ODDS = float(np.log(10))

DILUTION = np.array([0.5, 0.75, 1.0])  # share of new labels that belong to images after the change
INTERCEPTS = np.linspace(-3, 3, 61)  # log odds of a label given the score
SLOPES = np.linspace(-0.8, 0.8, 9)
INTERCEPT_SD = 1.0
SLOPE_SD = 0.25
RATE_ERROR = 0.1  # log odds: how closely "the true rate did not move" binds
NOISE = np.array([0.0, 0.5, 0.9])  # of the lowest and highest P(label | score), what is misreading
NEGATIVES_KEPT = 0.08  # total variation of negatives' scores beyond which it is not positives alone
READ_GAIN = np.array([0.5, 1.0, 2.0])  # effect on fixed images per effect on labels given the score
ACCEPTABLE = 1e-3  # p-value of what a set holds fixed, down to which it may be named
STILL_ACCEPTABLE = 1e-4  # and down to which a name once given stays: it is asked at every look
# A changed score of positives is the loosest of the hypotheses: it takes in much that no hypothesis
# describes, such as new anatomy. So it must be surer than another cause before it is named.
LOOSE: Mapping[tuple[str, ...], float] = {("performance",): 0.95}
KEEPING = 0.6  # posterior at which a name once given is kept: names should not flicker
LEAST_LABELS = 30
DEFAULT_RATE = 0.15  # positive rate where no labels tell it


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """Labels read after the change, by site: labelled, positive, probability, mix (S, B).

    mix, before : share of all cases (labelled or not) in each bin after the change and in the
    reference. error, rate : (S,).
    """

    labelled: IntArray
    positive: IntArray
    probability: FloatArray
    mix: FloatArray
    before: FloatArray
    error: FloatArray
    rate: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Reads:
    """Net shift of fixed-image reads, its variance, and what `INTERCEPTS` x `READ_GAIN` predict."""

    shift: float
    variance: float
    expected: FloatArray


@dataclass(frozen=True, slots=True)
class Verdict:
    """causes named (or ("undetermined",)), their probability, and every candidate's posterior."""

    causes: tuple[str, ...]
    probability: float
    candidates: dict[str, float]
    missing: tuple[str, ...]


def attribute(
    moved: Moved | None,
    labels: Labels | None,
    reads: Reads | None,
    events: Mapping[str, float],
    naming_probability: float,
    named: tuple[str, ...] = (),
    rescored: bool = True,
) -> Verdict:
    """The posterior over cause sets, and the set that may be named.

    events : log prior odds that registered events near the change date add, by cause.
    named : the set that was named before; it stays named while it is the more likely by far.
    rescored : whether the fixed images' scores were seen unchanged after the change.
    """
    if labels is not None and labels.labelled.sum() < LEAST_LABELS:
        labels = None
    parts = _Parts(moved, labels, reads)
    evidence = {causes: parts.log_evidence(causes) for causes in _sets()}
    prior = {causes: _log_prior(causes, events) for causes in evidence}
    log_post = np.array([evidence[c] + prior[c] for c in evidence])
    posterior = np.exp(log_post - log_sum(log_post))
    ranked = sorted(zip(posterior, evidence, strict=True), key=lambda item: (-item[0], item[1]))
    candidates = {"+".join(c) or "none": float(p) for p, c in ranked if p >= 0.005}
    missing = _missing(labels, reads, rescored)
    by_set = {c: float(p) for p, c in ranked}
    for causes in _names(ranked[0][1], by_set):
        support = _support(causes, by_set)
        is_kept = causes == named
        if (
            support >= (KEEPING if is_kept else max(naming_probability, LOOSE.get(causes, 0.0)))
            and not _lacks(causes, labels, reads, rescored)
            and parts.acceptable(ranked[0][1], STILL_ACCEPTABLE if is_kept else ACCEPTABLE)
        ):
            return Verdict(causes, support, candidates, missing)
    return Verdict(("undetermined",), float(ranked[0][0]), candidates, missing)


def _names(
    top: tuple[str, ...], posterior: Mapping[tuple[str, ...], float]
) -> Iterator[tuple[str, ...]]:
    """What may be named, first the likeliest set, then that of its causes that is surest.

    A cause that nearly every likely set holds is known, whatever else may be beside it.
    """
    if top in ((), UNEXPLAINED):
        return
    yield top
    if len(top) > 1:
        yield max(((c,) for c in top), key=lambda one: _support(one, posterior))


def _sets() -> tuple[tuple[str, ...], ...]:
    return ((), *((c,) for c in SINGLE), *PAIRS, UNEXPLAINED)


def _log_prior(causes: tuple[str, ...], events: Mapping[str, float]) -> float:
    if not causes:
        return LOG_PRIOR_NONE
    own = sum(LOG_PRIOR.get(c, 0.0) + events.get(c, 0.0) for c in causes)
    hidden = LOG_PRIOR_HIDDEN if causes == ("performance", "annotation") else 0.0
    return own + hidden + (LOG_PRIOR_PAIR if len(causes) > 1 else 0.0)


def _support(causes: tuple[str, ...], posterior: Mapping[tuple[str, ...], float]) -> float:
    """Posterior of every set that holds all of `causes`.

    Prevalence with and without a changed case mix support each other's name.
    """
    family, wanted = {"prevalence", "population"}, set(causes)
    is_family = not family.isdisjoint(wanted)
    held = [
        p
        for c, p in posterior.items()
        if wanted - family <= set(c) and not (is_family and family.isdisjoint(c))
    ]
    return min(1.0, sum(held))


def _missing(labels: Labels | None, reads: Reads | None, rescored: bool) -> tuple[str, ...]:
    absent = {
        "labels": labels is None,
        "sentinel reads": reads is None,
        "sentinel scores": not rescored,
    }
    return tuple(name for name, is_absent in absent.items() if is_absent)


def _lacks(
    causes: tuple[str, ...], labels: Labels | None, reads: Reads | None, rescored: bool
) -> bool:
    """Whether a necessary channel of one of `causes` is missing."""
    if labels is None and set(causes) & {"prevalence", "population", "performance", "annotation"}:
        return True
    if not rescored and set(causes) & {"population", "performance"}:
        return True  # a broken lock would look the same
    return "annotation" in causes and reads is None


class _Parts:
    """Log marginal likelihoods of each channel under each hypothesis, computed once."""

    def __init__(self, moved: Moved | None, labels: Labels | None, reads: Reads | None) -> None:
        self.moved, self.labels, self.reads = moved, labels, reads
        self.rate = float(labels.rate.mean()) if labels is not None else DEFAULT_RATE
        self.x = cause_densities(moved, self.rate)
        self.grid = _label_grid(labels)
        self.read = _read_hypotheses(reads)
        self.kept = _kept_intercepts(labels, np.zeros(1))[0]
        self.patients = _patients(moved, labels, self.rate)

    def log_evidence(self, causes: tuple[str, ...]) -> float:
        """Log marginal likelihood of all channels under the cause set."""
        if causes == ("prevalence",):
            return float(log_sum(self.patients)) + float(self.read["null"])
        if causes == ("prevalence", "annotation"):
            return self._prevalence_and_annotation()
        if causes == ("scanner", "prevalence"):
            return self._scanner_and_prevalence()
        return self._x(causes) + self._labels_and_reads(causes)

    def _x(self, causes: tuple[str, ...]) -> float:
        if causes in ((), ("annotation",), UNEXPLAINED):
            return self.x["null"]
        return self.x[next(c for c in causes if c != "annotation")]

    def _labels_and_reads(self, causes: tuple[str, ...]) -> float:
        if causes == ("annotation",):
            table = _free(INTERCEPT_SD, SLOPE_SD) + self.grid
            return float(log_sum(log_sum(table, axis=1) + self.read["annotation"]))
        if "annotation" in causes:
            return self._kept_and_annotation()
        if not causes:
            prior = _fixed()
        elif causes in (("scanner",), ("performance",)):
            prior = self.kept
        elif causes == ("population",):
            prior = _free(INTERCEPT_SD, 0.0)
        else:
            prior = _free(INTERCEPT_SD, SLOPE_SD)
        return float(log_sum(prior + self.grid) + self.read["null"])

    def _prevalence_and_annotation(self) -> float:
        """Labels move by the shift plus a convention, re-reads by the convention alone."""
        prior = _free(INTERCEPT_SD, SLOPE_SD) + self.read["annotation"][:, None]
        moved = INTERCEPTS[None, :] + SHIFTS[:, None]
        label = [
            prior[:, k] + np.interp(moved, INTERCEPTS, self.grid[:, k]) for k in range(SLOPES.size)
        ]
        x = prevalence_densities(self.moved, self.rate, 1.0)
        return float(log_sum(_shift_prior() + x + log_sum(np.array(label), axis=(0, 2))))

    def _kept_and_annotation(self) -> float:
        """The true rate stays, so that what the labels moved beyond it is the convention's."""
        n = INTERCEPTS.size
        at = np.arange(n)[:, None] - np.arange(n) + n // 2  # intercept less convention
        inside = (at >= 0) & (at < n)
        shifted = np.where(inside[..., None], self.kept[np.clip(at, 0, n - 1)], -np.inf)
        label = log_sum(shifted + self.grid[:, None], axis=(0, 2))
        prior = _free(INTERCEPT_SD, 0.0)[:, SLOPES.size // 2]
        return float(log_sum(prior + label + self.read["annotation"]))

    def _scanner_and_prevalence(self) -> float:
        """One number moves the positive rate and what it moves along; a scanner all the rest."""
        label = log_sum(_kept_intercepts(self.labels, SHIFTS) + self.grid, axis=(1, 2))
        x = scanner_densities(self.moved, self.rate)
        return float(log_sum(_shift_prior() + x + label) + self.read["null"])

    def acceptable(self, causes: tuple[str, ...], level: float = ACCEPTABLE) -> bool:
        """Whether what the set holds fixed is compatible with what was seen (p >= `level`)."""
        fits = (self._x_fit(causes), self._label_fit(causes), self._read_fit(causes))
        return min(fits) >= level and (
            causes != ("performance",) or self._negatives_moved() <= NEGATIVES_KEPT
        )

    def _negatives_moved(self) -> float:
        """Total variation between negatives' scores before and after, by the best fitting labels.

        Positives that look different leave the negatives where they were; noise in the scores or
        another calibration does not.
        """
        if self.labels is None:
            return 0.0
        best = np.unravel_index(int((self.grid + self.kept).argmax()), self.grid.shape)
        base = logit(self.labels.probability)
        after = expit(base + INTERCEPTS[best[0]] + SLOPES[best[1]] * _level(self.labels))
        size = self.labels.labelled.sum(axis=1) / self.labels.labelled.sum()
        old = size @ (self.labels.before * (1 - self.labels.probability))
        new = size @ (self.labels.mix * (1 - after))
        return float(0.5 * np.abs(new / new.sum() - old / old.sum()).sum())

    def _x_fit(self, causes: tuple[str, ...]) -> float:
        if self.moved is None:
            return 1.0
        mean, covariance = best_fit(self.moved, self.rate, causes)
        apart = self.moved.x - mean
        return float(chdtrc(apart.size, apart @ np.linalg.solve(covariance, apart)))

    def _label_fit(self, causes: tuple[str, ...]) -> float:
        if self.labels is None or len(causes) > 1 or causes == ("annotation",):
            return 1.0
        if causes == ("prevalence",):
            best = float(_prevalence_labels(self.labels).max())
        else:
            prior = _free(INTERCEPT_SD, 0.0) if causes == ("population",) else self.kept
            best = float((self.grid + prior - prior.max()).max())
        return float(chdtrc(2, 2 * max(float(self.grid.max()) - best, 0.0)))

    def _read_fit(self, causes: tuple[str, ...]) -> float:
        if self.reads is None or "annotation" in causes:
            return 1.0
        return float(chdtrc(1, self.reads.shift**2 / self.reads.variance))


def _shift_prior() -> FloatArray:
    return _normalised(-0.5 * (SHIFTS / SHIFT_SD) ** 2)


def _patients(moved: Moved | None, labels: Labels | None, rate: float) -> FloatArray:
    """Log joint of mean shifts and labels (noise, SHIFTS): one number moves them all.

    Readers who misread some share of either class flatten P(label | score) at its ends, so that a
    changed prevalence moves labels less there than on the log odds of the truth. How much of the
    ends is misreading is not known; it is averaged over `NOISE`.
    """
    label = _prevalence_labels(labels)
    label = log_sum(label, axis=2) - np.log(DILUTION.size)
    x = []
    for noise in NOISE:
        true_rate, gain = _true_rate(labels, rate, float(noise))
        from_labels = moved is not None and moved.direction_from_labels
        x.append(prevalence_densities(moved, true_rate, gain if from_labels else 1.0))
    return np.asarray(_shift_prior() + np.array(x) + label - np.log(NOISE.size))


def _misread(labels: Labels, noise: float) -> tuple[FloatArray, FloatArray]:
    """Assumed shares (S, 1) of negatives and of positives that are misread."""
    lowest = labels.probability.min(axis=1, keepdims=True)
    highest = labels.probability.max(axis=1, keepdims=True)
    return noise * lowest, noise * (1 - highest)


def _true_rate(labels: Labels | None, rate: float, noise: float) -> tuple[float, float]:
    """Rate of the truth behind the labels, and how much longer its direction is than theirs."""
    if labels is None:
        return rate, 1.0
    f, g = (float(part.mean()) for part in _misread(labels, noise))
    true = float(np.clip((rate - f) / (1 - f - g), 0.01, 0.99))
    predictive = (1 - g) * true / rate + (1 - f) * (1 - true) / (1 - rate) - 1
    return true, 1 / max(predictive, 0.2)


def _prevalence_labels(labels: Labels | None) -> FloatArray:
    """Log likelihood of the labels (noise, SHIFTS, DILUTION) when prevalence alone moved."""
    if labels is None:
        return np.zeros((NOISE.size, SHIFTS.size, DILUTION.size))
    tables = []
    for noise in NOISE:
        f, g = _misread(labels, float(noise))
        true = np.clip((labels.probability - f) / (1 - f - g), 1e-4, 1 - 1e-4)
        moved = f + (1 - f - g) * expit(logit(true) + SHIFTS[:, None, None])
        step = (moved - labels.probability)[:, None] * DILUTION[:, None, None]
        tables.append(_score_density(labels, labels.probability + step))
    return np.array(tables)


def _label_grid(labels: Labels | None) -> FloatArray:
    """Log likelihood of the labels over `INTERCEPTS` x `SLOPES`."""
    if labels is None:
        return np.zeros((INTERCEPTS.size, SLOPES.size))
    base = logit(labels.probability)
    a, b = INTERCEPTS[:, None, None, None], SLOPES[None, :, None, None]
    return _score_density(labels, expit(base + a + b * _level(labels)))


def _level(labels: Labels) -> FloatArray:
    """Reference log odds (S, B), centred where the labels tell most."""
    base = logit(labels.probability)
    weight = labels.labelled * labels.probability * (1 - labels.probability)
    return np.asarray(base - (weight * base).sum() / max(float(weight.sum()), 1e-9))


def _score_density(labels: Labels, p: FloatArray) -> FloatArray:
    """Log density (...) of the labels' two scores, intercept and slope, if they had p (..., S, B).

    Normal, with the over-dispersion of labels and the error of each site's reference intercept.
    """
    level = _level(labels)
    n, known = labels.labelled, labels.probability
    excess = labels.positive - n * known
    seen = np.array([excess.sum(), (level * excess).sum()])
    step, spread = n * (p - known), n * p * (1 - p)
    apart0 = seen[0] - step.sum(axis=(-1, -2))
    apart1 = seen[1] - (level * step).sum(axis=(-1, -2))
    site0, site1 = spread.sum(axis=-1) * labels.error, (level * spread).sum(axis=-1) * labels.error
    v00 = OVERDISPERSION * spread.sum(axis=(-1, -2)) + (site0**2).sum(axis=-1) + 0.25
    v01 = OVERDISPERSION * (level * spread).sum(axis=(-1, -2)) + (site0 * site1).sum(axis=-1)
    v11 = OVERDISPERSION * (level**2 * spread).sum(axis=(-1, -2)) + (site1**2).sum(axis=-1) + 0.25
    det = v00 * v11 - v01**2
    square = (v11 * apart0**2 - 2 * v01 * apart0 * apart1 + v00 * apart1**2) / det
    return np.asarray(-0.5 * (np.log(det) + square))


def _kept_intercepts(labels: Labels | None, shifts: FloatArray) -> FloatArray:
    """Log prior (k, grid) when the true rate moves by each of `shifts` (k,) in log odds alone.

    For each slope the intercept is the one at which all cases after the change, in their new
    score mix, have that share of positives.
    """
    slope = -0.5 * (SLOPES / SLOPE_SD) ** 2
    if labels is None:
        free = _normalised(np.zeros((INTERCEPTS.size, 1)) + slope)
        return np.broadcast_to(free, (shifts.size, *free.shape))
    base = logit(labels.probability)
    # Centred as in `_label_grid`, so that an intercept means the same there and here.
    slope_step = SLOPES[None, :, None, None] * _level(labels)
    p = expit(base + INTERCEPTS[:, None, None, None] + slope_step)
    size = labels.labelled.sum(axis=1) / labels.labelled.sum()
    rate = (p * labels.mix).sum(axis=3)
    apart = ((logit(rate) - logit(labels.rate)) * size).sum(axis=2)
    table = -0.5 * ((apart - shifts[:, None, None]) / RATE_ERROR) ** 2 + slope
    return np.asarray(table - log_sum(table, axis=(1, 2))[:, None, None])


@cache
def _free(intercept_sd: float, slope_sd: float) -> FloatArray:
    """Normal log prior over the grid; a spread of 0 keeps the slope at 0."""
    intercept = -0.5 * (INTERCEPTS / intercept_sd) ** 2
    if slope_sd == 0:
        slope = np.where(np.arange(SLOPES.size) == SLOPES.size // 2, 0.0, -np.inf)
    else:
        slope = -0.5 * (SLOPES / slope_sd) ** 2
    return _normalised(intercept[:, None] + slope)


@cache
def _fixed() -> FloatArray:
    table = np.full((INTERCEPTS.size, SLOPES.size), -np.inf)
    table[INTERCEPTS.size // 2, SLOPES.size // 2] = 0.0
    return table


def _normalised(table: FloatArray) -> FloatArray:
    return np.asarray(table - log_sum(table))


def _read_hypotheses(reads: Reads | None) -> dict[str, FloatArray]:
    """Log likelihood of the re-reads: nothing moved, and for each of `INTERCEPTS`."""
    if reads is None:
        return {"null": np.zeros(()), "annotation": np.zeros(INTERCEPTS.size)}
    null = -0.5 * (reads.shift**2 / reads.variance + np.log(reads.variance))
    variance = reads.variance + (0.3 * reads.expected) ** 2
    density = -0.5 * ((reads.shift - reads.expected) ** 2 / variance + np.log(variance))
    mixed = log_sum(density, axis=0) - np.log(READ_GAIN.size)
    return {"null": np.asarray(null), "annotation": np.asarray(mixed)}
