"""The programs of a chain as its manifest wires them: named tensors from stage to stage.

Grey images enter as `image` (n, 1, r, c), photographs as (n, 3, r, c); the frames of a clip are
read one beside the other, and its measurement stage then looks at all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from app.contracts.manifest import Preprocessing, Stage
from app.device import ventricle
from app.device.bundle import BundleRefused
from app.device.measurable import AREAS
from app.device.pixels.canonical import Image
from monitors.schema import FloatArray

SCORING = ("classifier", "ensemble", "detector", "measurement")
Module = Callable[..., Sequence[torch.Tensor]]


@dataclass(frozen=True, slots=True)
class Reading:
    """What the programs say about n cases.

    score : (n,) in [0, 1]. embedding : (n, e) before projection. outputs : everything that a
    stage names as output, by that name, first axis n; for clips the second is frames. areas :
    share of the image in each mask, as a characteristic (n,).
    """

    score: FloatArray
    embedding: FloatArray
    outputs: Mapping[str, FloatArray]
    areas: Mapping[str, FloatArray]

    def take(self, which: npt.NDArray[np.bool_]) -> Reading:
        """The cases at these places."""
        outputs, areas = (
            {name: values[which] for name, values in part.items()}
            for part in (self.outputs, self.areas)
        )
        return Reading(self.score[which], self.embedding[which], outputs, areas)


def areas_of(outputs: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    """Share of the image (n,) in each mask among the outputs, by characteristic."""
    return {
        name: (values > 0.5).reshape(len(values), -1).mean(axis=1)
        for mask, name in AREAS.items()
        if (values := outputs.get(mask)) is not None
    }


def scoring(stages: Sequence[Stage]) -> Stage:
    """The one stage whose score is compared with the threshold."""
    found = [stage for stage in stages if stage.kind in SCORING]
    if len(found) != 1:
        kinds = ", ".join(SCORING)
        raise BundleRefused("stages", f"one scoring stage expected ({kinds}), got {len(found)}")
    return found[0]


class Pipeline:
    """Stages in order, as one function of canonical images."""

    def __init__(
        self, stages: Sequence[Stage], programs: Mapping[str, Module], preprocessing: Preprocessing
    ) -> None:
        self._stages = tuple(stage for stage in stages if stage.name in programs)
        self._programs = programs
        self._preprocessing = preprocessing
        self._scoring = scoring(stages)

    def read(self, pixels: Image) -> Reading:
        """Read canonical images (n, r, c), photographs (n, r, c, 3) or clips (n, f, r, c)."""
        named = {"image": self._tensor(pixels)}
        for stage in self._stages:
            found = self._programs[stage.name](*(named[name] for name in stage.inputs))
            named |= dict(zip(stage.outputs, found, strict=True))
        outputs = {
            name: self._by_case(values, len(pixels))
            for name, values in named.items()
            if name != "image"
        }
        return self._scored(outputs)

    def _tensor(self, pixels: Image) -> torch.Tensor:
        images = torch.from_numpy(np.ascontiguousarray(pixels, dtype=np.float32))
        if self._preprocessing.intensity == "colour":
            return images.permute(0, 3, 1, 2).contiguous()
        return images.reshape(-1, 1, *images.shape[-2:])

    def _by_case(self, values: torch.Tensor, cases: int) -> FloatArray:
        found = values.detach().double().numpy()
        return found if len(found) == cases else found.reshape(cases, -1, *found.shape[1:])

    def _scored(self, outputs: dict[str, FloatArray]) -> Reading:
        if self._scoring.kind == "measurement":
            outputs |= measured(outputs, self._preprocessing.spacing_mm)
            value = outputs[ventricle.NAME]
            score = ventricle.probability_below(value, self._scoring.parameters)
            return Reading(score, outputs["embedding"].mean(axis=1), outputs, areas_of(outputs))
        for name in ("probability", "embedding"):
            if name not in outputs:
                raise BundleRefused("stages", f"an output {name} expected, got none")
        return Reading(outputs["probability"], outputs["embedding"], outputs, areas_of(outputs))


def measured(outputs: Mapping[str, FloatArray], spacing_mm: float) -> dict[str, FloatArray]:
    """The ejection fraction of every clip (n,), with the frames it was taken from."""
    cycles = [
        ventricle.cycle(cavity[:, 0], points, spacing_mm)
        for cavity, points in zip(outputs["ventricle"], outputs["landmarks"], strict=True)
    ]
    return {
        ventricle.NAME: np.array([c.ejection_fraction for c in cycles]),
        "frames": np.array([[c.diastole, c.systole] for c in cycles], dtype=np.float64),
    }
