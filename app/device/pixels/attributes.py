"""Which characteristic stands in which attribute of a header, by kind of image.

A device's signed schema names those that it keeps. Kernels, sequences, coils and the like are
free text in DICOM: they are categories, of which only the values that the schema lists are kept
and anything else counts as OTHER.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from pydicom.dataset import Dataset

from app.device.pixels.decode import COLOUR, GREY
from app.device.pixels.header import AGE_BANDS, age_band, band_name, items, text

Numeric = Mapping[str, tuple[str, str]]  # characteristic -> attribute, unit in UCUM

ANY: Numeric = {
    "bits_stored": ("BitsStored", "1"),
    "compression_ratio": ("LossyImageCompressionRatio", "1"),
}
# Radiographs and CT have these.
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
}
MOVING: Numeric = {
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
NUMERIC: Numeric = {
    **ANY,
    **X_RAY,
    **RADIOGRAPH,
    **CT,
    **MR,
    **ULTRASOUND,
    **MOVING,
    **PHOTOGRAPH,
}

# Characteristics in words, and the attribute that has them.
Words = Mapping[str, str]
ANY_WORDS: Words = {
    "modality": "Modality",
    "photometric_interpretation": "PhotometricInterpretation",
    "presentation_intent": "PresentationIntentType",
    "image_type": "ImageType",
    "lossy_compression": "LossyImageCompression",
    "sex": "PatientSex",
    "laterality": "ImageLaterality",
}
RADIOGRAPH_WORDS: Words = {
    "view": "ViewPosition",
    "grid": "Grid",
    "detector_type": "DetectorType",
    "detector_conditions": "DetectorConditionsNominalFlag",
    "processing_code": "AcquisitionDeviceProcessingCode",
    "filter_material": "FilterMaterial",
    "collimator_shape": "CollimatorShape",
    "intensity_relationship": "PixelIntensityRelationship",
}
CT_WORDS: Words = {
    "kernel": "ConvolutionKernel",
    "reconstruction_algorithm": "ReconstructionAlgorithm",
    "exposure_modulation": "ExposureModulationType",
}
CT_AND_MR_WORDS: Words = {"scan_options": "ScanOptions"}
MR_WORDS: Words = {
    "scanning_sequence": "ScanningSequence",
    "sequence_variant": "SequenceVariant",
    "sequence_name": "SequenceName",
    "echo_pulse_sequence": "EchoPulseSequence",
    "acquisition_type": "MRAcquisitionType",
    "receive_coil": "ReceiveCoilName",
}
ULTRASOUND_WORDS: Words = {
    "transducer_type": "TransducerType",
    "processing_function": "ProcessingFunction",
}
PHOTOGRAPH_WORDS: Words = {
    "pupil_dilated": "PupilDilated",
    "white_balance": "WhiteBalance",
    "light_source": "LightSource",
    "color_space": "ColorSpace",
}
WORDS: Words = {
    **ANY_WORDS,
    **RADIOGRAPH_WORDS,
    **CT_WORDS,
    **CT_AND_MR_WORDS,
    **MR_WORDS,
    **ULTRASOUND_WORDS,
    **PHOTOGRAPH_WORDS,
}
# The same of a code sequence: the code value of its first item.
CODES: Words = {
    "camera_type": "AcquisitionDeviceTypeCodeSequence",
    "illumination": "IlluminationTypeCodeSequence",
}

# Modalities by kind, as PS3.3 C.7.3.1.1.1 abbreviates them.
RADIOGRAPHS = frozenset({"CR", "DX", "IO", "MG", "PX", "RF", "RG", "XA"})
ULTRASOUNDS, MOVIES = frozenset({"US", "IVUS"}), frozenset({"US", "IVUS", "RF", "XA"})
PHOTOGRAPHS = frozenset({"ES", "GM", "OP", "SM", "XC"})
_CT, _MR, _EYE = frozenset({"CT"}), frozenset({"MR"}), frozenset({"OP"})
# Characteristic -> the modalities whose objects have it; what is not named, every object may have.
MODALITIES: Mapping[str, frozenset[str]] = {
    name: modalities
    for modalities, groups in (
        (RADIOGRAPHS | _CT, (X_RAY,)),
        (RADIOGRAPHS, (RADIOGRAPH, RADIOGRAPH_WORDS)),
        (_CT, (CT, CT_WORDS)),
        (_CT | _MR, (CT_AND_MR_WORDS, ("contrast_agent",))),
        (_MR, (MR, MR_WORDS)),
        (ULTRASOUNDS, (ULTRASOUND, ULTRASOUND_WORDS)),
        (MOVIES, (MOVING,)),
        (PHOTOGRAPHS, (PHOTOGRAPH, PHOTOGRAPH_WORDS)),
        (_EYE, (CODES,)),
    )
    for group in groups
    for name in group
}
# What the standard enumerates, or we do: no object can have another value.
ENUMERATED: Mapping[str, tuple[str, ...]] = {
    "photometric_interpretation": GREY + COLOUR,
    "presentation_intent": ("FOR PRESENTATION", "FOR PROCESSING"),
    "lossy_compression": ("00", "01"),
    "sex": ("F", "M", "O"),
    "detector_conditions": ("YES", "NO"),
    "intensity_relationship": ("LIN", "LOG", "DISP"),
    "echo_pulse_sequence": ("SPIN", "GRADIENT", "BOTH"),
    "acquisition_type": ("1D", "2D", "3D"),
    "laterality": ("R", "L", "U", "B"),
    "pupil_dilated": ("YES", "NO"),
    "contrast_agent": ("yes", "no"),
    "age_band": tuple(band_name(low) for low, _ in AGE_BANDS),
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
