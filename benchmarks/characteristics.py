"""What the characteristics of one image cost, by kind: the figures of `docs/characteristics.md`.

    python -m benchmarks.characteristics

Processor time of one core, smallest of five; decoding is not in it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from pydicom.dataset import Dataset

from app.device.pixels.attributes import CATEGORICAL, NUMERIC
from app.device.pixels.canonical import Image
from app.device.pixels.characteristics import measure
from app.device.pixels.ct import ct_characteristics
from app.device.pixels.modality import colour_characteristics, ultrasound_characteristics
from app.device.pixels.mr import mr_characteristics
from app.device.study import header_numbers
from benchmarks.lock_proof import fastest


def disc(side: int, inside: float, outside: float, noise: float) -> Image:
    """A bright disc with noise, such as a body in air."""
    at = 2 * (np.arange(side) - (side - 1) / 2) / side
    body = np.where(np.hypot(at[:, None], at) < 0.7, inside, outside)
    noisy = body + np.random.default_rng(0).normal(0, noise, (side, side))
    return np.asarray(noisy, dtype=np.float32)


def works() -> Mapping[str, Callable[[], object]]:
    """What to measure, by what it is."""
    radiograph = disc(2816, 2000, 100, 20)
    frame = np.abs(disc(800, 0.5, 0.0, 0.1))[:600]
    photograph = np.clip(np.stack([disc(1500, v, 0.0, 0.01) for v in (0.7, 0.4, 0.2)], -1), 0, 1)
    header = Dataset()
    header.KVP, header.MagneticFieldStrength = 120, 3
    return {
        "radiograph 2816 x 2816 of 0.15 mm": lambda: measure(radiograph, 0.0, 4095.0, 0.15),
        "ultrasound 600 x 800": lambda: (
            measure(frame, 0.0, 1.0, 1.0),
            ultrasound_characteristics(frame),
        ),
        "photograph 1500 x 1500": lambda: (
            measure(photograph.mean(axis=2), 0.0, 1.0, 1.0),
            colour_characteristics(photograph),
        ),
        **{
            f"{kind} {side} x {side}": work
            for side in (256, 512, 1024)
            for kind, work in _slices(side).items()
        },
        "all header attributes": lambda: (
            header_numbers(header),
            [read(header) for read in CATEGORICAL.values()],
        ),
    }


def _slices(side: int) -> dict[str, Callable[[], object]]:
    mm = 360 / side
    ct, mr = disc(side, 40, -1000, 12), np.abs(disc(side, 800, 0, 20))
    return {
        "CT": lambda: (measure(ct, -1024.0, 3071.0, mm), ct_characteristics(ct, (mm, mm))),
        "MR": lambda: (measure(mr, 0.0, 4095.0, mm), mr_characteristics(mr)),
    }


def main() -> None:
    for what, work in works().items():
        print(f"{what:36s}{1e3 * fastest(work):8.1f} ms")
    print(f"{len(NUMERIC)} numbers and {len(CATEGORICAL)} words in headers")


if __name__ == "__main__":
    main()
