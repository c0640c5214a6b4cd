"""A small signed chest bundle for tests that need a real chain.

Building it takes a minute, and the same sources give the same bundle, so it is kept in the
system's temporary folder under the hash of what it is built from.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from app.contracts.signing import SigningKey

ROOT = Path(__file__).resolve().parents[2]
KEY = SigningKey.from_seed(b"lockwatch tests: release key 01!")
SEED = 7
_SOURCES = (
    "app/device/**/*.py",
    "app/contracts/manifest.py",
    "app/contracts/characteristics.py",
    "app/contracts/signing.py",
    "monitors/schema.py",
    "monitors/summaries.py",
)


def chest_bundle() -> Path:
    """The folder of the bundle, read only; built on first use, by one process at a time."""
    home = Path(tempfile.gettempdir()) / f"lockwatch-tests-{os.getuid()}"
    home.mkdir(mode=0o700, exist_ok=True)
    bundle = home / f"chest-{_digest()}"
    with (home / "building.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not bundle.exists():
            half = bundle.with_suffix(".half")
            shutil.rmtree(half, ignore_errors=True)
            # In a process of its own: training sets threads and determinism for a whole process.
            subprocess.run([sys.executable, "-m", __name__, str(half)], check=True, cwd=ROOT)
            half.rename(bundle)
    return bundle


def _digest() -> str:
    digest = hashlib.sha256(SEED.to_bytes(4, "big"))
    for pattern in _SOURCES:
        for path in sorted(ROOT.glob(pattern)):
            digest.update(path.relative_to(ROOT).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


if __name__ == "__main__":
    from app.device.reference.chest.recipe import build

    build(Path(sys.argv[1]), [KEY], SEED, effort="small")
