"""Who gets in, for how long, and what only a signature opens."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from app import clock
from app.central.accounts import service
from app.central.accounts.models import Role
from app.central.accounts.permissions import GRANTS, Permission
from app.central.accounts.repository import find_account
from app.central.audit.service import lines
from app.central.errors import NotAllowed, NotAuthenticated, Unusable
from app.central.openapi.doors import doors
from tests.conftest import Clock
from tests.support.fleet import PASSWORD, World


def test_a_person_logs_in_is_known_and_logs_out(world: World) -> None:
    browser = world.browser("ann", Role.VIEWER)

    known = browser.get("/api/v1/session").json()
    left = browser.delete("/api/v1/session")

    assert known == {"name": "ann", "full_name": "Ann Person", "role": "viewer", "site_id": None}
    assert left.status_code == 204
    assert browser.get("/api/v1/session").status_code == 401


def test_a_cookie_is_worthless_after_log_out(world: World) -> None:
    browser = world.browser("ann", Role.VIEWER)
    stolen = dict(browser.cookies)
    browser.delete("/api/v1/session")

    thief = TestClient(world.app, cookies=stolen)

    assert thief.get("/api/v1/signals").status_code == 401


def test_a_disabled_person_is_out_at_once(world: World) -> None:
    browser = world.browser("ann", Role.VIEWER)
    admin = world.browser("adm", Role.ADMINISTRATOR)

    answer = admin.post("/api/v1/accounts/ann/disablement")

    assert answer.status_code == 204
    assert browser.get("/api/v1/signals").status_code == 401
    assert _log_in(world, "ann").status_code == 401


@pytest.mark.parametrize(("idle_minutes", "expected"), [(29, 200), (31, 401)])
def test_a_session_idles_out(
    world: World, simulated_clock: Clock, idle_minutes: int, expected: int
) -> None:
    browser = world.browser("ann", Role.VIEWER)

    simulated_clock.advance(minutes=idle_minutes)

    assert browser.get("/api/v1/session").status_code == expected


def test_a_session_ends_after_twelve_hours_of_use(world: World, simulated_clock: Clock) -> None:
    browser = world.browser("ann", Role.VIEWER)
    for _ in range(35):
        simulated_clock.advance(minutes=20)
        assert browser.get("/api/v1/session").status_code == 200

    simulated_clock.advance(minutes=21)

    assert browser.get("/api/v1/session").status_code == 401


def test_the_cookie_is_closed_to_scripts_and_other_sites(world: World) -> None:
    world.add_person("ann", Role.VIEWER)

    cookie = _log_in(world, "ann").headers["set-cookie"]

    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie


def test_every_refused_log_in_sounds_the_same(world: World) -> None:
    world.add_person("ann", Role.VIEWER)

    wrong, unknown = _log_in(world, "ann", "wrong password"), _log_in(world, "nobody")

    assert wrong.status_code == unknown.status_code == 401
    assert wrong.json() == unknown.json()


def test_guessing_locks_the_account_for_a_growing_while(
    world: World, simulated_clock: Clock
) -> None:
    world.add_person("ann", Role.VIEWER)
    for _ in range(service.FREE_ATTEMPTS):
        _log_in(world, "ann", "wrong password")

    assert _log_in(world, "ann").status_code == 401
    simulated_clock.advance(seconds=31)
    assert _log_in(world, "ann").status_code == 200
    with world.sessions() as session:
        account = find_account(session, "ann")
        assert account is not None
        assert account.failed_attempts == 0
        assert "accounts:session:locked" in {line.action for line in lines(session)}


def test_signing_takes_the_password_again(world: World) -> None:
    world.add_person("ann", Role.ANALYST)
    with world.sessions() as session:
        account = find_account(session, "ann")
        assert account is not None
    person = service.Person("ann", account.full_name, Role.ANALYST, None)

    with pytest.raises(NotAuthenticated, match="name or password"):
        service.sign(world.sessions, person, "wrong password", clock.now())
    signer = service.sign(world.sessions, person, PASSWORD, clock.now())

    assert (signer.name, signer.full_name, signer.at) == ("ann", "Ann Person", clock.now())


@pytest.mark.parametrize(
    ("name", "password", "error", "why"),
    [
        ("a\nb", PASSWORD, Unusable, "printable"),
        ("ann", "short", Unusable, "at least 12"),
        ("adm", PASSWORD, NotAllowed, "exists"),
    ],
)
def test_an_account_needs_a_name_and_a_long_password(
    world: World, name: str, password: str, error: type[Exception], why: str
) -> None:
    world.add_person("adm", Role.ADMINISTRATOR)

    with world.sessions() as session, pytest.raises(error, match=why):
        service.create_account(
            session,
            name=name,
            full_name="X",
            role=Role.VIEWER,
            password=password,
            site_id=None,
            by="test",
            now=clock.now(),
        )


# Permissions


def test_every_route_names_who_may_use_it(world: World) -> None:
    every = list(doors(world.app))

    assert len(every) > 30
    assert [door for door in every if not door.permissions] == []


def test_the_routes_open_to_anyone_are_these(world: World) -> None:
    found = {
        (*door.methods, door.path) for door in doors(world.app) if "anyone" in door.permissions
    }

    assert found == {
        ("GET", "/health"),
        ("GET", "/ready"),
        ("GET", "/metrics"),
        ("GET", "/api/v1/jobs/settled"),
        ("POST", "/api/v1/session"),
        ("POST", "/edge/v1/enrol"),
    }


@pytest.mark.parametrize("role", list(Role))
def test_a_role_may_do_what_it_is_granted_and_nothing_else(world: World, role: Role) -> None:
    browser = world.browser("ann", role)
    doors = {
        Permission.READ: browser.get("/api/v1/signals"),
        Permission.ASSESS: browser.post("/api/v1/references", json=_reference(world)),
        Permission.REPORT: browser.post("/api/v1/signals/S-9999/reportability", json={}),
        Permission.APPROVE: browser.post("/api/v1/references/R-9999/approval"),
        Permission.ENROL: browser.post(
            "/api/v1/sites/H99/enrolment-codes", json={"lock_digest": world.lock_digest}
        ),
        Permission.REGISTER: browser.post("/api/v1/events", json={}),
        Permission.ADMINISTER: browser.get("/api/v1/accounts"),
        Permission.AUDIT: browser.get("/api/v1/audit"),
    }

    admitted = {permission for permission, answer in doors.items() if answer.status_code != 403}

    assert admitted == GRANTS[role]


def test_somebody_bound_to_a_site_sees_no_other(world: World) -> None:
    mine, other = world.an_edge("H01"), world.an_edge("H02")
    browser = world.browser("ann", Role.SITE_ADMIN, "H01")

    assert [s["id"] for s in browser.get("/api/v1/sites").json()] == ["H01"]
    assert [b["edge_id"] for b in browser.get("/api/v1/balances").json()] == [mine.edge_id]
    assert browser.get(f"/api/v1/edges/{mine.edge_id}").status_code == 200
    for path in (f"/api/v1/edges/{other.edge_id}", f"/api/v1/edges/{other.edge_id}/windows"):
        assert browser.get(path).status_code == 404
    act = browser.post(f"/api/v1/edges/{other.edge_id}/actions", json={"action": "suspend"})
    assert act.status_code == 404


# Requests from elsewhere


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "https://evil.example"},
        {"origin": "null"},
    ],
)
def test_a_page_of_another_site_cannot_make_a_person_act(
    world: World, headers: dict[str, str]
) -> None:
    browser = world.browser("adm", Role.ADMINISTRATOR)

    answer = browser.post("/api/v1/sites", json={"id": "H66", "name": "Evil"}, headers=headers)

    assert answer.status_code == 403
    assert browser.get("/api/v1/sites").json() == []


def test_our_own_pages_may(world: World) -> None:
    browser = world.browser("adm", Role.ADMINISTRATOR)
    own = {"sec-fetch-site": "same-origin", "origin": "http://testserver"}

    answer = browser.post("/api/v1/sites", json={"id": "H01", "name": "Ours"}, headers=own)

    assert answer.status_code == 201


def test_every_answer_carries_the_security_headers(world: World) -> None:
    for path in ("/health", "/api/v1/signals", "/nowhere"):
        headers = world.client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]


def test_refusals_are_problem_details(world: World) -> None:
    answer = world.client.get("/api/v1/signals")

    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json() == {
        "type": "about:blank",
        "title": "Not authenticated",
        "status": 401,
        "detail": "log in first",
        "reason": "session",
    }


def _log_in(world: World, name: str, password: str = PASSWORD) -> object:
    return world.client.post("/api/v1/session", json={"name": name, "password": password})


def _reference(world: World) -> dict[str, str]:
    return {"lock_digest": world.lock_digest, "until": "2020-01-01"}
