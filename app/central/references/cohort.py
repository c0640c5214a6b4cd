"""Anchor A as the engine takes it: the validation cohort of a manifest."""

from __future__ import annotations

import numpy as np

from app.contracts.manifest import Manifest
from monitors.observations import Cohort
from monitors.schema import FloatArray, Schema


def cohort_of(manifest: Manifest, schema: Schema) -> Cohort:
    """Score histograms (2, S, B) and joint moments by class."""
    validation = manifest.validation
    stages = [score.stage for score in schema.scores]
    counts = np.zeros((2, len(stages), schema.score_bins), dtype=np.int64)
    for histogram in validation.histograms:
        counts[histogram.label, stages.index(histogram.stage)] = histogram.counts
    p = schema.joint.size
    return Cohort(
        score_counts=counts,
        joint_n=np.array(validation.joint_n, dtype=np.int64),
        joint_mean=np.array(validation.joint_mean, dtype=np.float64),
        joint_covariance=np.stack([_symmetric(t, p) for t in validation.joint_covariance]),
        prevalence=validation.prevalence,
    )


def _symmetric(upper: tuple[float, ...], p: int) -> FloatArray:
    matrix = np.zeros((p, p))
    matrix[np.triu_indices(p)] = upper
    return np.asarray(matrix + np.triu(matrix, 1).T, dtype=np.float64)
