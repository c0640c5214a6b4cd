"""A3: a page of another site asks for a change in the browser of somebody who is logged in."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from app.central.accounts.models import Role
from app.central.audit.service import AuditLine, lines
from dashboards.web import install
from tests.support.fleet import PASSWORD, FakeEdge, World, assert_balance

FOREIGN = [
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site", "origin": "https://other.example.org"},
    {"origin": "https://evil.example"},
    {"origin": "null"},
]


def trail(world: World) -> list[AuditLine]:
    with world.sessions() as session:
        return list(lines(session))


def administrator(world: World) -> TestClient:
    install(world.app)
    return world.browser("adm", Role.ADMINISTRATOR)


@pytest.mark.parametrize("kind", ["json", "data"])
@pytest.mark.parametrize("headers", FOREIGN)
def test_a3_a_foreign_page_changes_nothing_and_is_in_the_trail(
    committed: World, headers: dict[str, str], kind: str
) -> None:
    edge = committed.an_edge()
    edge.send(edge.window())
    browser = administrator(committed)
    before = trail(committed)
    path, fields = asked_for(edge, kind)

    answer = browser.request("POST", path, headers=headers, **{kind: fields})

    assert answer.status_code == 403
    added = trail(committed)[: -len(before)]
    assert [(x.action, x.subject, dict(x.detail)) for x in added] == [
        ("accounts:request:refused", "adm", {"asked": f"POST {path}"})
    ]
    assert state(browser, edge) == (["adm"], "active")
    assert_balance(committed, edge)

    # Our own page may, so that it was not something else that refused.
    browser.request("POST", path, headers={"sec-fetch-site": "same-origin"}, **{kind: fields})
    assert state(browser, edge) in ((["adm"], "suspended"), (["adm", "eve"], "active"))


def asked_for(edge: FakeEdge, kind: str) -> tuple[str, dict[str, str]]:
    """Where to, and what: an edge suspended over the API, or an account made by a form."""
    if kind == "json":
        return f"/api/v1/edges/{edge.edge_id}/actions", {"action": "suspend", "reason": "a test"}
    return "/admin/accounts", {"name": "eve", "full_name": "Eve", "role": "viewer", "site": ""}


def state(browser: TestClient, edge: FakeEdge) -> tuple[list[str], str]:
    """Who has an account, and the state of the edge."""
    names = [a["name"] for a in browser.get("/api/v1/accounts").json()]
    return names, browser.get(f"/api/v1/edges/{edge.edge_id}").json()["state"]


def test_a3_a_foreign_page_cannot_flood_the_trail_nor_write_without_a_session(
    committed: World,
) -> None:
    browser = administrator(committed)
    before = len(trail(committed))

    for _ in range(20):
        assert browser.post("/sign-out", headers=FOREIGN[0]).status_code == 403
    assert len(trail(committed)) == before + 1

    stranger = TestClient(committed.app, cookies={"lockwatch": "invented"})
    for client in (stranger, committed.client):
        body = {"name": "adm", "password": PASSWORD}
        answer = client.post("/api/v1/session", json=body, headers=FOREIGN[2])
        assert answer.status_code == 403
    assert len(trail(committed)) == before + 1
    assert browser.get("/api/v1/session").status_code == 200
