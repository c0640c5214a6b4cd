"""Files that are either wholly on disk or not there: write, fsync, then name them, fsync again.

A failed fsync is a failed write: the half file is removed and nothing is trusted (the page
cache may already have dropped it).
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from pathlib import Path


def write_new(path: Path, parts: Iterable[bytes]) -> bool:
    """Write `parts` durably as `path`; False, changing nothing, if `path` is there already."""
    half = _write_half(path, parts)
    try:
        path.hardlink_to(half)  # unlike a rename, this never replaces
    except FileExistsError:
        return False
    finally:
        half.unlink(missing_ok=True)
    sync_folder(path.parent)
    return True


def replace(path: Path, parts: Iterable[bytes]) -> None:
    """Write `parts` durably as `path`, in place of what may be there."""
    half = _write_half(path, parts)
    try:
        half.replace(path)
    except OSError:
        half.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sweep(folder: Path) -> None:
    """Remove the half files that a crash has left; make the folder if it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    for half in folder.glob(".half-*"):
        half.unlink(missing_ok=True)


def _write_half(path: Path, parts: Iterable[bytes]) -> Path:
    half = path.with_name(f".half-{secrets.token_hex(8)}")
    try:
        with half.open("xb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        half.unlink(missing_ok=True)
        raise
    return half


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
