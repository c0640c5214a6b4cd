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

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit, logsumexp
from scipy.stats import chi2

from monitors.label_stream import OVERDISPERSION
from monitors.schema import FloatArray, IntArray

SINGLE = ("scanner", "prevalence", "population", "performance", "annotation")
PAIRS = (
    ("scanner", "prevalence"),
    ("scanner", "annotation"),
    ("prevalence", "annotation"),
    ("performance", "annotation"),
)
LOG_PRIOR = {"performance": -0.7, "population": -1.0}
LOG_PRIOR_PAIR = -3.0
LOG_PRIOR_NONE = -1.0
EVENT_LOG_ODDS = float(np.log(10))

SPARSE_SD = 1.0  # prior spread of one characteristic's shift, standard deviations of a case
DENSE_SD = 0.5  # of all characteristics together, per whitened coordinate
FOLLOW_SD = 0.3  # of score and embedding
DIRECTION_ERROR = 0.2  # relative error of the label-shift direction from one site to another
SHIFTS = np.linspace(-2.5, 2.5, 51)  # log odds of prevalence
SHIFT_SD = 1.0
DILUTION = np.array([0.5, 0.75, 1.0])  # share of new labels that belong to images after the change
INTERCEPTS = np.linspace(-3, 3, 61)  # log odds of a label given the score
SLOPES = np.linspace(-0.8, 0.8, 9)
INTERCEPT_SD = 1.0
SLOPE_SD = 0.25
RATE_ERROR = 0.2  # log odds: how closely "the true rate did not move" binds
READ_GAIN = np.array([0.5, 1.0, 2.0])  # effect on fixed images per effect on labels given the score
ACCEPTABLE = 1e-3
LEAST_LABELS = 30


@dataclass(frozen=True, slots=True, eq=False)
class Moved:
    """Mean shift x (d,) of phi in standard deviations within a day, and its covariance (d, d).

    within : (d, d) correlation within a day. acquisition : (a,) entries; the rest is score and
    embedding. direction : (d,) of a label shift, or None; direction_error its relative variance.
    """

    x: FloatArray
    covariance: FloatArray
    within: FloatArray
    acquisition: IntArray
    direction: FloatArray | None
    direction_variance: float


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """Labels read after the change, by site: labelled, positive, probability, mix (S, B).

    mix : share of all cases (labelled or not) after the change in each bin. error, rate : (S,).
    """

    labelled: IntArray
    positive: IntArray
    probability: FloatArray
    mix: FloatArray
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
) -> Verdict:
    """The posterior over cause sets, and the set that may be named.

    events : log prior odds that registered events near the change date add, by cause.
    """
    if labels is not None and labels.labelled.sum() < LEAST_LABELS:
        labels = None
    parts = _Parts(moved, labels, reads)
    evidence = {causes: parts.log_evidence(causes) for causes in _sets()}
    prior = {causes: _log_prior(causes, events) for causes in evidence}
    log_post = np.array([evidence[c] + prior[c] for c in evidence])
    posterior = np.exp(log_post - logsumexp(log_post))
    ranked = sorted(zip(posterior, evidence, strict=True), key=lambda item: (-item[0], item[1]))
    candidates = {"+".join(c) or "none": float(p) for p, c in ranked if p >= 0.005}
    missing = _missing(labels, reads)
    top, best = ranked[0][1], float(ranked[0][0])
    support = _support(top, dict(zip(evidence, posterior, strict=True)))
    nameable = (
        bool(top)
        and support >= naming_probability
        and not _lacks(top, labels, reads)
        and parts.acceptable(top)
    )
    causes = top if nameable else ("undetermined",)
    return Verdict(causes, support if nameable else best, candidates, missing)


def _sets() -> tuple[tuple[str, ...], ...]:
    return ((), *((c,) for c in SINGLE), *PAIRS)


def _log_prior(causes: tuple[str, ...], events: Mapping[str, float]) -> float:
    if not causes:
        return LOG_PRIOR_NONE
    own = sum(LOG_PRIOR.get(c, 0.0) + events.get(c, 0.0) for c in causes)
    return own + (LOG_PRIOR_PAIR if len(causes) > 1 else 0.0)


def _support(top: tuple[str, ...], posterior: Mapping[tuple[str, ...], float]) -> float:
    """Prevalence with and without a changed case mix support each other's name."""
    family = (("prevalence",), ("population",))
    return float(sum(posterior[c] for c in family) if top in family else posterior[top])


def _missing(labels: Labels | None, reads: Reads | None) -> tuple[str, ...]:
    return tuple(
        name for name, part in (("labels", labels), ("sentinel reads", reads)) if part is None
    )


def _lacks(causes: tuple[str, ...], labels: Labels | None, reads: Reads | None) -> bool:
    """Whether a necessary channel of one of `causes` is missing."""
    needs_labels = {"prevalence", "population", "performance", "annotation"}.intersection(causes)
    return bool(needs_labels and labels is None) or ("annotation" in causes and reads is None)


class _Parts:
    """Log marginal likelihoods of each channel under each hypothesis, computed once."""

    def __init__(self, moved: Moved | None, labels: Labels | None, reads: Reads | None) -> None:
        self.moved, self.labels, self.reads = moved, labels, reads
        self.rate = float(labels.rate.mean()) if labels is not None else 0.15
        self.x = _shift_hypotheses(moved, self.rate)
        self.grid = _label_grid(labels)
        self.read = _read_hypotheses(reads)
        self.kept = _kept_intercepts(labels)

    def log_evidence(self, causes: tuple[str, ...]) -> float:
        """Log marginal likelihood of all channels under the cause set."""
        if causes == ("prevalence",) or causes == ("prevalence", "annotation"):
            return self._prevalence("annotation" in causes)
        return self._x(causes) + self._labels_and_reads(causes)

    def _x(self, causes: tuple[str, ...]) -> float:
        if causes in ((), ("annotation",)):
            return self.x["null"]
        image = next(c for c in causes if c != "annotation")
        return self.x["scanner+prevalence" if causes == PAIRS[0] else image]

    def _labels_and_reads(self, causes: tuple[str, ...]) -> float:
        if "annotation" in causes:
            wide = 0.0 if causes == ("annotation",) else 0.5
            table = _free(np.hypot(INTERCEPT_SD, wide), SLOPE_SD) + self.grid
            return float(logsumexp(logsumexp(table, axis=1) + self.read["annotation"]))
        if not causes:
            prior = _fixed()
        elif causes in (("scanner",), ("performance",)):
            prior = self.kept
        elif causes == ("population",):
            prior = _free(INTERCEPT_SD, 0.0)
        else:
            prior = _free(INTERCEPT_SD, SLOPE_SD)
        return float(logsumexp(prior + self.grid) + self.read["null"])

    def _prevalence(self, annotation: bool) -> float:
        """One shift of the log odds drives score, embedding and labels."""
        by_intercept = self.grid[:, SLOPES.size // 2]
        if annotation:
            # Labels: the shift plus a convention a; reads: a alone.
            prior = _free(INTERCEPT_SD, 0.0)[:, SLOPES.size // 2] + self.read["annotation"]
            moved = INTERCEPTS[None, :] + SHIFTS[:, None]
            label = logsumexp(prior + _at(by_intercept, moved), axis=1)
        else:
            moved = SHIFTS[:, None] * DILUTION
            label = logsumexp(_at(by_intercept, moved), axis=1) - np.log(DILUTION.size)
            label = label + self.read["null"]
        prior = -0.5 * (SHIFTS / SHIFT_SD) ** 2
        return float(logsumexp(prior - logsumexp(prior) + self.x_prevalence + label))

    @property
    def x_prevalence(self) -> FloatArray:
        """Log density of the mean shifts for each of `SHIFTS`."""
        return _prevalence_densities(self.moved, self.rate)

    def acceptable(self, causes: tuple[str, ...]) -> bool:
        """Whether what the set holds fixed is compatible with what was seen (p >= 0.001)."""
        fits = (self._x_fit(causes), self._label_fit(causes), self._read_fit(causes))
        return min(fits) >= ACCEPTABLE

    def _x_fit(self, causes: tuple[str, ...]) -> float:
        if self.moved is None:
            return 1.0
        mean, covariance = _best_fit(self.moved, self.rate, causes)
        apart = self.moved.x - mean
        return float(chi2.sf(apart @ np.linalg.solve(covariance, apart), apart.size))

    def _label_fit(self, causes: tuple[str, ...]) -> float:
        if self.labels is None or len(causes) > 1 or causes == ("annotation",):
            return 1.0
        if causes == ("prevalence",):
            best = float(self.grid[:, SLOPES.size // 2].max())
        else:
            prior = _free(INTERCEPT_SD, 0.0) if causes == ("population",) else self.kept
            best = float((self.grid + prior - prior.max()).max())
        return float(chi2.sf(2 * max(float(self.grid.max()) - best, 0.0), 2))

    def _read_fit(self, causes: tuple[str, ...]) -> float:
        if self.reads is None or "annotation" in causes:
            return 1.0
        return float(chi2.sf(self.reads.shift**2 / self.reads.variance, 1))


def _log_normal(x: FloatArray, mean: FloatArray, covariance: FloatArray) -> FloatArray:
    """Log density (R,) of x (d,), less a constant; mean (R, d) or (d,), covariance (R, d, d)."""
    apart = np.broadcast_to(x - mean, (*covariance.shape[:-2], x.size))
    _, log_det = np.linalg.slogdet(covariance)
    solved = np.linalg.solve(covariance, apart[..., None])[..., 0]
    return np.asarray(-0.5 * (log_det + (apart * solved).sum(axis=-1)))


def _shift_hypotheses(moved: Moved | None, rate: float) -> dict[str, float]:
    """Log marginal likelihood of the mean shifts under each image-side hypothesis."""
    names = ("null", "scanner", "population", "performance", "scanner+prevalence")
    if moved is None:
        return dict.fromkeys(names, 0.0)
    nowhere = np.zeros((1, *moved.covariance.shape))
    along, follow = _along(moved, rate), np.stack([nowhere[0], _follow(moved)])
    acquisition = _acquisition(moved)
    free = {
        "null": nowhere,
        "scanner": _combined(acquisition, follow),
        "population": _combined(nowhere, follow[1:]) + along,
        "performance": _combined(nowhere, np.stack([along, along + follow[1]])),
        "scanner+prevalence": _combined(acquisition, follow) + along,
    }
    zero = np.zeros(moved.x.size)
    result = {}
    for name, prior in free.items():
        density = _log_normal(moved.x, zero, moved.covariance + prior)
        weight = _mixture(prior, acquisition, name)
        result[name] = float(logsumexp(density + np.log(weight)))
    return result


def _mixture(prior: FloatArray, acquisition: FloatArray, name: str) -> FloatArray:
    """Half on one characteristic (each equally), half on all; evenly over whether score follows."""
    if not name.startswith("scanner"):
        return np.full(len(prior), 1 / len(prior))
    kinds = len(acquisition)
    weight = np.full(kinds, 0.5 / max(kinds - 1, 1))
    weight[-1] = 0.5 if kinds > 1 else 1.0
    return np.repeat(weight, 2) / 2


def _combined(first: FloatArray, second: FloatArray) -> FloatArray:
    """Every sum of one of `first` and one of `second`."""
    return np.asarray((first[:, None] + second[None]).reshape(-1, *first.shape[1:]))


def _acquisition(moved: Moved) -> FloatArray:
    """Prior covariances of a scanner's shift: one characteristic at a time, then all together."""
    d, entries = moved.x.size, moved.acquisition
    kinds = np.zeros((entries.size + 1, d, d))
    kinds[np.arange(entries.size), entries, entries] = SPARSE_SD**2
    inside = np.ix_(entries, entries)
    kinds[-1][inside] = DENSE_SD**2 * moved.within[inside]
    return kinds


def _follow(moved: Moved) -> FloatArray:
    rest = np.setdiff1d(np.arange(moved.x.size), moved.acquisition)
    inside = np.ix_(rest, rest)
    free = np.zeros_like(moved.covariance)
    free[inside] = FOLLOW_SD**2 * moved.within[inside]
    return free


def _along(moved: Moved, rate: float) -> FloatArray:
    """Prior covariance of a movement along the label-shift direction."""
    if moved.direction is None:
        return np.zeros_like(moved.covariance)
    spread = SHIFT_SD * rate * (1 - rate)
    return np.asarray(spread**2 * np.outer(moved.direction, moved.direction))


def _rho(rate: float) -> FloatArray:
    """Change of the positive rate for each of `SHIFTS`."""
    return np.asarray(expit(logit(rate) + SHIFTS) - rate)


def _prevalence_densities(moved: Moved | None, rate: float) -> FloatArray:
    if moved is None:
        return np.zeros(SHIFTS.size)
    if moved.direction is None:
        return np.full(SHIFTS.size, -20.0) + _shift_hypotheses(moved, rate)["null"]
    rho = _rho(rate)
    mean = rho[:, None] * moved.direction
    covariance = moved.covariance + (rho**2 * _inflation(moved))[:, None, None] * moved.within
    return _log_normal(moved.x, mean, covariance)


def _inflation(moved: Moved) -> float:
    """Variance of the label-shift direction per unit of `within`: estimation and model error."""
    if moved.direction is None:
        return 0.0
    length = float(moved.direction @ np.linalg.solve(moved.within, moved.direction))
    return moved.direction_variance + DIRECTION_ERROR**2 * length / moved.x.size


def _best_fit(moved: Moved, rate: float, causes: tuple[str, ...]) -> tuple[FloatArray, FloatArray]:
    """Mean and covariance of the set's most likely component."""
    zero = np.zeros(moved.x.size)
    if "prevalence" in causes and "scanner" not in causes and moved.direction is not None:
        best = int(_prevalence_densities(moved, rate).argmax())
        rho = float(_rho(rate)[best])
        spread = moved.covariance + rho**2 * _inflation(moved) * moved.within
        return rho * moved.direction, spread
    free = np.zeros_like(moved.covariance)
    if "scanner" in causes:
        free = _acquisition(moved).sum(axis=0) + _follow(moved)
    if {"population", "performance", "prevalence"}.intersection(causes):
        free = free + _follow(moved) + _along(moved, rate)
    return zero, moved.covariance + free


def _label_grid(labels: Labels | None) -> FloatArray:
    """Log likelihood of the label scores over `INTERCEPTS` x `SLOPES`."""
    if labels is None:
        return np.zeros((INTERCEPTS.size, SLOPES.size))
    base = logit(labels.probability)
    weight = labels.labelled * labels.probability * (1 - labels.probability)
    level = base - (weight * base).sum() / max(weight.sum(), 1e-9)
    design = np.stack([np.ones_like(level), level])
    seen = (design * (labels.positive - labels.labelled * labels.probability)).sum(axis=(1, 2))
    a, b = INTERCEPTS[:, None, None, None], SLOPES[None, :, None, None]
    p = expit(base + a + b * level)
    mean = np.einsum("ksb,ijsb->ijk", design, labels.labelled * (p - labels.probability))
    spread = labels.labelled * p * (1 - p)
    variance = OVERDISPERSION * np.einsum("ksb,lsb,ijsb->ijkl", design, design, spread)
    # The reference intercept's own error moves all labels of a site together.
    moved = np.einsum("ksb,ijsb->ijsk", design, spread) * labels.error[:, None]
    variance += np.einsum("ijsk,ijsl->ijkl", moved, moved) + 0.25 * np.eye(2)
    flat = variance.reshape(-1, 2, 2)
    return _log_normal(seen, mean.reshape(-1, 2), flat).reshape(mean.shape[:2])


def _kept_intercepts(labels: Labels | None) -> FloatArray:
    """Log prior over the grid when the true rate does not move: the intercept undoes the mix.

    For each slope the intercept is the one at which all cases after the change, in their new
    score mix, have the old share of positives.
    """
    slope = -0.5 * (SLOPES / SLOPE_SD) ** 2
    if labels is None:
        return np.asarray(_normalised(np.zeros((INTERCEPTS.size, 1)) + slope))
    base = logit(labels.probability)
    level = base - base.mean()
    p = expit(base + INTERCEPTS[:, None, None, None] + SLOPES[None, :, None, None] * level)
    size = labels.labelled.sum(axis=1) / labels.labelled.sum()
    rate = (p * labels.mix).sum(axis=3)
    apart = ((logit(rate) - logit(labels.rate)) * size).sum(axis=2)
    return _normalised(-0.5 * (apart / RATE_ERROR) ** 2 + slope)


def _free(intercept_sd: float, slope_sd: float) -> FloatArray:
    """Normal log prior over the grid; a spread of 0 keeps the slope at 0."""
    intercept = -0.5 * (INTERCEPTS / intercept_sd) ** 2
    if slope_sd == 0:
        slope = np.where(np.arange(SLOPES.size) == SLOPES.size // 2, 0.0, -np.inf)
    else:
        slope = -0.5 * (SLOPES / slope_sd) ** 2
    return _normalised(intercept[:, None] + slope)


def _fixed() -> FloatArray:
    table = np.full((INTERCEPTS.size, SLOPES.size), -np.inf)
    table[INTERCEPTS.size // 2, SLOPES.size // 2] = 0.0
    return table


def _normalised(table: FloatArray) -> FloatArray:
    return np.asarray(table - logsumexp(table))


def _at(by_intercept: FloatArray, wanted: FloatArray) -> FloatArray:
    """Log likelihood interpolated at `wanted` intercepts."""
    return np.asarray(np.interp(wanted, INTERCEPTS, by_intercept))


def _read_hypotheses(reads: Reads | None) -> dict[str, FloatArray]:
    """Log likelihood of the re-reads: nothing moved, and for each of `INTERCEPTS`."""
    if reads is None:
        return {"null": np.zeros(()), "annotation": np.zeros(INTERCEPTS.size)}
    null = -0.5 * (reads.shift**2 / reads.variance + np.log(reads.variance))
    variance = reads.variance + (0.3 * reads.expected) ** 2
    density = -0.5 * ((reads.shift - reads.expected) ** 2 / variance + np.log(variance))
    mixed = logsumexp(density, axis=0) - np.log(READ_GAIN.size)
    return {"null": np.asarray(null), "annotation": np.asarray(mixed)}
