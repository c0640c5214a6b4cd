from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.edge.journal import Journal
from tests.edge.peer_centre import PeerCentre, running
from tests.edge.running_edge import RunningEdge, an_edge_runs


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """An open journal of its own."""
    opened = Journal(tmp_path / "data")
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def bundle() -> Path:
    """A small signed bundle with a real chain. Read only."""
    from tests.support.chest_bundle import chest_bundle

    return chest_bundle()


@pytest.fixture
def centre() -> Iterator[PeerCentre]:
    """A centre on this machine that keeps the contract."""
    with running(PeerCentre()) as peer:
        yield peer


@pytest.fixture
def edge(
    tmp_path: Path, bundle: Path, centre: PeerCentre, request: pytest.FixtureRequest
) -> Iterator[RunningEdge]:
    """A running, enrolled edge whose lock has been proved; a test may give it more settings."""
    with an_edge_runs(tmp_path, bundle, centre, **getattr(request, "param", {})) as running_edge:
        running_edge.ready()
        yield running_edge
