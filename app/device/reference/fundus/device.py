"""The ophthalmology screening device: a colour network with attention that refers or does not."""

from __future__ import annotations

import torch
from torch import nn

from app.contracts.manifest import Allowed, InputLimits, Preprocessing, Range, Stage
from app.device.reference.common.cohort import Cohort
from app.device.reference.common.declaration import Effort, Progress, ReferenceDevice
from app.device.reference.common.layers import AttentionClassifier, classify
from app.device.reference.common.objects import Scanner
from app.device.reference.fundus.phantom import make_case
from monitors.schema import Categorical


def learn(cohort: Cohort, epochs: int, progress: Progress) -> dict[str, nn.Module]:
    """The classifier, by stage name."""
    network = AttentionClassifier(3)
    images = torch.from_numpy(cohort.images).permute(0, 3, 1, 2).contiguous()
    positive = torch.from_numpy(cohort.positive).float()
    classify(network, images, positive, epochs, lambda done: progress("classifier", done))
    return {"classifier": network}


def _scanner(manufacturer: str, model: str, software: str, serial: str) -> Scanner:
    return Scanner(
        manufacturer, model, software, serial, "EYE-1", "OP", "EYE", "Fundus 45 deg macula"
    )


DEVICE = ReferenceDevice(
    pattern="ophthalmology",
    name="Reference Fundus Screening",
    udi_di="00850001234048",
    intended_use=(
        "Decide from one colour fundus photograph of an adult with diabetes whether the patient "
        "is referred to an ophthalmologist. It does not diagnose."
    ),
    finding="referable retinopathy",
    limits=InputLimits(
        allowed=(
            Allowed(attribute="Modality", values=("OP",)),
            Allowed(attribute="BodyPartExamined", values=("EYE", "RETINA")),
            Allowed(attribute="PhotometricInterpretation", values=("RGB", "YBR_FULL_422")),
        ),
        ranges=(
            Range(attribute="PatientAge", lowest=18, highest=120),
            Range(attribute="HorizontalFieldOfView", lowest=40, highest=55),
        ),
        may_be_missing=("BodyPartExamined", "HorizontalFieldOfView"),
    ),
    preprocessing=Preprocessing(
        spacing_mm=1.0,
        rows=112,
        columns=112,
        intensity="colour",
        parameters={"fill": 1.0, "measuring_mm": 1.0},
    ),
    scanners={
        "topcon": _scanner("TOPCON", "NWX-500", "2.10.4", "SN-TO-77120"),
        "canon": _scanner("Canon Inc.", "CRQ-3 AF", "4.1.0", "SN-CN-30981"),
        "zeiss": _scanner("Carl Zeiss Meditec", "Visuretta 700", "1.6.2", "SN-ZE-11876"),
        "kowa": _scanner("KOWA", "Nonmyd D9", "3.02", "SN-KO-65210"),
    },
    make=make_case,
    learn=learn,
    stages=(
        Stage(
            name="classifier",
            kind="classifier",
            program="classifier.pt2",
            inputs=("image",),
            outputs=("probability", "embedding", "activation"),
        ),
    ),
    acquisition=("noise", "sharpness", "red_ratio", "blue_ratio", "uniformity"),
    categories=(
        Categorical("laterality", ("L", "R")),
        Categorical("pupil_dilated", ("YES", "NO")),
        Categorical("photometric_interpretation", ("RGB", "YBR_FULL_422")),
    ),
    efforts={
        "full": Effort(2600, 1400, 1800, 16, 60, 12),
        "small": Effort(96, 90, 60, 2, 4, 2),
    },
    prevalence=0.15,
)
