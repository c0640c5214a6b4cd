"""The characteristic schema of the chest device, fitted on its reference cohort."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from app.contracts.characteristics import CharacteristicSchema
from app.device.chain import Projection, Read
from app.device.pixels import header
from app.device.pixels.characteristics import UNITS
from app.device.reference.chest.cohort import CHARACTERISTICS, Cohort
from app.device.reference.chest.dicom import HEADERS
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

CLASSIFIER, GATE = "classifier", "out_of_distribution"
AXES = 8  # principal axes of the embedding that are counted
FEATURES = 16  # random Fourier features
SCORE_BINS = 32
LABEL_QUANTILES = (0.5, 0.7, 0.82, 0.9, 0.96)
# Acquisition, not disease: what opacities in the lung would move is not among them.
ACQUISITION = ("noise", "sharpness", "edge", "field_fill", "kvp", "exposure_index")
STRANGE_QUANTILE = 0.995
GATE_THRESHOLD = 0.5


def fit_projection(embedding: FloatArray) -> Projection:
    """Principal axes of the embedding (n, e) and the distance that `STRANGE_QUANTILE` keep."""
    mean = embedding.mean(axis=0)
    _, singular, axes = np.linalg.svd(embedding - mean, full_matrices=False)
    scale = singular[:AXES] / np.sqrt(len(embedding) - 1)
    draft = Projection(mean, axes[:AXES], scale, 1.0)
    d2 = ((draft.project(embedding) / scale) ** 2).sum(axis=1)
    return Projection(mean, axes[:AXES], scale, float(np.quantile(d2, STRANGE_QUANTILE) * 1.5))


def fit_schema(
    cohort: Cohort, read: Read, projection: Projection, seed: int
) -> CharacteristicSchema:
    """Bins, projection and joint moments as the reference cohort has them."""
    names, edges = _numeric_edges(cohort)
    units = dict(UNITS) | {name: unit for name, (_, unit) in header.NUMERIC.items()}
    positions = [CHARACTERISTICS.index(name) for name in names]
    embedding = projection.project(read.embedding)
    score_edges = _score_edges(read.score, cohort.positive)
    numeric = tuple(Numeric(n, units[n], e) for n, e in zip(names, edges, strict=True))
    joint = _joint(embedding, seed)
    draft = _schema(numeric, score_edges, joint, _label_bins(score_edges, read.score))
    cases = cases_of(draft, cohort.numeric[:, positions], read, projection)
    return CharacteristicSchema.of(
        _standardised(draft, cases),
        manufacturers=tuple(sorted({h.manufacturer for h in HEADERS.values()})),
        models=tuple(sorted({h.model for h in HEADERS.values()})),
        software_versions=(r"[A-Z]{0,3}\d{1,3}([.-]\d{1,3}){0,3}[A-Z]{0,2}",),
        protocols=("chest",),
    )


def cases_of(schema: Schema, numeric: FloatArray, read: Read, projection: Projection) -> Cases:
    """Measurements (n, F) in the schema's order and readings as cases; all analysed."""
    n = len(read.score)
    return Cases(
        numeric=numeric,
        categorical=np.full((n, len(schema.categorical)), -1, dtype=np.int64),
        scores=np.column_stack([read.score, projection.strangeness(read.embedding)]),
        embedding=projection.project(read.embedding),
        outcome=np.zeros(n, dtype=np.int64),
    )


def _numeric_edges(cohort: Cohort) -> tuple[list[str], list[FloatArray]]:
    names, edges = [], []
    for i, name in enumerate(CHARACTERISTICS):
        values = cohort.numeric[:, i]
        values = values[np.isfinite(values)]
        found = np.quantile(values, [0.001, *np.arange(0.1, 0.95, 0.1), 0.999])
        if np.unique(found).size == found.size:  # one that hardly varies has no deciles
            names.append(name)
            edges.append(found)
    return names, edges


def _score_edges(score: FloatArray, positive: npt.NDArray[np.bool_]) -> FloatArray:
    """Quantiles of a half-and-half mixture, so that both classes are resolved; a little of an
    even grid keeps edges apart where scores repeat."""
    weight = np.where(positive, 0.5 / positive.sum(), 0.5 / (~positive).sum())
    order = np.argsort(score)
    cumulative = np.cumsum(weight[order])
    inner = np.interp(np.arange(1, SCORE_BINS) / SCORE_BINS, cumulative, score[order])
    even = np.linspace(0.0, 1.0, SCORE_BINS + 1)
    return np.array(0.98 * np.array([0.0, *inner, 1.0]) + 0.02 * even)


def _label_bins(edges: FloatArray, score: FloatArray) -> tuple[int, ...]:
    cuts = np.quantile(score, LABEL_QUANTILES)
    first = np.searchsorted(cuts, edges[:-1], side="right")
    return tuple(int(b) for b in np.unique(first, return_inverse=True)[1])


def _joint(embedding: FloatArray, seed: int) -> Joint:
    """Random Fourier features with the median distance as bandwidth (Rahimi and Recht 2007)."""
    rng = np.random.default_rng([seed, 0xF0])
    pairs = rng.integers(len(embedding), size=(2, 2000))
    distance = np.linalg.norm(embedding[pairs[0]] - embedding[pairs[1]], axis=1)
    omega = rng.normal(size=(FEATURES, AXES)) / np.median(distance[distance > 0])
    size = len(SCORE_TERMS) + 2 * len(ACQUISITION) + AXES + FEATURES
    phase = rng.uniform(0, 2 * np.pi, FEATURES)
    return Joint(ACQUISITION, AXES, omega, phase, np.zeros(size), np.ones(size))


def _schema(
    numeric: tuple[Numeric, ...], score_edges: FloatArray, joint: Joint, label_bins: tuple[int, ...]
) -> Schema:
    bands = tuple(header.band_name(low) for low, _ in header.AGE_BANDS)
    return Schema(
        numeric=numeric,
        categorical=(
            Categorical("view", ("PA", "AP")),
            Categorical("photometric_interpretation", ("MONOCHROME1", "MONOCHROME2")),
            Categorical("modality", ("DX", "CR")),
            Categorical("grid", tuple(sorted({h.grid for h in HEADERS.values()}))),
            Categorical("detector_type", tuple(sorted({h.detector for h in HEADERS.values()}))),
        ),
        scores=(
            Score(CLASSIFIER, score_edges),
            Score(GATE, np.linspace(0.0, 1.0, SCORE_BINS + 1)),
        ),
        joint=joint,
        label_bins=label_bins,
        margins=(Margin("age_band", bands), Margin("sex", ("F", "M"))),
        sentinels=0,
    )


def _standardised(draft: Schema, cases: Cases) -> Schema:
    """The schema with the joint vector's centre and scale as this reference has them."""
    block = draft.joint.blocks["acquisition"]
    order = [f.name for f in draft.numeric]
    at = [order.index(name) for name in draft.joint.acquisition]
    values = cases.numeric[:, at]
    values = values[np.isfinite(values).all(axis=1)]
    # A probe so wide that nothing is clipped; squares need the acquisition's own centre and scale.
    centre, scale = np.zeros(draft.joint.size), np.full(draft.joint.size, 1e6)
    centre[block], scale[block] = values.mean(axis=0), values.std(axis=0)
    probe = replace(draft.joint, centre=centre, scale=scale)
    phi = joint_vector(probe, draft, cases)
    raw = phi[np.isfinite(phi).all(axis=1)] * scale + centre
    spread = raw.std(axis=0)
    spread[spread < 1e-9] = 1.0
    # The acquisition block is standardised by what its squares were taken with.
    spread[block] = scale[block]
    middle = raw.mean(axis=0)
    middle[block] = centre[block]
    return replace(draft, joint=replace(draft.joint, centre=middle, scale=spread))


def labelled_bins(score: FloatArray, edges: FloatArray) -> tuple[int, ...]:
    """Counts of scores on the bins; an edge belongs to the bin above it."""
    at = np.clip(np.searchsorted(edges, score, side="right") - 1, 0, edges.size - 2)
    return tuple(np.bincount(at, minlength=edges.size - 1).tolist())
