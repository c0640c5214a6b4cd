"""Build the chest triage device: `build(out, keys, seed, effort, progress)`."""

from __future__ import annotations

from functools import partial

from app.device.reference.common.recipe import build as build_declared

build = partial(build_declared, "app.device.reference.chest.device")
