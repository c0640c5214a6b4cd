"""Phantoms as DICOM: ultrasound, ophthalmic and dermatological photographs; all names invented.

Manufacturers stand as they do in real headers; models, people, places and serial numbers do not
exist.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    ExplicitVRLittleEndian,
    OphthalmicPhotography8BitImageStorage,
    UltrasoundImageStorage,
    UltrasoundMultiFrameImageStorage,
    VLPhotographicImageStorage,
)

from app.device.reference.common.identity import IMPLEMENTATION_UID, Identity
from app.device.reference.common.phantom import Phantom

SOP_CLASSES = {
    "US": UltrasoundImageStorage,
    "OP": OphthalmicPhotography8BitImageStorage,
    "XC": VLPhotographicImageStorage,
}
CENTIMETRES, TISSUE = 3, 1  # physical unit and data type of an ultrasound region


@dataclass(frozen=True, slots=True)
class Scanner:
    """What one product writes about itself. `region`: BodyPartExamined."""

    manufacturer: str
    model: str
    software_versions: str
    serial: str
    station: str
    modality: str  # US, OP or XC
    region: str
    protocol: str


def to_dicom(phantom: Phantom, identity: Identity, scanner: Scanner, acquired: datetime) -> Dataset:
    """The phantom as one image object, Explicit VR Little Endian, ready to send or save."""
    dataset = Dataset()
    _set_study(dataset, phantom, identity, scanner, acquired)
    _set_scanner(dataset, scanner)
    _set_image(dataset, phantom)
    for keyword, value in phantom.attributes.items():
        setattr(dataset, keyword, value)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.ImplementationClassUID = IMPLEMENTATION_UID
    return dataset


def _set_study(
    dataset: Dataset, phantom: Phantom, identity: Identity, scanner: Scanner, acquired: datetime
) -> None:
    for kind in ("Study", "Series", "Acquisition", "Content"):
        setattr(dataset, f"{kind}Date", f"{acquired:%Y%m%d}")
        setattr(dataset, f"{kind}Time", f"{acquired:%H%M%S.%f}")
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.PatientName, dataset.PatientID = identity.patient_name, identity.patient_id
    dataset.PatientBirthDate, dataset.PatientSex = identity.birth_date, phantom.sex
    dataset.PatientAge, dataset.PatientAddress = f"{phantom.age:03d}Y", identity.address
    dataset.StudyInstanceUID = identity.study_uid
    dataset.SeriesInstanceUID = identity.series_uid
    dataset.SOPInstanceUID = identity.sop_uid
    dataset.SOPClassUID = (
        UltrasoundMultiFrameImageStorage
        if scanner.modality == "US" and phantom.pixels.ndim == 3
        else SOP_CLASSES[scanner.modality]
    )
    dataset.AccessionNumber = identity.accession_number
    dataset.StudyID = identity.accession_number[-4:]
    dataset.StudyDescription = dataset.SeriesDescription = scanner.protocol
    dataset.SeriesNumber = dataset.InstanceNumber = 1
    dataset.InstitutionName = identity.institution
    dataset.ReferringPhysicianName = identity.referring
    dataset.PerformingPhysicianName = identity.performing


def _set_scanner(dataset: Dataset, scanner: Scanner) -> None:
    dataset.Modality = scanner.modality
    dataset.Manufacturer = scanner.manufacturer
    dataset.ManufacturerModelName = scanner.model
    dataset.SoftwareVersions = scanner.software_versions
    dataset.DeviceSerialNumber = scanner.serial
    dataset.StationName = scanner.station
    dataset.ProtocolName = scanner.protocol
    dataset.BodyPartExamined = scanner.region
    dataset.ImageType = ["ORIGINAL", "PRIMARY"]
    dataset.BurnedInAnnotation = "NO"
    dataset.LossyImageCompression = "00"


def _set_image(dataset: Dataset, phantom: Phantom) -> None:
    pixels = phantom.pixels
    colour = phantom.spacing_mm is None
    dataset.SamplesPerPixel = 3 if colour else 1
    dataset.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    dataset.Rows, dataset.Columns = pixels.shape[:2] if colour else pixels.shape[-2:]
    if colour:
        dataset.PlanarConfiguration = 0
    elif pixels.ndim == 3:
        dataset.NumberOfFrames = len(pixels)
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation = 7, 0
    if phantom.spacing_mm is not None:
        dataset.SequenceOfUltrasoundRegions = Sequence([_region(dataset, phantom.spacing_mm)])
    data = pixels.tobytes()
    dataset.PixelData = data + b"\0" * (len(data) % 2)


def _region(dataset: Dataset, spacing_mm: float) -> Dataset:
    region = Dataset()
    region.RegionSpatialFormat, region.RegionDataType, region.RegionFlags = 1, TISSUE, 0
    region.RegionLocationMinX0 = region.RegionLocationMinY0 = 0
    region.RegionLocationMaxX1 = int(dataset.Columns) - 1
    region.RegionLocationMaxY1 = int(dataset.Rows) - 1
    region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = CENTIMETRES
    region.PhysicalDeltaX = region.PhysicalDeltaY = spacing_mm / 10
    return region
