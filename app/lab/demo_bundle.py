"""The locked device of a demonstration: the chest triage bundle, built once per recipe.

The weights come from the recipe's own fixed seed, so that every demonstration plays on the same
device; a bundle is built again only when the code it is made by has changed.
"""

from __future__ import annotations

import contextlib
import hashlib
import multiprocessing
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import app.device
from app.contracts.signing import SigningKey
from app.device.bundle import open_bundle
from app.lab.demo_processes import DemoFailed, die_with_parent

RECIPE_SEED = 20260105
SOURCES = (
    "app/device/**/*.py",
    "app/contracts/*.py",
    "monitors/schema.py",
    "monitors/summaries.py",
)
Progress = Callable[[str, float], None]
"""Called with what is being done and the share of it that is done."""


def silent(_what: str, _share: float) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True)
class Device:
    """A built bundle, the key that signed it, and the reference labels of its sentinel set."""

    bundle: Path
    key: SigningKey
    lock_digest: str
    sentinel_labels: tuple[int, ...]


def manufacturer_key(folder: Path) -> SigningKey:
    """The key that signs the devices of this demonstration; made when it is first asked for."""
    return SigningKey.load_or_create(folder / "manufacturer.key")


def obtain(folder: Path, *, effort: str = "full", progress: Progress = silent) -> Device:
    """The bundle kept under `folder`; built there first if this code has not built it yet."""
    key = manufacturer_key(folder)
    bundle = folder / f"chest-{effort}-{_code_digest()[:12]}"
    if not bundle.exists():
        half = bundle.with_suffix(".half")
        shutil.rmtree(half, ignore_errors=True)
        _build(half, folder, effort, progress)
        half.rename(bundle)
    opened = open_bundle(bundle, [key.public], 1)
    if opened.manifest.sentinel is None:
        raise DemoFailed("the demonstration needs a device with a sentinel set")
    labels = opened.arrays(opened.manifest.sentinel.file)["labels"]
    return Device(bundle, key, opened.lock_digest, tuple(int(label) for label in labels))


def _build(folder: Path, keys: Path, effort: str, progress: Progress) -> None:
    """Build in a process of its own: the training library and its memory go when it is done."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    builder = context.Process(target=_train, args=(folder, keys, effort, sender))
    builder.start()
    sender.close()
    with contextlib.suppress(EOFError):
        while True:
            progress(*receiver.recv())
    builder.join()
    if builder.exitcode != 0:
        raise DemoFailed(f"building the device ended with exit code {builder.exitcode}")


def _train(folder: Path, keys: Path, effort: str, sender: Connection) -> None:
    from app.device.reference.chest.recipe import build

    die_with_parent()
    signing = [manufacturer_key(keys)]
    build(folder, signing, RECIPE_SEED, effort, lambda what, share: sender.send((what, share)))


def _code_digest() -> str:
    """SHA-256 over the sources that decide what a bundle is."""
    root = Path(app.device.__file__).parents[2]
    digest = hashlib.sha256()
    for path in sorted(path for pattern in SOURCES for path in root.glob(pattern)):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
