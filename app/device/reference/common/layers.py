"""Building blocks of the reference networks, and how all of them are trained."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

LEARNING_RATE = 4e-3
BATCH = 32
SURROUNDINGS = 9  # pixels across, of which the middle one is compared with the mean
CONTRAST = 4.0  # brings a difference to the scale of the image itself


def block(inside: int, outside: int, stride: int = 1) -> nn.Sequential:
    """Convolution 3 x 3, batch normalisation, ReLU."""
    return nn.Sequential(
        nn.Conv2d(inside, outside, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(outside),
        nn.ReLU(),
    )


class Calibrated(nn.Module):
    """A network whose probability has a slope and an offset (Platt 1999) inside its graph."""

    slope: Tensor
    offset: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("slope", torch.ones(1))
        self.register_buffer("offset", torch.zeros(1))

    def probability(self, logit: Tensor) -> Tensor:
        """The calibrated probability of a logit (n,)."""
        return torch.sigmoid(self.slope * logit + self.offset)

    def calibrate(self, slope: float, offset: float) -> None:
        """Set both, from now on."""
        self.slope.fill_(slope)
        self.offset.fill_(offset)


class Backbone(nn.Module):
    """Image (n, inside, r, c) -> maps (n, width, r / 8, c / 8)."""

    def __init__(self, inside: int, width: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            block(inside, 12, stride=2),
            block(12, 20, stride=2),
            block(20, 28),
            block(28, 32, stride=2),
            block(32, width),
        )

    def forward(self, image: Tensor) -> Tensor:
        answer: Tensor = self.blocks(image)
        return answer


class MapClassifier(Calibrated):
    """Image -> probability (n,), embedding (n, e), class activation (n, r', c') (Zhou 2016)."""

    def __init__(self, inside: int, width: int = 40) -> None:
        super().__init__()
        self.backbone = Backbone(inside, width)
        self.head = nn.Linear(width, 1)

    def logits(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logit (n,) before calibration, embedding, activation."""
        maps = self.backbone(image)
        embedding = maps.mean((2, 3)) + 0.5 * maps.amax((2, 3))
        activation = (maps * self.head.weight[0, :, None, None]).sum(1)
        return self.head(embedding)[:, 0], embedding, activation

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logit, embedding, activation = self.logits(image)
        return self.probability(logit), embedding, activation


def with_local_contrast(image: Tensor) -> Tensor:
    """An image (n, k, r, c), and beside it how each place differs from its surroundings (n, 2 k,
    r, c): lesions of a pixel or two are lost in the first stride otherwise (as Graham did for
    the fundus photographs of Kaggle's competition on diabetic retinopathy, 2015)."""
    around = functional.avg_pool2d(
        image, SURROUNDINGS, stride=1, padding=SURROUNDINGS // 2, count_include_pad=False
    )
    return torch.cat([image, CONTRAST * (image - around)], dim=1)


class AttentionClassifier(Calibrated):
    """The same on local contrast, with gated attention over places (Ilse 2018, ICML): the
    activation is where the network looked."""

    def __init__(self, inside: int, width: int = 40) -> None:
        super().__init__()
        self.backbone = Backbone(2 * inside, width)
        self.look, self.gate = nn.Conv2d(width, 16, 1), nn.Conv2d(width, 16, 1)
        self.weigh = nn.Conv2d(16, 1, 1)
        self.head = nn.Linear(2 * width, 1)

    def logits(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logit (n,) before calibration, embedding, attention."""
        maps = self.backbone(with_local_contrast(image))
        gated = torch.tanh(self.look(maps)) * torch.sigmoid(self.gate(maps))
        weights = torch.softmax(self.weigh(gated).flatten(1), dim=1)
        seen = (maps.flatten(2) * weights[:, None]).sum(2)
        embedding = torch.cat([seen, maps.mean((2, 3)) + 0.5 * maps.amax((2, 3))], dim=1)
        return self.head(embedding)[:, 0], embedding, weights.view(-1, *maps.shape[2:])

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logit, embedding, attention = self.logits(image)
        return self.probability(logit), embedding, attention


def fit(
    network: nn.Module,
    cases: int,
    epochs: int,
    loss: Callable[[Tensor], Tensor],
    progress: Callable[[float], None],
    batch: int = BATCH,
    learning_rate: float = LEARNING_RATE,
) -> None:
    """Minimise `loss` over shuffled cases, `batch` at a time; leaves evaluation mode on."""
    steps = max(cases // batch, 1)
    optimiser = torch.optim.AdamW(network.parameters(), learning_rate, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, learning_rate, epochs=epochs, steps_per_epoch=steps
    )
    network.train()
    for epoch in range(epochs):
        for at in torch.split(torch.randperm(cases)[: steps * batch], batch):
            optimiser.zero_grad()
            loss(at).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
        progress((epoch + 1) / epochs)
    network.eval()


def classify(
    network: MapClassifier | AttentionClassifier,
    images: Tensor,
    positive: Tensor,
    epochs: int,
    progress: Callable[[float], None],
) -> None:
    """Train a classifier on images (n, k, r, c), mirrored and recoloured at random."""

    def loss(at: Tensor) -> Tensor:
        logit = network.logits(augmented(images[at]))[0]
        return functional.binary_cross_entropy_with_logits(logit, positive[at])

    fit(network, len(images), epochs, loss, progress)


def augmented(image: Tensor, *, mirrored: bool = True) -> Tensor:
    """Half of the cases mirrored; brightness curve and, for colour, white balance varied."""
    n, channels = image.shape[:2]
    mirror = torch.rand(n, 1, 1, 1) < (0.5 if mirrored else 0.0)
    curve = torch.exp(0.06 * torch.randn(n, 1, 1, 1))
    balance = torch.exp(0.04 * torch.randn(n, channels, 1, 1))
    image = torch.where(mirror, image.flip(3), image)
    return image.clamp(min=1e-4) ** curve * balance


def platt(logit: Tensor, positive: Tensor) -> tuple[float, float]:
    """Slope and offset by logistic regression (Platt 1999), in double precision."""
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
    slope, offset = weights.detach().tolist()
    return float(slope), float(offset)
