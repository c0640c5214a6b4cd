"""Attributes of a header as numbers and closed words. Odd values count as missing."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Sequence
from datetime import date

import pydicom
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException

from app.device.pixels import functional_groups

AGE_BANDS = ((18, 39), (40, 49), (50, 59), (60, 69), (70, 79), (80, 200))
# What pydicom raises on values that it cannot convert.
_UNCONVERTIBLE: tuple[type[Exception], ...] = (
    ValueError,
    TypeError,
    AttributeError,
    KeyError,
    NotImplementedError,
    OverflowError,
    BytesLengthException,
)
_AGE = re.compile(r"^(\d{1,3})([DWMY])$")
_YEARS = {"D": 1 / 365.25, "W": 7 / 365.25, "M": 1 / 12, "Y": 1.0}


def text(dataset: Dataset, keyword: str) -> str | None:
    """The attribute as one stripped string, several values joined by a backslash. Of an enhanced
    multi-frame object, what holds for all frames or for the first."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            value = functional_groups.value(dataset, keyword)
    except _UNCONVERTIBLE:
        return None
    if value is None or value == "":
        return None
    parts = value if isinstance(value, list | tuple) or _is_multiple(value) else [value]
    joined = "\\".join(str(part).strip() for part in parts).strip()
    return joined or None


def items(dataset: Dataset, keyword: str) -> Sequence[Dataset]:
    """The items of a sequence; none where it is absent, empty or damaged."""
    try:
        found = functional_groups.value(dataset, keyword)
    except _UNCONVERTIBLE:
        return ()
    return found if isinstance(found, pydicom.Sequence) else ()


def _is_multiple(value: object) -> bool:
    return hasattr(value, "__iter__") and not isinstance(value, str | bytes)


def number(dataset: Dataset, keyword: str) -> float | None:
    """The attribute as a finite number (the first of several); age in years."""
    if keyword == "PatientAge":
        return age_years(dataset)
    value = (text(dataset, keyword) or "").split("\\")[0]
    try:
        found = float(value)
    except ValueError:
        return None
    return found if math.isfinite(found) else None


def age_years(dataset: Dataset) -> float | None:
    """Age from PatientAge, else from birth and study date."""
    match = _AGE.match(text(dataset, "PatientAge") or "")
    if match:
        return int(match[1]) * _YEARS[match[2]]
    born, studied = (_day(text(dataset, f"{k}Date")) for k in ("PatientBirth", "Study"))
    if born is None or studied is None or studied < born:
        return None
    return (studied - born).days / 365.25


def _day(value: str | None) -> date | None:
    if value is None or not re.fullmatch(r"\d{8}", value):
        return None
    try:
        return date(int(value[:4]), int(value[4:6]), int(value[6:]))
    except ValueError:
        return None


def age_band(dataset: Dataset) -> str | None:
    """The age band of an adult, in words that stand in a schema; None if unknown or younger."""
    years = age_years(dataset)
    if years is None or years < AGE_BANDS[0][0]:
        return None
    low = max(low for low, _ in AGE_BANDS if low <= years)
    return band_name(low)


def band_name(low: int) -> str:
    """The name of the age band that begins at `low`."""
    high = dict(AGE_BANDS)[low]
    return f"{low}_{high}" if high < 200 else f"{low}_up"


def protocol(dataset: Dataset) -> str:
    """The examined region as a closed word; free-text protocol names are never used."""
    known = {
        "CHEST": "chest",
        "THORAX": "chest",
        "LUNG": "chest",
        "BREAST": "breast",
        "HEART": "heart",
        "EYE": "eye",
        "RETINA": "eye",
        "SKIN": "skin",
    }
    return known.get((text(dataset, "BodyPartExamined") or "").upper(), "")


def stratum(dataset: Dataset) -> dict[str, str]:
    """What tells scanners, software and protocols apart, as the header has it."""
    keywords = ("Manufacturer", "ManufacturerModelName", "SoftwareVersions", "DeviceSerialNumber")
    found = {keyword: text(dataset, keyword) or "" for keyword in keywords}
    return found | {"protocol": protocol(dataset)}
