"""Where the shared real data are: beside the checkout, or where `LOCKWATCH_SHARED_DATA` says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.chest_bundle import ROOT


def shared(*parts: str) -> Path:
    """A folder or file of the shared data; the test is skipped, saying so, where it is absent."""
    home = os.environ.get("LOCKWATCH_SHARED_DATA", ROOT.parent / "shared" / "data")
    path = Path(home).joinpath(*parts)
    if not path.exists():
        pytest.skip(f"shared data absent: {'/'.join(parts)}")
    return path
