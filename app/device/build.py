"""Write a bundle: files, then a manifest that names them, then signatures over the manifest."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from pydantic import ValidationError

from app.contracts.manifest import (
    PAYLOAD_TYPE,
    Component,
    FileEntry,
    Manifest,
    parse_manifest,
)
from app.contracts.signing import SigningKey, canonical, seal
from app.device.archive import inspect_program
from app.device.bundle import MANIFEST, SIGNATURE, Bundle, BundleRefused
from app.device.measurable import check_measurable
from app.errors import ContractError

# What runs the chain in a hospital: this distribution, with what this extra of it brings along.
RUNTIME, EXTRA = "lockwatch", "edge"


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
    """Write the bundle as a new `folder`: all of it, or nothing."""
    if folder.exists():
        raise BundleRefused("exists", f"a new folder expected, {folder.name} exists")
    if entries(files) != manifest.files:
        raise BundleRefused("not_named", "the manifest names other files than are written")
    check_measurable(manifest)
    half = folder.with_name(f".{folder.name}.half")
    shutil.rmtree(half, ignore_errors=True)
    for name, data in files.items():
        if name.endswith(".pt2"):
            inspect_program(name, data)
        _write(half / name, data)
    _write(half / MANIFEST, manifest.canonical)
    _write(half / SIGNATURE, seal(PAYLOAD_TYPE, json.loads(manifest.canonical), keys))
    half.rename(folder)


def drafted(draft: bytes, files: Mapping[str, bytes]) -> Manifest:
    """The manifest of a draft in JSON, with these files; the bill of materials is that of this
    environment unless the draft has one."""
    try:
        content = dict(json.loads(draft))
    except (ValueError, TypeError, RecursionError) as error:
        raise ContractError("draft", f"a JSON object expected: {type(error).__name__}") from error
    content["files"] = [entry.model_dump() for entry in entries(files)]
    content.setdefault("components", [component.model_dump() for component in components()])
    try:
        return Manifest.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ContractError("draft", f"{place}: {first['msg']}") from error


def files_under(folder: Path) -> dict[str, bytes]:
    """Every file below `folder`, by its name in a bundle."""
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def add_signature(folder: Path, key: SigningKey) -> Manifest:
    """Another person's signature beside those that are there; nobody signs a damaged bundle,
    or one that names what it cannot measure."""
    payload = (folder / MANIFEST).read_bytes()
    manifest = parse_manifest(payload)
    Bundle(folder, manifest).rehash()
    check_measurable(manifest)
    envelope = json.loads(seal(PAYLOAD_TYPE, json.loads(payload), [key]))
    envelope["signatures"] = (
        json.loads((folder / SIGNATURE).read_bytes())["signatures"] + envelope["signatures"]
    )
    half = folder / f".{SIGNATURE}.half"
    _write(half, canonical(envelope))
    half.replace(folder / SIGNATURE)
    return manifest


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def components() -> tuple[Component, ...]:
    """The software bill of materials of the runtime, as CycloneDX components: every distribution
    that is needed, directly or by another, and is installed here."""
    return tuple(
        Component(name=name, version=version, purl=f"pkg:pypi/{name}@{version}")
        for name in sorted(_needed())
        for version in [metadata.version(name).partition("+")[0]]
    )


def _needed() -> set[str]:
    """Normalised names (PEP 503). What another platform would need is not installed here."""
    found, ahead = set[str](), [(RUNTIME, EXTRA)]
    while ahead:
        name, extra = ahead.pop()
        if (known := canonicalize_name(name)) in found:
            continue
        try:
            requirements = metadata.requires(known) or ()
        except metadata.PackageNotFoundError:
            continue
        found.add(known)
        ahead += [
            (requirement.name, "")
            for requirement in map(Requirement, requirements)
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra})
        ]
    return found
