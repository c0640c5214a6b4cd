"""Phantoms as DICOM: the headers of a digital or computed radiography system, all invented.

Manufacturers stand as they do in real headers; models, people, institutions and serial numbers
do not exist. Identifying elements are filled on purpose: what leaves an edge is searched for
them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
)

from app.device.reference.chest.phantom import ChestPhantom
from app.device.reference.common.identity import IMPLEMENTATION_UID, Identity, invent_identity

__all__ = ["HEADERS", "Identity", "ScannerHeader", "invent_identity", "to_dicom"]

TARGET_EXPOSURE_INDEX = 250.0


@dataclass(frozen=True, slots=True)
class ScannerHeader:
    """What one scanner writes about itself."""

    manufacturer: str
    model: str
    software_versions: str
    serial: str
    station: str
    modality: str  # DX or CR
    protocol: str
    processing_code: str
    processing_description: str
    grid: str = "FOCUSED"
    detector: str = "SCINTILLATOR"
    region: str = "CHEST"


HEADERS: Mapping[str, ScannerHeader] = {
    "philips": ScannerHeader(
        manufacturer="Philips Medical Systems",
        model="DigitalLine C70",
        software_versions="4.3.1",
        serial="SN-PH-4471002",
        station="XR-CHEST-1",
        modality="DX",
        protocol="CHEST PA",
        processing_code="UNI-2",
        processing_description="UNIQUE2 chest standard",
    ),
    "siemens": ScannerHeader(
        manufacturer="SIEMENS",
        model="Axiora Multix T2",
        software_versions="VE10A",
        serial="SN-SI-90233",
        station="DX2THORAX",
        modality="DX",
        protocol="Thorax p.a.",
        processing_code="DIAMOND",
        processing_description="DiamondView thorax",
    ),
    "fujifilm": ScannerHeader(
        manufacturer="FUJIFILM Corporation",
        model="CRX-5500",
        software_versions="A12-03",
        serial="SN-FU-7719345",
        station="CR-ROOM4",
        modality="CR",
        protocol="CHEST,GENERAL",
        processing_code="MFP-C",
        processing_description="MFP chest",
        grid="PARALLEL",
        detector="STORAGE",
    ),
    "agfa": ScannerHeader(
        manufacturer="Agfa",
        model="DXR 420",
        software_versions="7.0.2",
        serial="SN-AG-1200418",
        station="AG-ER",
        modality="DX",
        protocol="Chest AP/PA",
        processing_code="MUS3",
        processing_description="MUSICA3 chest",
        detector="DIRECT",
    ),
}


def to_dicom(
    phantom: ChestPhantom, identity: Identity, header: ScannerHeader, acquired: datetime
) -> Dataset:
    """The phantom as one image object, Explicit VR Little Endian, ready to send or save.

    `acquired` is the scanner's local wall time.
    """
    dataset = Dataset()
    _set_patient(dataset, phantom, identity)
    _set_study(dataset, identity, header, acquired)
    _set_scanner(dataset, header)
    _set_technique(dataset, phantom)
    _set_image(dataset, phantom)
    dataset.file_meta = _file_meta(dataset)
    return dataset


def _set_patient(dataset: Dataset, phantom: ChestPhantom, identity: Identity) -> None:
    dataset.PatientName = identity.patient_name
    dataset.PatientID = identity.patient_id
    dataset.PatientBirthDate = identity.birth_date
    dataset.PatientAddress = identity.address
    dataset.PatientSex = phantom.sex
    dataset.PatientAge = f"{phantom.age:03d}Y"
    dataset.PatientComments = f"Known to {identity.referring}"


def _set_study(
    dataset: Dataset, identity: Identity, header: ScannerHeader, acquired: datetime
) -> None:
    day, clock = f"{acquired:%Y%m%d}", f"{acquired:%H%M%S.%f}"
    for kind in ("Study", "Series", "Acquisition", "Content"):
        setattr(dataset, f"{kind}Date", day)
        setattr(dataset, f"{kind}Time", clock)
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.StudyInstanceUID = identity.study_uid
    dataset.SeriesInstanceUID = identity.series_uid
    dataset.SOPInstanceUID = identity.sop_uid
    dataset.SOPClassUID = (
        ComputedRadiographyImageStorage
        if header.modality == "CR"
        else DigitalXRayImageStorageForPresentation
    )
    dataset.AccessionNumber = identity.accession_number
    dataset.StudyID = identity.accession_number[-4:]
    dataset.StudyDescription = "XR CHEST"
    dataset.SeriesDescription = header.protocol
    dataset.SeriesNumber = dataset.InstanceNumber = 1
    dataset.InstitutionName = identity.institution
    dataset.ReferringPhysicianName = identity.referring
    dataset.PerformingPhysicianName = identity.performing


def _set_scanner(dataset: Dataset, header: ScannerHeader) -> None:
    dataset.Modality = header.modality
    dataset.Manufacturer = header.manufacturer
    dataset.ManufacturerModelName = header.model
    dataset.SoftwareVersions = header.software_versions
    dataset.DeviceSerialNumber = header.serial
    dataset.StationName = header.station
    dataset.ProtocolName = header.protocol
    dataset.AcquisitionDeviceProcessingDescription = header.processing_description
    dataset.AcquisitionDeviceProcessingCode = header.processing_code
    dataset.Grid = header.grid
    dataset.DetectorType = header.detector
    dataset.BodyPartExamined = header.region
    dataset.PresentationIntentType = "FOR PRESENTATION"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", ""]
    block = dataset.private_block(0x0019, "LOCKWATCH PHANTOM", create=True)
    block.add_new(0x01, "LO", f"{header.serial}/{header.station}")


def _set_technique(dataset: Dataset, phantom: ChestPhantom) -> None:
    dataset.ViewPosition = phantom.view
    dataset.KVP = f"{phantom.kvp:.0f}"
    dataset.Exposure = max(round(phantom.exposure_mas), 1)
    dataset.ExposureInuAs = round(phantom.exposure_mas * 1000)
    dataset.ExposureTime = max(round(phantom.exposure_ms), 1)
    dataset.XRayTubeCurrent = 320
    dataset.ExposureIndex = f"{phantom.exposure_index:.1f}"
    dataset.TargetExposureIndex = f"{TARGET_EXPOSURE_INDEX:.1f}"
    deviation = 10 * np.log10(phantom.exposure_index / TARGET_EXPOSURE_INDEX)
    dataset.DeviationIndex = f"{deviation:.2f}"
    dataset.ImageAndFluoroscopyAreaDoseProduct = f"{phantom.dose_area_product:.4f}"
    dataset.DistanceSourceToDetector = "1150" if phantom.view == "AP" else "1800"
    left, right, upper, lower = phantom.collimation
    dataset.CollimatorShape = "RECTANGULAR"
    dataset.CollimatorLeftVerticalEdge = left
    dataset.CollimatorRightVerticalEdge = right
    dataset.CollimatorUpperHorizontalEdge = upper
    dataset.CollimatorLowerHorizontalEdge = lower


def _set_image(dataset: Dataset, phantom: ChestPhantom) -> None:
    physics, pixels = phantom.physics, phantom.pixels
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME1" if physics.monochrome1 else "MONOCHROME2"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.BitsAllocated = 16
    dataset.BitsStored = physics.bits_stored
    dataset.HighBit = physics.bits_stored - 1
    dataset.PixelRepresentation = 0
    dataset.ImagerPixelSpacing = [physics.spacing_mm, physics.spacing_mm]
    dataset.PixelSpacing = [physics.spacing_mm, physics.spacing_mm]
    dataset.PixelIntensityRelationship = "LOG"
    dataset.PixelIntensityRelationshipSign = 1 if physics.monochrome1 else -1
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = "0", "1", "US"
    middle = 1 << (physics.bits_stored - 1)
    dataset.WindowCenter, dataset.WindowWidth = str(middle), str(2 * middle)
    dataset.BurnedInAnnotation = "NO"
    dataset.LossyImageCompression = "00"
    dataset.PixelData = pixels.astype("<u2").tobytes()


def _file_meta(dataset: Dataset) -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = IMPLEMENTATION_UID
    return meta
