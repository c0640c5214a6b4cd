"""Which characteristic stands in which attribute of a header, by kind of image.

A device's signed schema names those that it keeps. Kernels, sequences, coils and the like are
free text in DICOM: they are categories, of which only the values that the schema lists are kept
and anything else counts as OTHER.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from pydicom.dataset import Dataset

from app.device.pixels.header import age_band, items, text

Numeric = Mapping[str, tuple[str, str]]  # characteristic -> attribute, unit in UCUM

ANY: Numeric = {
    "bits_stored": ("BitsStored", "1"),
    "compression_ratio": ("LossyImageCompressionRatio", "1"),
}
# Two or three kinds of X-ray image have these.
X_RAY: Numeric = {
    "kvp": ("KVP", "kV"),
    "tube_current": ("XRayTubeCurrent", "mA"),
    "exposure_time": ("ExposureTime", "ms"),
    "focal_spot": ("FocalSpots", "mm"),
}
RADIOGRAPH: Numeric = {
    "exposure": ("ExposureInuAs", "uA.s"),
    "exposure_index": ("ExposureIndex", "1"),
    "target_exposure_index": ("TargetExposureIndex", "1"),
    "deviation_index": ("DeviationIndex", "1"),
    "relative_exposure": ("RelativeXRayExposure", "1"),
    "sensitivity": ("Sensitivity", "1"),
    "entrance_dose": ("EntranceDoseInmGy", "mGy"),
    "dose_area_product": ("ImageAndFluoroscopyAreaDoseProduct", "dGy.cm2"),
    "detector_distance": ("DistanceSourceToDetector", "mm"),
    "detector_temperature": ("DetectorTemperature", "Cel"),
}
CT: Numeric = {
    "tube_load": ("Exposure", "mA.s"),
    "slice_thickness": ("SliceThickness", "mm"),
    "slice_spacing": ("SpacingBetweenSlices", "mm"),
    "reconstruction_diameter": ("ReconstructionDiameter", "mm"),
    "pitch": ("SpiralPitchFactor", "1"),
    "collimation": ("TotalCollimationWidth", "mm"),
    "revolution_time": ("RevolutionTime", "s"),
    "ctdi_vol": ("CTDIvol", "mGy"),
    "water_equivalent_diameter": ("WaterEquivalentDiameter", "mm"),
    "gantry_tilt": ("GantryDetectorTilt", "deg"),
}
MR: Numeric = {
    "field_strength": ("MagneticFieldStrength", "T"),
    "repetition_time": ("RepetitionTime", "ms"),
    "echo_time": ("EchoTime", "ms"),
    "inversion_time": ("InversionTime", "ms"),
    "flip_angle": ("FlipAngle", "deg"),
    "echo_train_length": ("EchoTrainLength", "1"),
    "pixel_bandwidth": ("PixelBandwidth", "Hz"),
    "averages": ("NumberOfAverages", "1"),
    "phase_encoding_steps": ("NumberOfPhaseEncodingSteps", "1"),
    "parallel_reduction": ("ParallelReductionFactorInPlane", "1"),
    "specific_absorption_rate": ("SAR", "W/kg"),
}
ULTRASOUND: Numeric = {
    "transducer_frequency": ("TransducerFrequency", "kHz"),
    "mechanical_index": ("MechanicalIndex", "1"),
    "bone_thermal_index": ("BoneThermalIndex", "1"),
    "soft_tissue_thermal_index": ("SoftTissueThermalIndex", "1"),
    "depth": ("DepthOfScanField", "mm"),
    "frame_time": ("FrameTime", "ms"),
    "frames": ("NumberOfFrames", "1"),
    "heart_rate": ("HeartRate", "/min"),
}
PHOTOGRAPH: Numeric = {
    "field_of_view": ("HorizontalFieldOfView", "deg"),
    "angle_of_view": ("CameraAngleOfView", "deg"),
    "dilation": ("DegreeOfDilation", "mm"),
    "emmetropic_magnification": ("EmmetropicMagnification", "1"),
    "focal_length": ("FocalLength", "mm"),
    "f_number": ("FNumber", "1"),
    "iso_speed": ("ISOSpeed", "1"),
    "shutter_time": ("ExposureTimeInSeconds", "s"),
    "zoom_ratio": ("DigitalZoomRatio", "1"),
}
NUMERIC: Numeric = {**ANY, **X_RAY, **RADIOGRAPH, **CT, **MR, **ULTRASOUND, **PHOTOGRAPH}


# Characteristics in words, and the attribute that has them.
WORDS: Mapping[str, str] = {
    "modality": "Modality",
    "photometric_interpretation": "PhotometricInterpretation",
    "presentation_intent": "PresentationIntentType",
    "image_type": "ImageType",
    "lossy_compression": "LossyImageCompression",
    "sex": "PatientSex",
    # Radiographs
    "view": "ViewPosition",
    "grid": "Grid",
    "detector_type": "DetectorType",
    "detector_conditions": "DetectorConditionsNominalFlag",
    "processing_code": "AcquisitionDeviceProcessingCode",
    "filter_material": "FilterMaterial",
    "collimator_shape": "CollimatorShape",
    "intensity_relationship": "PixelIntensityRelationship",
    # CT
    "kernel": "ConvolutionKernel",
    "reconstruction_algorithm": "ReconstructionAlgorithm",
    "exposure_modulation": "ExposureModulationType",
    # CT and MR
    "scan_options": "ScanOptions",
    # MR
    "scanning_sequence": "ScanningSequence",
    "sequence_variant": "SequenceVariant",
    "sequence_name": "SequenceName",
    "echo_pulse_sequence": "EchoPulseSequence",
    "acquisition_type": "MRAcquisitionType",
    "receive_coil": "ReceiveCoilName",
    # Ultrasound
    "transducer_type": "TransducerType",
    "processing_function": "ProcessingFunction",
    # Photographs
    "laterality": "ImageLaterality",
    "pupil_dilated": "PupilDilated",
    "white_balance": "WhiteBalance",
    "light_source": "LightSource",
    "color_space": "ColorSpace",
}
# The same of a code sequence: the code value of its first item.
CODES: Mapping[str, str] = {
    "camera_type": "AcquisitionDeviceTypeCodeSequence",
    "illumination": "IlluminationTypeCodeSequence",
}


def contrast_agent(dataset: Dataset) -> str | None:
    """Whether a contrast agent of CT or MR is named; which one is free text and never kept."""
    if text(dataset, "Modality") not in ("CT", "MR"):
        return None
    if items(dataset, "ContrastBolusAgentSequence"):
        return "yes"
    named = (text(dataset, "ContrastBolusAgent") or "NONE").upper()
    return "no" if named in ("NONE", "NO", "N", "0") else "yes"


def code_value(dataset: Dataset, keyword: str) -> str | None:
    """CodeValue of the first item of a code sequence."""
    found = items(dataset, keyword)
    return text(found[0], "CodeValue") if found else None


# Characteristic or margin -> how to read it. Values are compared with the schema's categories.
CATEGORICAL: Mapping[str, Callable[[Dataset], str | None]] = {
    **{name: partial(text, keyword=keyword) for name, keyword in WORDS.items()},
    **{name: partial(code_value, keyword=keyword) for name, keyword in CODES.items()},
    "contrast_agent": contrast_agent,
    "age_band": age_band,
}
