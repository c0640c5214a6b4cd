"""scouter's PSI on the same rows: seconds of profile and drift, and the PSI of each column.

PEER_PYTHON -m benchmarks.peers.scouter_seconds FOLDER
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
from scouter import Drifter, PsiDriftConfig


def main(folder: Path) -> None:
    reference, current = (np.load(folder / f"{n}.npy") for n in ("reference", "current"))
    config = PsiDriftConfig(name="bench", space="bench", version="0.0.1")
    drifter = Drifter()

    def run(rows: int) -> dict[str, float]:
        profile = drifter.create_drift_profile(reference[:rows], config)
        return dict(drifter.compute_drift(current[:rows], profile).features)

    run(1000)
    start = time.perf_counter()
    found = run(len(reference))
    seconds = time.perf_counter() - start
    psi = [found[f"feature_{i}"] for i in range(reference.shape[1])]
    sys.stdout.write(json.dumps({"seconds": seconds, "psi": psi}) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
