from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

from app.device.build import entries, write_bundle
from app.device.bundle import Bundle, open_bundle
from app.device.chain import Chain
from tests.contracts.examples import a_manifest
from tests.support.chest_bundle import KEY, chest_bundle


class Doubling(torch.nn.Module):
    """The smallest program there is."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = torch.nn.Parameter(torch.tensor([2.0]))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image * self.factor


@pytest.fixture(scope="session")
def program() -> bytes:
    """A small, sound program."""
    from app.device.programs import write_program

    return write_program(Doubling(), [torch.zeros(2, 3)])


@pytest.fixture
def files(program: bytes) -> dict[str, bytes]:
    """The files of `a_manifest`."""
    return {"known_answers.npz": b"abc", "classifier.pt2": program}


def written(folder: Path, files: Mapping[str, bytes], **changes: object) -> Path:
    """A bundle of these files, signed by KEY; `changes` are fields of its manifest."""
    manifest = a_manifest(**{"files": entries(files), "sentinel": None} | changes)
    schema = manifest.schema_.model_copy(update={"sentinels": 0})
    if "schema_" not in changes:
        manifest = manifest.model_copy(update={"schema_": schema})
    write_bundle(folder, manifest, files, [KEY])
    return folder


@pytest.fixture
def folder(tmp_path: Path, files: dict[str, bytes]) -> Path:
    """A sound bundle that a test may spoil."""
    return written(tmp_path / "bundle", files)


@pytest.fixture(scope="session")
def chest() -> Bundle:
    """The verified chest bundle, trained with small effort."""
    return open_bundle(chest_bundle(), [KEY.public], 1)


@pytest.fixture(scope="session")
def chain(chest: Bundle) -> Chain:
    """Its chain, loaded."""
    return Chain.load(chest)
