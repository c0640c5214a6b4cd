"""B-mode ultrasound: from scattering and attenuation to a stored picture.

Fully developed speckle: complex Gaussian scatterers, blurred by the pulse (axial) and the beam
(lateral, wider with depth), detected, compressed (Wagner 1983, IEEE Trans Son Ultrason 30(3)).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from app.device.reference.common.phantom import around

Image = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class Ultrasound:
    """One scanner and its preset.

    spacing_mm : of stored pixels. axial, lateral : sigma of pulse and beam, pixels. frequency :
    MHz. range_db : displayed dynamic range. gain_db : overall; tgc_db : left over from top to
    bottom by a time-gain compensation that is never right. smoothing : speckle reduction,
    0 to 1. edges : enhancement. gamma : grey map.
    """

    rows: int
    columns: int
    spacing_mm: float
    axial: float = 0.6
    lateral: float = 1.1
    frequency: float = 10.0
    range_db: float = 55.0
    gain_db: float = 0.0
    tgc_db: float = 0.0
    smoothing: float = 0.3
    edges: float = 0.2
    gamma: float = 1.0

    def varied(self, rng: np.random.Generator, amount: float) -> Ultrasound:
        """Another installation of the same product."""
        return replace(
            self,
            axial=around(rng, self.axial, amount),
            lateral=around(rng, self.lateral, amount),
            range_db=around(rng, self.range_db, amount / 2),
            smoothing=min(around(rng, self.smoothing, amount), 0.9),
            gamma=around(rng, self.gamma, amount / 3),
        )


def speckle(rng: np.random.Generator, shape: tuple[int, int]) -> npt.NDArray[np.complex64]:
    """Scatterers: circular complex Gaussian, unit power."""
    real, imaginary = rng.standard_normal((2, *shape), dtype=np.float32)
    return np.asarray((real + 1j * imaginary) * np.float32(np.sqrt(0.5)), dtype=np.complex64)


def picture(
    scanner: Ultrasound,
    scatter: npt.NDArray[np.complex64],
    echo_db: Image,
    loss_db: Image,
) -> Image:
    """The displayed image in [0, 1], before storage.

    echo_db : backscatter of the tissue. loss_db : what the way there and back took, beyond what
    time-gain compensation gives back. Both (rows, columns).
    """
    amplitude = (10 ** (echo_db / 20)).astype(np.float32)
    sigma = (scanner.axial, scanner.lateral)
    echoes = scatter * amplitude
    real, imaginary = (gaussian_filter(part, sigma) for part in (echoes.real, echoes.imag))
    # The blur keeps this share of white scatterers' power.
    kept = 1 / (4 * np.pi * scanner.axial * scanner.lateral)
    power = (real**2 + imaginary**2) / np.float32(kept)
    if scanner.smoothing:
        power = (1 - scanner.smoothing) * power + scanner.smoothing * gaussian_filter(power, 1.2)
    depth = np.linspace(-0.5, 0.5, len(power), dtype=np.float32)[:, None]
    level = 10 * np.log10(power + 1e-7) - loss_db + scanner.gain_db + scanner.tgc_db * depth
    shown = 1 + level / np.float32(scanner.range_db) - np.float32(0.35)
    shown = shown + scanner.edges * (shown - gaussian_filter(shown, 1.5))
    return np.asarray(np.clip(shown, 0, 1) ** np.float32(scanner.gamma), dtype=np.float32)


def stored(image: Image) -> npt.NDArray[np.uint8]:
    """Eight bits."""
    return np.asarray(np.rint(image * 255), dtype=np.uint8)


def header(rng: np.random.Generator, scanner: Ultrasound) -> dict[str, object]:
    """What an ultrasound header says about the technique."""
    return {
        "TransducerFrequency": round(1000 * scanner.frequency * float(np.exp(rng.normal(0, 0.05)))),
        "MechanicalIndex": f"{float(np.clip(rng.normal(1.0, 0.15), 0.3, 1.9)):.2f}",
        "DepthOfScanField": f"{scanner.rows * scanner.spacing_mm:.0f}",
    }
