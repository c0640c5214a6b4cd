"""A history as the centre would see it if edges added noise."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np

from app.contracts.noise import mechanism, noised
from monitors.observations import History, LabelRows, MomentRows, Noise


def with_noise(
    history: History, epsilon: float, seed: int, sites: Collection[str] = (), since: int = 0
) -> History:
    """The same windows from edges with noise: at `sites`, or everywhere, from the day `since` on.

    Draws are rounded normals, which are fast: at the scales of case rows they differ from the
    discrete Gaussian by less than a simulation can tell.
    """
    rng = np.random.default_rng([seed, 9])
    made = mechanism(history.schema, epsilon)
    cases = history.cases
    site = np.array([s.site for s in history.strata])
    here = np.isin(site[cases.stratum], list(sites or np.unique(site))) & (cases.start >= since)
    rows = cases.rows.copy()
    for i in np.flatnonzero(here):
        rows[i] = noised(
            history.schema, rows[i], made.scales, lambda s: round(rng.standard_normal() * s)
        )
    variance = np.stack([np.zeros(made.scales.size), made.scales.astype(np.float64) ** 2])
    noise = Noise(variance, here.astype(np.int64))
    return replace(
        history,
        cases=replace(cases, rows=rows, noise=noise),
        moments=_moments(
            history,
            ~np.isin(site[history.moments.stratum], list(sites or site))
            | (history.moments.end <= since),
        ),
        labels=_labels(history.labels, sites),
    )


def _moments(history: History, kept: np.ndarray) -> MomentRows:
    m = history.moments
    return MomentRows(m.rows[kept], m.start[kept], m.end[kept], m.arrival[kept], m.stratum[kept])


def _labels(labels: LabelRows, sites: Collection[str]) -> LabelRows:
    kept = np.array([i for i, s in enumerate(labels.site) if sites and s not in sites], dtype=int)
    return LabelRows(
        labels.rows[kept],
        labels.week[kept],
        labels.arrival[kept],
        tuple(labels.site[i] for i in kept),
        tuple(labels.source[i] for i in kept),
        tuple(labels.reader_group[i] for i in kept),
    )


def undeclared(history: History) -> History:
    """The same noisy rows, of which the centre is not told that they have noise."""
    return replace(history, cases=replace(history.cases, noise=None))
