"""The dermatology triage device: a colour network that sorts lesions into three classes."""

from __future__ import annotations

import torch
from torch import nn

from app.contracts.manifest import Allowed, InputLimits, Preprocessing, Range, Stage
from app.device.reference.common.cohort import Cohort
from app.device.reference.common.declaration import Effort, Progress, ReferenceDevice
from app.device.reference.common.layers import MapClassifier, classify
from app.device.reference.common.objects import Scanner
from app.device.reference.skin.phantom import WHITE_BALANCES, make_case
from monitors.schema import Categorical

SOON = 0.05  # probability from which a lesion that is not urgent is seen soon


def learn(cohort: Cohort, epochs: int, progress: Progress) -> dict[str, nn.Module]:
    """The classifier, by stage name."""
    network = MapClassifier(3)
    images = torch.from_numpy(cohort.images).permute(0, 3, 1, 2).contiguous()
    positive = torch.from_numpy(cohort.positive).float()
    classify(network, images, positive, epochs, lambda done: progress("classifier", done))
    return {"classifier": network}


def _scanner(manufacturer: str, model: str, software: str, serial: str) -> Scanner:
    return Scanner(
        manufacturer, model, software, serial, "DERM-1", "XC", "SKIN", "Dermoscopy single lesion"
    )


DEVICE = ReferenceDevice(
    pattern="dermatology",
    name="Reference Skin Triage",
    udi_di="00850001234062",
    intended_use=(
        "Sort dermoscopic images of single pigmented lesions of adults into urgent, soon and "
        "routine appointments. It does not diagnose."
    ),
    finding="suspicious lesion",
    limits=InputLimits(
        allowed=(
            Allowed(attribute="Modality", values=("XC",)),
            Allowed(attribute="BodyPartExamined", values=("SKIN",)),
            Allowed(attribute="PhotometricInterpretation", values=("RGB", "YBR_FULL_422")),
        ),
        ranges=(Range(attribute="PatientAge", lowest=18, highest=120),),
    ),
    preprocessing=Preprocessing(
        spacing_mm=1.0,
        rows=96,
        columns=96,
        intensity="colour",
        parameters={"fill": 1.0, "measuring_mm": 1.0},
    ),
    scanners={
        "fotofinder": _scanner("FotoFinder Systems GmbH", "Medilens M4", "3.1.0", "SN-FF-20117"),
        "canfield": _scanner("Canfield Scientific", "Veosight HD9", "7.5.2", "SN-CA-88014"),
        "dermlite": _scanner("3Gen", "DLite C5", "2.0.4", "SN-3G-51440"),
        "heine": _scanner("HEINE Optotechnik", "Deltaview 30", "1.8.1", "SN-HE-09932"),
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
            parameters={"soon": SOON},
        ),
    ),
    acquisition=("noise", "sharpness", "red_ratio", "blue_ratio", "uniformity"),
    categories=(
        Categorical("white_balance", WHITE_BALANCES),
        Categorical("photometric_interpretation", ("RGB", "YBR_FULL_422")),
    ),
    efforts={
        "full": Effort(2600, 1600, 2000, 10, 60, 12),
        "small": Effort(96, 90, 60, 2, 4, 2),
    },
    prevalence=0.15,
)
