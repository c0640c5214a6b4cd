"""Six small reference devices that any machine can train on generated phantoms."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from app.contracts.manifest import Manifest

# Pattern -> the module that declares its device; the chest device has a recipe of its own.
DECLARED = {
    "cade": "app.device.reference.breast.detection",
    "cadx": "app.device.reference.breast.assessment",
    "ophthalmology": "app.device.reference.fundus.device",
    "echo": "app.device.reference.heart.device",
    "dermatology": "app.device.reference.skin.device",
}
PATTERNS = ("cadt_triage", *DECLARED)


def builder(pattern: str) -> Callable[..., Manifest]:
    """`build(out, keys, seed, effort, progress)` of the device of this pattern. Imports torch."""
    if pattern == "cadt_triage":
        from app.device.reference.chest.recipe import build as chest

        return chest
    from app.device.reference.common.recipe import build

    return partial(build, DECLARED[pattern])
