"""What a window counts: the frozen characteristic schema and the columns of a summary row.

One stratum of one window is a row of int64 numbers whose meaning is fixed by the schema
alone. All of them are counts or fixed-point sums, so rows add: day into week, scanner into
site, site into fleet, in any order, exactly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from monitors.errors import DesignError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

TALLIES = ("analysed", "flagged", "abstained", "quality_rejected", "outside_limits", "failed")
NUMERIC_UNITS = 1 << 20  # fixed-point steps between a numeric characteristic's outer edges
JOINT_UNITS = 1 << 12  # fixed-point steps per standard deviation of a joint coordinate
JOINT_CLIP = 6.0  # joint coordinates are clipped to +- this many standard deviations
BLOCKS: Mapping[str, tuple[str, ...]] = {  # of phi, in alphabetical order, which a reference keeps
    "acquisition": ("acquisition", "acquisition_square"),
    "embedding": ("embedding", "fourier"),
    "score": ("score",),
}
SCORE_TERMS = ("logit", "probability", "logit_square")


def _increasing(name: str, edges: FloatArray) -> FloatArray:
    edges = np.array(edges, dtype=np.float64)  # a copy: it is made read-only below
    if edges.ndim != 1 or edges.size < 3:
        raise DesignError(f"{name}: at least 3 edges expected, got {edges.size}")
    if not np.all(np.isfinite(edges)) or not np.all(np.diff(edges) > 0):
        raise DesignError(f"{name}: edges must be finite and strictly increasing")
    edges.setflags(write=False)
    return edges


@dataclass(frozen=True, slots=True, eq=False)
class Numeric:
    """A measured characteristic. `edges` (B+1,), in `unit`; values outside are under or over."""

    name: str
    unit: str
    edges: FloatArray
    privacy: str = "technical"

    def __post_init__(self) -> None:
        object.__setattr__(self, "edges", _increasing(self.name, self.edges))


@dataclass(frozen=True, slots=True)
class Categorical:
    """A characteristic with approved categories; anything else counts as OTHER."""

    name: str
    categories: tuple[str, ...]
    privacy: str = "technical"

    def __post_init__(self) -> None:
        if not self.categories or len(set(self.categories)) != len(self.categories):
            raise DesignError(f"{self.name}: categories must be present and distinct")


@dataclass(frozen=True, slots=True, eq=False)
class Score:
    """A stage's score in [0, 1]. `edges` (B+1,) contain every operating and candidate threshold."""

    stage: str
    edges: FloatArray

    def __post_init__(self) -> None:
        edges = _increasing(self.stage, self.edges)
        if edges[0] != 0.0 or edges[-1] != 1.0:
            raise DesignError(f"{self.stage}: score edges must run from 0 to 1")
        object.__setattr__(self, "edges", edges)


@dataclass(frozen=True, slots=True, eq=False)
class Joint:
    """The joint moment vector phi of one case, in this order:

    the `SCORE_TERMS` of the first score stage; the numeric characteristics named in
    `acquisition`, each clipped to its outer edges; their squares after standardising;
    the projected embedding (`embedding` coordinates); random Fourier features
    cos(omega e + phase) sqrt(2/D) of the projected embedding (Rahimi and Recht 2007).

    centre, scale : (p,) reference mean and standard deviation of each coordinate, so that
        phi is dimensionless. omega : (D, embedding); phase : (D,).
    """

    acquisition: tuple[str, ...]
    embedding: int
    omega: FloatArray
    phase: FloatArray
    centre: FloatArray
    scale: FloatArray

    def __post_init__(self) -> None:
        if self.omega.shape != (self.phase.size, self.embedding):
            raise DesignError(
                f"omega must have shape {(self.phase.size, self.embedding)}, got {self.omega.shape}"
            )
        if self.centre.shape != (self.size,) or self.scale.shape != (self.size,):
            raise DesignError(f"centre and scale must have shape ({self.size},)")
        if self.size > 128:
            raise DesignError(f"joint moments: at most 128 dimensions, got {self.size}")
        if not np.all(self.scale > 0):
            raise DesignError("joint moments: every scale must be positive")

    @property
    def size(self) -> int:
        """Number of coordinates p."""
        return len(SCORE_TERMS) + 2 * len(self.acquisition) + self.embedding + self.phase.size

    @property
    def blocks(self) -> dict[str, slice]:
        """Where score, acquisition, acquisition_square, embedding and fourier lie in phi."""
        sizes = {
            "score": len(SCORE_TERMS),
            "acquisition": len(self.acquisition),
            "acquisition_square": len(self.acquisition),
            "embedding": self.embedding,
            "fourier": self.phase.size,
        }
        ends = np.cumsum(list(sizes.values()))
        return {
            name: slice(int(end) - size, int(end))
            for (name, size), end in zip(sizes.items(), ends, strict=True)
        }


@dataclass(frozen=True, slots=True)
class Margin:
    """A sub-group margin (age band, sex): quasi-identifying, never crossed with another."""

    name: str
    levels: tuple[str, ...]


@dataclass(frozen=True)
class Schema:
    """Everything a window of one device version may count, and where it stands in a row.

    All numeric characteristics have the same number of bins, and so have all score stages,
    so that a monitor handles them as one array.
    `label_bins` (score bins,) merges score bins into the coarser bins in which labels leave.
    """

    numeric: tuple[Numeric, ...]
    categorical: tuple[Categorical, ...]
    scores: tuple[Score, ...]
    joint: Joint
    label_bins: tuple[int, ...]
    margins: tuple[Margin, ...] = ()
    sentinels: int = 0

    def __post_init__(self) -> None:
        if not self.scores:
            raise DesignError("a schema needs at least one score stage")
        if len({f.edges.size for f in self.numeric}) > 1:
            raise DesignError("all numeric characteristics must have the same number of bins")
        if len({s.edges.size for s in self.scores}) > 1:
            raise DesignError("all score stages must have the same number of bins")
        names = [f.name for f in self.numeric] + [c.name for c in self.categorical]
        if len(set(names)) != len(names):
            raise DesignError("characteristic names must be distinct")
        if len(self.label_bins) != self.score_bins:
            raise DesignError(f"label_bins: {self.score_bins} expected, got {len(self.label_bins)}")
        steps = np.diff(self.label_bins)
        if self.label_bins[0] != 0 or np.any((steps != 0) & (steps != 1)):
            raise DesignError("label_bins must start at 0 and rise by 0 or 1")
        missing = set(self.joint.acquisition) - {f.name for f in self.numeric}
        if missing:
            raise DesignError(f"joint moments name unknown characteristics: {sorted(missing)}")

    @property
    def numeric_bins(self) -> int:
        """Bins B between the outer edges; a row holds B + 3 counts (under, bins, over, missing)."""
        return self.numeric[0].edges.size - 1 if self.numeric else 0

    @property
    def score_bins(self) -> int:
        """Bins of every score stage; a row holds one more count, for a missing score."""
        return self.scores[0].edges.size - 1

    @property
    def merged_label_bins(self) -> int:
        """Number of score bins in which labels leave."""
        return self.label_bins[-1] + 1

    @cached_property
    def columns(self) -> dict[str, slice]:
        """Where each part of a case row stands."""
        categorical = sum(len(c.categories) + 2 for c in self.categorical)
        return _slices(
            {
                "tallies": len(TALLIES),
                "numeric_counts": len(self.numeric) * (self.numeric_bins + 3),
                "numeric_sums": len(self.numeric) * 2,
                "categorical_counts": categorical,
                "score_counts": len(self.scores) * (self.score_bins + 1),
                "joint_n": 1,
                "joint_sum": self.joint.size,
            }
        )

    @cached_property
    def moment_columns(self) -> dict[str, slice]:
        """Where each part of a weekly second-moment row stands.

        `dof` is sum over days of (n - 1); `products` the upper triangle, row by row, of the
        day-centred products sum over days of sum (phi - day mean)(phi - day mean)'.
        """
        p = self.joint.size
        return _slices({"n": 1, "dof": 1, "products": p * (p + 1) // 2})

    @property
    def label_columns(self) -> dict[str, slice]:
        """Where labelled and positive counts per merged score bin stand in a label row."""
        return _slices({"labelled": self.merged_label_bins, "positive": self.merged_label_bins})

    @property
    def sentinel_columns(self) -> dict[str, slice]:
        """Largest score deviation (in `NUMERIC_UNITS` of a probability), then reads and positive
        reads per sentinel image."""
        return _slices({"deviation": 1, "reads": self.sentinels, "positive": self.sentinels})

    @property
    def margin_columns(self) -> dict[str, slice]:
        """Sub-group row: analysed, flagged, then labelled and positive in 4 score quarters."""
        return _slices({"analysed": 1, "flagged": 1, "labelled": 4, "positive": 4})

    def width(self, columns: dict[str, slice]) -> int:
        """Length of a row with these columns."""
        return max(int(part.stop) for part in columns.values())


def _slices(sizes: dict[str, int]) -> dict[str, slice]:
    ends = np.cumsum(list(sizes.values()))
    return {
        name: slice(int(end) - size, int(end))
        for (name, size), end in zip(sizes.items(), ends, strict=True)
    }
