"""What the daily proof of the lock costs, against the least it could cost.

    python -m benchmarks.lock_proof BUNDLE PUBLIC_KEY

The proof hashes every file and runs every known-answer case. The limits are SHA-256 over the same
bytes already in memory, and the networks alone on images that are already canonical.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

DAY_SECONDS = 86_400
ROUNDS = 5


def fastest(work: Callable[[], object]) -> float:
    """Seconds of processor time of the quickest of `ROUNDS` runs: least disturbed by others."""
    found = []
    for _ in range(ROUNDS):
        start = time.process_time()
        work()
        found.append(time.process_time() - start)
    return min(found)


def main(folder: Path, public: str) -> None:
    from app.device.bundle import open_bundle
    from app.device.chain import Chain

    begun, used = time.perf_counter(), time.process_time()
    bundle = open_bundle(folder, [bytes.fromhex(public)], 1)
    chain = Chain.load(bundle)
    deviation = chain.prove()
    start_wall, start_cpu = time.perf_counter() - begun, time.process_time() - used
    inside = [bundle.read(entry.path) for entry in bundle.manifest.files]
    rehash = fastest(bundle.rehash)
    least = fastest(lambda: [hashlib.sha256(data).digest() for data in inside])
    answers = fastest(chain.prove)
    daily = rehash + answers
    cases = bundle.manifest.known_answers.cases
    print(f"files {len(inside)}, {sum(map(len, inside)) / 1e6:.2f} MB; known answers {cases}")
    print(f"at start     {start_wall:6.2f} s wall, {start_cpu:.2f} s of one core, with loading")
    print(f"rehash       {rehash:6.3f} s of one core, {rehash / least:.1f} x SHA-256 in memory")
    print(f"known answers{answers:6.3f} s of one core, {1e3 * answers / cases:.1f} ms a case")
    share = 100 * daily / DAY_SECONDS
    print(f"daily proof  {daily:6.3f} s of one core, {share:.5f} % of a core's day")
    print(
        f"largest deviation {deviation:.2e}, tolerance {bundle.manifest.known_answers.tolerance:g}"
    )
    print("within 10 s and 5 % of one core:", daily < 10 and daily / DAY_SECONDS < 0.05)
    for capability in ("default", "avx2"):
        print(f"ATEN_CPU_CAPABILITY={capability}: {elsewhere(folder, public, capability)}")


def elsewhere(folder: Path, public: str, capability: str) -> str:
    """The proof in a process of its own, on another instruction set."""
    command = [sys.executable, "-m", "app.cli", "bundle", "known-answers", str(folder)]
    done = subprocess.run(
        [*command, "--trusted", public],
        env=os.environ | {"ATEN_CPU_CAPABILITY": capability},
        capture_output=True,
        text=True,
        check=False,
    )
    return (done.stdout or done.stderr).strip()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
