"""The locked device of a demonstration: the chest triage bundle, built once per recipe.

The weights come from the recipe's own fixed seed, so that every demonstration plays on the same
device; a bundle is built again only when the code it is made by has changed.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import shutil
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import app.device
from app.contracts.signing import SigningKey
from app.device.bundle import open_bundle
from app.lab.demo_processes import DemoFailed, die_with_parent

RECIPE_SEED = 20260105


@dataclass(frozen=True, slots=True)
class Device:
    """A built bundle, the key that signed it, and the reference labels of its sentinel set."""

    bundle: Path
    key: SigningKey
    lock_digest: str
    sentinel_labels: tuple[int, ...]


def obtain(folder: Path) -> Device:
    """The bundle kept under `folder`; built there first if this code has not built it yet."""
    key_file = folder / "manufacturer.key"
    key = SigningKey.load_or_create(key_file)
    bundle = folder / f"chest-{_code_digest()[:12]}"
    if not bundle.exists():
        _build(bundle, key_file)
    opened = open_bundle(bundle, [key.public], 1)
    if opened.manifest.sentinel is None:
        raise DemoFailed("the demonstration needs a device with a sentinel set")
    labels = opened.arrays(opened.manifest.sentinel.file)["labels"]
    return Device(bundle, key, opened.lock_digest, tuple(int(label) for label in labels))


def _build(bundle: Path, key_file: Path) -> None:
    half = bundle.with_suffix(".half")
    shutil.rmtree(half, ignore_errors=True)
    # In a process of its own: the training library and its memory go when it is done.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context, initializer=die_with_parent) as builder:
        builder.submit(_train, half, key_file).result()
    half.rename(bundle)


def _train(folder: Path, key_file: Path) -> None:
    from app.device.reference.chest.recipe import build

    build(folder, [SigningKey.load_or_create(key_file)], RECIPE_SEED)


def _code_digest() -> str:
    """SHA-256 over the sources that decide what a bundle is."""
    root = Path(app.device.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
