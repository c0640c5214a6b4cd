"""One case as a scanner would have stored it, whatever the modality."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

SEVERITIES = ("none", "subtle", "moderate", "marked")
_SEVERITY_EDGES = (0.8, 2.2)
Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Truth:
    """What is really there, on the stored image's pixels; None where it is not asked.

    masks (frames, rows, columns) in [0, 1]. boxes (k, 4): left, upper, right, lower.
    points (frames, p, 2): column, row. value: the true quantity.
    """

    masks: npt.NDArray[np.float32] | None = None
    boxes: npt.NDArray[np.float64] | None = None
    points: npt.NDArray[np.float64] | None = None
    value: float = float("nan")


class Case(Protocol):
    """What a recipe reads of a phantom, whatever else it knows of itself."""

    @property
    def pixels(self) -> npt.NDArray[Any]:
        """As stored: (rows, columns), (rows, columns, 3) or (frames, rows, columns)."""

    @property
    def positive(self) -> bool:
        """Whether it shows what the device looks for."""

    @property
    def severity(self) -> str:
        """One of `SEVERITIES`."""

    @property
    def age(self) -> int:
        """Years."""

    @property
    def sex(self) -> str:
        """F or M."""

    @property
    def spacing_mm(self) -> float | None:
        """Of stored pixels; None for photographs."""

    @property
    def truth(self) -> Truth:
        """What is really there."""


@dataclass(frozen=True, slots=True)
class Phantom:
    """Stored pixels, 8 bits: (rows, columns), (rows, columns, 3) or (frames, rows, columns).

    spacing_mm : None for photographs. attributes : what else the header says, by keyword.
    """

    pixels: Pixels
    positive: bool
    severity: str
    age: int
    sex: str
    spacing_mm: float | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    truth: Truth = Truth()


def demography(
    rng: np.random.Generator, mean: float, spread: float, female: float
) -> tuple[int, str]:
    """Age in years of an adult, and sex."""
    age = int(np.clip(rng.normal(mean, spread), 18, 95))
    return age, "F" if rng.random() < female else "M"


def latent(rng: np.random.Generator, positive: bool, separation: float) -> float:
    """How ill a case looks: a standard normal, moved by `separation` for disease.

    What the image shows follows this one number, so that nobody can read the truth from it with
    an area under the curve above Phi(separation / sqrt(2)) (binormal model, Dorfman 1969).
    """
    return float(rng.normal(separation if positive else 0.0, 1.0))


def severity(positive: bool, looks: float) -> str:
    """The severity band of disease that looks like this."""
    at = 1 + int(np.searchsorted(_SEVERITY_EDGES, looks, side="right"))
    return SEVERITIES[at] if positive else SEVERITIES[0]


def around(rng: np.random.Generator, value: float, amount: float) -> float:
    """`value` at another installation of the same product: log-normal with spread `amount`."""
    return float(value * np.exp(rng.normal(0.0, amount))) if amount else value
