"""From attenuation to stored pixels: one scanner's X-ray physics and its image processing.

A scanner whose processing changes while its headers stay the same is another `ScannerPhysics`,
made with `dataclasses.replace`; `processing_change` is such a one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.fft import dctn, idctn

Image = npt.NDArray[np.floating[Any]]  # float32 throughout

DENOISE_MM, EQUALISE_MM = 2.6, 60.0  # sigma of the smoothed images
SCATTER_MM = 35.0  # how far scattered radiation spreads
TARGET_KERMA_UGY = 2.5  # detector air kerma at which `quanta` applies; exposure index 250


@dataclass(frozen=True, slots=True)
class ScannerPhysics:
    """One scanner: detector, tube technique, processing.

    spacing_mm : pixel spacing at the detector; the grid is rows x columns.
    blur_mm : sigma of the point spread (focal spot and scintillator).
    quanta : detected quanta per pixel behind the lung at the target kerma; sets quantum noise.
    electronic : electronic noise, in quanta (standard deviation).
    gain, offset : detector response gain * signal + offset, signal 1 behind the lung.
    scatter : scatter-to-primary ratio of a large patient, after the grid.
    kvp, kerma_sd : tube voltage; spread (log) of automatic exposure control.
    enhancement, enhancement_mm : unsharp masking, amount and sigma of its mask.
    denoise : fraction replaced by a smoothed image, 0 to 1.
    equalisation : fraction of large-scale contrast removed, 0 to 1.
    gamma : exponent of the tone curve. window : (darkest, brightest) in nepers around the lung.
    collimation_mm : mean width of the collimator's shadow at each border.
    bits_stored, monochrome1 : how pixels are stored.
    """

    name: str
    rows: int
    columns: int
    spacing_mm: float
    blur_mm: float = 1.6
    quanta: float = 900.0
    electronic: float = 3.0
    gain: float = 1.0
    offset: float = 0.01
    scatter: float = 0.5
    kvp: float = 120.0
    kerma_sd: float = 0.2
    enhancement: float = 0.5
    enhancement_mm: float = 6.0
    denoise: float = 0.2
    equalisation: float = 0.25
    gamma: float = 1.0
    window: tuple[float, float] = (-0.9, 2.7)
    collimation_mm: float = 10.0
    bits_stored: int = 12
    monochrome1: bool = False


VENDORS: Mapping[str, ScannerPhysics] = {
    "philips": ScannerPhysics("philips", rows=176, columns=176, spacing_mm=2.40),
    "siemens": ScannerPhysics(
        "siemens",
        rows=192,
        columns=160,
        spacing_mm=2.25,
        blur_mm=1.4,
        quanta=800.0,
        kvp=125.0,
        enhancement=0.8,
        denoise=0.35,
        gamma=0.92,
        bits_stored=14,
    ),
    "fujifilm": ScannerPhysics(
        "fujifilm",
        rows=176,
        columns=144,
        spacing_mm=2.45,
        blur_mm=2.1,
        quanta=650.0,
        electronic=5.0,
        scatter=0.65,
        kvp=117.0,
        kerma_sd=0.3,
        enhancement=0.9,
        enhancement_mm=8.0,
        denoise=0.1,
        gamma=1.08,
        monochrome1=True,
    ),
    "agfa": ScannerPhysics(
        "agfa",
        rows=160,
        columns=160,
        spacing_mm=2.55,
        blur_mm=1.8,
        quanta=750.0,
        scatter=0.6,
        kvp=113.0,
        enhancement=0.3,
        enhancement_mm=10.0,
        denoise=0.25,
        equalisation=0.4,
        gamma=1.0,
        collimation_mm=14.0,
    ),
}


def processing_change(physics: ScannerPhysics) -> ScannerPhysics:
    """The same scanner after its image processing was retuned: more edges, less noise, darker
    lungs. Nothing of it stands in a header."""
    return replace(
        physics,
        enhancement=physics.enhancement + 1.2,
        denoise=min(physics.denoise + 0.25, 0.9),
        equalisation=max(physics.equalisation - 0.15, 0.0),
        gamma=physics.gamma * 1.25,
    )


@lru_cache(maxsize=256)
def gaussian(rows: int, columns: int, sigma: float) -> Image:
    """Transfer function of a Gaussian blur of `sigma` pixels on cosine coefficients."""
    down, across = (np.exp(-0.5 * (sigma * np.pi * np.arange(n) / n) ** 2) for n in (rows, columns))
    transfer: Image = np.outer(down, across).astype(np.float32)
    transfer.setflags(write=False)
    return transfer


def filtered(image: Image, transfer: Image) -> Image:
    """`image` through a linear filter, mirrored at its borders (cosine transform)."""
    return np.asarray(idctn(dctn(image, norm="ortho") * transfer, norm="ortho"))


def detect(
    rng: np.random.Generator, physics: ScannerPhysics, attenuation: Image, kerma: float
) -> Image:
    """Detector signal, 1 behind an average lung at the target kerma.

    attenuation : line integrals in nepers. kerma : relative to the target; automatic exposure
    control holds the signal behind the lung, so `attenuation` is taken relative to its level
    there, the 30 % quantile of the body.
    """
    inside = attenuation[attenuation > 0.5]
    level = np.float32(np.quantile(inside[::7], 0.3)) if inside.size > 7 else np.float32(0)
    primary = np.exp(level - attenuation) * np.float32(kerma)
    np.minimum(primary, 8.0, out=primary)  # direct beam: the detector saturates
    rows, columns = attenuation.shape
    scattered = filtered(primary, gaussian(rows, columns, SCATTER_MM / physics.spacing_mm))
    scattered *= np.float32(physics.scatter)
    signal = primary + np.minimum(scattered, 0.6)
    noise = rng.standard_normal(signal.shape, dtype=np.float32)
    signal += noise * np.sqrt(signal / np.float32(physics.quanta))
    signal = filtered(signal, gaussian(rows, columns, physics.blur_mm / physics.spacing_mm))
    noise = rng.standard_normal(signal.shape, dtype=np.float32)
    signal += noise * np.float32(physics.electronic / physics.quanta)
    return np.asarray(np.float32(physics.gain) * signal + np.float32(physics.offset))


def process(physics: ScannerPhysics, signal: Image) -> Image:
    """The vendor's image in 0..1, bright where attenuation is high."""
    log = -np.log(np.maximum(signal, 1e-3))
    image = filtered(log, _look(physics))
    low, high = physics.window
    image = np.clip((image - low) * np.float32(1 / (high - low)), 0, 1)
    return np.asarray(image ** np.float32(physics.gamma))


@lru_cache(maxsize=64)
def _look(physics: ScannerPhysics) -> Image:
    """Denoising, unsharp masking and equalisation as one linear filter."""
    smooth, fine, coarse = (
        gaussian(physics.rows, physics.columns, mm / physics.spacing_mm)
        for mm in (DENOISE_MM, physics.enhancement_mm, EQUALISE_MM)
    )
    edges = np.float32(physics.enhancement * (1 - 0.5 * physics.denoise)) * (1 - fine)
    calm = np.float32(physics.denoise) * (1 - smooth)
    return np.asarray(1 + edges - calm - np.float32(physics.equalisation) * coarse)


def store(physics: ScannerPhysics, image: Image, open_field: npt.NDArray[np.bool_]) -> np.ndarray:
    """Stored values (uint16): black outside the open field, inverted for MONOCHROME1."""
    top = (1 << physics.bits_stored) - 1
    stored = np.rint(np.where(open_field, image, 0) * np.float32(top)).astype(np.uint16)
    return (top - stored) if physics.monochrome1 else stored
