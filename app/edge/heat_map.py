"""The heat map as a Secondary Capture: for people to look at, in a series of its own."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from app import clock
from app.contracts.manifest import Manifest
from app.edge.sources import NOTICE, algorithm_equipment, date_as, uid
from monitors.schema import FloatArray

SERIES_NUMBER = 9020


def heat_map_image(source: Dataset, heat: FloatArray, manifest: Manifest) -> Dataset:
    """The heat map as a colour Secondary Capture in a series of its own."""
    from highdicom.sc import SCImage

    now = clock.now()
    image: Dataset = SCImage.from_ref_dataset(
        ref_dataset=source,
        pixel_array=colours(heat),
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        series_instance_uid=uid(source, manifest, "series"),
        series_number=SERIES_NUMBER,
        sop_instance_uid=uid(source, manifest, "image"),
        instance_number=1,
        manufacturer="lockwatch",
        manufacturer_model_name=manifest.device,
        software_versions=manifest.version,
        device_serial_number=manifest.lock_digest[:16],
        patient_orientation=("L", "F"),
        transfer_syntax_uid=ExplicitVRLittleEndian,
        contributing_equipment=[algorithm_equipment(manifest)],
    )
    _complete(image, source, manifest, now)
    return image


def colours(heat: FloatArray) -> npt.NDArray[np.uint8]:
    """`heat` (rows, columns) in [0, 1] from black over red to yellow, as (rows, columns, 3)."""
    level = np.clip(np.nan_to_num(heat), 0, 1)[..., None]
    ramp = np.concatenate([2 * level, 2 * level - 1, 0 * level], axis=-1)
    return np.asarray(np.rint(255 * np.clip(ramp, 0, 1)), dtype=np.uint8)


def _complete(image: Dataset, source: Dataset, manifest: Manifest, now: datetime) -> None:
    """What highdicom leaves out and dciodvfy asks for (dicom.md 2.4)."""
    image.SeriesDescription = f"{manifest.device} heat map. {NOTICE}"[:64]
    image.BurnedInAnnotation = "NO"
    image.Laterality = ""
    image.ImageType = ["DERIVED", "SECONDARY"]
    image.ConversionType = "WSD"
    image.DerivationDescription = f"{manifest.device} {manifest.version} {manifest.lock_digest}"
    image.DateOfSecondaryCapture = f"{now:%Y%m%d}"
    image.TimeOfSecondaryCapture = f"{now:%H%M%S}"
    date_as(image, now)
    if "BodyPartExamined" in image:
        del image.BodyPartExamined
    reference = Dataset()
    reference.ReferencedSOPClassUID = source.SOPClassUID
    reference.ReferencedSOPInstanceUID = source.SOPInstanceUID
    series = Dataset()
    series.SeriesInstanceUID = source.SeriesInstanceUID
    series.ReferencedInstanceSequence = [reference]
    image.ReferencedSeriesSequence = [series]
    image.SourceImageSequence = [reference]
