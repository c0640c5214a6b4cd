"""How far each characteristic moved, and the labels given the score, with 95 % intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from monitors.incidents import LABEL_DAYS, Seen
from monitors.label_stream import intercept_shift
from monitors.null_model import TOLERANCE, noise_of_shift
from monitors.schema import SCORE_TERMS, FloatArray, IntArray, Schema

Z95 = 1.96
UNIT = "reference SD"
LABELS, LOG_ODDS = "labels_given_score", "log odds"


@dataclass(frozen=True, slots=True)
class EffectSize:
    """A shift and its 95 % interval."""

    name: str
    effect: float
    interval: tuple[float, float]
    unit: str


def effects(seen: Seen, units: IntArray, since: int) -> tuple[EffectSize, ...]:
    """Score terms, acquisition characteristics and embedding of `units` since `since`, largest
    first; standard deviations of a case within a day."""
    which = seen.windows_of(units, since)
    if not which.size:
        return ()
    null, w = seen.reference.null, seen.windows
    n = w.n[which].astype(np.float64)
    share = n / n.sum()
    shift = share @ (w.mean[which] - null.mean[w.unit[which]])
    by_unit = np.bincount(w.unit[which], share, len(seen.reference.units))
    borrowed = by_unit**2 / np.maximum(null.cases, 1)
    within, between = np.diag(null.within), np.diag(null.between)
    variance = within * (1 / n.sum() + borrowed.sum() + TOLERANCE**2)
    variance = variance + between * ((share**2).sum() + (borrowed * null.n0).sum())
    variance = variance + noise_of_shift(null, w.noise[which], share, by_unit)
    names = _names(seen.reference.schema)
    sizes = [_effect(name, shift[i], within[i], variance[i]) for i, name in names.items()]
    return tuple(sorted(sizes, key=lambda e: (-abs(e.effect), e.name)))


def label_effects(seen: Seen, sites: set[str], since: int) -> tuple[EffectSize, ...]:
    """Log odds by which labels of `sites` moved at the same score since `since`, if there are any.

    Of several sites with a reference of their own, what is common to them.
    """
    fitted, columns = seen.reference.labels, seen.reference.schema.label_columns
    rows = []
    for site in sorted(sites):
        at = None if fitted is None else fitted.index((site, ""))
        tables = seen.tables_of({site}, since - LABEL_DAYS)
        if at is not None and tables:
            rows.append((at, seen.labels.rows[tables].sum(axis=0)))
    if fitted is None or not sum(int(row[columns["labelled"]].sum()) for _, row in rows):
        return ()
    at_all, total = [at for at, _ in rows], np.array([row for _, row in rows])
    shift, error = intercept_shift(
        fitted.probability[at_all],
        fitted.error[at_all],
        total[:, columns["labelled"]],
        total[:, columns["positive"]],
    )
    return (EffectSize(LABELS, shift, (shift - Z95 * error, shift + Z95 * error), LOG_ODDS),)


def _names(schema: Schema) -> dict[int, str]:
    blocks = schema.joint.blocks
    first = {
        "score": [f"score_{term}" for term in SCORE_TERMS],
        "acquisition": list(schema.joint.acquisition),
        "embedding": [f"embedding_{i}" for i in range(schema.joint.embedding)],
    }
    return {
        blocks[block].start + i: name
        for block, names in first.items()
        for i, name in enumerate(names)
    }


def _effect(name: str, shift: FloatArray, within: FloatArray, variance: FloatArray) -> EffectSize:
    sd = float(np.sqrt(max(float(within), 1e-12)))
    effect, error = float(shift) / sd, float(np.sqrt(float(variance))) / sd
    return EffectSize(name, effect, (effect - Z95 * error, effect + Z95 * error), UNIT)
