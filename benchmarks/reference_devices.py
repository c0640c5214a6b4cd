"""Train the reference devices twice: how long it takes, how well they do, and whether bytes repeat.

    python -m benchmarks.reference_devices [PATTERN …]

The limit that processor time is held against is three minutes of two cores; wall time stands
beside it, because a machine that does other work makes only that longer.
"""

from __future__ import annotations

import hashlib
import json
import resource
import sys
import tempfile
import time
from pathlib import Path

from app.contracts.manifest import Manifest
from app.contracts.signing import SigningKey
from app.device.reference import PATTERNS, builder

LIMIT_SECONDS, SEED = 2 * 180.0, 20260105
KEY = SigningKey.from_seed(b"lockwatch benchmark release key!")


def main(patterns: list[str]) -> None:
    """One line a device."""
    for pattern in patterns or PATTERNS:
        with tempfile.TemporaryDirectory() as folder:
            first, second = Path(folder) / "first", Path(folder) / "second"
            began, used = time.perf_counter(), _processor_seconds()
            manifest = builder(pattern)(first, [KEY], SEED)
            wall, used = time.perf_counter() - began, _processor_seconds() - used
            builder(pattern)(second, [KEY], SEED)
            same = _digest(first) == _digest(second)
            print(line(pattern, manifest, wall, used, repeats=same), flush=True)
            report = first / "evaluation.json"
            if report.exists():
                print(f"  {json.dumps(json.loads(report.read_text()))}", flush=True)


def line(pattern: str, manifest: Manifest, wall: float, used: float, *, repeats: bool) -> str:
    """What is claimed about one device."""
    row = manifest.validation.subgroups[0]
    same = "the same bytes" if repeats else "OTHER BYTES"
    return (
        f"{pattern:14} {used:5.0f} s of a core ({used / LIMIT_SECONDS:.2f} of the limit, "
        f"{wall:.0f} s wall), {same}, "
        f"AUC {row.auc:.3f} ({row.auc_low:.3f} to {row.auc_high:.3f}) of {row.cases} unseen"
    )


def _processor_seconds() -> float:
    """Of this process and of the workers that it has waited for."""
    found = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(use.ru_utime + use.ru_stime for use in found)


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


if __name__ == "__main__":
    main(sys.argv[1:])
