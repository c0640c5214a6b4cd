from __future__ import annotations

import gc
import os
import socket
from pathlib import Path

import pytest
from pynetdicom.sop_class import Verification

from app.edge.dimse import NoAssociation, associated
from app.edge.settings import Peer


def a_closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_a_refused_connection_leaves_no_socket_open() -> None:
    """It did, until the collector came by; with warnings as errors that failed a whole test."""
    peer = Peer(host="127.0.0.1", port=a_closed_port(), ae="PACS")
    gc.disable()
    try:
        before = _open_files()
        for _ in range(3):
            with pytest.raises(NoAssociation), associated("EDGE", peer, [Verification]):
                pass
        assert _open_files() <= before
    finally:
        gc.enable()


def _open_files() -> int:
    return len(list(Path(f"/proc/{os.getpid()}/fd").iterdir()))
