"""An empty installation leads its people from the first device to the first reference."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

import pytest
from sqlalchemy import Connection
from starlette.testclient import TestClient

from app import clock
from app.central.accounts.models import Role
from app.central.fleet.models import EdgeAction
from app.central.references import service as references
from dashboards.web import install
from tests.conftest import Clock
from tests.support.fleet import PASSWORD, World


@pytest.fixture
def world(tmp_path: Path, connection: Connection, simulated_clock: Clock) -> World:
    made = World(tmp_path, connection)
    install(made.app)
    return made


def states(browser: TestClient) -> list[str]:
    return re.findall(r'<span class="muted small">\((done|next|to do)\)', browser.get("/").text)


def signed_in(world: World) -> TestClient:
    browser = TestClient(world.app, raise_server_exceptions=False)
    browser.post("/sign-in", data={"name": "lead", "password": PASSWORD})
    return browser


def test_each_step_is_done_when_it_is_and_the_list_then_goes(
    world: World, simulated_clock: Clock
) -> None:
    world.add_person("lead", Role.ADMINISTRATOR)
    browser = signed_in(world)

    seen = [states(browser)]
    edge = world.an_edge(active=False)
    seen.append(states(browser))
    world.act(edge, EdgeAction.APPROVE)
    seen.append(states(browser))
    for day in range(1, 10):
        edge.send(edge.window(date(2026, 3, day)))
    seen.append(states(browser))
    simulated_clock.advance(days=1)  # the next evaluation sees what arrived
    browser = signed_in(world)
    with world.sessions.begin() as session:
        until = date(2026, 3, 9)
        made = references.propose(session, world.lock_digest, until, by="a", now=clock.now())
        references.approve(session, made.id, by="b", now=clock.now())
    seen.append(states(browser))

    assert [row.count("done") for row in seen] == [1, 3, 4, 5, 0]
    assert seen[0] == ["done", "next", "to do", "to do", "to do", "to do"]
    assert seen[-1] == []
    assert "No signal waits for a decision." in browser.get("/").text
