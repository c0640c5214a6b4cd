"""The few header elements the agent itself needs, read where parsing is safe: in a worker."""

from __future__ import annotations

from contextlib import suppress
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.valuerep import DA, DT, TM

from app.contracts.change_control import scanner_class as class_name

# Acquisition first; the study date only when nothing better is there (PS3.3 C.7.3, C.8).
_DATES = (
    ("AcquisitionDate", "AcquisitionTime"),
    ("ContentDate", "ContentTime"),
    ("SeriesDate", "SeriesTime"),
    ("StudyDate", "StudyTime"),
)
PATIENT = ("PatientID", "PatientName", "PatientBirthDate", "PatientSex")
STUDY = (
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "StudyID",
    "ReferringPhysicianName",
    "StudyDescription",
)
UIDS = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
DISPLAY = (  # what an overlay must know of the image below it
    "Rows",
    "Columns",
    "NumberOfFrames",
    "SamplesPerPixel",
    "RescaleSlope",
    "RescaleIntercept",
    "RescaleType",
    "WindowCenter",
    "WindowWidth",
)
_READ = [
    *PATIENT,
    *STUDY,
    *UIDS,
    *(name for pair in _DATES for name in pair),
    "AcquisitionDateTime",
    "TimezoneOffsetFromUTC",
    "SpecificCharacterSet",
    "Modality",
    *DISPLAY,
]


def read(path: Path) -> Dataset:
    """The elements above, and nothing else, of a stored object."""
    return dcmread(path, stop_before_pixels=True, force=True, specific_tags=_READ)


def scanner_class(path: Path) -> str:
    """The class of the scanner that made a stored object, as bounds and thresholds name it."""
    tags = ["Manufacturer", "ManufacturerModelName"]
    header = dcmread(path, stop_before_pixels=True, force=True, specific_tags=tags)
    return class_name(*(str(header.get(tag) or "").strip() for tag in tags))


def acquired_on(header: Dataset, zone: ZoneInfo) -> date | None:
    """The site-local day of acquisition, or None when no usable date is there.

    A time without an offset is taken as site-local, which is what modalities write.
    """
    for moment in (_moment(header, *pair) for pair in (("AcquisitionDateTime", ""), *_DATES)):
        if moment is not None:
            offset = _offset(header) if moment.tzinfo is None else None
            moment = moment.replace(tzinfo=offset) if offset else moment
            return (moment.astimezone(zone) if moment.tzinfo else moment).date()
    return None


def _moment(header: Dataset, day: str, time: str) -> datetime | None:
    # Odd values raise many kinds of error; each only means that this date is not usable.
    with suppress(Exception):
        if not time:
            return _plain(DT(str(header[day].value)))
        found = DA(str(header[day].value))
        clock = TM("000000")
        with suppress(Exception):
            clock = TM(str(header[time].value)) or clock
        return datetime.combine(date(found.year, found.month, found.day), clock)
    return None


def _plain(moment: datetime) -> datetime:
    return datetime.combine(moment.date(), moment.timetz())


def _offset(header: Dataset) -> timezone | None:
    """PS3.3 C.12.1.1.8: &ZZXX."""
    with suppress(Exception):
        text = str(header["TimezoneOffsetFromUTC"].value).strip()
        minutes = int(text[-4:-2]) * 60 + int(text[-2:])
        return timezone(timedelta(minutes=-minutes if text.startswith("-") else minutes))
    return None
