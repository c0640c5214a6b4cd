"""Labels given the score, and re-reads of fixed images: what they were and what they are.

Reference: P(label | score bin) shared by the fleet, with an intercept of its own for each site
and each reader group. Statistics of new labels condition on the score bins in which they stand,
so a changing case mix within a bin's meaning does not move them, and a selection of cases by
score does not bias them (statistics.md A9, A10; Begg and Greenes 1983, Biometrics 39).
Fixed images: any change of their reads is annotation, since the images are the same (A11).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import isotonic_regression
from scipy.special import expit, logit

from monitors.errors import NotAssessable
from monitors.margins import margin_factor
from monitors.schema import FloatArray, IntArray

INTERCEPT_SD = 0.5  # prior standard deviation of a site's or reader group's own intercept
OVERDISPERSION = 1.1  # of label counts: labels cluster by reader and day
LEAST_LABELS = 100  # reference labels of a group that can be watched on its own
ROUND_EFFECT = 1.3  # variance of a round of re-reads, relative to independent reads
LARGEST_SHIFT = 6.0  # log odds; all labels positive, or none, would be infinite
LEAST_MARGIN = 0.1  # log odds that labels may be off in control, however many there were
LEAST_ROUND = 20  # fixed images read in a round that is looked at

Group = tuple[str, str]  # site and reader group; "" is all of the site's


@dataclass(frozen=True, slots=True, eq=False)
class LabelReference:
    """P(label | merged score bin) of each watched group.

    groups : (g,). probability : (g, B). error : (g,) standard error of each group's intercept.
    rate : (g,) share of positive random-audit labels (of all labels where none are audited).
    """

    groups: tuple[Group, ...]
    probability: FloatArray
    error: FloatArray
    rate: FloatArray

    def index(self, group: Group) -> int | None:
        """Where `group` stands, None if it had too few reference labels."""
        return self.groups.index(group) if group in self.groups else None


@dataclass(frozen=True, slots=True, eq=False)
class SentinelReference:
    """Reads and positive reads, (g, images), of the fixed set in the reference period."""

    groups: tuple[Group, ...]
    reads: IntArray
    positive: IntArray

    def index(self, group: Group) -> int | None:
        """Where `group` stands, None if it never read the set in the reference period."""
        return self.groups.index(group) if group in self.groups else None


def fit_labels(
    labelled: IntArray,
    positive: IntArray,
    site: Sequence[str],
    reader: Sequence[str],
    audited: Sequence[bool],
    prior: FloatArray | None = None,
) -> LabelReference:
    """The reference of label tables, labelled and positive (L, B).

    prior : (2, B) labelled and positive pseudo-counts, of the validation cohort.
    """
    groups = sorted({(s, "") for s in site} | {(s, r) for s, r in zip(site, reader, strict=True)})
    n, y = labelled.sum(axis=0) + 0.0, positive.sum(axis=0) + 0.0
    if prior is not None:
        n, y = n + prior[0], y + prior[1]
    overall = (y.sum() + 0.5) / (n.sum() + 1)
    shape = isotonic_regression((y + overall) / (n + 1), weights=n + 1).x
    kept, rows = [], []
    for group in groups:
        mine = _members(group, site, reader)
        if labelled[mine].sum() >= LEAST_LABELS:
            kept.append(group)
            rows.append(_own_intercept(shape, labelled[mine], positive[mine]))
    rate = [_rate(labelled, positive, _members(g, site, reader), audited) for g in kept]
    bins = labelled.shape[1]
    return LabelReference(
        tuple(kept),
        np.array([p for p, _ in rows]).reshape(len(kept), bins),
        np.array([e for _, e in rows]),
        np.array(rate),
    )


def _members(group: Group, site: Sequence[str], reader: Sequence[str]) -> FloatArray:
    return np.array(
        [s == group[0] and group[1] in ("", r) for s, r in zip(site, reader, strict=True)],
        dtype=bool,
    )


def _rate(
    labelled: IntArray, positive: IntArray, mine: FloatArray, audited: Sequence[bool]
) -> float:
    random = mine & np.array(audited, dtype=bool)
    use = random if labelled[random].sum() >= LEAST_LABELS else mine
    return float((positive[use].sum() + 0.5) / (labelled[use].sum() + 1))


def _own_intercept(
    shape: FloatArray, labelled: IntArray, positive: IntArray
) -> tuple[FloatArray, float]:
    """Newton's iteration for a group's intercept under a normal prior; and its standard error."""
    base = logit(np.clip(shape, 1e-3, 1 - 1e-3))
    n, y = labelled.sum(axis=0), positive.sum(axis=0)
    own, precision = 0.0, 1.0
    for _ in range(20):
        p = expit(base + own)
        precision = float((n * p * (1 - p)).sum() / OVERDISPERSION + 1 / INTERCEPT_SD**2)
        step = float((y - n * p).sum() / OVERDISPERSION - own / INTERCEPT_SD**2) / precision
        own += float(np.clip(step, -1, 1))
    return np.asarray(expit(base + own)), precision**-0.5


def likelihood_ratios(
    probability: FloatArray,
    error: float,
    labelled: IntArray,
    positive: IntArray,
    odds: FloatArray,
    limit: float,
) -> FloatArray:
    """log e-values (k,) of a label table for each odds ratio in `odds` (k,).

    Exact given the score bins: E <= 1 whatever the case mix (statistics.md B2). The margin moves
    the reference towards the alternative by what the intercept's error may pretend when a false
    signal may come once in `limit` days, at least 0.1.
    """
    information = float((labelled * probability * (1 - probability)).sum()) / OVERDISPERSION
    share = error**2 * information / (1 + error**2 * information)
    margin = max(float(margin_factor(np.array(share), limit)) * error, LEAST_MARGIN)
    p = expit(logit(probability)[None, :] + margin * np.sign(np.log(odds))[:, None])
    gain = positive.sum() * np.log(odds)
    return np.asarray(gain - np.log1p(p * (odds[:, None] - 1)) @ labelled)


def intercept_shift(
    probability: FloatArray, error: FloatArray, labelled: IntArray, positive: IntArray
) -> tuple[float, float]:
    """Log odds by which labels given the score moved, common to groups, and its standard error.

    probability, labelled, positive (g, B); error (g,) of each group's own intercept. Maximum
    likelihood of a logistic regression with offset logit(probability) and an intercept only
    (McCullagh and Nelder 1989, section 4.4), here by Newton's iteration from 0, held to +-6.
    """
    base = logit(np.clip(probability, 1e-3, 1 - 1e-3))
    if not labelled.sum():
        raise NotAssessable("labels given the score: no label")
    shift = 0.0
    for _ in range(30):
        p = expit(base + shift)
        step = float((positive - labelled * p).sum() / max((labelled * p * (1 - p)).sum(), 1e-9))
        shift = float(np.clip(shift + np.clip(step, -1, 1), -LARGEST_SHIFT, LARGEST_SHIFT))
    p = expit(base + shift)
    by_group = (labelled * p * (1 - p)).sum(axis=1)
    information = max(float(by_group.sum()), 1e-9)
    own = float((by_group**2 * error**2).sum()) / information**2
    return shift, float(np.sqrt(OVERDISPERSION / information + own))


def slope_z(probability: FloatArray, error: float, labelled: IntArray, positive: IntArray) -> float:
    """z of labels that depend less (negative) or more on the score than in the reference."""
    expected = labelled * probability
    weight = expected * (1 - probability)
    total = float(weight.sum())
    if total < 1:
        return 0.0
    level = logit(probability)
    centred = level - (weight * level).sum() / total
    variance = float((weight * centred**2).sum()) * OVERDISPERSION + (error * total * 0.1) ** 2
    return float((centred * (positive - expected)).sum() / np.sqrt(max(variance, 1e-9)))


def read_shift(
    reads: IntArray, positive: IntArray, baseline_reads: IntArray, baseline_positive: IntArray
) -> tuple[float, float]:
    """Net shift of a round of re-reads (positive reads beyond expectation) and its variance.

    All (images,). Images without baseline reads are left out. The variance of one read is
    estimated without bias from repeated baseline reads: k (n - k) / (n (n - 1)).
    """
    used = (reads > 0) & (baseline_reads > 0)
    if used.sum() < LEAST_ROUND:
        raise NotAssessable(f"re-reads: {LEAST_ROUND} fixed images expected, got {used.sum()}")
    r, n, k = reads[used], baseline_reads[used], baseline_positive[used]
    twice = n > 1
    if not twice.any():
        raise NotAssessable("re-reads: no fixed image was read twice in the reference period")
    single = np.full(n.size, np.nan)
    single[twice] = k[twice] * (n - k)[twice] / (n * (n - 1))[twice]
    single[~twice] = single[twice].mean()
    shift = float((positive[used] - r * k / n).sum())
    variance = float((r * single * (1 + r / n)).sum()) * ROUND_EFFECT
    return shift, max(variance, 1.0)


def expected_read_shift(
    odds_log: FloatArray, reads: IntArray, baseline_reads: IntArray, baseline_positive: IntArray
) -> FloatArray:
    """Net shift (k,) expected when readers' log odds move by each of `odds_log` (k,)."""
    used = (reads > 0) & (baseline_reads > 0)
    n, k = baseline_reads[used], baseline_positive[used]
    rate = (k + 0.5) / (n + 1)
    moved = expit(logit(rate)[None, :] + odds_log[:, None]) - rate
    return np.asarray((reads[used] * moved).sum(axis=1))
