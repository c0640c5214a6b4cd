"""Write a bundle: files, then a manifest that names them, then signatures over the manifest."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from app.contracts.manifest import PAYLOAD_TYPE, Component, FileEntry, Manifest
from app.contracts.signing import SigningKey, seal
from app.device.archive import inspect_program
from app.device.bundle import MANIFEST, SIGNATURE, BundleRefused

RUNTIME = ("numpy", "scipy", "torch", "pydicom", "pylibjpeg-openjpeg", "python-gdcm")


def packed_arrays(**arrays: npt.NDArray[Any]) -> bytes:
    """An .npz of plain arrays; the same arrays give the same bytes."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def entries(files: Mapping[str, bytes]) -> tuple[FileEntry, ...]:
    """What a manifest says about its files."""
    return tuple(
        FileEntry(path=name, length=len(data), sha256=hashlib.sha256(data).hexdigest())
        for name, data in sorted(files.items())
    )


def write_bundle(
    folder: Path, manifest: Manifest, files: Mapping[str, bytes], keys: Sequence[SigningKey]
) -> None:
    """Write the bundle into an empty or new `folder`."""
    if entries(files) != manifest.files:
        raise BundleRefused("not_named", "the manifest names other files than are written")
    for name, data in files.items():
        if name.endswith(".pt2"):
            inspect_program(name, data)
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (folder / MANIFEST).write_bytes(manifest.canonical)
    sign_bundle(folder, manifest, keys)


def sign_bundle(folder: Path, manifest: Manifest, keys: Sequence[SigningKey]) -> None:
    """Put the keys' signatures beside the manifest."""
    payload = json.loads(manifest.canonical)
    (folder / SIGNATURE).write_bytes(seal(PAYLOAD_TYPE, payload, keys))


def components() -> tuple[Component, ...]:
    """The software bill of materials of the runtime, as CycloneDX components."""
    return tuple(
        Component(name=name, version=version, purl=f"pkg:pypi/{name}@{version}")
        for name in RUNTIME
        for version in [metadata.version(name).partition("+")[0]]
    )
