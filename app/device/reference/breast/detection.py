"""The CADe device: a detection head on a feature pyramid that marks lesions in the breast."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from app.contracts.manifest import Stage
from app.device.reference.breast.phantom import detection_case
from app.device.reference.breast.scanners import (
    ACQUISITION,
    CATEGORIES,
    LIMITS,
    PREPROCESSING,
    SCANNERS,
)
from app.device.reference.common.cohort import Cohort
from app.device.reference.common.declaration import Effort, Progress, ReferenceDevice
from app.device.reference.common.layers import Calibrated, augmented, block, fit
from monitors.schema import FloatArray

STRIDES = (8, 16)  # pixels a cell, fine and coarse level
SPLIT = 26.0  # the longer side, in pixels, from which a lesion belongs to the coarse level
WIDTH, CANDIDATES = 32, 6  # channels of the pyramid; best cells a level
LOWEST_SCORE = 0.02


class Detector(Calibrated):
    """Image (n, 1, r, c) -> probability of any lesion (n,), embedding (n, e), boxes (n, k, 4),
    their scores (n, k).

    A pyramid of two levels (Lin 2017, CVPR); at every cell the logit of "a lesion's centre is
    here" and the distances to its four edges (Tian 2019, ICCV). A cell counts where no neighbour
    is higher. The image's logit is that of its best cell.
    """

    def __init__(self, rows: int, columns: int) -> None:
        super().__init__()
        self.bottom = nn.Sequential(block(1, 12, 2), block(12, 20, 2), block(20, 28, 2))
        self.top = nn.Sequential(block(28, 36, 2), block(36, WIDTH))
        self.across = nn.Conv2d(28, WIDTH, 1)
        self.head = block(WIDTH, WIDTH)
        self.centre, self.reach = nn.Conv2d(WIDTH, 1, 1), nn.Conv2d(WIDTH, 4, 1)
        nn.init.constant_(self.centre.bias, -3.0)  # type: ignore[arg-type]
        for level, stride in enumerate(STRIDES):
            self.register_buffer(f"cells{level}", _cells(rows, columns, stride))

    def levels(self, image: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
        """For each level: centre logits (n, 1, r', c'), boxes (n, 4, r', c'), features."""
        fine = self.bottom(image)
        coarse = self.top(fine)
        fine = self.across(fine) + functional.interpolate(coarse, scale_factor=2.0)
        found = []
        for level, maps in enumerate((fine, coarse)):
            features = self.head(maps)
            reach = torch.exp(self.reach(features).clamp(-4, 4)) * STRIDES[level]
            cells = getattr(self, f"cells{level}")
            boxes = torch.cat([cells - reach[:, :2], cells + reach[:, 2:]], dim=1)
            found.append((self.centre(features), boxes, features))
        return found

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        levels = self.levels(image)
        scores, boxes = (
            torch.cat(parts, dim=1)
            for parts in zip(*(_peaks(c, b) for c, b, _ in levels), strict=True)
        )
        # What the pyramid saw where it looked hardest, and on the whole.
        looked = [
            (f * torch.softmax(2 * c.flatten(2), -1).unflatten(2, c.shape[2:])).sum((2, 3))  # type: ignore[no-untyped-call]
            for c, _, f in levels
        ]
        embedding = torch.cat([*looked, *(f.mean((2, 3)) for _, _, f in levels)], dim=1)
        best = scores.amax(1)
        return self.probability(best), embedding, boxes, self.probability(scores)


def _cells(rows: int, columns: int, stride: int) -> Tensor:
    """Centres of the cells (1, 2, r', c'): column and row in pixels."""
    down = torch.arange(rows // stride) * stride + (stride - 1) / 2
    across = torch.arange(columns // stride) * stride + (stride - 1) / 2
    grid = torch.meshgrid(down, across, indexing="ij")
    return torch.stack([grid[1], grid[0]])[None]


def _peaks(centre: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """The best cells that no neighbour beats: logits (n, k) and boxes (n, k, 4)."""
    highest = functional.max_pool2d(centre, 3, 1, 1)
    peak = torch.where(centre >= highest, centre, torch.full_like(centre, -12.0)).flatten(1)
    scores, at = torch.topk(peak, CANDIDATES, dim=1)
    flat = boxes.flatten(2).transpose(1, 2)
    return scores, torch.gather(flat, 1, at[..., None].expand(-1, -1, 4))


def learn(cohort: Cohort, epochs: int, progress: Progress) -> dict[str, nn.Module]:
    """The detector, by stage name."""
    rows, columns = cohort.pixels.shape[1:]
    network = Detector(rows, columns)
    images = torch.from_numpy(cohort.images)[:, None]
    targets = [
        torch.from_numpy(_targets(cohort.boxes, rows, columns, level))
        for level in range(len(STRIDES))
    ]

    def loss(at: Tensor) -> Tensor:
        mirror = bool(torch.rand(()) < 0.5)  # a batch at once: boxes turn with their image
        image, wanted = augmented(images[at], mirrored=False), [t[at] for t in targets]
        if mirror:
            image, wanted = image.flip(3), [_mirrored(t, columns) for t in wanted]
        return torch.stack(
            [_loss(c, b, t) for (c, b, _), t in zip(network.levels(image), wanted, strict=True)]
        ).sum()

    fit(network, len(images), epochs, loss, lambda done: progress("detector", done))
    return {"detector": network}


def _targets(boxes: FloatArray, rows: int, columns: int, level: int) -> np.ndarray:
    """(n, 5, r', c'): how much a lesion's centre is here (a Gaussian, 1 in its cell), its box."""
    stride = STRIDES[level]
    x, y = _cells(rows, columns, stride)[0].numpy()
    found = np.zeros((len(boxes), 5, *x.shape), dtype=np.float32)
    for image, lesions in zip(found, boxes, strict=True):
        for left, upper, right, lower in lesions[np.isfinite(lesions[:, 0])]:
            if (max(right - left, lower - upper) >= SPLIT) != bool(level):
                continue
            away = ((x - (left + right) / 2) ** 2 + (y - (upper + lower) / 2) ** 2) / stride**2
            heat = np.exp(-away)
            heat[np.unravel_index(away.argmin(), away.shape)] = 1.0
            nearer = heat > image[0]
            image[1:, nearer] = np.array([left, upper, right, lower])[:, None]
            image[0] = np.maximum(image[0], heat)
    return found


def _mirrored(target: Tensor, columns: int) -> Tensor:
    turned = target.flip(3)
    left, right = columns - 1 - turned[:, 3:4], columns - 1 - turned[:, 1:2]
    return torch.cat([turned[:, :1], left, turned[:, 2:3], right, turned[:, 4:]], dim=1)


def _loss(centre: Tensor, boxes: Tensor, target: Tensor) -> Tensor:
    """Focal loss for soft centres (Law 2018, ECCV), and overlap of boxes around them."""
    wanted, logit = target[:, :1], centre
    probability = torch.sigmoid(logit)
    is_centre = wanted >= 1
    hit = (1 - probability) ** 2 * functional.logsigmoid(logit)
    miss = (1 - wanted) ** 4 * probability**2 * functional.logsigmoid(-logit)
    focal = -torch.where(is_centre, hit, miss).sum() / is_centre.sum().clamp(min=1)
    near = (wanted > 0.4).float()
    overlap = _overlap(boxes, target[:, 1:])
    return focal + ((1 - overlap) * near).sum() / near.sum().clamp(min=1)


def _overlap(one: Tensor, other: Tensor) -> Tensor:
    """Intersection over union (n, 1, r', c') of boxes (n, 4, r', c')."""
    low = torch.maximum(one[:, :2], other[:, :2])
    high = torch.minimum(one[:, 2:], other[:, 2:])
    shared = (high - low).clamp(min=0).prod(1, keepdim=True)
    areas = [(b[:, 2:] - b[:, :2]).clamp(min=0).prod(1, keepdim=True) for b in (one, other)]
    return shared / (areas[0] + areas[1] - shared).clamp(min=1e-6)


DEVICE = ReferenceDevice(
    pattern="cade",
    name="Reference Breast Detection",
    udi_di="00850001234024",
    intended_use=(
        "Mark regions in ultrasound images of an adult's breast that may be lesions, for a "
        "reader who has already looked. It does not characterise them."
    ),
    finding="breast lesion",
    limits=LIMITS,
    preprocessing=PREPROCESSING,
    scanners=SCANNERS,
    make=detection_case,
    learn=learn,
    stages=(
        Stage(
            name="detector",
            kind="detector",
            program="detector.pt2",
            inputs=("image",),
            outputs=("probability", "embedding", "boxes", "box_scores"),
            parameters={"lowest_score": LOWEST_SCORE},
        ),
    ),
    acquisition=ACQUISITION,
    categories=CATEGORIES,
    efforts={
        "full": Effort(2800, 1600, 2000, 12, 60, 12),
        "small": Effort(96, 90, 60, 2, 4, 2),
    },
    prevalence=0.3,
)
