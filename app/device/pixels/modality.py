"""Image-derived characteristics beyond a radiograph's: colour balance, and ultrasound texture."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from app.device.pixels.canonical import Image

# Characteristic -> unit in UCUM.
COLOUR_UNITS: Mapping[str, str] = {
    "red_ratio": "1",
    "blue_ratio": "1",
    "saturation": "1",
    "uniformity": "1",
}
ULTRASOUND_UNITS: Mapping[str, str] = {"speckle_snr": "1", "depth_slope": "1"}
_BLOCK = 8  # pixels a side in which speckle is taken as one tissue


def colour_characteristics(image: Image) -> dict[str, float]:
    """Of an image (rows, columns, 3) in [0, 1], over what is not black.

    red_ratio, blue_ratio : mean red and blue over mean green, the white balance. saturation :
    mean of (max - min) / max. uniformity : darkest over brightest quarter, of mean brightness.
    """
    lit = image[image.max(axis=2) > 0.06]
    if len(lit) < 64:
        return {}
    red, green, blue = (float(v) for v in lit.mean(axis=0))
    top = lit.max(axis=1)
    return {
        "red_ratio": red / max(green, 1e-3),
        "blue_ratio": blue / max(green, 1e-3),
        "saturation": float(((top - lit.min(axis=1)) / top).mean()),
        "uniformity": _uniformity(image.mean(axis=2)),
    }


def _uniformity(grey: Image) -> float:
    halves = [part for half in np.array_split(grey, 2) for part in np.array_split(half, 2, axis=1)]
    means = [float(part[part > 0.06].mean()) if (part > 0.06).any() else 0.0 for part in halves]
    return min(means) / max(*means, 1e-3)


def ultrasound_characteristics(image: Image) -> dict[str, float]:
    """Of a B-mode image (rows, columns) in [0, 1].

    speckle_snr : median over blocks of mean over standard deviation; compression and smoothing
    raise it. depth_slope : change of the mean level from top to bottom, gain against attenuation.
    """
    rows, columns = (n // _BLOCK for n in image.shape)
    if min(rows, columns) < 2:
        return {}
    blocks = image[: rows * _BLOCK, : columns * _BLOCK].reshape(rows, _BLOCK, columns, _BLOCK)
    mean, spread = blocks.mean(axis=(1, 3)), blocks.std(axis=(1, 3))
    inside = mean > 0.08
    if inside.sum() < 4:
        return {}
    ratio = mean[inside] / np.maximum(spread[inside], 1e-3)
    depth = np.nonzero(inside)[0] / max(rows - 1, 1)
    centred = depth - depth.mean()
    slope = (centred * mean[inside]).sum() / max(float((centred**2).sum()), 1e-6)
    return {"speckle_snr": float(np.median(ratio)), "depth_slope": float(slope)}
