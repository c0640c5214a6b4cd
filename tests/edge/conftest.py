from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.edge.journal import Journal


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """An open journal of its own."""
    opened = Journal(tmp_path / "data")
    yield opened
    opened.close()
