"""L15, S14: callers that never finish, and a centre that says nothing."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn

from app.contracts.signing import SigningKey
from app.edge.http import BackOff, Centre
from app.edge.journal import Journal
from app.edge.page import page
from app.edge.status import figures
from app.edge.uplink import Uplink
from tests.edge.peer_centre import CODE, PeerCentre, running
from tests.edge.test_uplink import with_windows
from tests.support.fleet import World, assert_balance

HALF_OPEN = 150
BEGUN = b"POST /edge/v1/windows HTTP/1.1\r\nHost: testserver\r\nContent-Length: 5000\r\n"


@pytest.fixture
def served(committed: World) -> Iterator[tuple[World, int]]:
    """A world behind a real server, and its port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        config = uvicorn.Config(committed.app, log_level="error", lifespan="off")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        yield committed, listening.getsockname()[1]
        server.should_exit = server.force_exit = True
        thread.join(30)


def test_l15_callers_that_never_finish_keep_nobody_else_from_being_served(
    served: tuple[World, int], capsys: pytest.CaptureFixture[str]
) -> None:
    world, port = served
    edge = world.an_edge()
    stalled = [socket.create_connection(("127.0.0.1", port)) for _ in range(HALF_OPEN)]
    for n, one in enumerate(stalled):
        # A third says nothing, a third stops inside its header, a third inside its body.
        one.sendall((b"", BEGUN, BEGUN + b"\r\n{")[n % 3])

    window = edge.window()
    centre = Centre(f"http://127.0.0.1:{port}", world.settings.base_url, edge.key)
    answer = centre.ask("POST", "/edge/v1/windows", window.raw, edge_id=edge.edge_id)
    for one in stalled:
        one.close()
    later = [centre.ask("GET", "/edge/v1/receipt", edge_id=edge.edge_id) for _ in range(3)]

    assert [answer.status, *(one.status for one in later)] == [200] * 4
    assert "request.failed" not in capsys.readouterr().out  # a caller that leaves is no error
    assert edge.receipt(edge.get("/edge/v1/receipt")).acked_through == 1
    assert_balance(world, edge)


def test_s14_an_edge_whose_centre_is_silent_says_so_on_its_own_page(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "data")
    (tmp_path / "code").write_text(CODE)
    with running(PeerCentre()) as peer:
        there = Centre(peer.url, peer.url, SigningKey.generate())
        link = Uplink(there, journal, (), tmp_path / "code", BackOff(first_s=0.0))
        assert link.enrol("ab" * 32) is not None
    with_windows(journal, 2)

    assert link.send_due() == 0  # nobody answers any more

    told = journal.do(figures)
    shown = page({**told, "uplink": link.trouble})
    windows = told["windows"]
    assert windows["produced"] == windows["unsent"] > 0
    assert windows["produced"] == windows["acknowledged"] + windows["unsent"] + windows["dead"]
    assert "unreachable" in shown
    journal.close()
