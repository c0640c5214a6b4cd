"""Small signed bundles of the five devices beside the chest one, kept like `chest_bundle`."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from app.device.reference import DECLARED, builder
from tests.support.chest_bundle import KEY, ROOT, SEED, _digest

PATTERNS = tuple(pattern for pattern in DECLARED if pattern != "cadt_triage")


def reference_bundle(pattern: str) -> Path:
    """The folder of the bundle, read only; all are built on first use, by one process."""
    home = Path(tempfile.gettempdir()) / f"lockwatch-tests-{os.getuid()}"
    home.mkdir(mode=0o700, exist_ok=True)
    bundles = home / f"reference-{_digest()}"
    with (home / "building-reference.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not bundles.exists():
            half = bundles.with_suffix(".half")
            shutil.rmtree(half, ignore_errors=True)
            half.mkdir()
            # In a process of its own: training sets threads and determinism for a whole process.
            subprocess.run([sys.executable, "-m", __name__, str(half)], check=True, cwd=ROOT)
            half.rename(bundles)
    return bundles / pattern


if __name__ == "__main__":
    for each in PATTERNS:
        builder(each)(Path(sys.argv[1]) / each, [KEY], SEED, effort="small")
