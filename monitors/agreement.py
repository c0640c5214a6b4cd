"""How well two readers agree, and whether they agree less than they did.

Tables are (..., K, K) counts of items by the first and the second reader's category. Kappa
collapses where one category is rare (118/5/2/0: agreement 94%, kappa -0.02), so a series is
watched by AC1 and specific agreement, and kappa is only reported.

Cohen (1960), Educ. Psychol. Meas. 20, 37-46, with the large-sample error of Fleiss, Cohen and
Everitt (1969), Psychol. Bull. 72, 323-327; AC1 and its variance: Gwet (2008), Br. J. Math.
Stat. Psychol. 61, 29-48; specific agreement: Cicchetti and Feinstein (1990), J. Clin.
Epidemiol. 43, 551-558; several readers: Fleiss (1971), Psychol. Bull. 76, 378-382.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from monitors.errors import MonitorError, NotAssessable
from monitors.schema import FloatArray


@dataclass(frozen=True, slots=True)
class Agreement:
    """A coefficient and its standard error, (...)."""

    value: FloatArray
    standard_error: FloatArray


def _shares(table: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    counts = np.asarray(table, dtype=np.float64)
    if counts.ndim < 2 or counts.shape[-1] != counts.shape[-2] or counts.shape[-1] < 2:
        raise MonitorError(f"agreement: a square table expected, got shape {counts.shape}")
    if not np.all(np.isfinite(counts) & (counts >= 0)):
        raise MonitorError("agreement: counts must be finite and not negative")
    n = counts.sum(axis=(-2, -1))
    if not np.all(n >= 1):
        raise NotAssessable("agreement: no item read by both readers")
    return counts / n[..., None, None], n


def _observed(p: FloatArray) -> FloatArray:
    return np.asarray(np.trace(p, axis1=-2, axis2=-1))


def cohen_kappa(table: npt.ArrayLike) -> Agreement:
    """Cohen's kappa with the error of Fleiss, Cohen and Everitt (not the one under chance)."""
    p, n = _shares(table)
    row, column = p.sum(axis=-1), p.sum(axis=-2)
    chance = (row * column).sum(axis=-1)
    if not np.all(chance < 1):
        raise NotAssessable("kappa: both readers used a single category")
    kappa = (_observed(p) - chance) / (1 - chance)
    doubt = (1 - kappa)[..., None]
    diagonal = np.diagonal(p, axis1=-2, axis2=-1)
    on = (diagonal * (1 - (row + column) * doubt) ** 2).sum(axis=-1)
    crossed = (p * (column[..., :, None] + row[..., None, :]) ** 2).sum(axis=(-2, -1))
    off = crossed - (diagonal * (row + column) ** 2).sum(axis=-1)
    variance = on + doubt[..., 0] ** 2 * off - (kappa - chance * doubt[..., 0]) ** 2
    return Agreement(kappa, np.sqrt(np.maximum(variance, 0.0) / n) / (1 - chance))


def gwet_ac1(table: npt.ArrayLike) -> Agreement:
    """Gwet's AC1: agreement beyond chance that stays meaningful where positives are rare."""
    p, n = _shares(table)
    k = p.shape[-1]
    share = (p.sum(axis=-1) + p.sum(axis=-2)) / 2
    chance = (share * (1 - share)).sum(axis=-1) / (k - 1)
    observed = _observed(p)
    ac1 = (observed - chance) / (1 - chance)
    diagonal = np.diagonal(p, axis1=-2, axis2=-1)
    first = (diagonal * (1 - share)).sum(axis=-1) / (k - 1) - observed * chance
    middle = 1 - (share[..., :, None] + share[..., None, :]) / 2
    second = (p * middle**2).sum(axis=(-2, -1)) / (k - 1) ** 2 - chance**2
    variance = observed * (1 - observed) - 4 * (1 - ac1) * first + 4 * (1 - ac1) ** 2 * second
    return Agreement(ac1, np.sqrt(np.maximum(variance, 0.0) / n) / (1 - chance))


def specific_agreement(table: npt.ArrayLike, category: int = 1) -> Agreement:
    """Share of one reader's `category` that the other confirms, 2a / (2a + b + c).

    Error by the delta method: Mackinnon (2000), Comput. Biol. Med. 30, 127-134.
    """
    p, n = _shares(table)
    a = p[..., category, category]
    alone = p[..., category, :].sum(axis=-1) + p[..., :, category].sum(axis=-1) - 2 * a
    used = 2 * a + alone
    if not np.all(used > 0):
        raise NotAssessable("specific agreement: neither reader used the category")
    return Agreement(2 * a / used, np.sqrt(4 * a * alone * (a + alone) / n) / used**2)


def fleiss_kappa(ratings: npt.ArrayLike) -> Agreement:
    """Kappa of several readers, (...): `ratings` (..., items, K) counts reads by category.

    Items may have different numbers of reads, at least 2 each. Error by leaving out one item at
    a time, so that it holds at any kappa (the usual formula holds at 0 alone).
    """
    counts = np.asarray(ratings, dtype=np.float64)
    if counts.ndim < 2 or counts.shape[-1] < 2:
        raise MonitorError(f"agreement: (items, categories) expected, got shape {counts.shape}")
    if not np.all(np.isfinite(counts) & (counts >= 0)):
        raise MonitorError("agreement: counts must be finite and not negative")
    reads, items = counts.sum(axis=-1), counts.shape[-2]
    if items < 3 or not np.all(reads >= 2):
        raise NotAssessable("agreement: at least 3 items, each read twice, expected")
    pairs = (counts * (counts - 1)).sum(axis=-1) / (reads * (reads - 1))
    share = counts / reads[..., None]
    value = _kappa(pairs.mean(axis=-1), share.mean(axis=-2))
    rest = items - 1
    left_pairs = (pairs.sum(axis=-1, keepdims=True) - pairs) / rest
    left_share = (share.sum(axis=-2, keepdims=True) - share) / rest
    apart = _kappa(left_pairs, left_share) - value[..., None]
    apart = apart - apart.mean(axis=-1, keepdims=True)
    return Agreement(value, np.sqrt(rest / items * (apart**2).sum(axis=-1)))


def _kappa(observed: FloatArray, share: FloatArray) -> FloatArray:
    chance = (share**2).sum(axis=-1)
    if not np.all(chance < 1):
        raise NotAssessable("kappa: all readers used a single category")
    return np.asarray((observed - chance) / (1 - chance))


def agreement_change(reference: Agreement, current: Agreement) -> FloatArray:
    """z of `current` against `reference` from independent items, (...); below 0 is worse."""
    variance = reference.standard_error**2 + current.standard_error**2
    if not np.all(variance > 0):
        raise NotAssessable("agreement: a change needs a standard error in either period")
    return np.asarray((current.value - reference.value) / np.sqrt(variance))
