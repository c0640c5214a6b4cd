"""What an enhanced multi-frame object says per frame: its functional groups (PS3.3 C.7.6.16).

A classic object has an attribute at the top of its data set. An enhanced one has it in an item of
a group, shared by all frames or of one frame, and a few under another name.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.pixels import apply_modality_lut

from monitors.schema import FloatArray

# Classic attribute -> the enhanced one with the same meaning and unit.
ENHANCED = {
    "EchoTime": "EffectiveEchoTime",
    "Exposure": "ExposureInmAs",
    "ExposureTime": "ExposureTimeInms",
    "InversionTime": "InversionTimes",
    "NumberOfPhaseEncodingSteps": "MRAcquisitionPhaseEncodingStepsInPlane",
    "SequenceName": "PulseSequenceName",
    "XRayTubeCurrent": "XRayTubeCurrentInmA",
}


def value(dataset: Dataset, keyword: str) -> Any:
    """The attribute of the whole object or of its first frame; None where it is nowhere.

    What pydicom cannot convert raises as `Dataset.get` does.
    """
    found = dataset.get(keyword)
    if found is not None or "SharedFunctionalGroupsSequence" not in dataset:
        return found
    for name in (keyword, ENHANCED.get(keyword, keyword)):
        for item in (dataset, *_groups(dataset)):
            if (found := item.get(name)) is not None:
                return found
    return None


def _groups(dataset: Dataset) -> Iterator[Dataset]:
    """The first item of every group: shared ones, then those of the first frame."""
    for kind in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        for frame in (dataset.get(kind) or ())[:1]:
            for element in frame:
                if element.VR == "SQ" and element.value and not element.tag.is_private:
                    yield element.value[0]


def rescaled(dataset: Dataset, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Stored values (rows, columns) or (frames, rows, columns) as real ones, each frame by its own
    slope and intercept; `ValueError` where there is not one pair for every frame."""
    if _is_classic(dataset):
        return np.asarray(apply_modality_lut(array, dataset))
    pairs = rescales(dataset)
    if len(pairs) not in (1, array.shape[0] if array.ndim == 3 else 1):
        raise ValueError("one rescale for every frame expected")
    if (pairs == (1, 0)).all():
        return array
    slope, intercept = pairs.T[:, :, None, None]
    return np.asarray(array * slope + intercept).reshape(array.shape)


def rescales(dataset: Dataset) -> FloatArray:
    """Slope and intercept that make stored values into real ones: (frames, 2), or (1, 2) where
    one pair holds for all frames."""
    if _is_classic(dataset):
        return np.array([_pair(dataset)])
    for kind in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        found = [group.get("PixelValueTransformationSequence") for group in dataset.get(kind) or ()]
        if any(found):
            return np.array([_pair(items[0] if items else Dataset()) for items in found])
    return np.array([_pair(Dataset())])


def _is_classic(dataset: Dataset) -> bool:
    at_top = "RescaleSlope" in dataset or "ModalityLUTSequence" in dataset
    return at_top or not dataset.get("PerFrameFunctionalGroupsSequence")


def _pair(item: Dataset) -> tuple[float, float]:
    slope, intercept = item.get("RescaleSlope", 1), item.get("RescaleIntercept", 0)
    return float(slope or 1), float(intercept or 0)
