"""Put a release in the place that the settings name: verified, whole or not at all, never older.

The place is a link to one of the releases that are kept beside it, and turning the link is the
only step that counts: before it the old release is there, after it the new one. What the edge
has had stands in `installed.json` in its data folder, by device; nothing in there expires.
"""

from __future__ import annotations

import json
import os
import shutil
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any

from app.contracts.manifest import Manifest
from app.device.bundle import MANIFEST, SIGNATURE, Bundle, BundleRefused, open_bundle
from app.device.measurable import check_measurable
from app.edge import spool
from app.edge.settings import EdgeSettings
from app.errors import AppError

STATE = "installed.json"


def install(settings: EdgeSettings, source: Path, central: int, today: date) -> Bundle:
    """Install the release in `source`; `BundleRefused` and its kin leave everything as it was.

    central : the highest release counter that the centre has told this edge, 0 if none.
    """
    offered = _opened(settings, source, max(settings.minimum_release, central))
    place = settings.bundle
    if place.exists() and not place.is_symlink():
        raise BundleRefused(
            "place", f"{place.name}: a link or nothing expected, got a folder; move it elsewhere"
        )
    check_measurable(offered.manifest)
    _refuse(settings, offered.manifest, today)
    kept = _kept(settings, offered)
    _turn(place, kept)
    remember(settings.data_dir, offered.manifest)
    return Bundle(kept, offered.manifest)


def highest(data: Path) -> dict[str, int]:
    """The highest release counter by device that has been installed or has run here."""
    return {device: int(known["release"]) for device, known in _state(data).items()}


def remember(data: Path, manifest: Manifest) -> None:
    """Keep it in mind, unless a later release of the device has been here."""
    known = _state(data)
    if highest(data).get(manifest.device, 0) <= manifest.release_counter:
        entry = {"release": manifest.release_counter, "lock_digest": manifest.lock_digest}
        data.mkdir(parents=True, exist_ok=True)
        content = json.dumps(known | {manifest.device: entry}, indent=1, sort_keys=True)
        spool.replace(data / STATE, (content.encode(),))


def refuse_older(manifest: Manifest, known: int) -> None:
    """Raise `BundleRefused` for a release below the `known` one of its device."""
    if manifest.release_counter < known:
        raise BundleRefused(
            "rollback",
            f"{manifest.device}: release {known} or later expected, got {manifest.release_counter}",
        )


def _refuse(settings: EdgeSettings, offered: Manifest, today: date) -> None:
    known = _state(settings.data_dir)
    present = _present(settings)
    if present is not None:  # as good a witness as the file, which may be gone
        remember(settings.data_dir, present)
        known = _state(settings.data_dir)
        if present.device != offered.device:
            raise BundleRefused(
                "other_device", f"a release of {present.device} expected, got {offered.device}"
            )
    before = known.get(offered.device, {"release": 0, "lock_digest": ""})
    refuse_older(offered, int(before["release"]))
    same = int(before["release"]) == offered.release_counter
    if same and before["lock_digest"] != offered.lock_digest:
        raise BundleRefused(
            "two_releases", f"another bundle was installed as release {offered.release_counter}"
        )
    if offered.install_until is not None and today > offered.install_until:
        raise BundleRefused(
            "expired",
            f"to be installed until {offered.install_until}, today is {today}; what runs, runs on",
        )


def _present(settings: EdgeSettings) -> Manifest | None:
    """What is in place, if it is sound: a damaged one must not keep its successor out."""
    with suppress(AppError):
        return _opened(settings, settings.bundle.resolve(), 0).manifest
    return None


def _opened(settings: EdgeSettings, folder: Path, minimum: int) -> Bundle:
    keys = [bytes.fromhex(key) for key in settings.trusted_keys]
    return open_bundle(folder, keys, settings.signature_threshold, minimum)


def _kept(settings: EdgeSettings, offered: Bundle) -> Path:
    """A durable copy of the release beside the place: only what its manifest names, verified."""
    home = settings.bundle.with_name(f"{settings.bundle.name}.releases")
    kept, half = home / offered.lock_digest, home / f".half-{offered.lock_digest}"
    with suppress(AppError):
        if _opened(settings, kept, 0).lock_digest == offered.lock_digest:
            return kept
    for rest in (half, kept):
        shutil.rmtree(rest, ignore_errors=True)
    half.mkdir(parents=True)
    for name, data in _contents(offered).items():
        (half / name).parent.mkdir(parents=True, exist_ok=True)
        spool.replace(half / name, (data,))
    _opened(settings, half, 0)
    spool.sync_folder(half)
    half.replace(kept)
    spool.sync_folder(home)
    return kept


def _contents(bundle: Bundle) -> dict[str, bytes]:
    """Every file of a verified bundle, checked again as it is read."""
    envelope = (bundle.folder / SIGNATURE).read_bytes()
    named = {entry.path: bundle.read(entry.path) for entry in bundle.manifest.files}
    return named | {MANIFEST: bundle.manifest.canonical, SIGNATURE: envelope}


def _turn(place: Path, kept: Path) -> None:
    """Make `place` a link to `kept`, in one step."""
    half = place.with_name(f".half-{place.name}")
    half.unlink(missing_ok=True)
    half.symlink_to(os.path.relpath(kept, place.parent))
    half.replace(place)
    spool.sync_folder(place.parent)


def _state(data: Path) -> dict[str, Any]:
    path = data / STATE
    if not path.exists():
        return {}
    try:
        found: dict[str, Any] = json.loads(path.read_bytes())
        for known in found.values():
            int(known["release"]), str(known["lock_digest"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BundleRefused("state", f"{STATE}: what was installed here, got nonsense") from error
    return found
