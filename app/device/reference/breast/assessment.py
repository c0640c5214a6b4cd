"""The CADx device: an ensemble of networks that states how likely a breast lesion is malignant."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from app.contracts.manifest import Stage
from app.device.reference.breast.phantom import assessment_case
from app.device.reference.breast.scanners import (
    ACQUISITION,
    CATEGORIES,
    LIMITS,
    PREPROCESSING,
    SCANNERS,
)
from app.device.reference.common.cohort import Cohort
from app.device.reference.common.declaration import Effort, Progress, ReferenceDevice
from app.device.reference.common.layers import Calibrated, MapClassifier, classify

MEMBERS, WIDTH = 3, 28


class Ensemble(Calibrated):
    """The mean logit of members that differ by where they began and in which order they saw
    cases; the spread of their logits says how far they agree (Lakshminarayanan 2017, NeurIPS)."""

    def __init__(self, members: list[MapClassifier]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Image (n, 1, r, c) -> probability (n,), spread of logits (n,), embedding, activation."""
        read = [cast(MapClassifier, member).logits(image) for member in self.members]
        logit = torch.stack([logit for logit, _, _ in read])
        embedding = torch.cat([embedding for _, embedding, _ in read], dim=1)
        activation = torch.stack([activation for _, _, activation in read]).mean(0)
        return self.probability(logit.mean(0)), logit.std(0), embedding, activation


def learn(cohort: Cohort, epochs: int, progress: Progress) -> dict[str, nn.Module]:
    """The ensemble, by stage name."""
    images = torch.from_numpy(cohort.images)[:, None]
    positive = torch.from_numpy(cohort.positive).float()
    members = []
    for number in range(MEMBERS):
        network = MapClassifier(1, WIDTH)
        classify(network, images, positive, epochs, _part(progress, number))
        members.append(network)
    return {"ensemble": Ensemble(members).eval()}


def _part(progress: Progress, number: int) -> Callable[[float], None]:
    return lambda done: progress("ensemble", (number + done) / MEMBERS)


DEVICE = ReferenceDevice(
    pattern="cadx",
    name="Reference Breast Assessment",
    udi_di="00850001234031",
    intended_use=(
        "State with what probability a lesion in an ultrasound image of an adult's breast is "
        "malignant, as a second opinion. It does not replace biopsy."
    ),
    finding="malignant lesion",
    limits=LIMITS,
    preprocessing=PREPROCESSING,
    scanners=SCANNERS,
    make=assessment_case,
    learn=learn,
    stages=(
        Stage(
            name="ensemble",
            kind="ensemble",
            program="ensemble.pt2",
            inputs=("image",),
            outputs=("probability", "spread", "embedding", "activation"),
        ),
    ),
    acquisition=ACQUISITION,
    categories=CATEGORIES,
    efforts={
        "full": Effort(2400, 1600, 2000, 8, 60, 12),
        "small": Effort(96, 90, 60, 2, 4, 2),
    },
    prevalence=0.3,
)
