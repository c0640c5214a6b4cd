"""Cohorts of phantoms, made in parallel and measured by the very code that runs in a hospital."""

from __future__ import annotations

import importlib
import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt

from app.contracts.signing import sha256
from app.device.pixels import header
from app.device.pixels.canonical import resampled
from app.device.pixels.geometry import Grid
from app.device.reference.common.identity import invent_identity
from app.device.reference.common.phantom import Case, Truth
from app.device.study import examine, outside
from monitors.schema import FloatArray

if TYPE_CHECKING:
    from app.device.reference.common.declaration import ReferenceDevice

ACQUIRED = datetime(2026, 1, 5, 9, tzinfo=UTC)
MOST_LESIONS = 3
_CHUNK = 25


@dataclass(frozen=True, slots=True)
class Cohort:
    """n phantoms as the chain sees them.

    pixels (n, ...) uint16 canonical; positive (n,); numeric (n, F), NaN where missing; groups:
    sub-group level by margin, each (n,). Truth on canonical pixels: covered (n, f, r, c), the
    share of each pixel in 255ths, or without pixels, boxes (n, MOST_LESIONS, 4) and points
    (n, f, p, 2) with NaN for none, value (n,).
    """

    pixels: npt.NDArray[np.uint16]
    positive: npt.NDArray[np.bool_]
    numeric: FloatArray
    groups: dict[str, npt.NDArray[np.str_]]
    covered: npt.NDArray[np.uint8]
    boxes: FloatArray
    points: FloatArray
    value: FloatArray

    def __len__(self) -> int:
        return len(self.positive)

    def take(self, which: npt.NDArray[np.bool_]) -> Cohort:
        """The cases at these places."""
        return Cohort(
            self.pixels[which],
            self.positive[which],
            self.numeric[which],
            {margin: levels[which] for margin, levels in self.groups.items()},
            self.covered[which],
            self.boxes[which],
            self.points[which],
            self.value[which],
        )

    @property
    def images(self) -> npt.NDArray[np.float32]:
        """Canonical images in [0, 1]."""
        return self.images_at(slice(None))

    def images_at(self, which: npt.NDArray[np.int64] | slice) -> npt.NDArray[np.float32]:
        """Those of some places; all at once take twice the memory of their pixels."""
        return self.pixels[which] * np.float32(1 / 65535)

    @property
    def masks(self) -> npt.NDArray[np.float32]:
        """Share of each pixel in the mask, (n, f, r, c) in [0, 1]."""
        return self.covered * np.float32(1 / 255)

    @property
    def digest(self) -> str:
        """SHA-256 over pixels and labels: the dataset's name in the lineage."""
        return sha256(self.pixels.tobytes() + self.positive.tobytes())


@dataclass(frozen=True, slots=True)
class Drawn:
    """How to draw a cohort. `variation`: spread of the physics around each vendor's. `device`:
    the module that declares it, so that a worker process can find it."""

    device: str
    seed: int
    cases: int
    prevalence: float
    variation: float = 0.0


class Drawing:
    """Worker processes that draw cohorts; used as a context. With no workers it draws itself."""

    def __init__(self, workers: int = 2) -> None:
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(workers, context) if workers else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def start(self, drawn: Drawn) -> Callable[[], Cohort]:
        """Begin a cohort, behind those begun before; the answer waits for it. The same recipe
        gives the same cohort on any number of workers."""
        starts = range(0, drawn.cases, _CHUNK)
        chunks = [(drawn, start, min(start + _CHUNK, drawn.cases)) for start in starts]
        draw = map if self._pool is None else self._pool.map
        parts = draw(_draw, *zip(*chunks, strict=True))
        return lambda: _joined(list(parts))


def declared(module: str) -> ReferenceDevice:
    """The device that `module` declares."""
    device: ReferenceDevice = importlib.import_module(module).DEVICE
    return device


def phantom(device: ReferenceDevice, drawn: Drawn, index: int) -> tuple[str, Case]:
    """Case `index` of a cohort and its vendor."""
    rng = np.random.default_rng([drawn.seed, index])
    vendor = list(device.scanners)[int(rng.integers(len(device.scanners)))]
    positive = bool(rng.random() < drawn.prevalence)
    return vendor, device.make(rng, vendor, positive, drawn.variation)


def _draw(drawn: Drawn, start: int, stop: int) -> Cohort:
    device = declared(drawn.device)
    found = [_one(device, drawn, index) for index in range(start, stop)]
    return _joined([case for case in found if case is not None])


def _joined(parts: Sequence[Cohort]) -> Cohort:
    return Cohort(
        np.concatenate([p.pixels for p in parts]),
        np.concatenate([p.positive for p in parts]),
        np.concatenate([p.numeric for p in parts]),
        {m: np.concatenate([p.groups[m] for p in parts]) for m in parts[0].groups},
        np.concatenate([p.covered for p in parts]),
        np.concatenate([p.boxes for p in parts]),
        np.concatenate([p.points for p in parts]),
        np.concatenate([p.value for p in parts]),
    )


def _one(device: ReferenceDevice, drawn: Drawn, index: int) -> Cohort | None:
    """Case `index` of a cohort; None where the device would not look at it at all."""
    vendor, case = phantom(device, drawn, index)
    rng = np.random.default_rng([drawn.seed, index, 1])
    identity = invent_identity(rng, case, ACQUIRED, "Phantom")
    dataset = device.to_dicom(case, identity, device.scanners[vendor], ACQUIRED)
    examined = examine(dataset, device.preprocessing)
    if examined.is_constant or outside(dataset, device.limits):
        return None
    groups = {
        "scanner": vendor,
        "sex": case.sex,
        "age_band": header.age_band(dataset) or "",
        "severity": case.severity,
    }
    return Cohort(
        np.rint(examined.pixels * 65535).astype(np.uint16)[None],
        np.array([case.positive]),
        np.array([[examined.numeric.get(name, np.nan) for name in device.units]]),
        {margin: np.array([level]) for margin, level in groups.items()},
        _covered(case.truth, examined.grid),
        _boxes(case.truth, examined.grid),
        _points(case.truth, examined.grid),
        np.array([case.truth.value]),
    )


def _covered(truth: Truth, grid: Grid) -> npt.NDArray[np.uint8]:
    if truth.masks is None:
        return np.zeros((1, 0, 0, 0), dtype=np.uint8)
    to = grid.to
    frames = [
        resampled(m, grid.spacing_mm, to.spacing_mm, to.rows, to.columns) for m in truth.masks
    ]
    return np.rint(255 * np.stack(frames)[None]).astype(np.uint8)


def _boxes(truth: Truth, grid: Grid) -> FloatArray:
    found = np.full((1, MOST_LESIONS, 4), np.nan)
    if truth.boxes is not None:
        corners = grid.canonical(truth.boxes.reshape(-1, 2, 2)).reshape(-1, 4)
        found[0, : len(corners)] = corners[:MOST_LESIONS]
    return found


def _points(truth: Truth, grid: Grid) -> FloatArray:
    if truth.points is None:
        return np.zeros((1, 0, 0, 2))
    return grid.canonical(truth.points)[None]
