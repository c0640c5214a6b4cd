"""What tells one reference device from another; everything else is the common recipe."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import numpy as np
from pydicom.dataset import Dataset
from torch import nn

from app.contracts.manifest import InputLimits, Pattern, Preprocessing, Stage
from app.device.measurable import area_units, image_units
from app.device.pixels.attributes import NUMERIC
from app.device.reference.common.cohort import Cohort
from app.device.reference.common.identity import Identity
from app.device.reference.common.objects import to_dicom
from app.device.reference.common.phantom import Case
from monitors.schema import Categorical

Progress = Callable[[str, float], None]
Make = Callable[[np.random.Generator, str, bool, float], Case]  # vendor, positive, variation
ULTRASOUND = ("transducer_frequency", "mechanical_index", "depth", "frame_time", "heart_rate")
PHOTOGRAPH = ("field_of_view", "focal_length", "f_number", "iso_speed")
# Modality -> what the headers of its phantoms say in numbers.
HEADERS: Mapping[str, tuple[str, ...]] = {
    "DX": ("kvp", "exposure", "exposure_index", "dose_area_product"),
    "US": ULTRASOUND,
    "OP": PHOTOGRAPH,
    "XC": PHOTOGRAPH,
}
# Characteristic, side, and the least median deviation that is believed.
JUDGED = (
    ("noise", "highest", 0.005),
    ("clipped", "highest", 0.02),
    ("field_fill", "lowest", 0.02),
    ("contrast", "lowest", 0.005),
)


class Product(Protocol):
    """A scanner, as far as every device asks."""

    @property
    def manufacturer(self) -> str:
        """Manufacturer."""

    @property
    def model(self) -> str:
        """ManufacturerModelName."""

    @property
    def modality(self) -> str:
        """Modality."""

    @property
    def region(self) -> str:
        """BodyPartExamined."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is spent: cases to train on, to calibrate and fit on, to validate on."""

    training: int
    fitting: int
    validation: int
    epochs: int
    sentinels: int
    known_answers: int


@dataclass(frozen=True, slots=True)
class ReferenceDevice:
    """A device: what it is for, what it sees, how its networks learn.

    make : one phantom. learn : trained modules by stage name. stages : what stands between the
    quality gate and the gate for strangeness. acquisition : characteristics of the scanner, not
    of disease, for the joint moments. categories : characteristics with closed words. to_dicom :
    a phantom as its scanner would send it. make_alike : the same as `make` on one size and
    spacing for all vendors, for known answers and sentinels; without it they are of the first
    vendor. judged : by what the quality gate refuses an image.
    """

    pattern: Pattern
    name: str
    udi_di: str
    intended_use: str
    finding: str
    limits: InputLimits
    preprocessing: Preprocessing
    scanners: Mapping[str, Product]
    make: Make
    learn: Callable[[Cohort, int, Progress], dict[str, nn.Module]]
    stages: tuple[Stage, ...]
    acquisition: tuple[str, ...]
    categories: tuple[Categorical, ...]
    efforts: Mapping[str, Effort]
    prevalence: float
    training_prevalence: float = 0.5
    sensitivity: float = 0.85  # that the operating point keeps on the fitting cohort
    to_dicom: Callable[[Any, Identity, Any, datetime], Dataset] = to_dicom
    make_alike: Make | None = None
    judged: tuple[tuple[str, str, float], ...] = JUDGED

    @property
    def units(self) -> dict[str, str]:
        """Unit (UCUM) of every characteristic that its cases may have, in order."""
        modality = next(iter(self.scanners.values())).modality
        read = {name: NUMERIC[name][1] for name in HEADERS[modality]}
        seen = image_units({modality}, self.preprocessing.intensity)
        return seen | area_units(self.stages) | read
