"""What both breast devices are for, as far as they share it."""

from __future__ import annotations

from app.contracts.manifest import Allowed, InputLimits, Preprocessing, Range
from app.device.reference.common.objects import Scanner
from monitors.schema import Categorical


def _scanner(manufacturer: str, model: str, software: str, serial: str) -> Scanner:
    return Scanner(manufacturer, model, software, serial, "US-MAMMA", "US", "BREAST", "Breast")


SCANNERS = {
    "ge": _scanner("GE Healthcare", "LogicView E10", "R3.1.4", "SN-GE-40871"),
    "philips": _scanner("Philips Medical Systems", "Epiqua 5", "4.0.2", "SN-PH-91204"),
    "samsung": _scanner("SAMSUNG MEDISON CO., LTD.", "RSX 85", "2.00.04", "SN-SA-22018"),
    "mindray": _scanner("Mindray", "Resonix 7", "1.12.0", "SN-MI-70355"),
}
LIMITS = InputLimits(
    allowed=(
        Allowed(attribute="Modality", values=("US",)),
        Allowed(attribute="BodyPartExamined", values=("BREAST",)),
    ),
    ranges=(
        Range(attribute="PatientAge", lowest=18, highest=120),
        Range(attribute="TransducerFrequency", lowest=5000, highest=18000),
    ),
    may_be_missing=("TransducerFrequency",),
)
PREPROCESSING = Preprocessing(
    spacing_mm=0.4,
    rows=96,
    columns=96,
    intensity="percentile",
    parameters={"low": 1, "high": 99, "measuring_mm": 1.0},
)
ACQUISITION = ("noise", "sharpness", "speckle_snr", "depth_slope", "transducer_frequency")
CATEGORIES = (
    Categorical("photometric_interpretation", ("MONOCHROME2", "RGB", "YBR_FULL_422")),
    Categorical("transducer_type", ("LINEAR", "CURVED LINEAR")),
    Categorical("laterality", ("L", "R")),
)
