"""Attributes of a header as numbers and closed words. Odd values count as missing."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Callable, Mapping
from datetime import date

from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException

AGE_BANDS = ((18, 39), (40, 49), (50, 59), (60, 69), (70, 79), (80, 200))
_AGE = re.compile(r"^(\d{1,3})([DWMY])$")
_YEARS = {"D": 1 / 365.25, "W": 7 / 365.25, "M": 1 / 12, "Y": 1.0}


def text(dataset: Dataset, keyword: str) -> str | None:
    """The attribute as one stripped string, several values joined by a backslash."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            value = dataset.get(keyword)
    except (
        ValueError,
        TypeError,
        AttributeError,
        KeyError,
        NotImplementedError,
        OverflowError,
        BytesLengthException,
    ):
        return None  # what pydicom cannot convert
    if value is None or value == "":
        return None
    parts = value if isinstance(value, list | tuple) or _is_multiple(value) else [value]
    joined = "\\".join(str(part).strip() for part in parts).strip()
    return joined or None


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


# Characteristic or margin -> how to read it. Values are compared with the schema's categories.
CATEGORICAL: Mapping[str, Callable[[Dataset], str | None]] = {
    "modality": lambda d: text(d, "Modality"),
    "view": lambda d: text(d, "ViewPosition"),
    "photometric_interpretation": lambda d: text(d, "PhotometricInterpretation"),
    "grid": lambda d: text(d, "Grid"),
    "detector_type": lambda d: text(d, "DetectorType"),
    "processing_code": lambda d: text(d, "AcquisitionDeviceProcessingCode"),
    "laterality": lambda d: text(d, "ImageLaterality"),
    "pupil_dilated": lambda d: text(d, "PupilDilated"),
    "white_balance": lambda d: text(d, "WhiteBalance"),
    "transducer_type": lambda d: text(d, "TransducerType"),
    "sex": lambda d: text(d, "PatientSex"),
    "age_band": age_band,
}

# Characteristic -> (attribute, unit in UCUM).
NUMERIC: Mapping[str, tuple[str, str]] = {
    "kvp": ("KVP", "kV"),
    "exposure": ("ExposureInuAs", "uA.s"),
    "exposure_index": ("ExposureIndex", "1"),
    "dose_area_product": ("ImageAndFluoroscopyAreaDoseProduct", "dGy.cm2"),
}
ULTRASOUND_NUMERIC: Mapping[str, tuple[str, str]] = {
    "transducer_frequency": ("TransducerFrequency", "kHz"),
    "mechanical_index": ("MechanicalIndex", "1"),
    "depth": ("DepthOfScanField", "mm"),
    "frame_time": ("FrameTime", "ms"),
    "heart_rate": ("HeartRate", "/min"),
}
PHOTOGRAPHIC_NUMERIC: Mapping[str, tuple[str, str]] = {
    "field_of_view": ("HorizontalFieldOfView", "deg"),
    "focal_length": ("FocalLength", "mm"),
    "f_number": ("FNumber", "1"),
    "iso_speed": ("ISOSpeed", "1"),
}
ALL_NUMERIC: Mapping[str, tuple[str, str]] = {
    **NUMERIC,
    **ULTRASOUND_NUMERIC,
    **PHOTOGRAPHIC_NUMERIC,
}
