"""Train the reference devices twice: how long it takes, how well they do, and whether bytes repeat.

    python -m benchmarks.reference_devices [PATTERN …]

The limit that the time is held against is three minutes on two cores.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
import time
from pathlib import Path

from app.contracts.manifest import Manifest
from app.contracts.signing import SigningKey
from app.device.reference import PATTERNS, builder

LIMIT_SECONDS, SEED = 180.0, 20260105
KEY = SigningKey.from_seed(b"lockwatch benchmark release key!")


def main(patterns: list[str]) -> None:
    """One line a device."""
    for pattern in patterns or PATTERNS:
        with tempfile.TemporaryDirectory() as folder:
            first, second = Path(folder) / "first", Path(folder) / "second"
            began = time.perf_counter()
            manifest = builder(pattern)(first, [KEY], SEED)
            seconds = time.perf_counter() - began
            builder(pattern)(second, [KEY], SEED)
            print(line(pattern, manifest, seconds, _digest(first) == _digest(second)), flush=True)
            report = first / "evaluation.json"
            if report.exists():
                print(f"  {json.dumps(json.loads(report.read_text()))}", flush=True)


def line(pattern: str, manifest: Manifest, seconds: float, repeats: bool) -> str:
    """What is claimed about one device."""
    row = manifest.validation.subgroups[0]
    same = "the same bytes" if repeats else "OTHER BYTES"
    return (
        f"{pattern:14} {seconds:6.0f} s = {seconds / LIMIT_SECONDS:.2f} of the limit, {same}, "
        f"AUC {row.auc:.3f} ({row.auc_low:.3f} to {row.auc_high:.3f}) of {row.cases} unseen"
    )


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


if __name__ == "__main__":
    main(sys.argv[1:])
