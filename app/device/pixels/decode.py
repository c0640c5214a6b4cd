"""Stored pixels into numbers: the one place where DICOM pixel data are read.

Nothing that a header says about sizes is believed before the length of the pixel data agrees.
"""

from __future__ import annotations

import math
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.pixels import (
    apply_color_lut,
    apply_voi_lut,
    get_decoder,
    pixel_array,
)
from pydicom.pixels.utils import get_expected_length
from pydicom.uid import DeflatedExplicitVRLittleEndian

from app.device.pixels import functional_groups
from app.device.pixels.functional_groups import rescaled, rescales
from app.errors import AppError

FILE_LIMIT = 512 << 20  # bytes of a file that we are willing to read
_PREAMBLE, _PIECE = 128, 1 << 20
DECODED_LIMIT = 512 << 20  # bytes of decoded pixels that we are willing to hold
GREY = ("MONOCHROME1", "MONOCHROME2")
_CENTIMETRES = 3  # physical unit of an ultrasound region
COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_RCT", "YBR_ICT", "PALETTE COLOR")
# What damaged elements make pydicom and its plug-ins raise.
_PARSING: tuple[type[Exception], ...] = (
    AttributeError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    NotImplementedError,
    ArithmeticError,
    OSError,
    EOFError,
    BytesLengthException,
)
_UNREADABLE: tuple[type[Exception], ...] = (
    *_PARSING,
    InvalidDicomError,
    RecursionError,
    zlib.error,
)
_UNDECODABLE: tuple[type[Exception], ...] = (*_PARSING, MemoryError, RuntimeError)
_SIZES = ("Rows", "Columns", "BitsAllocated", "BitsStored", "SamplesPerPixel")


class PixelsRefused(AppError):
    """Pixels that cannot be used; `reason` is a closed, countable word."""

    title = "Pixels refused"

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Picture:
    """Decoded pixels.

    values : float32 (frames, rows, columns) for grey, brighter means more attenuation (a
        MONOCHROME1 image is inverted); (frames, rows, columns, 3) in RGB for colour.
    lowest, highest : the values that the stored bits can express, after rescaling.
    spacing_mm : (row, column) spacing, None where the header has none.
    """

    values: npt.NDArray[np.float32]
    lowest: float
    highest: float
    spacing_mm: tuple[float, float] | None

    @property
    def is_colour(self) -> bool:
        """Whether the last axis holds red, green and blue."""
        return self.values.ndim == 4


def read_file(path: Path) -> Dataset:
    """The data set in `path`; `PixelsRefused` when it is too large or not DICOM."""
    if path.stat().st_size > FILE_LIMIT:
        raise PixelsRefused("too_large", f"a file of at most {FILE_LIMIT} bytes expected")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd values are common; what matters is checked
            _check_inflated(path)
            dataset = pydicom.dcmread(path, force=True)
    except _UNREADABLE as error:
        raise PixelsRefused("unreadable", f"not DICOM: {type(error).__name__}") from error
    if "SOPClassUID" not in dataset:
        raise PixelsRefused("unreadable", "a SOP class expected, got none")
    return dataset


def _check_inflated(path: Path) -> None:
    """Measure a deflated data set piece by piece: pydicom would inflate it whole, and a small
    file can hold gigabytes."""
    with path.open("rb") as file:
        if file.read(_PREAMBLE + 4)[_PREAMBLE:] != b"DICM":
            return
        meta = pydicom.filereader.read_file_meta_info(path)
        if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
            return
        # Behind the preamble stands the length of the rest of the group, in 12 bytes.
        file.seek(_PREAMBLE + 4 + 12 + int(meta.FileMetaInformationGroupLength))
        inflating, size = zlib.decompressobj(-zlib.MAX_WBITS), 0
        while (piece := inflating.unconsumed_tail or file.read(_PIECE)) and not inflating.eof:
            size += len(inflating.decompress(piece, _PIECE))
            if size > FILE_LIMIT:
                raise PixelsRefused("too_large", f"at most {FILE_LIMIT} inflated bytes expected")


def decode(dataset: Dataset, *, voi: bool = False) -> Picture:
    """The pixels of `dataset`, modality rescaled, in one orientation of brightness.

    voi : also apply the VOI LUT or window of the header (for viewing; scores never depend on
    what a technologist last set as window).
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            photometric = _photometric(dataset)
            _check_sizes(dataset, photometric)
            return _decoded(dataset, photometric, voi)
    except _UNDECODABLE as error:
        raise PixelsRefused("decode", f"pixels do not decode: {type(error).__name__}") from error


def _photometric(dataset: Dataset) -> str:
    if "PixelData" not in dataset:
        raise PixelsRefused("no_pixels", "pixel data expected, got none")
    photometric = str(dataset.get("PhotometricInterpretation", ""))
    if photometric not in GREY + COLOUR:
        raise PixelsRefused("photometric", "a known photometric interpretation expected")
    return photometric


def _check_sizes(dataset: Dataset, photometric: str) -> None:
    rows, columns, allocated, stored, samples = (_positive(dataset, name) for name in _SIZES)
    frames = _positive(dataset, "NumberOfFrames", default=1)
    if stored > allocated or allocated not in (1, 8, 16, 32):
        raise PixelsRefused("bits", f"{stored} bits stored in {allocated} allocated")
    wanted = 1 if photometric in (*GREY, "PALETTE COLOR") else 3
    if samples != wanted:
        raise PixelsRefused("samples", f"{wanted} samples per pixel expected, got {samples}")
    # Decoding makes floats of four bytes.
    if frames * rows * columns * samples * max(allocated // 8, 4) > DECODED_LIMIT:
        raise PixelsRefused("too_large", f"at most {DECODED_LIMIT} decoded bytes expected")
    if not _transfer_syntax(dataset).is_compressed:
        _check_length(dataset)


def _transfer_syntax(dataset: Dataset) -> pydicom.uid.UID:
    """How the pixels are encoded, if an installed plug-in decodes it."""
    syntax = getattr(getattr(dataset, "file_meta", None), "TransferSyntaxUID", None)
    if syntax is None:
        raise PixelsRefused("transfer_syntax", "a transfer syntax expected, got none")
    try:
        available = get_decoder(syntax).is_available
    except (NotImplementedError, ValueError):  # neither native nor an encoding that it knows
        available = False
    if not available:
        name = syntax.name if syntax.is_transfer_syntax else "one that pydicom does not know"
        raise PixelsRefused("transfer_syntax", f"no decoder for this transfer syntax: {name}")
    return syntax


def _check_length(dataset: Dataset) -> None:
    expected, found = get_expected_length(dataset), len(dataset.PixelData)
    if found not in (expected, expected + expected % 2):
        raise PixelsRefused("pixel_length", f"{expected} bytes of pixels expected, got {found}")


def _positive(dataset: Dataset, name: str, default: int | None = None) -> int:
    value: Any = dataset.get(name, default)
    if value is None or value == "":
        value = default
    try:
        number = int(value)
    except (TypeError, ValueError) as error:
        raise PixelsRefused("sizes", f"{name}: a whole number expected") from error
    if number < 1:
        raise PixelsRefused("sizes", f"{name}: at least 1 expected, got {number}")
    return number


def _decoded(dataset: Dataset, photometric: str, voi: bool) -> Picture:
    array = pixel_array(dataset)
    if photometric in GREY:
        return _grey(dataset, array, photometric == "MONOCHROME1", voi)
    if photometric == "PALETTE COLOR":
        array = apply_color_lut(array, dataset)
        array = array >> 8 if array.dtype == np.uint16 else array
    frames = array if array.ndim == 4 else array[None]
    top = float((1 << (8 if photometric == "PALETTE COLOR" else int(dataset.BitsStored))) - 1)
    return Picture(np.asarray(frames[..., :3], np.float32), 0.0, top, spacing(dataset))


def _grey(dataset: Dataset, array: npt.NDArray[Any], inverted: bool, voi: bool) -> Picture:
    values = rescaled(dataset, array)
    if voi:
        values = apply_voi_lut(values, dataset)
    values = np.asarray(values, dtype=np.float32)
    if not np.isfinite(values).all():
        raise PixelsRefused("not_finite", "finite pixel values expected after rescaling")
    lowest, highest = _expressible(dataset)
    if voi or not lowest < highest:
        lowest, highest = float(values.min()), float(values.max())
    if inverted:
        values = np.float32(lowest + highest) - values
    frames = values if values.ndim == 3 else values[None]
    return Picture(frames, lowest, highest, spacing(dataset))


def _expressible(dataset: Dataset) -> tuple[float, float]:
    """Smallest and largest value of the stored bits, rescaled; (0, 0) with a LUT sequence."""
    if "ModalityLUTSequence" in dataset:
        return 0.0, 0.0
    bits, signed = int(dataset.BitsStored), int(dataset.get("PixelRepresentation", 0) or 0)
    low = -(1 << (bits - 1)) if signed else 0
    slope, intercept = rescales(dataset).T
    ends = np.outer((low, low + (1 << bits) - 1), slope) + intercept
    return float(ends.min()), float(ends.max())


def spacing(dataset: Dataset) -> tuple[float, float] | None:
    """Pixel spacing (row, column) in mm, calibrated if there is one, else at the detector."""
    for keyword in ("PixelSpacing", "ImagerPixelSpacing"):
        value = functional_groups.value(dataset, keyword)
        try:
            row, column = (float(v) for v in value)
        except (TypeError, ValueError):
            continue
        if all(math.isfinite(v) and 0.01 <= v <= 20 for v in (row, column)):
            return row, column
    return _region_spacing(dataset)


def _region_spacing(dataset: Dataset) -> tuple[float, float] | None:
    """Spacing of the first ultrasound region that is measured in cm (PS3.3 C.8.5.5)."""
    for region in dataset.get("SequenceOfUltrasoundRegions") or ():
        values = [region.get(f"PhysicalDelta{axis}") for axis in "YX"]
        units = [region.get(f"PhysicalUnits{axis}Direction") for axis in "YX"]
        if units == [_CENTIMETRES] * 2 and all(isinstance(v, float) for v in values):
            row, column = (abs(v) * 10 for v in values)
            if all(0.01 <= v <= 20 for v in (row, column)):
                return row, column
    return None
