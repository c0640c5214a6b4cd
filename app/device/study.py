"""One object as the chain sees it: canonical pixels, characteristics, and whether it may be run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset

from app.contracts.characteristics import CharacteristicSchema
from app.contracts.manifest import InputLimits, Preprocessing
from app.device.pixels import attributes, header
from app.device.pixels.canonical import Image, percentile_scaled, resampled
from app.device.pixels.characteristics import measure
from app.device.pixels.ct import ct_characteristics
from app.device.pixels.decode import Picture, PixelsRefused, decode
from app.device.pixels.geometry import Grid, working_spacing
from app.device.pixels.modality import colour_characteristics, ultrasound_characteristics
from app.device.pixels.mr import mr_characteristics
from app.device.pixels.orientation import turn

LUMINANCE = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601
MOST_SPREAD = 1e-2  # of colours, where a scanner stores grey in colour


@dataclass(frozen=True, slots=True)
class Examined:
    """A decoded and measured image. `pixels` canonical in [0, 1]: (rows, columns), for a
    photograph (rows, columns, 3), for a clip (frames, rows, columns). `grid`: where they lie."""

    pixels: Image
    numeric: dict[str, float]
    is_constant: bool
    grid: Grid


def examine(dataset: Dataset, preprocessing: Preprocessing) -> Examined:
    """Decode, measure and bring to canonical pixels; `PixelsRefused` for what cannot be."""
    picture = decode(dataset)
    values = _expected(picture, preprocessing, header.text(dataset, "Modality") == "US")
    turned = turn(dataset)
    values = turned.upright(values)
    shape = (values.shape[1], values.shape[2])
    stored_mm = picture.spacing_mm and turned.swapped(picture.spacing_mm)
    spacing_mm = working_spacing(shape, stored_mm, preprocessing)
    if spacing_mm is None:
        raise PixelsRefused("spacing", "a pixel spacing expected, got none")
    grey = values[0] @ LUMINANCE if values.ndim == 4 else values[0]
    # Everything but a radiograph is measured on its own pixels: speckle and hair are that fine.
    at_mm = preprocessing.parameters.get("measuring_mm", spacing_mm[0])
    measured = measure(grey, picture.lowest, picture.highest, at_mm)
    stored = values if preprocessing.intensity == "cine" else values[0]
    return Examined(
        canonical(stored, spacing_mm, preprocessing, picture.highest),
        measured.values | _of_kind(values, picture, dataset, spacing_mm) | header_numbers(dataset),
        measured.is_constant,
        Grid(shape, spacing_mm, preprocessing, turned),
    )


def _expected(picture: Picture, preprocessing: Preprocessing, ultrasound: bool) -> Image:
    """The frames that the preprocessing is for: colour or grey, one or a clip of them."""
    colour, cine = preprocessing.intensity == "colour", preprocessing.intensity == "cine"
    wanted, values = "colour" if colour else "grey", picture.values
    if ultrasound and picture.is_colour and _is_grey(values, picture.highest):
        values = values[..., 0]
    if colour != (values.ndim == 4) or (not cine and len(values) != 1):
        raise PixelsRefused(f"not_one_{wanted}_frame", f"one {wanted} frame expected")
    if cine and len(values) < preprocessing.parameters["frames"]:
        raise PixelsRefused("too_few_frames", f"a clip expected, got {len(values)} frames")
    return values


def _is_grey(values: Image, highest: float) -> bool:
    """Whether three channels hold one: many ultrasound scanners store grey as RGB."""
    return float(np.ptp(values, axis=-1).max()) <= MOST_SPREAD * highest


def canonical(
    image: Image, spacing_mm: tuple[float, float], to: Preprocessing, highest: float = 255.0
) -> Image:
    """A decoded image on canonical pixels and the canonical intensity scale, in [0, 1].

    Grey (rows, columns) by its percentiles; a clip (frames, rows, columns) by those of all its
    frames, `frames` of them evenly over the clip; a photograph (rows, columns, 3) by `highest`.
    """

    def placed(plane: Image) -> Image:
        return resampled(plane, spacing_mm, to.spacing_mm, to.rows, to.columns)

    if to.intensity == "colour":
        scaled = image * np.float32(1 / highest)
        return np.stack([placed(scaled[..., channel]) for channel in range(3)], axis=-1)
    if to.intensity == "cine":
        frames = int(to.parameters["frames"])
        image = image[np.linspace(0, len(image) - 1, frames).round().astype(np.int64)]
    scaled = percentile_scaled(image, to.parameters["low"], to.parameters["high"])
    return np.stack([placed(frame) for frame in scaled]) if scaled.ndim == 3 else placed(scaled)


def _of_kind(
    values: Image, picture: Picture, dataset: Dataset, spacing_mm: tuple[float, float]
) -> dict[str, float]:
    """What only images of this kind show."""
    modality = header.text(dataset, "Modality")
    if modality == "CT":
        return ct_characteristics(values[0], spacing_mm) if _is_in_hu(dataset) else {}
    if modality == "MR":
        return mr_characteristics(values[0])
    unit = (values[0] - np.float32(picture.lowest)) / np.float32(picture.highest - picture.lowest)
    if values.ndim == 4:
        return colour_characteristics(unit)
    return ultrasound_characteristics(unit) if modality == "US" else {}


def _is_in_hu(dataset: Dataset) -> bool:
    """Rescaled values of a CT image are Hounsfield units unless it says otherwise (PS3.3 C.8.2.1);
    those of MONOCHROME1 were inverted."""
    grey = header.text(dataset, "PhotometricInterpretation") == "MONOCHROME2"
    return grey and (header.text(dataset, "RescaleType") or "HU").upper() == "HU"


def header_numbers(dataset: Dataset) -> dict[str, float]:
    """The numeric characteristics that stand in the header."""
    found = {name: header.number(dataset, key) for name, (key, _) in attributes.NUMERIC.items()}
    return {name: value for name, value in found.items() if value is not None}


def header_categories(dataset: Dataset, schema: CharacteristicSchema) -> dict[str, str]:
    """Categories and margin levels: approved values as they are, anything else OTHER."""
    approved = {c.name: c.categories for c in schema.categorical}
    approved |= {m.name: m.levels for m in schema.margins}
    found: dict[str, str] = {}
    for name, levels in approved.items():
        value = attributes.CATEGORICAL[name](dataset) if name in attributes.CATEGORICAL else None
        if value is not None:
            found[name] = value if value in levels else "OTHER"
    return found


def outside(dataset: Dataset, limits: InputLimits) -> str:
    """The first input limit that the header does not keep, as a closed word; "" if all are kept."""
    for limit in limits.allowed:
        value = header.text(dataset, limit.attribute)
        if _breaks(value, limit.attribute, limits, value in limit.values):
            return limit.attribute
    for bounds in limits.ranges:
        number = header.number(dataset, bounds.attribute)
        inside = number is not None and bounds.lowest <= number <= bounds.highest
        if _breaks(number, bounds.attribute, limits, inside):
            return bounds.attribute
    return ""


def _breaks(value: object, attribute: str, limits: InputLimits, inside: bool) -> bool:
    return attribute not in limits.may_be_missing if value is None else not inside
