"""Open a locked bundle: signature, then lengths and hashes, then parse. Nothing else is opened.

Modelled on The Update Framework's checks: arbitrary files, rollback, mix-and-match. Expiry and
release counters may block installing, never running.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
import stat
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np
import numpy.typing as npt

from app.contracts.manifest import PAYLOAD_TYPE, FileEntry, Manifest, Stage, parse_manifest
from app.contracts.signing import ENVELOPE_LIMIT, open_sealed
from app.device.archive import inspect_program
from app.errors import AppError, SignatureRefused
from monitors.errors import DesignError

MANIFEST, SIGNATURE = "manifest.json", "manifest.sig"
ARRAYS_LIMIT = 512 << 20  # bytes of one file's arrays, unpacked


class BundleRefused(AppError):
    """A bundle that may not be used; `reason` is a closed, countable word."""

    status = 422
    title = "Bundle refused"

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Bundle:
    """A verified bundle in a folder."""

    folder: Path
    manifest: Manifest

    @property
    def lock_digest(self) -> str:
        """Names the device version everywhere."""
        return self.manifest.lock_digest

    def read(self, name: str) -> bytes:
        """The bytes of a file that the manifest names, checked against it on every read."""
        for entry in self.manifest.files:
            if entry.path == name:
                return _checked(self.folder, entry)
        raise BundleRefused("not_named", f"{name} is not named in the manifest")

    def arrays(self, name: str) -> dict[str, npt.NDArray[np.generic]]:
        """The arrays of an .npz file; pickled ones are refused."""
        data = self.read(name)
        try:
            _check_expanded(name, data)
            with np.load(io.BytesIO(data), allow_pickle=False) as archive:
                return {key: archive[key] for key in archive.files}
        except (ValueError, zipfile.BadZipFile, OSError) as error:
            raise BundleRefused("arrays", f"{name}: plain arrays expected") from error

    def rehash(self) -> None:
        """Check the manifest and every file again; `BundleRefused` names the first that differs."""
        if _read_limited(self.folder, MANIFEST, ENVELOPE_LIMIT) != self.manifest.canonical:
            raise BundleRefused("manifest", f"{MANIFEST} is not what was signed")
        for entry in self.manifest.files:
            _checked(self.folder, entry)


def open_bundle(
    folder: Path, trusted: Sequence[bytes], threshold: int, minimum_release: int = 0
) -> Bundle:
    """The bundle in `folder`, if `threshold` of the `trusted` keys have signed it.

    minimum_release : the highest release ever installed here; a lower one is a rollback.
    """
    envelope = _read_limited(folder, SIGNATURE, ENVELOPE_LIMIT)
    payload = open_sealed(PAYLOAD_TYPE, envelope, trusted, threshold)
    if _read_limited(folder, MANIFEST, ENVELOPE_LIMIT) != payload:
        raise BundleRefused("manifest", f"{MANIFEST} is not what was signed")
    manifest = parse_manifest(payload)
    _check_names(manifest)
    _check_meaning(manifest)
    _check_agent(manifest)
    if manifest.release_counter < minimum_release:
        raise BundleRefused(
            "rollback",
            f"release {minimum_release} or later expected, got {manifest.release_counter}",
        )
    bundle = Bundle(folder, manifest)
    bundle.rehash()
    for stage in manifest.stages:
        if stage.program:
            inspect_program(stage.program, bundle.read(stage.program))
    return bundle


def signers(folder: Path, trusted: Sequence[bytes]) -> list[bytes]:
    """Those of the `trusted` keys that have signed the manifest in `folder`."""
    envelope = _read_limited(folder, SIGNATURE, ENVELOPE_LIMIT)
    found = []
    for key in dict.fromkeys(trusted):
        with contextlib.suppress(SignatureRefused):
            open_sealed(PAYLOAD_TYPE, envelope, [key])
            found.append(key)
    return found


def _check_names(manifest: Manifest) -> None:
    names = [entry.path for entry in manifest.files]
    if len(set(names)) != len(names):
        raise BundleRefused("duplicate", "the manifest names a file twice")
    wanted = {stage.program for stage in manifest.stages if stage.program}
    wanted |= {manifest.known_answers.file}
    wanted |= {manifest.projection} if manifest.projection else set()
    wanted |= {manifest.sentinel.file} if manifest.sentinel else set()
    missing = wanted - set(names)
    if missing:
        raise BundleRefused("not_named", f"used but not named: {', '.join(sorted(missing))}")


def _check_expanded(name: str, data: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        size = sum(member.file_size for member in archive.infolist())
    if size > ARRAYS_LIMIT:
        raise BundleRefused("arrays", f"{name}: at most {ARRAYS_LIMIT} bytes of arrays expected")


def _check_meaning(manifest: Manifest) -> None:
    """What one field says about another. A bundle that contradicts itself is not run."""
    edges = {score.stage: score.edges for score in manifest.schema_.scores}
    names = [stage.name for stage in manifest.stages]
    if len(set(names)) != len(names):
        raise BundleRefused("stages", "two stages have the same name")
    _check_wiring(manifest.stages)
    if not set(edges) <= set(names):
        raise BundleRefused("schema", "the schema counts scores of a stage that does not exist")
    if manifest.default_operating_point not in {p.id for p in manifest.operating_points}:
        raise BundleRefused("operating_point", "the default operating point is not listed")
    for point in manifest.operating_points:
        for threshold in point.thresholds:
            if threshold.value not in edges.get(threshold.stage, ()):
                raise BundleRefused(
                    "operating_point", f"{point.id}: a threshold on a score-bin edge expected"
                )
    sentinels = manifest.sentinel.cases if manifest.sentinel else 0
    if manifest.schema_.sentinels != sentinels:
        raise BundleRefused("schema", "schema and sentinel set disagree about the number of images")
    try:
        manifest.schema_.layout()
    except DesignError as error:
        raise BundleRefused("schema", f"the schema contradicts itself: {error}") from error


def _check_wiring(stages: Sequence[Stage]) -> None:
    """Every stage takes what stands there before it, and nothing is named twice."""
    given = {"image"}
    for stage in stages:
        missing = sorted(set(stage.inputs) - given)
        if missing:
            raise BundleRefused(
                "stages", f"stage {stage.name}: nothing before it gives {missing[0]}"
            )
        repeated = [
            name for name in stage.outputs if name in given or stage.outputs.count(name) > 1
        ]
        if repeated:
            raise BundleRefused("stages", f"stage {stage.name}: {repeated[0]} is given twice")
        given |= set(stage.outputs)


def _check_agent(manifest: Manifest) -> None:
    installed = metadata.version("lockwatch")
    if _ordered(installed) < _ordered(manifest.minimum_agent):
        raise BundleRefused(
            "minimum_agent", f"agent {manifest.minimum_agent} or later expected, got {installed}"
        )


def _ordered(version: str) -> tuple[int, ...]:
    if not re.fullmatch(r"\d+(\.\d+)*", version):
        raise BundleRefused("minimum_agent", "a version of numbers and dots expected")
    return tuple(int(part) for part in version.split("."))


def _checked(folder: Path, entry: FileEntry) -> bytes:
    data = _read_limited(folder, entry.path, entry.length)
    if len(data) != entry.length:
        raise BundleRefused(
            "length", f"{entry.path}: {entry.length} bytes expected, got {len(data)}"
        )
    if hashlib.sha256(data).hexdigest() != entry.sha256:
        raise BundleRefused("hash", f"{entry.path}: not the file that was signed")
    return data


def _read_limited(folder: Path, name: str, limit: int) -> bytes:
    """At most `limit` bytes of a regular file; links are not followed, in any part of the path."""
    path = folder / name
    if any(part.is_symlink() for part in (path, *path.parents) if folder in part.parents):
        raise BundleRefused("link", f"{name}: a regular file expected, got a link")
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode):
            raise BundleRefused("link", f"{name}: a regular file expected")
        if status.st_size > limit:
            raise BundleRefused("length", f"{name}: at most {limit} bytes expected")
        # Not blocking and not following: what is swapped in after the look is refused as well.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            return file.read(limit + 1)
    except OSError as error:
        raise BundleRefused("missing", f"{name}: cannot be read") from error
