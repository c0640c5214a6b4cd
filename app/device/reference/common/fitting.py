"""The characteristic schema of a reference device, fitted on its reference cohort."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from app.contracts.characteristics import CharacteristicSchema
from app.device.chain import Projection
from app.device.pipeline import Reading, scoring
from app.device.pixels import header
from app.device.reference.common.cohort import Cohort
from app.device.reference.common.declaration import ReferenceDevice
from monitors.schema import SCORE_TERMS, FloatArray, Joint, Margin, Numeric, Schema, Score
from monitors.summaries import Cases, joint_vector

GATE = "out_of_distribution"
AXES = 8  # principal axes of the embedding that are counted
FEATURES = 16  # random Fourier features
SCORE_BINS = 32
LABEL_QUANTILES = (0.5, 0.7, 0.82, 0.9, 0.96)
STRANGE_QUANTILE = 0.995


def fit_projection(embedding: FloatArray) -> Projection:
    """Principal axes of the embedding (n, e) and the distance that `STRANGE_QUANTILE` keep."""
    mean = embedding.mean(axis=0)
    _, singular, axes = np.linalg.svd(embedding - mean, full_matrices=False)
    scale = singular[:AXES] / np.sqrt(len(embedding) - 1)
    draft = Projection(mean, axes[:AXES], scale, 1.0)
    d2 = ((draft.project(embedding) / scale) ** 2).sum(axis=1)
    return Projection(mean, axes[:AXES], scale, float(np.quantile(d2, STRANGE_QUANTILE) * 1.5))


def fit_schema(
    device: ReferenceDevice, cohort: Cohort, read: Reading, projection: Projection, seed: int
) -> CharacteristicSchema:
    """Bins, projection and joint moments as the reference cohort has them."""
    numeric = _numeric(device, cohort)
    edges = _score_edges(read.score, cohort.positive)
    bands = tuple(header.band_name(low) for low, _ in header.AGE_BANDS)
    draft = Schema(
        numeric=numeric,
        categorical=device.categories,
        scores=(
            Score(scoring(device.stages).name, edges),
            Score(GATE, np.linspace(0.0, 1.0, SCORE_BINS + 1)),
        ),
        joint=_joint(device.acquisition, projection.project(read.embedding), seed),
        label_bins=_label_bins(edges, read.score),
        margins=(Margin("age_band", bands), Margin("sex", ("F", "M"))),
        sentinels=0,
    )
    cases = cases_of(device, draft, cohort, read, projection)
    scanners = device.scanners.values()
    return CharacteristicSchema.of(
        _standardised(draft, cases),
        manufacturers=tuple(sorted({s.manufacturer for s in scanners})),
        models=tuple(sorted({s.model for s in scanners})),
        software_versions=(r"[A-Z]{0,3}\d{1,3}([.-]\d{1,3}){0,3}[A-Z]{0,2}",),
        protocols=tuple(sorted({s.region.lower() for s in scanners})),
    )


def cases_of(
    device: ReferenceDevice, schema: Schema, cohort: Cohort, read: Reading, projection: Projection
) -> Cases:
    """The measurements that the schema counts, and readings, as cases; all analysed."""
    names = list(device.units)
    return Cases(
        numeric=cohort.numeric[:, [names.index(f.name) for f in schema.numeric]],
        categorical=np.full((len(cohort), len(schema.categorical)), -1, dtype=np.int64),
        scores=np.column_stack([read.score, projection.strangeness(read.embedding)]),
        embedding=projection.project(read.embedding),
        outcome=np.zeros(len(cohort), dtype=np.int64),
    )


def _numeric(device: ReferenceDevice, cohort: Cohort) -> tuple[Numeric, ...]:
    """Those that vary. A little of an even grid keeps deciles apart where values repeat, as
    they do in images of 8 bits."""
    found = []
    for (name, unit), column in zip(device.units.items(), cohort.numeric.T, strict=True):
        values = column[np.isfinite(column)]
        if values.size < len(column) // 2:
            continue
        edges = np.quantile(values, [0.001, *np.arange(0.1, 0.95, 0.1), 0.999])
        if edges[-1] > edges[0]:
            even = np.linspace(edges[0], edges[-1], edges.size)
            found.append(Numeric(name, unit, 0.98 * edges + 0.02 * even))
    return tuple(found)


def _score_edges(score: FloatArray, positive: npt.NDArray[np.bool_]) -> FloatArray:
    """Quantiles of a half-and-half mixture, so that both classes are resolved; a little of an
    even grid keeps edges apart where scores repeat."""
    weight = np.where(positive, 0.5 / positive.sum(), 0.5 / (~positive).sum())
    order = np.argsort(score)
    inner = np.interp(np.arange(1, SCORE_BINS) / SCORE_BINS, np.cumsum(weight[order]), score[order])
    even = np.linspace(0.0, 1.0, SCORE_BINS + 1)
    return np.array(0.98 * np.array([0.0, *inner, 1.0]) + 0.02 * even)


def _label_bins(edges: FloatArray, score: FloatArray) -> tuple[int, ...]:
    cuts = np.quantile(score, LABEL_QUANTILES)
    first = np.searchsorted(cuts, edges[:-1], side="right")
    return tuple(int(b) for b in np.unique(first, return_inverse=True)[1])


def _joint(acquisition: tuple[str, ...], embedding: FloatArray, seed: int) -> Joint:
    """Random Fourier features with the median distance as bandwidth (Rahimi and Recht 2007)."""
    rng = np.random.default_rng([seed, 0xF0])
    pairs = rng.integers(len(embedding), size=(2, 2000))
    distance = np.linalg.norm(embedding[pairs[0]] - embedding[pairs[1]], axis=1)
    axes = embedding.shape[1]
    omega = rng.normal(size=(FEATURES, axes)) / np.median(distance[distance > 0])
    size = len(SCORE_TERMS) + 2 * len(acquisition) + axes + FEATURES
    phase = rng.uniform(0, 2 * np.pi, FEATURES)
    return Joint(acquisition, AXES, omega, phase, np.zeros(size), np.ones(size))


def _standardised(draft: Schema, cases: Cases) -> Schema:
    """The schema with the joint vector's centre and scale as this reference has them."""
    joint = draft.joint
    block = joint.blocks["acquisition"]
    order = [f.name for f in draft.numeric]
    values = cases.numeric[:, [order.index(name) for name in joint.acquisition]]
    values = values[np.isfinite(values).all(axis=1)]
    # A probe so wide that nothing is clipped; squares need the acquisition's own centre and scale.
    centre, scale = np.zeros(joint.size), np.full(joint.size, 1e6)
    centre[block], scale[block] = values.mean(axis=0), values.std(axis=0)
    phi = joint_vector(replace(joint, centre=centre, scale=scale), draft, cases)
    raw = phi[np.isfinite(phi).all(axis=1)] * scale + centre
    spread, middle = raw.std(axis=0), raw.mean(axis=0)
    spread[spread < 1e-9] = 1.0
    spread[block], middle[block] = scale[block], centre[block]
    return replace(draft, joint=replace(joint, centre=middle, scale=spread))


def labelled_bins(score: FloatArray, edges: FloatArray) -> tuple[int, ...]:
    """Counts of scores on the bins; an edge belongs to the bin above it."""
    at = np.clip(np.searchsorted(edges, score, side="right") - 1, 0, edges.size - 2)
    return tuple(np.bincount(at, minlength=edges.size - 1).tolist())
