"""What tells one reference device from another; everything else is the common recipe."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from torch import nn

from app.contracts.manifest import InputLimits, Pattern, Preprocessing, Stage
from app.device.pipeline import AREAS
from app.device.pixels import header
from app.device.pixels.characteristics import LUNG_AREA, UNITS
from app.device.pixels.modality import COLOUR_UNITS, ULTRASOUND_UNITS
from app.device.reference.common.cohort import Cohort
from app.device.reference.common.objects import Scanner
from app.device.reference.common.phantom import Phantom
from monitors.schema import Categorical

Progress = Callable[[str, float], None]
Make = Callable[[np.random.Generator, str, bool, float], Phantom]  # vendor, positive, variation


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
    of disease, for the joint moments. categories : characteristics with closed words.
    """

    pattern: Pattern
    name: str
    udi_di: str
    intended_use: str
    finding: str
    limits: InputLimits
    preprocessing: Preprocessing
    scanners: Mapping[str, Scanner]
    make: Make
    learn: Callable[[Cohort, int, Progress], dict[str, nn.Module]]
    stages: tuple[Stage, ...]
    acquisition: tuple[str, ...]
    categories: tuple[Categorical, ...]
    efforts: Mapping[str, Effort]
    prevalence: float
    sensitivity: float = 0.85  # that the operating point keeps on the fitting cohort

    @property
    def units(self) -> dict[str, str]:
        """Unit (UCUM) of every characteristic that its cases may have, in order."""
        common = {name: unit for name, unit in UNITS.items() if name != LUNG_AREA}
        if self.preprocessing.intensity == "colour":
            return common | dict(COLOUR_UNITS) | _units(header.PHOTOGRAPHIC_NUMERIC)
        masks = [output for stage in self.stages for output in stage.outputs if output in AREAS]
        areas = {AREAS[mask]: "1" for mask in masks}
        return common | dict(ULTRASOUND_UNITS) | areas | _units(header.ULTRASOUND_NUMERIC)


def _units(attributes: Mapping[str, tuple[str, str]]) -> dict[str, str]:
    return {name: unit for name, (_, unit) in attributes.items()}
