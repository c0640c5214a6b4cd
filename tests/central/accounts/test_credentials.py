"""One-time codes and API tokens: what each opens, and everything that each must not open."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pyotp
import pytest
from starlette.testclient import TestClient

from app import clock
from app.central.accounts.models import Role
from app.central.accounts.people import disable
from app.central.audit.service import lines
from tests.conftest import Clock
from tests.support.fleet import PASSWORD, World


def log_in(world: World, code: str = "") -> int:
    client = TestClient(world.app, raise_server_exceptions=False)
    body = {"name": "ann", "password": PASSWORD, "code": code}
    return client.post("/api/v1/session", json=body).status_code


def secret_of(browser: TestClient) -> str:
    answer = browser.post("/api/v1/codes", json={"password": PASSWORD})
    assert answer.status_code == 200, answer.text
    return parse_qs(urlsplit(answer.json()["address"]).query)["secret"][0]


def code_at(secret: str, **later: float) -> str:
    return pyotp.TOTP(secret).at(clock.now() + timedelta(**later))


@pytest.fixture
def secret(world: World, simulated_clock: Clock) -> str:
    """Ann has set codes up, a minute ago."""
    browser = world.browser("ann", Role.ANALYST)
    made = secret_of(browser)
    answer = browser.post("/api/v1/codes/confirmation", json={"code": code_at(made)})
    assert answer.status_code == 204, answer.text
    simulated_clock.advance(minutes=1)
    return made


def test_codes_are_asked_for_only_when_one_has_confirmed_them(world: World) -> None:
    browser = world.browser("ann", Role.ANALYST)
    made = secret_of(browser)
    wrong = browser.post("/api/v1/codes/confirmation", json={"code": "000000"})

    assert wrong.status_code == 401
    assert log_in(world) == 200
    right = browser.post("/api/v1/codes/confirmation", json={"code": code_at(made)})
    assert right.status_code == 204
    assert log_in(world) == 401


def test_a_code_opens_once_and_only_about_now(world: World, secret: str) -> None:
    assert log_in(world, code_at(secret, seconds=-90)) == 401
    assert log_in(world, code_at(secret, seconds=90)) == 401
    assert log_in(world, "é" * 6) == 401
    assert log_in(world, code_at(secret)) == 200
    assert log_in(world, code_at(secret)) == 401  # used up
    assert log_in(world, code_at(secret, seconds=-30)) == 401  # and so is what came before it
    assert log_in(world, code_at(secret, seconds=30)) == 200


def test_guessed_codes_shut_the_account_like_guessed_passwords(world: World, secret: str) -> None:
    for _ in range(5):
        assert log_in(world, "000000") == 401

    assert log_in(world, code_at(secret)) == 401


def test_only_an_administrator_takes_codes_away_and_it_ends_sessions(
    world: World, secret: str
) -> None:
    ann = TestClient(world.app)
    ann.post("/api/v1/session", json={"name": "ann", "password": PASSWORD, "code": code_at(secret)})
    admin = world.browser("adam", Role.ADMINISTRATOR)

    assert ann.delete("/api/v1/accounts/ann/codes").status_code == 403
    assert admin.delete("/api/v1/accounts/ann/codes").status_code == 204
    assert ann.get("/api/v1/session").status_code == 401
    assert log_in(world) == 200


@pytest.mark.parametrize("path", ["/api/v1/codes", "/api/v1/tokens"])
def test_both_need_the_password_again(world: World, path: str) -> None:
    browser = world.browser("ann", Role.ANALYST)

    answer = browser.post(path, json={"password": "wrong password", "purpose": "x", "days": 1})

    assert answer.status_code in {401, 422}
    assert browser.get("/api/v1/tokens").json() == []


def a_token(browser: TestClient, days: int = 7) -> str:
    body = {"password": PASSWORD, "purpose": "notebook", "days": days}
    answer = browser.post("/api/v1/tokens", json=body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["token"])


def bearer(world: World, token: str) -> TestClient:
    headers = {"authorization": f"Bearer {token}"}
    return TestClient(world.app, headers=headers, raise_server_exceptions=False)


def test_a_token_reads_what_its_owner_reads(world: World) -> None:
    world.an_edge("H01"), world.an_edge("H02")
    script = bearer(world, a_token(world.browser("ann", Role.SITE_ADMIN, "H01")))

    sites = script.get("/api/v1/sites")

    assert [s["id"] for s in sites.json()] == ["H01"]
    assert script.get("/api/v1/session").json()["name"] == "ann"


def test_a_token_changes_nothing_whatever_its_owner_may(world: World) -> None:
    script = bearer(world, a_token(world.browser("adam", Role.ADMINISTRATOR)))
    new = {"name": "eve", "full_name": "Eve", "role": "viewer", "password": PASSWORD}
    token = {"password": PASSWORD, "purpose": "another", "days": 7}

    answers = [
        script.post("/api/v1/accounts", json=new),
        script.post("/api/v1/tokens", json=token),
        script.post("/api/v1/codes", json={"password": PASSWORD}),
        script.delete("/api/v1/session"),
    ]

    assert [a.status_code for a in answers] == [403] * 4
    assert script.get("/api/v1/accounts").status_code == 200


def test_a_token_that_is_over_opens_nothing(world: World, simulated_clock: Clock) -> None:
    browser = world.browser("ann", Role.ANALYST)
    expiring, revoked = a_token(browser, days=1), a_token(browser, days=7)
    disabled = a_token(world.browser("bob", Role.ANALYST))
    longest = max(browser.get("/api/v1/tokens").json(), key=lambda t: t["expires_at"])
    before = [bearer(world, t).get("/api/v1/session") for t in (expiring, revoked, disabled)]

    assert browser.delete(f"/api/v1/tokens/{longest['id']}").status_code == 204
    simulated_clock.advance(days=1)
    with world.sessions.begin() as session:
        disable(session, "bob", by="test", now=clock.now())

    after = [bearer(world, t).get("/api/v1/session") for t in (expiring, revoked, disabled, "")]
    assert [a.status_code for a in before] == [200] * 3
    assert [a.status_code for a in after] == [401] * 4


def test_a_token_is_stored_only_as_its_hash_and_cannot_be_revoked_by_another(world: World) -> None:
    ann, bob = world.browser("ann", Role.ANALYST), world.browser("bob", Role.ADMINISTRATOR)
    token = a_token(ann)
    [shown] = ann.get("/api/v1/tokens").json()

    assert bob.delete(f"/api/v1/tokens/{shown['id']}").status_code == 404
    assert token not in ann.get("/api/v1/tokens").text
    assert bearer(world, token).get("/api/v1/session").status_code == 200


@pytest.mark.parametrize("what", ["disablement", "password-reset"])
def test_a_token_survives_neither_a_suspension_nor_a_reset(world: World, what: str) -> None:
    admin, ann = world.browser("adam", Role.ADMINISTRATOR), world.browser("ann", Role.ANALYST)
    script, other = bearer(world, a_token(ann)), bearer(world, a_token(admin))
    before = script.get("/api/v1/signals").status_code

    assert admin.post(f"/api/v1/accounts/ann/{what}").status_code in {200, 204}
    admin.delete("/api/v1/accounts/ann/disablement")

    assert (before, script.get("/api/v1/signals").status_code) == (200, 401)
    assert other.get("/api/v1/signals").status_code == 200
    with world.sessions() as session:
        revoked = [x for x in lines(session) if x.action == "accounts:token:revoke"]
    assert [(x.actor, x.subject) for x in revoked] == [("adam", "ann")]


def test_one_sees_where_one_is_signed_in_and_ends_what_is_not_wanted(
    world: World, simulated_clock: Clock
) -> None:
    ann, bob = world.browser("ann", Role.ANALYST), world.browser("bob", Role.ADMINISTRATOR)
    simulated_clock.advance(minutes=1)
    agents = ("Lost Telephone/1\n", "x" * 300)
    elsewhere = [TestClient(world.app, headers={"user-agent": a.strip()}) for a in agents]
    for one in elsewhere:
        one.post("/api/v1/session", json={"name": "ann", "password": PASSWORD})

    shown = ann.get("/api/v1/sessions").json()
    lost = next(s for s in shown if s["client"] == "Lost Telephone/1")
    by_another = bob.delete(f"/api/v1/sessions/{lost['id']}").status_code
    still = elsewhere[0].get("/api/v1/session").status_code
    by_token = bearer(world, a_token(ann)).delete("/api/v1/sessions").status_code
    ended = ann.delete(f"/api/v1/sessions/{lost['id']}").status_code
    again = ann.delete(f"/api/v1/sessions/{lost['id']}").status_code

    assert [s["is_this"] for s in shown].count(True) == 1 and len(shown) == 3
    assert max(len(s["client"]) for s in shown) == 200
    assert (by_another, still, by_token, ended, again) == (404, 200, 403, 204, 404)
    assert [c.get("/api/v1/session").status_code for c in (ann, *elsewhere)] == [200, 401, 200]
    assert ann.delete("/api/v1/sessions").status_code == 204
    assert [c.get("/api/v1/session").status_code for c in (ann, elsewhere[1])] == [200, 401]
    assert len(ann.get("/api/v1/sessions").json()) == 1
    assert bob.get("/api/v1/session").status_code == 200
    with world.sessions() as session:
        found = [x for x in lines(session) if x.action == "accounts:session:end"]
    assert [(x.actor, dict(x.detail)) for x in found] == [("ann", {"sessions": 1})] * 2


def test_a_session_that_idled_out_is_not_listed(world: World, simulated_clock: Clock) -> None:
    world.browser("ann", Role.ANALYST)
    simulated_clock.advance(minutes=31)
    ann = TestClient(world.app)
    ann.post("/api/v1/session", json={"name": "ann", "password": PASSWORD})

    assert len(ann.get("/api/v1/sessions").json()) == 1
