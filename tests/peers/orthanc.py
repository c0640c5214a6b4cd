"""Orthanc as a hospital's PACS: DIMSE and DICOMweb on ports of this machine."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from tests.edge.sender import NOON, a_chest, association
from tests.peers.dcmtk import environment, program
from tests.support.ports import a_free_port, wait_for_port

TITLE = "PACS"
DICOMWEB = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")


@dataclass
class Orthanc:
    """One archive over a folder, which it keeps while it is down."""

    folder: Path
    edge_port: int = 1  # where C-MOVE sends what EDGE asks for
    port: int = 0
    http_port: int = 0

    def __post_init__(self) -> None:
        self.folder.mkdir()
        self.port, self.http_port = a_free_port(), a_free_port()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}/dicom-web"

    @contextmanager
    def running(self) -> Iterator[None]:
        config = self.folder / "orthanc.json"
        config.write_text(json.dumps(self._configuration()))
        command = [program("Orthanc"), str(config)]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        with subprocess.Popen(command, env=environment(), **quiet) as process:  # type: ignore[call-overload]
            try:
                wait_for_port(self.port)
                wait_for_port(self.http_port)
                yield
            finally:
                process.terminate()

    def put(self, seed: int, days_ago: int = 0) -> None:
        """A chest radiograph of some days ago reaches the archive."""
        one = a_chest(seed, NOON - timedelta(days=days_ago))
        context = str(one.SOPClassUID), str(one.file_meta.TransferSyntaxUID)
        with association(self.port, context, called=TITLE) as made:
            assert made.send_c_store(one).Status == 0x0000

    def _configuration(self) -> dict[str, object]:
        return {
            "StorageDirectory": str(self.folder / "storage"),
            "IndexDirectory": str(self.folder / "storage"),
            "DicomAet": TITLE,
            "DicomPort": self.port,
            "HttpPort": self.http_port,
            "RemoteAccessAllowed": False,
            "DicomCheckModalityHost": True,
            "DicomModalities": {
                "edge": ["EDGE", "127.0.0.1", self.edge_port],
                "scanner": ["SCANNER", "127.0.0.1", 1],
            },
            "Plugins": [str(DICOMWEB)] if DICOMWEB.exists() else [],
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
        }


def needs_dicomweb() -> None:
    """Skip, saying so, where the plug-in is not installed."""
    if not DICOMWEB.exists():
        pytest.skip("Orthanc's DICOMweb plug-in is not installed")
