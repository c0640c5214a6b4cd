"""A characteristic schema fitted on the reference part of a case table.

A device's own schema is part of its signed bundle. A case table has none, so the laboratory
fits one on the reference cases alone and freezes it: deciles, score bins, joint scales.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from monitors.errors import NotAssessable
from monitors.schema import (
    SCORE_TERMS,
    Categorical,
    FloatArray,
    Joint,
    Margin,
    Numeric,
    Schema,
    Score,
)
from monitors.summaries import Cases, joint_vector

NUMERIC_BINS = 10
SCORE_BINS = 32
LABEL_BINS = 8
FOURIER = 16
OUTER = 0.001  # the share of reference cases beyond each outer edge
FIT_SEED = 20210  # fixed: the projections of a fitted schema must not depend on who fits it
FIT_ROWS = 20_000  # enough for every scale here
UNCLIPPED = 1e6  # a scale so wide that `joint_vector` clips nothing while scales are measured


@dataclass(frozen=True, slots=True)
class Names:
    """What the columns of a `Cases` are called. `categories` gives the values of each code."""

    numeric: tuple[str, ...]
    units: tuple[str, ...]
    categorical: tuple[str, ...] = ()
    categories: tuple[tuple[str, ...], ...] = ()
    stages: tuple[str, ...] = ("score",)
    margins: tuple[tuple[str, tuple[str, ...]], ...] = ()


def fit_schema(
    names: Names, cases: Cases, thresholds: Sequence[float] = (), sentinels: int = 0
) -> Schema:
    """The schema that the reference `cases` give; every `threshold` is a score-bin edge."""
    if len(cases) < 100:
        raise NotAssessable(f"a schema needs at least 100 reference cases, got {len(cases)}")
    numeric = tuple(
        Numeric(name, unit, _quantile_edges(name, cases.numeric[:, i]))
        for i, (name, unit) in enumerate(zip(names.numeric, names.units, strict=True))
    )
    scores = tuple(
        Score(stage, _score_edges(cases.scores[:, i], thresholds))
        for i, stage in enumerate(names.stages)
    )
    schema = Schema(
        numeric=numeric,
        categorical=tuple(
            Categorical(name, values)
            for name, values in zip(names.categorical, names.categories, strict=True)
        ),
        scores=scores,
        joint=_unit_joint(names.numeric, cases.embedding),
        label_bins=_label_bins(cases.scores[:, 0], scores[0].edges),
        margins=tuple(Margin(name, levels) for name, levels in names.margins),
        sentinels=sentinels,
    )
    return _standardised(schema, cases)


def _quantile_edges(name: str, values: FloatArray) -> FloatArray:
    known = values[np.isfinite(values)]
    if known.size < 100:
        raise NotAssessable(f"{name}: at least 100 reference values expected, got {known.size}")
    inner = np.linspace(0, 1, NUMERIC_BINS + 1)
    edges = np.quantile(known, np.clip(inner, OUTER, 1 - OUTER))
    return _spread(edges)


def _spread(edges: FloatArray) -> FloatArray:
    """Strictly increasing edges: repeated quantiles (of a discrete value) are moved apart."""
    step = max(float(edges[-1] - edges[0]), abs(float(edges[0])), 1.0) * 1e-6
    for i in range(1, edges.size):
        edges[i] = max(edges[i], edges[i - 1] + step)
    return edges


def _score_edges(scores: FloatArray, thresholds: Sequence[float]) -> FloatArray:
    """0, 1, every threshold, and reference quantiles; tails are finer, where positives lie."""
    known = scores[np.isfinite(scores)]
    inner = SCORE_BINS - 1 - len(set(thresholds))
    tail = np.sin(np.linspace(0, np.pi / 2, inner + 2)[1:-1])
    quantiles = np.quantile(known, tail) if known.size else np.linspace(0, 1, inner + 2)[1:-1]
    edges = np.concatenate([[0.0, 1.0], quantiles, sorted(set(thresholds))])
    return _separated(np.unique(np.clip(edges, 0, 1)))


def _separated(edges: FloatArray) -> FloatArray:
    """Exactly `SCORE_BINS` bins: gaps left by repeated quantiles are filled by halving."""
    while edges.size < SCORE_BINS + 1:
        widest = int(np.diff(edges).argmax())
        edges = np.insert(edges, widest + 1, edges[widest : widest + 2].mean())
    return edges


def _label_bins(scores: FloatArray, edges: FloatArray) -> tuple[int, ...]:
    """Merged bins with about equal expected positives, taking the score as a risk's rank."""
    known = scores[np.isfinite(scores)]
    counts = np.histogram(known, edges)[0] + 1e-9
    rank = (np.cumsum(counts) - counts / 2) / counts.sum()
    weight = counts * (0.25 + rank**2)  # between equal counts and equal expected positives
    share = (np.cumsum(weight) - weight / 2) / weight.sum()
    wanted = np.minimum((share * LABEL_BINS).astype(int), LABEL_BINS - 1)
    merged = [0]
    for low, high in pairwise(wanted):
        merged.append(merged[-1] + int(high > low))
    return tuple(merged)


def _unit_joint(acquisition: tuple[str, ...], embedding: FloatArray) -> Joint:
    """The joint vector before standardising; the kernel's width is the median distance."""
    width = embedding.shape[1]
    rng = np.random.default_rng(FIT_SEED)
    known = embedding[np.isfinite(embedding).all(axis=1)][:FIT_ROWS]
    fourier = FOURIER if width and len(known) > 1 else 0
    omega, phase = np.zeros((fourier, width)), np.zeros(fourier)
    if fourier:
        pairs = rng.integers(0, len(known), (2, 2000))
        distance = np.linalg.norm(known[pairs[0]] - known[pairs[1]], axis=1)
        omega = rng.normal(size=(fourier, width)) / max(float(np.median(distance)), 1e-9)
        phase = rng.uniform(0, 2 * np.pi, fourier)
    size = len(SCORE_TERMS) + 2 * len(acquisition) + width + fourier
    return Joint(acquisition, width, omega, phase, np.zeros(size), np.ones(size))


def _standardised(schema: Schema, cases: Cases) -> Schema:
    """The same schema with the joint vector's reference centre and scale."""
    some = _first(cases, FIT_ROWS)
    joint = schema.joint
    centre, scale = np.zeros(joint.size), np.full(joint.size, UNCLIPPED)
    where = joint.blocks["acquisition"]
    for i, numeric in enumerate(schema.numeric):
        values = np.clip(some.numeric[:, i], numeric.edges[0], numeric.edges[-1])
        centre[where.start + i] = np.nanmean(values)
        scale[where.start + i] = np.nanstd(values) or 1.0
    phi = joint_vector(replace(joint, centre=centre, scale=scale), schema, some)
    phi = phi[np.isfinite(phi).all(axis=1)]
    if len(phi) < 100:
        raise NotAssessable(f"joint moments: 100 complete reference cases expected, got {len(phi)}")
    spread = phi.std(axis=0)
    constant = spread * scale < 1e-9
    centre, scale = centre + phi.mean(axis=0) * scale, np.where(constant, 1.0, spread * scale)
    return replace(schema, joint=replace(joint, centre=centre, scale=scale))


def _first(cases: Cases, rows: int) -> Cases:
    return Cases(
        cases.numeric[:rows],
        cases.categorical[:rows],
        cases.scores[:rows],
        cases.embedding[:rows],
        cases.outcome[:rows],
    )
