"""Every page's route, walked: it names who may use it, and lets nobody else through."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Connection
from starlette.testclient import TestClient

from app.central.accounts import people
from app.central.accounts.models import Role
from app.central.accounts.permissions import GRANTS, Permission
from app.central.openapi.doors import Door, doors
from dashboards.web import install
from tests.conftest import Clock
from tests.support.fleet import World

OPEN = {
    ("GET", "/static/{version}/{name}"),
    ("GET", "/sign-in"),
    ("POST", "/sign-in"),
    ("GET", "/sign-in/provider"),
    ("GET", "/sign-in/provider/return"),
}


@pytest.fixture
def world(tmp_path: Path, connection: Connection, simulated_clock: Clock) -> World:
    made = World(tmp_path, connection)
    install(made.app)
    return made


def pages(world: World) -> list[Door]:
    return [d for d in doors(world.app) if not d.path.startswith(("/api/", "/edge/"))]


def ask(browser: TestClient, door: Door) -> int:
    """Ask with names that fit no thing: only the door itself answers differently."""
    path = door.path
    for name in ("edge_id", "lock_digest", "signal_id", "site_id", "number", "name", "version"):
        path = path.replace("{" + name + "}", "none")
    [method] = door.methods
    content = {"data": {"x": "y"}} if method == "POST" else {}
    return browser.request(method, path, follow_redirects=False, **content).status_code


def test_every_page_names_who_may_use_it_and_few_are_open(world: World) -> None:
    found = pages(world)

    assert len(found) > 50
    assert [d for d in found if not d.permissions] == []
    opened = {(*d.methods, d.path) for d in found if "anyone" in d.permissions}
    assert opened - {("GET", p) for p in ("/health", "/ready", "/metrics")} == OPEN | {
        ("POST", "/sign-out")
    }


@pytest.mark.parametrize("role", list(Role))
def test_a_role_passes_the_doors_of_admin_that_it_is_granted_and_no_other(
    world: World, role: Role
) -> None:
    browser = world.browser("ann", role)
    admin = [d for d in pages(world) if d.path.startswith(("/admin", "/account"))]

    answers = {(*d.methods, d.path): (ask(browser, d), d.permissions) for d in admin}

    assert len(answers) > 20
    for door, (status, needed) in answers.items():
        granted = {p.value for p in GRANTS[role]} | {"oneself"}
        assert (status == 403) == (not needed <= granted), door
        assert status != 500, door


def test_with_a_one_time_password_every_door_leads_to_the_choice_of_another(world: World) -> None:
    browser = world.browser("ann", Role.ADMINISTRATOR)
    with world.sessions.begin() as session:
        account = people.get(session, "ann")
        account.password_until = account.created_at

    shut = [d for d in pages(world) if not {"anyone", "oneself"} & d.permissions]
    answers = {(*d.methods, d.path): ask(browser, d) for d in shut}

    assert len(answers) > 40
    assert {door: status for door, status in answers.items() if status != 303} == {}
    assert browser.get("/signals").url.path == "/account/password"


def test_nobody_but_an_administrator_passes_a_door_that_names_administer(world: World) -> None:
    doors_of = [d for d in pages(world) if Permission.ADMINISTER.value in d.permissions]

    assert {d.path for d in doors_of} >= {"/admin/accounts", "/admin/recipients"}
    assert [r for r in Role if Permission.ADMINISTER in GRANTS[r]] == [Role.ADMINISTRATOR]
