"""Two small networks: lung fields, and a classifier that looks inside them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from app.device.reference.common.layers import Calibrated, block

EMBEDDING = 40


class LungSegmenter(nn.Module):
    """Image (n, 1, r, c) -> probability of lung (n, 1, r, c); works at a quarter of the size."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(4)
        self.down = nn.Sequential(block(1, 8), block(8, 12, stride=2))
        self.deep = nn.Sequential(block(12, 16, stride=2), block(16, 12), nn.Upsample(None, 2))
        self.up = nn.Sequential(block(24, 8), nn.Upsample(None, 2), nn.Conv2d(8, 1, 3, padding=1))
        self.out = nn.Upsample(None, 4, mode="bilinear")

    def logits(self, image: Tensor) -> Tensor:
        """Before the sigmoid, at a quarter of the size."""
        shallow = self.down(self.pool(image))
        answer: Tensor = self.up(torch.cat([shallow, self.deep(shallow)], dim=1))
        return answer

    def forward(self, image: Tensor) -> tuple[Tensor]:
        return (torch.sigmoid(self.out(self.logits(image))),)


class Classifier(Calibrated):
    """Image and lungs (n, 1, r, c) -> probability (n,), embedding (n, e), activation (n, r', c').

    The head is linear in the pooled features, so the class activation map costs nothing (Zhou
    2016, CVPR).
    """

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            block(2, 8, stride=2),
            block(8, 16, stride=2),
            block(16, 24),
            block(24, 32, stride=2),
            block(32, EMBEDDING),
        )
        self.head = nn.Linear(EMBEDDING, 1)

    def logits(self, image: Tensor, lungs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logit (n,) before calibration, embedding, activation."""
        maps = self.features(torch.cat([image, lungs], dim=1))
        embedding = maps.mean((2, 3)) + 0.5 * maps.amax((2, 3))
        activation = (maps * self.head.weight[0, :, None, None]).sum(1)
        return self.head(embedding)[:, 0], embedding, activation

    def forward(self, image: Tensor, lungs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logit, embedding, activation = self.logits(image, lungs)
        return self.probability(logit), embedding, activation
