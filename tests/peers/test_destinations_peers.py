"""Results to real programs: dcmtk's storescp takes them as they are."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydicom import dcmread

from app.edge.journal import Journal
from tests.edge.test_deliver import a_deliverer, delivered, results
from tests.peers.dcmtk import environment, program
from tests.support.ports import a_free_port, wait_for_port

__all__ = ["results"]
pytestmark = pytest.mark.peers


@contextmanager
def storescp(folder: Path) -> Iterator[int]:
    port = a_free_port()
    command = [program("storescp"), "-aet", "PACS", "-od", str(folder), "+B", str(port)]
    with subprocess.Popen(command, env=environment(), stderr=subprocess.DEVNULL) as process:
        try:
            wait_for_port(port)
            yield port
        finally:
            process.terminate()


def test_storescp_keeps_report_and_heat_map(
    tmp_path: Path, journal: Journal, results: list[str]
) -> None:
    archive = tmp_path / "archive"
    archive.mkdir()
    with storescp(archive) as port:
        peer = {"host": "127.0.0.1", "port": port, "ae": "PACS"}
        deliverer = a_deliverer(tmp_path, journal, results, results_peer=peer)
        assert deliverer.deliver_due() == 2

    kept = sorted(str(dcmread(path).Modality) for path in archive.iterdir())
    assert len(kept) == 2 and "SR" in kept
    assert delivered(journal) == (2, 2, 0)
