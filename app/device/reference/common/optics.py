"""What a camera does to a scene: illumination, colour, blur, noise, tone, storage."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from app.device.reference.common.phantom import around

Image = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class Camera:
    """One camera: size in pixels, white balance (red, blue gain), point spread (pixels), noise
    (of full scale), tone curve, how far light falls off to the corner, how uneven it is."""

    rows: int
    columns: int
    red: float = 1.0
    blue: float = 1.0
    blur: float = 0.7
    noise: float = 0.012
    gamma: float = 1.0
    vignette: float = 0.2
    unevenness: float = 0.06
    sharpening: float = 0.3

    def varied(self, rng: np.random.Generator, amount: float) -> Camera:
        """Another installation of the same product."""
        return replace(
            self,
            red=around(rng, self.red, amount / 3),
            blue=around(rng, self.blue, amount / 3),
            blur=around(rng, self.blur, amount),
            noise=around(rng, self.noise, amount),
            gamma=around(rng, self.gamma, amount / 3),
            unevenness=around(rng, self.unevenness, amount),
        )


def axes(camera: Camera) -> tuple[Image, Image]:
    """Row and column coordinates, 1 at the middle of the shorter side's border, 0 in the centre."""
    half = min(camera.rows, camera.columns) / 2
    down = (np.arange(camera.rows, dtype=np.float32) - (camera.rows - 1) / 2) / half
    across = (np.arange(camera.columns, dtype=np.float32) - (camera.columns - 1) / 2) / half
    y, x = np.meshgrid(down, across, indexing="ij")
    return y, x


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], sigma: float) -> Image:
    """A random field of unit variance whose details are about `sigma` pixels large."""
    field = gaussian_filter(rng.standard_normal(shape, dtype=np.float32), sigma, mode="wrap")
    return np.asarray(field / max(float(field.std()), 1e-6), dtype=np.float32)


def photograph(rng: np.random.Generator, camera: Camera, scene: Image) -> npt.NDArray[np.uint8]:
    """The stored picture (rows, columns, 3) of a scene's reflectance in [0, 1]."""
    y, x = axes(camera)
    direction = rng.uniform(0, 2 * np.pi)
    slope = camera.unevenness * float(rng.standard_normal())
    light = 1 + slope * (np.cos(direction) * x + np.sin(direction) * y)
    light *= 1 - camera.vignette * (x**2 + y**2) / 2
    light *= float(np.exp(rng.normal(0, 0.06)))
    image = scene * light[..., None] * np.array([camera.red, 1.0, camera.blue], dtype=np.float32)
    image = gaussian_filter(image, (camera.blur, camera.blur, 0))
    image += camera.sharpening * (image - gaussian_filter(image, (1.6, 1.6, 0)))
    grain = rng.standard_normal(image.shape, dtype=np.float32)
    image += grain * np.float32(camera.noise) * np.sqrt(np.clip(image, 0.02, 1))
    shown = np.clip(image, 0, 1) ** np.float32(camera.gamma)
    return np.asarray(np.rint(shown * 255), dtype=np.uint8)


def strokes(
    shape: tuple[int, int], lines: Iterable[tuple[npt.NDArray[np.float64], float]]
) -> Image:
    """Coverage in [0, 1] of lines, each points (k, 2) as row and column, and a width in pixels."""
    canvas = np.zeros(shape, dtype=np.float32)
    for points, width in lines:
        _stroke(canvas, points, width)
    return canvas


def _stroke(canvas: Image, points: npt.NDArray[np.float64], width: float) -> None:
    reach = int(np.ceil(width / 2 + 1))
    offsets = np.arange(-reach, reach + 1)
    points = points[:: 2 if width > 1.5 else 1]
    base = np.rint(points).astype(np.int64)
    rows = base[:, 0, None, None] + offsets[:, None]
    columns = base[:, 1, None, None] + offsets
    away = np.hypot(rows - points[:, 0, None, None], columns - points[:, 1, None, None])
    cover = np.clip(width / 2 + 0.5 - away, 0, min(width, 1.0)).astype(np.float32)
    inside = (rows >= 0) & (rows < canvas.shape[0]) & (columns >= 0) & (columns < canvas.shape[1])
    rows, columns = np.broadcast_arrays(rows, columns)
    np.maximum.at(canvas, (rows[inside], columns[inside]), cover[inside])


def path(
    rng: np.random.Generator,
    start: tuple[float, float],
    heading: float,
    length: int,
    bend: float,
) -> npt.NDArray[np.float64]:
    """A smooth random path of `length` steps of half a pixel (k, 2), and its headings turn."""
    turns = np.cumsum(rng.normal(0, bend, size=2 * length)) / 8 + rng.normal(0, bend / 4)
    angle = heading + turns
    steps = 0.5 * np.stack([np.sin(angle), np.cos(angle)], axis=1)
    return np.asarray(np.array(start) + np.cumsum(steps, axis=0))
