"""Train the two networks of the chest triage device: lung fields, then what looks inside them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from app.device.reference.chest.networks import Classifier, LungSegmenter
from app.device.reference.common.cohort import Cohort
from app.device.reference.common.declaration import Progress
from app.device.reference.common.layers import fit

BATCH, LEARNING_RATE = 48, 8e-3
OUTLINED = 1000  # cases whose lung fields are learned
SEGMENTER_EPOCHS = 4


def learn(cohort: Cohort, epochs: int, progress: Progress) -> dict[str, nn.Module]:
    """Segmenter and classifier, by stage name."""
    outlined = segmenter(cohort.take(np.arange(len(cohort)) < OUTLINED), progress)
    return {"lungs": outlined, "classifier": classifier(cohort, outlined, epochs, progress)}


def segmenter(cohort: Cohort, progress: Progress) -> LungSegmenter:
    """A network that outlines lung fields as they are outlined in the cohort."""
    network = LungSegmenter()
    images = torch.from_numpy(cohort.images)[:, None]
    target = functional.avg_pool2d(torch.from_numpy(cohort.masks), 4)

    def loss(at: Tensor) -> Tensor:
        return functional.binary_cross_entropy_with_logits(network.logits(images[at]), target[at])

    def show(done: float) -> None:
        progress("lungs", done)

    fit(network, len(images), SEGMENTER_EPOCHS, loss, show, BATCH, LEARNING_RATE)
    return network


def classifier(
    cohort: Cohort, outlined: LungSegmenter, epochs: int, progress: Progress
) -> Classifier:
    """A network that tells the positive cases, looking at the image and at what is lung."""
    lungs = torch.empty(len(cohort), 1, *cohort.pixels.shape[1:])
    with torch.no_grad():
        for at in torch.split(torch.arange(len(cohort)), 256):
            lungs[at] = outlined(_images(cohort, at))[0]
    positive = torch.from_numpy(cohort.positive).float()
    network = Classifier()

    def loss(at: Tensor) -> Tensor:
        image, lung = _augmented(_images(cohort, at), lungs[at])
        logit = network.logits(image, lung)[0]
        return functional.binary_cross_entropy_with_logits(logit, positive[at])

    def show(done: float) -> None:
        progress("classifier", done)

    fit(network, len(cohort), epochs, loss, show, BATCH, LEARNING_RATE)
    return network


def _images(cohort: Cohort, at: Tensor) -> Tensor:
    """Images (n, 1, r, c) of some places, made when they are looked at."""
    return torch.from_numpy(cohort.images_at(at.numpy()))[:, None]


def _augmented(image: Tensor, lungs: Tensor) -> tuple[Tensor, Tensor]:
    """Half of the cases mirrored; brightness curves a little different."""
    mirror = torch.rand(len(image), 1, 1, 1) < 0.5
    curve = torch.exp(0.06 * torch.randn(len(image), 1, 1, 1))
    image = torch.where(mirror, image.flip(3), image).clamp(min=1e-4) ** curve
    return image, torch.where(mirror, lungs.flip(3), lungs)
