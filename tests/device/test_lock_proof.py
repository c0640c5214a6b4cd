"""The proof that the running chain is the cleared one: what may move, and what may not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from app.device.bundle import MANIFEST, Bundle, BundleRefused, open_bundle
from app.device.chain import Chain, LockBroken
from app.device.pixels import canonical
from tests.device.test_bundle import flip
from tests.support.chest_bundle import KEY, ROOT


def test_the_proof_repeats_itself_to_the_bit(chain: Chain) -> None:
    assert chain.prove() == chain.prove() <= chain.manifest.known_answers.tolerance


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_another_number_of_threads_stays_within_the_tolerance(chain: Chain, threads: int) -> None:
    torch.set_num_threads(threads)
    try:
        assert chain.prove() <= chain.manifest.known_answers.tolerance
    finally:
        torch.set_num_threads(1)


@pytest.mark.parametrize("capability", ["default", "avx2"])
def test_another_instruction_set_stays_within_the_tolerance(chest: Bundle, capability: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "app.cli", "bundle", "known-answers", str(chest.folder),
         "--trusted", KEY.public.hex()],
        env=os.environ | {"ATEN_CPU_CAPABILITY": capability},
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert "lock holds: largest deviation" in done.stdout


def test_a_library_that_moves_a_score_breaks_the_lock_and_says_which_case_and_how_far(
    chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if another version of the resampling came with an update: a pixel a tenth too large."""
    weights = canonical._weights
    monkeypatch.setattr(
        canonical, "_weights", lambda size, spacing, n, new: weights(size, spacing * 1.1, n, new)
    )

    with pytest.raises(
        LockBroken,
        match=r"case \d+: score moved by [+-]\d\.\d{6} in probability, at most 0\.0001",
    ):
        chain.prove()


def test_a_score_that_is_not_a_number_is_as_far_off_as_can_be(
    chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        Chain, "_scores", lambda self, stored: np.full(len(stored["scores"]), np.nan)
    )

    assert chain.known_answer_deviation() == 1.0
    with pytest.raises(LockBroken, match=r"case 0: score moved by \+1\.0"):
        chain.prove()


def test_one_flipped_bit_in_any_file_is_named_at_start_and_by_the_daily_proof(
    chest: Bundle, tmp_path: Path
) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(chest.folder, folder)
    opened = open_bundle(folder, [KEY.public], 1)
    for name in (*(entry.path for entry in opened.manifest.files), MANIFEST):
        whole = (folder / name).read_bytes()
        flip(folder / name, len(whole) * 2 // 3)
        with pytest.raises(BundleRefused, match=name):
            opened.rehash()
        with pytest.raises(BundleRefused, match=name):
            open_bundle(folder, [KEY.public], 1)
        (folder / name).write_bytes(whole)
    opened.rehash()
