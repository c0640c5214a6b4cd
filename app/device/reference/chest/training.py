"""Train the two networks of the chest triage device; the same seed gives the same weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from app.device.programs import deterministic
from app.device.reference.chest.cohort import Cohort
from app.device.reference.chest.networks import Classifier, LungSegmenter

THREADS = 1  # fixed: another number sums in another order, and waits for busy cores
BATCH = 48
LEARNING_RATE = 8e-3
Progress = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class Trained:
    """Networks in evaluation mode."""

    segmenter: LungSegmenter
    classifier: Classifier


def train(cohort: Cohort, epochs: int, seed: int, progress: Progress) -> Trained:
    """Fit lung fields on at most 1,000 cases, then the classifier on all of them."""
    deterministic(THREADS)
    torch.manual_seed(seed)
    images = torch.from_numpy(cohort.images)[:, None]
    segmenter = _fit_segmenter(images[:1000], torch.from_numpy(cohort.lungs[:1000]), progress)
    with torch.inference_mode():
        lungs = torch.cat([segmenter(part) for part in torch.split(images, 256)]).clone()
    positive = torch.from_numpy(cohort.positive.astype(np.float32))
    classifier = _fit_classifier(images, lungs, positive, epochs, progress)
    return Trained(segmenter, classifier)


def calibrate(trained: Trained, cohort: Cohort) -> None:
    """Set the classifier's slope and offset by logistic regression on unseen cases (Platt 1999),
    so that probabilities hold at the cohort's prevalence."""
    logit = logits(trained, cohort)
    positive = torch.from_numpy(cohort.positive.astype(np.float64))
    weights = torch.tensor([1.0, 0.0], dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([weights], max_iter=200, tolerance_change=1e-10)

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = functional.binary_cross_entropy_with_logits(
            weights[0] * logit + weights[1], positive
        )
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimiser.step(closure)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        trained.classifier.slope[0] = weights[0]
        trained.classifier.offset[0] = weights[1]


def logits(trained: Trained, cohort: Cohort) -> Tensor:
    """Uncalibrated logits (n,) in double precision."""
    images = torch.from_numpy(cohort.images)[:, None]
    with torch.no_grad():
        parts = [
            trained.classifier.logits(part, trained.segmenter(part))[0]
            for part in torch.split(images, 256)
        ]
    return torch.cat(parts).double()


def _fit_segmenter(images: Tensor, lungs: Tensor, progress: Progress) -> LungSegmenter:
    network = LungSegmenter()
    target = functional.avg_pool2d(lungs[:, None].float(), 4)

    def loss(at: Tensor) -> Tensor:
        return functional.binary_cross_entropy_with_logits(network.logits(images[at]), target[at])

    _fit(network, len(images), 4, loss, lambda done: progress("lungs", done))
    return network


def _fit_classifier(
    images: Tensor, lungs: Tensor, positive: Tensor, epochs: int, progress: Progress
) -> Classifier:
    network = Classifier()

    def loss(at: Tensor) -> Tensor:
        image, lung = _augmented(images[at], lungs[at])
        logit = network.logits(image, lung)[0]
        return functional.binary_cross_entropy_with_logits(logit, positive[at])

    _fit(network, len(images), epochs, loss, lambda done: progress("classifier", done))
    return network


def _augmented(image: Tensor, lungs: Tensor) -> tuple[Tensor, Tensor]:
    """Half of the cases mirrored; brightness curves a little different."""
    mirror = torch.rand(len(image), 1, 1, 1) < 0.5
    curve = torch.exp(0.06 * torch.randn(len(image), 1, 1, 1))
    image = torch.where(mirror, image.flip(3), image).clamp(min=1e-4) ** curve
    return image, torch.where(mirror, lungs.flip(3), lungs)


def _fit(
    network: nn.Module,
    cases: int,
    epochs: int,
    loss: Callable[[Tensor], Tensor],
    progress: Callable[[float], None],
) -> None:
    steps = max(cases // BATCH, 1)
    optimiser = torch.optim.AdamW(network.parameters(), LEARNING_RATE, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, LEARNING_RATE, epochs=epochs, steps_per_epoch=steps
    )
    network.train()
    for epoch in range(epochs):
        for at in torch.split(torch.randperm(cases)[: steps * BATCH], BATCH):
            optimiser.zero_grad()
            loss(at).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
        progress((epoch + 1) / epochs)
    network.eval()
