"""What an administrator may do to accounts, and what always stays possible."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Engine
from starlette.testclient import TestClient

from app import clock
from app.central.accounts import people, service
from app.central.accounts.models import Role
from app.central.audit.service import lines
from app.central.errors import NotAllowed, NotFound, Unusable
from app.errors import AppError
from tests.conftest import Clock
from tests.support.fleet import PASSWORD, World

OWN = "a password of my own"


def log_in(world: World, name: str, password: str = PASSWORD) -> TestClient:
    client = TestClient(world.app, raise_server_exceptions=False)
    client.post("/api/v1/session", json={"name": name, "password": password})
    return client


def status(client: TestClient) -> int:
    return client.get("/api/v1/session").status_code


def invited(world: World, role: Role = Role.ANALYST) -> str:
    with world.sessions.begin() as session:
        return people.invite(session, "ann", "Ann", role, None, by="adm", now=clock.now())


def recorded(world: World, subject: str) -> list[str]:
    with world.sessions() as session:
        return [line.action for line in lines(session, subject=subject)]


# The last administrator


@pytest.mark.parametrize("role", [r for r in Role if r is not Role.ADMINISTRATOR])
def test_the_last_administrator_keeps_the_role(world: World, role: Role) -> None:
    admin = world.browser("adm", Role.ADMINISTRATOR)

    changed = admin.put("/api/v1/accounts/adm/role", json={"role": role.value})
    disabled = admin.post("/api/v1/accounts/adm/disablement")

    assert (changed.status_code, disabled.status_code) == (409, 409)
    assert "adm is the last active administrator" in changed.json()["detail"]
    assert status(admin) == 200
    assert recorded(world, "adm") == ["accounts:session:begin", "accounts:account:create"]


def test_one_of_two_may_go_and_the_other_then_stays(world: World) -> None:
    first, second = (world.browser(name, Role.ADMINISTRATOR) for name in ("adm", "eve"))

    gone = first.post("/api/v1/accounts/adm/disablement")
    stays = second.post("/api/v1/accounts/eve/disablement")
    back = second.delete("/api/v1/accounts/adm/disablement")
    free = second.put("/api/v1/accounts/eve/role", json={"role": "viewer"})

    assert [a.status_code for a in (gone, stays, back, free)] == [204, 409, 204, 200]
    assert (status(first), status(log_in(world, "adm"))) == (401, 200)


def test_who_has_not_chosen_a_password_yet_does_not_count(world: World) -> None:
    admin = world.browser("adm", Role.ADMINISTRATOR)
    invited(world, Role.ADMINISTRATOR)

    assert admin.post("/api/v1/accounts/adm/disablement").status_code == 409


def test_of_two_administrators_who_disable_each_other_at_once_one_stays(
    tmp_path: Path, fresh_database: Engine, simulated_clock: Clock
) -> None:
    world = World(tmp_path, fresh_database)
    names = ["adm", "eve"]
    for name in names:
        world.add_person(name, Role.ADMINISTRATOR)
    start, refused = threading.Barrier(2), []

    def disable(name: str) -> None:
        try:
            with world.sessions.begin() as session:
                start.wait()
                people.disable(session, name, by="other", now=clock.now())
        except NotAllowed as error:
            refused.append(str(error))

    threads = [threading.Thread(target=disable, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    with world.sessions() as session:
        open_ones = [n for n in names if people.get(session, n).disabled_at is None]
    assert len(open_ones) == len(refused) == 1


# Role, site, state


@pytest.mark.parametrize(
    ("role", "site", "why"),
    [
        (Role.VIEWER, "H99", "site: no site H99"),
        (Role.ADMINISTRATOR, "H01", "acts for every site"),
    ],
)
def test_a_site_must_exist_and_an_administrator_has_none(
    world: World, role: Role, site: str, why: str
) -> None:
    world.add_site("H01")
    world.add_person("bob", Role.VIEWER)

    for attempt in (
        lambda s: people.change(s, "bob", role, site, by="adm", now=clock.now()),
        lambda s: people.invite(s, "new", "New", role, site, by="adm", now=clock.now()),
    ):
        with world.sessions() as session, pytest.raises(Unusable, match=why):
            attempt(session)


def test_another_role_ends_the_sessions_and_is_on_record(world: World) -> None:
    world.add_site("H01")
    admin, bob = world.browser("adm", Role.ADMINISTRATOR), world.browser("bob", Role.VIEWER)
    body = {"role": "site_admin", "site_id": "H01"}

    changed = admin.put("/api/v1/accounts/bob/role", json=body)
    after = status(bob)
    again = log_in(world, "bob")
    same = admin.put("/api/v1/accounts/bob/role", json=body)

    assert (changed.status_code, after, status(again)) == (200, 401, 200)
    assert same.status_code == 200 and status(again) == 200  # nothing changed, nobody is thrown out
    assert again.get("/api/v1/session").json()["site_id"] == "H01"
    assert recorded(world, "bob").count("accounts:account:change") == 1
    with world.sessions() as session:
        [line] = [n for n in lines(session, subject="bob") if n.action == "accounts:account:change"]
    assert line.detail == {
        "from": {"role": "viewer", "site": None},
        "to": {"role": "site_admin", "site": "H01"},
    }


def test_a_person_who_guessed_too_often_is_let_in_again(world: World) -> None:
    admin = world.browser("adm", Role.ADMINISTRATOR)
    world.add_person("bob", Role.VIEWER)
    for _ in range(service.FREE_ATTEMPTS):
        log_in(world, "bob", "wrong password")
    locked = status(log_in(world, "bob"))

    assert admin.delete("/api/v1/accounts/bob/lock").status_code == 204

    assert (locked, status(log_in(world, "bob"))) == (401, 200)
    assert "accounts:account:unlock" in recorded(world, "bob")


Act = Callable[..., object]


@pytest.mark.parametrize(
    "act", [people.disable, people.enable, people.unlock, people.reset_password]
)
def test_nobody_is_not_found(world: World, act: Act) -> None:
    with world.sessions() as session, pytest.raises(NotFound, match="no account nobody"):
        act(session, "nobody", by="adm", now=clock.now())


# One-time passwords


def test_a_one_time_password_opens_nothing_but_the_choice_of_ones_own(world: World) -> None:
    given = invited(world)
    ann = log_in(world, "ann", given)

    shut = [ann.get(path) for path in ("/api/v1/session", "/api/v1/signals", "/api/v1/tokens")]
    token = ann.post("/api/v1/tokens", json={"password": given, "purpose": "x", "days": 1})
    body = {"password": given, "new_password": OWN}
    chosen = ann.put("/api/v1/account/password", json=body)

    assert {a.status_code for a in (*shut, token)} == {403}
    assert shut[0].json()["title"] == "Password to be chosen"
    assert (chosen.status_code, status(ann)) == (204, 200)
    assert (status(log_in(world, "ann", given)), status(log_in(world, "ann", OWN))) == (401, 200)


def test_a_one_time_password_lapses(world: World, simulated_clock: Clock) -> None:
    given = invited(world)
    early = log_in(world, "ann", given)
    simulated_clock.advance(days=3)

    late = log_in(world, "ann", given)
    body = {"password": given, "new_password": OWN}

    assert early.cookies and not late.cookies
    assert early.put("/api/v1/account/password", json=body).status_code == 401


def test_a_reset_ends_sessions_and_gives_a_one_time_password(world: World) -> None:
    admin, bob = world.browser("adm", Role.ADMINISTRATOR), world.browser("bob", Role.VIEWER)

    given = admin.post("/api/v1/accounts/bob/password-reset").json()["password"]

    assert status(bob) == 401
    assert status(log_in(world, "bob")) == 401  # with the password of before
    assert status(log_in(world, "bob", given)) == 403
    assert admin.post("/api/v1/accounts/adm/password-reset").status_code == 409
    with world.sessions() as session:
        assert given not in str([(line.detail, line.reason) for line in lines(session)])


@pytest.mark.parametrize(
    ("present", "new", "expected", "why"),
    [
        ("wrong password", OWN, 401, "not right"),
        (PASSWORD, "short", 422, "12 to 1024 characters expected, got 5"),
        (PASSWORD, PASSWORD, 422, "another than the present one"),
    ],
)
def test_a_refused_change_of_password_changes_nothing(
    world: World, present: str, new: str, expected: int, why: str
) -> None:
    bob = world.browser("bob", Role.VIEWER)

    body = {"password": present, "new_password": new}
    answer = bob.put("/api/v1/account/password", json=body)

    assert answer.status_code == expected and why in answer.json()["detail"]
    assert (status(bob), status(log_in(world, "bob"))) == (200, 200)


def test_a_new_password_ends_every_other_session(world: World) -> None:
    bob, elsewhere = world.browser("bob", Role.VIEWER), log_in(world, "bob")
    before = dict(bob.cookies)

    body = {"password": PASSWORD, "new_password": OWN}
    assert bob.put("/api/v1/account/password", json=body).status_code == 204

    assert (status(bob), status(elsewhere)) == (200, 401)
    assert status(TestClient(world.app, cookies=before)) == 401


def test_a_refusal_of_people_is_one_a_caller_can_act_on(world: World) -> None:
    world.add_person("bob", Role.VIEWER)
    with world.sessions.begin() as session:
        people.disable(session, "bob", by="adm", now=clock.now())

    with world.sessions() as session, pytest.raises(AppError, match="enable it first"):
        people.reset_password(session, "bob", by="adm", now=clock.now())
