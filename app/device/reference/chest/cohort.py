"""Cohorts of phantoms, made in parallel and measured by the very code that runs in a hospital."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Self

import numpy as np
import numpy.typing as npt

from app.contracts.manifest import Preprocessing
from app.contracts.signing import sha256
from app.device.pixels import header
from app.device.pixels.canonical import resampled
from app.device.pixels.characteristics import UNITS
from app.device.pixels.decode import spacing
from app.device.reference.chest.dicom import HEADERS, invent_identity, to_dicom
from app.device.reference.chest.phantom import VENDORS, ScannerPhysics, make_case
from app.device.study import examine
from monitors.schema import FloatArray

PREPROCESSING = Preprocessing(
    spacing_mm=3.2, rows=128, columns=128, intensity="percentile", parameters={"low": 1, "high": 99}
)
CHARACTERISTICS = (*UNITS, *header.NUMERIC)
ACQUIRED = datetime(2026, 1, 5, 9, tzinfo=UTC)
_CHUNK = 50


@dataclass(frozen=True, slots=True)
class Cohort:
    """n phantoms as the chain sees them.

    pixels (n, r, c) uint16 canonical; lungs (n, r, c) truth; positive (n,); numeric (n, F) in the
    order of `CHARACTERISTICS`, NaN where missing; groups: sub-group level by margin, each (n,).
    """

    pixels: npt.NDArray[np.uint16]
    lungs: npt.NDArray[np.bool_]
    positive: npt.NDArray[np.bool_]
    numeric: FloatArray
    groups: dict[str, npt.NDArray[np.str_]]

    def __len__(self) -> int:
        return len(self.positive)

    def take(self, which: npt.NDArray[np.bool_]) -> Cohort:
        """The cases at these places."""
        groups = {margin: levels[which] for margin, levels in self.groups.items()}
        pixels, lungs = self.pixels[which], self.lungs[which]
        return Cohort(pixels, lungs, self.positive[which], self.numeric[which], groups)

    @property
    def images(self) -> npt.NDArray[np.float32]:
        """Canonical images in [0, 1]."""
        return (self.pixels / 65535.0).astype(np.float32)

    @property
    def digest(self) -> str:
        """SHA-256 over pixels and labels: the dataset's name in the lineage."""
        return sha256(self.pixels.tobytes() + self.positive.tobytes())


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to draw a cohort. `variation`: spread of the physics around each vendor's."""

    seed: int
    cases: int
    prevalence: float
    variation: float = 0.0


class Drawing:
    """Worker processes that draw cohorts; used as a context."""

    def __init__(self, workers: int = 2) -> None:
        self._pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def start(self, recipe: Recipe) -> Callable[[], Cohort]:
        """Begin a cohort, behind those begun before; the answer waits for it. The same recipe
        gives the same cohort on any number of workers."""
        starts = range(0, recipe.cases, _CHUNK)
        chunks = [(recipe, start, min(start + _CHUNK, recipe.cases)) for start in starts]
        parts = self._pool.map(_draw, *zip(*chunks, strict=True))
        return lambda: _joined(list(parts))


def _draw(recipe: Recipe, start: int, stop: int) -> Cohort:
    rows = [row for i in range(start, stop) if (row := _one(recipe, i)) is not None]
    pixels, lungs, positive, numeric, groups = zip(*rows, strict=True)
    return Cohort(
        np.array(pixels),
        np.array(lungs),
        np.array(positive),
        np.array(numeric),
        {margin: np.array([g[margin] for g in groups]) for margin in groups[0]},
    )


def _joined(parts: Sequence[Cohort]) -> Cohort:
    return Cohort(
        np.concatenate([p.pixels for p in parts]),
        np.concatenate([p.lungs for p in parts]),
        np.concatenate([p.positive for p in parts]),
        np.concatenate([p.numeric for p in parts]),
        {m: np.concatenate([p.groups[m] for p in parts]) for m in parts[0].groups},
    )


Row = tuple[npt.NDArray[np.uint16], npt.NDArray[np.bool_], bool, list[float], dict[str, str]]


def _one(recipe: Recipe, index: int) -> Row | None:
    """Case `index` of the cohort; None where the phantom cannot be measured at all."""
    rng = np.random.default_rng([recipe.seed, index])
    vendor = list(VENDORS)[int(rng.integers(len(VENDORS)))]
    physics = _varied(rng, VENDORS[vendor], recipe.variation)
    phantom = make_case(rng, physics, bool(rng.random() < recipe.prevalence))
    identity = invent_identity(rng, phantom, ACQUIRED, "Phantom")
    dataset = to_dicom(phantom, identity, HEADERS[vendor], ACQUIRED)
    examined = examine(dataset, PREPROCESSING)
    if examined.is_constant or phantom.age < 18:
        return None
    space = spacing(dataset)
    assert space is not None
    p = PREPROCESSING
    lungs = resampled(phantom.lungs.astype(np.float32), space, p.spacing_mm, p.rows, p.columns)
    groups = {
        "scanner": vendor,
        "sex": phantom.sex,
        "age_band": header.age_band(dataset) or "",
        "severity": phantom.severity,
    }
    return (
        np.rint(examined.pixels * 65535).astype(np.uint16),
        lungs > 0.5,
        phantom.positive,
        [examined.numeric.get(name, np.nan) for name in CHARACTERISTICS],
        groups,
    )


STORED_SIZE, STORED_MM = 160, 2.6


@dataclass(frozen=True, slots=True)
class DetectorImages:
    """Images as a detector of `STORED_SIZE` squared pixels of `STORED_MM` stores them, 12 bits.

    pixels (n, r, c) uint16, brighter where attenuation is higher; positive (n,).
    """

    pixels: npt.NDArray[np.uint16]
    positive: npt.NDArray[np.bool_]


def draw_detector_images(recipe: Recipe) -> DetectorImages:
    """Cases of all vendors on one size of detector: known answers and sentinels."""
    pixels, positive = [], []
    for index in range(recipe.cases):
        rng = np.random.default_rng([recipe.seed, index])
        vendor = list(VENDORS)[index % len(VENDORS)]
        physics = replace(
            VENDORS[vendor],
            rows=STORED_SIZE,
            columns=STORED_SIZE,
            spacing_mm=STORED_MM,
            bits_stored=12,
            monochrome1=False,
        )
        phantom = make_case(rng, physics, bool(rng.random() < recipe.prevalence))
        pixels.append(phantom.pixels)
        positive.append(phantom.positive)
    return DetectorImages(np.array(pixels), np.array(positive))


def _varied(rng: np.random.Generator, physics: ScannerPhysics, amount: float) -> ScannerPhysics:
    """Another installation of the same product: dose, blur and processing a little different."""
    if not amount:
        return physics
    factor = np.exp(rng.normal(0.0, amount, size=5))
    return replace(
        physics,
        blur_mm=physics.blur_mm * factor[0],
        quanta=physics.quanta * factor[1],
        enhancement=physics.enhancement * factor[2],
        denoise=min(physics.denoise * factor[3], 0.9),
        gamma=physics.gamma * factor[4] ** 0.3,
    )
