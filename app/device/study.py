"""One object as the chain sees it: canonical pixels, characteristics, and whether it may be run."""

from __future__ import annotations

from dataclasses import dataclass

from pydicom.dataset import Dataset

from app.contracts.characteristics import CharacteristicSchema
from app.contracts.manifest import InputLimits, Preprocessing
from app.device.pixels import header
from app.device.pixels.canonical import Image, percentile_scaled, resampled
from app.device.pixels.characteristics import measure
from app.device.pixels.decode import PixelsRefused, decode


@dataclass(frozen=True, slots=True)
class Examined:
    """A decoded and measured image. `pixels` (rows, columns) in [0, 1], canonical."""

    pixels: Image
    numeric: dict[str, float]
    is_constant: bool


def examine(dataset: Dataset, preprocessing: Preprocessing) -> Examined:
    """Decode, measure and bring to canonical pixels; `PixelsRefused` for what cannot be."""
    picture = decode(dataset)
    if picture.is_colour or len(picture.values) != 1:
        raise PixelsRefused("not_one_grey_frame", "one grey frame expected")
    if picture.spacing_mm is None:
        raise PixelsRefused("spacing", "a pixel spacing expected, got none")
    image = picture.values[0]
    measured = measure(image, picture.lowest, picture.highest, picture.spacing_mm[0])
    pixels = canonical(image, picture.spacing_mm, preprocessing)
    return Examined(pixels, measured.values | header_numbers(dataset), measured.is_constant)


def canonical(image: Image, spacing_mm: tuple[float, float], to: Preprocessing) -> Image:
    """A decoded grey image on canonical pixels and the canonical intensity scale, in [0, 1]."""
    scaled = percentile_scaled(image, to.parameters["low"], to.parameters["high"])
    return resampled(scaled, spacing_mm, to.spacing_mm, to.rows, to.columns)


def header_numbers(dataset: Dataset) -> dict[str, float]:
    """The numeric characteristics that stand in the header."""
    found = {name: header.number(dataset, key) for name, (key, _) in header.NUMERIC.items()}
    return {name: value for name, value in found.items() if value is not None}


def header_categories(dataset: Dataset, schema: CharacteristicSchema) -> dict[str, str]:
    """Categories and margin levels: approved values as they are, anything else OTHER."""
    approved = {c.name: c.categories for c in schema.categorical}
    approved |= {m.name: m.levels for m in schema.margins}
    found: dict[str, str] = {}
    for name, levels in approved.items():
        value = header.CATEGORICAL[name](dataset) if name in header.CATEGORICAL else None
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
