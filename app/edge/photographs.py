"""A JPEG of a camera that knows no DICOM, as the DICOM object it should have been.

The picture is wrapped as it is, not decoded and written anew. What a camera writes beside it
(Exif with place and owner, comments, thumbnails) is left out. Only the segments of the JPEG are
walked here; its pixels are for a worker to decode.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    JPEGBaseline8Bit,
    OphthalmicPhotography8BitImageStorage,
    VLPhotographicImageStorage,
)

from app.edge.dicom_objects import uid_of
from app.edge.pseudonyms import Pseudonyms
from app.edge.receive import NOT_UNDERSTOOD, Refused
from app.edge.settings import Camera

# Modality, SOP class and body part by kind of camera (PS3.3 C.7.3.1.1.1, annex L).
KINDS: Final = {
    "fundus": ("OP", OphthalmicPhotography8BitImageStorage, "EYE"),
    "skin": ("XC", VLPhotographicImageStorage, "SKIN"),
}
# Markers (ITU-T T.81, table B.1).
_START, _END, _SCAN, _COMMENT = 0xD8, 0xD9, 0xDA, 0xFE
_BASELINE: Final = 0xC0
_OTHER_FRAMES: Final = frozenset({*range(0xC1, 0xD0)} - {0xC4, 0xC8, 0xCC})
_APPLICATION: Final = range(0xE0, 0xF0)
_ADOBE: Final = 0xEE  # says how the colours are coded, so it stays

Text = Annotated[str, Field(pattern=r"^[^\\\x00-\x1f\x7f]*$")]


class Details(BaseModel):
    """What the form asks about a picture."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)

    camera: str = ""
    patient_id: Annotated[Text, Field(min_length=1, max_length=64)]
    age: Annotated[int, Field(ge=0, le=120)]
    sex: Literal["", "F", "M", "O"] = ""
    side: Literal["", "R", "L"] = ""
    accession_number: Annotated[Text, Field(max_length=16)] = ""
    taken_on: date


@dataclass(frozen=True, slots=True)
class Picture:
    """A JPEG without what is not picture."""

    data: bytes
    rows: int
    columns: int
    samples: int
    is_rgb: bool


def as_dicom(picture: Picture, camera: Camera, details: Details, pseudonyms: Pseudonyms) -> Dataset:
    """The picture as one object. The same picture has the same UID, whenever it is uploaded."""
    modality, sop_class, part = KINDS[camera.kind]
    made = Dataset()
    made.SpecificCharacterSet = "ISO_IR 192"
    made.SOPClassUID = sop_class
    made.SOPInstanceUID = uid_of(hashlib.sha256(picture.data).digest())
    visit = f"{details.patient_id}\0{details.accession_number}\0{details.taken_on}"
    made.StudyInstanceUID = uid_of(pseudonyms.case(f"study\0{visit}"))
    made.SeriesInstanceUID = uid_of(pseudonyms.case(f"series\0{visit}\0{details.camera}"))
    made.PatientID, made.PatientName, made.PatientBirthDate = details.patient_id, "", ""
    made.PatientSex, made.PatientAge = details.sex, f"{details.age:03d}Y"
    made.AccessionNumber, made.StudyID = details.accession_number, ""
    made.StudyTime, made.ReferringPhysicianName = "", ""
    made.StudyDate = made.AcquisitionDate = made.ContentDate = f"{details.taken_on:%Y%m%d}"
    made.Modality, made.BodyPartExamined = modality, part
    made.ImageLaterality = details.side
    made.SeriesNumber = made.InstanceNumber = 1
    made.Manufacturer, made.ManufacturerModelName = camera.manufacturer, camera.model
    made.SoftwareVersions, made.DeviceSerialNumber = camera.software, camera.serial
    made.ProtocolName = camera.kind
    made.ImageType = ["ORIGINAL", "PRIMARY"]
    made.BurnedInAnnotation, made.LossyImageCompression = "NO", "01"
    made.LossyImageCompressionMethod = "ISO_10918_1"
    _set_pixels(made, picture)
    return made


def _set_pixels(made: Dataset, picture: Picture) -> None:
    made.Rows, made.Columns = picture.rows, picture.columns
    made.SamplesPerPixel = picture.samples
    colour = "RGB" if picture.is_rgb else "YBR_FULL_422"
    made.PhotometricInterpretation = colour if picture.samples == 3 else "MONOCHROME2"
    if picture.samples == 3:
        made.PlanarConfiguration = 0
    made.BitsAllocated = made.BitsStored = 8
    made.HighBit, made.PixelRepresentation = 7, 0
    made.PixelData = encapsulate([picture.data])
    made["PixelData"].is_undefined_length = True
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = JPEGBaseline8Bit


def picture(jpeg: bytes) -> Picture:
    """What of a JPEG is picture. `Refused` unless it is a whole baseline JPEG."""
    kept, at, frame, is_rgb = [jpeg[:2]], 2, b"", False
    while True:
        marker, segment, at = _segment(jpeg, at)
        if marker in _OTHER_FRAMES:
            raise Refused(NOT_UNDERSTOOD, "jpeg_not_baseline")
        if marker == _BASELINE:
            frame = segment[4:]
        if marker == _ADOBE and segment[4:9] == b"Adobe":
            is_rgb = segment[15:16] == b"\0"
        if marker == _ADOBE or (marker not in _APPLICATION and marker != _COMMENT):
            kept.append(segment)
        if marker == _SCAN:
            break
    # In coded data 0xFF is followed by 0 or a restart marker (B.1.1.5): the first end is the end.
    end = jpeg.find(bytes([0xFF, _END]), at)
    if end < 0 or len(frame) < 6 or frame[0] != 8 or frame[5] not in (1, 3):
        raise Refused(NOT_UNDERSTOOD, "jpeg_not_readable")
    rows, columns = struct.unpack(">HH", frame[1:5])
    if not rows or not columns:
        raise Refused(NOT_UNDERSTOOD, "jpeg_not_readable")
    return Picture(b"".join([*kept, jpeg[at : end + 2]]), rows, columns, frame[5], is_rgb)


def _segment(jpeg: bytes, at: int) -> tuple[int, bytes, int]:
    """The marker at a place, its segment with the marker, and where the next one begins."""
    if len(jpeg) < at + 4 or jpeg[at] != 0xFF:
        raise Refused(NOT_UNDERSTOOD, "jpeg_not_readable")
    if jpeg[at + 1] == 0xFF:  # a fill byte
        return _segment(jpeg, at + 1)
    end = at + 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
    if end > len(jpeg) or end < at + 4:
        raise Refused(NOT_UNDERSTOOD, "jpeg_not_readable")
    return jpeg[at + 1], jpeg[at:end], end
