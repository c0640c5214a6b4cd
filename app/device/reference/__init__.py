"""Six small reference devices, trained on generated phantoms."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from app.contracts.manifest import Manifest

# Pattern -> the module that declares its device.
DECLARED = {
    "cadt_triage": "app.device.reference.chest.device",
    "cade": "app.device.reference.breast.detection",
    "cadx": "app.device.reference.breast.assessment",
    "ophthalmology": "app.device.reference.fundus.device",
    "echo": "app.device.reference.heart.device",
    "dermatology": "app.device.reference.skin.device",
}
PATTERNS = tuple(DECLARED)


def builder(pattern: str) -> Callable[..., Manifest]:
    """`build(out, keys, seed, effort, progress)` of the device of this pattern. Imports torch."""
    from app.device.reference.common.recipe import build

    return partial(build, DECLARED[pattern])
