"""Whether a frozen intensity map per vendor brings the scores of an unseen vendor nearer.

    python -m benchmarks.unseen_vendor [VENDOR …]

The chest device's networks learn from all vendors but one. A map is fitted on unlabelled phantoms
of each vendor, the unseen one included: piecewise linear, from the mean quantiles of its canonical
images to those of the vendors that were seen. Printed is how far the scores of sound cases lie
from those of the seen vendors, in their standard deviations, and what that does to the flags.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from app.device.pixels.canonical import Image, resampled
from app.device.pixels.decode import decode
from app.device.pixels.geometry import working_spacing
from app.device.programs import deterministic
from app.device.reference.chest.device import DEVICE
from app.device.reference.chest.training import learn
from app.device.reference.common.cohort import ACQUIRED, Cohort
from app.device.reference.common.evaluation import auc
from app.device.reference.common.identity import invent_identity
from app.device.study import examine, outside
from monitors.schema import FloatArray

TRAINING, FITTING, TESTING, EPOCHS = 600, 120, 600, 6  # cases of each vendor
VARIATION = 0.12  # of the physics around each vendor's, in training
SENSITIVITY = 0.8  # of the threshold, on the vendors that were seen
LEVELS = np.linspace(0.01, 0.99, 33)
BLACK = 0.004  # outside the field nothing is mapped
Stored = npt.NDArray[np.uint16]
Map = tuple[FloatArray, FloatArray]
LINE = (
    "  {vendor:9} sound cases {shift:+.2f} SD (95 % +-{error:.2f}), spread {spread:.2f}, "
    "AUC {auc:.3f}, sensitivity {sensitivity:.3f}, flagged of sound {flagged:.3f}"
)


@dataclass(frozen=True, slots=True)
class Seen:
    """Cases of one vendor (n, rows, columns), by their percentiles as the device takes them, and
    by the range of the stored bits; masks (n, rows, columns); positive (n,)."""

    percentile: Stored
    stored_range: Stored
    lungs: npt.NDArray[np.uint8]
    positive: npt.NDArray[np.bool_]


def main(unseen: list[str]) -> None:
    """A block for each vendor that is left out, agfa unless named."""
    deterministic()
    for vendor in unseen or ["agfa"]:
        print(f"learned without {vendor}", flush=True)
        _without(vendor)


def _without(vendor: str) -> None:
    known = [name for name in DEVICE.scanners if name != vendor]
    learned = {name: _drawn(name, 101, TRAINING, 0.4, VARIATION) for name in known}
    fitted = {name: _drawn(name, 202, FITTING, DEVICE.prevalence, 0.0) for name in DEVICE.scanners}
    tested = {name: _drawn(name, 303, TESTING, 0.2, 0.0) for name in DEVICE.scanners}
    maps = _maps({name: case.percentile for name, case in fitted.items()}, known)

    def mapped(name: str, seen: Seen) -> Stored:
        return _through(maps[name], seen.percentile)

    def percentile(_name: str, seen: Seen) -> Stored:
        return seen.percentile

    def stored_range(_name: str, seen: Seen) -> Stored:
        return seen.stored_range

    networks = _learn(learned, percentile)
    _report("percentiles of each image (what the device does)", networks, tested, known, percentile)
    _report("the same, mapped when it is run", networks, tested, known, mapped)
    networks = _learn(learned, mapped)
    _report("mapped when it learns and when it is run", networks, tested, known, mapped)
    _report(
        "the same, the unseen vendor not mapped: nobody knew it",
        networks,
        tested,
        known,
        lambda name, seen: (percentile if name == vendor else mapped)(name, seen),
    )
    networks = _learn(learned, stored_range)
    _report("range of the stored bits", networks, tested, known, stored_range)


def _drawn(vendor: str, seed: int, cases: int, prevalence: float, variation: float) -> Seen:
    found: list[tuple[Image, Image, Image, bool]] = []
    index = 0
    while len(found) < cases:
        rng = np.random.default_rng([seed, list(DEVICE.scanners).index(vendor), index])
        index += 1
        case = DEVICE.make(rng, vendor, bool(rng.random() < prevalence), variation)
        identity = invent_identity(rng, case, ACQUIRED, "Phantom")
        dataset = DEVICE.to_dicom(case, identity, DEVICE.scanners[vendor], ACQUIRED)
        if outside(dataset, DEVICE.limits):
            continue
        picture, examined = decode(dataset), examine(dataset, DEVICE.preprocessing)
        if case.truth.masks is None or examined.is_constant:
            continue
        whole = (picture.values[0] - picture.lowest) / (picture.highest - picture.lowest)
        stored = _placed(whole, picture.spacing_mm)
        lungs = _placed(case.truth.masks[0], picture.spacing_mm)
        found.append((examined.pixels, stored, lungs, case.positive))
    pixels, stored_range, lungs_of, positive = zip(*found, strict=True)
    return Seen(
        _kept(np.stack(pixels)),
        _kept(np.stack(stored_range)),
        np.rint(255 * np.stack(lungs_of)).astype(np.uint8),
        np.array(positive),
    )


def _placed(image: npt.NDArray[Any], spacing_mm: tuple[float, float] | None) -> Image:
    to = DEVICE.preprocessing
    spacing = working_spacing((image.shape[0], image.shape[1]), spacing_mm, to)
    if spacing is None:
        raise ValueError("a pixel spacing expected, got none")
    return resampled(image.astype(np.float32), spacing, to.spacing_mm, to.rows, to.columns)


def _kept(images: Image) -> Stored:
    return np.rint(np.clip(images, 0, 1) * 65535).astype(np.uint16)


def _maps(images: Mapping[str, Stored], known: list[str]) -> dict[str, Map]:
    """For each vendor, from which quantiles to which."""
    found = {name: _quantiles(pixels) for name, pixels in images.items()}
    wanted = np.mean([found[name] for name in known], axis=0)
    for name, values in found.items():
        print(f"  {name:9} quantiles off by {np.abs(values - wanted).mean():.4f}", flush=True)
    return {name: _joined(values, wanted) for name, values in found.items()}


def _quantiles(pixels: Stored) -> FloatArray:
    images = pixels.reshape(len(pixels), -1) / 65535
    return np.asarray(np.mean([np.quantile(i[i > BLACK], LEVELS) for i in images], axis=0))


def _joined(values: FloatArray, wanted: FloatArray) -> Map:
    places, first = np.unique([0.0, *values, 1.0], return_index=True)
    return places, np.array([0.0, *wanted, 1.0])[first]


def _through(curve: Map, pixels: Stored) -> Stored:
    return _kept(np.interp(pixels / 65535, *curve).astype(np.float32))


def _learn(
    learned: Mapping[str, Seen], look: Callable[[str, Seen], Stored]
) -> dict[str, nn.Module]:
    torch.manual_seed(7)
    pixels = np.concatenate([look(name, seen) for name, seen in learned.items()])
    n = len(pixels)
    cohort = Cohort(
        pixels=pixels,
        positive=np.concatenate([seen.positive for seen in learned.values()]),
        numeric=np.zeros((n, 0)),
        groups={},
        covered=np.concatenate([seen.lungs for seen in learned.values()])[:, None],
        boxes=np.full((n, 0, 4), np.nan),
        points=np.zeros((n, 1, 0, 2)),
        value=np.full(n, np.nan),
    )
    order = np.random.default_rng(7).permutation(n)  # the segmenter learns from the first ones
    return learn(cohort.take(order), EPOCHS, lambda _what, _share: None)


def _report(
    what: str,
    networks: Mapping[str, nn.Module],
    tested: Mapping[str, Seen],
    known: list[str],
    look: Callable[[str, Seen], Stored],
) -> None:
    print(f" {what}", flush=True)
    scores = {name: _logits(networks, look(name, seen)) for name, seen in tested.items()}
    sound = np.concatenate([scores[name][~tested[name].positive] for name in known])
    ill = np.concatenate([scores[name][tested[name].positive] for name in known])
    threshold = float(np.quantile(ill, 1 - SENSITIVITY))
    for name, score in scores.items():
        well, sick = score[~tested[name].positive], score[tested[name].positive]
        print(
            LINE.format(
                vendor=name,
                shift=(well.mean() - sound.mean()) / sound.std(),
                error=1.96 * well.std() / np.sqrt(len(well)) / sound.std(),
                spread=well.std() / sound.std(),
                auc=auc(sick, well)[0],
                sensitivity=(sick >= threshold).mean(),
                flagged=(well >= threshold).mean(),
            ),
            flush=True,
        )


def _logits(networks: Mapping[str, nn.Module], pixels: Stored) -> FloatArray:
    found = []
    with torch.inference_mode():
        for part in np.array_split(pixels, max(len(pixels) // 64, 1)):
            image = torch.from_numpy(part * np.float32(1 / 65535))[:, None]
            (lungs,) = networks["lungs"](image)[:1]
            probability = networks["classifier"](image, lungs)[0].double()
            found.append(torch.logit(probability, eps=1e-9).numpy())
    return np.concatenate(found)


if __name__ == "__main__":
    main(sys.argv[1:])
