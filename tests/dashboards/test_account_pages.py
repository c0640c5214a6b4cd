"""Accounts on pages: for administrators, and one's own."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote

import pyotp
import pytest
from sqlalchemy import Connection
from starlette.testclient import TestClient

from app import clock
from app.central.accounts import people
from app.central.accounts.models import Role
from dashboards import wording_admin as words
from dashboards.web import install
from tests.conftest import Clock
from tests.dashboards.test_pages import text_of
from tests.dashboards.test_templates import Page
from tests.support.fleet import PASSWORD, World

LIST, ONE, OWN = "/admin/accounts", "/admin/accounts/person", "/account"
ODD = "a/b ?name=<i>&x"
CHOSEN = "a password of my own"


@pytest.fixture
def world(tmp_path: Path, connection: Connection, simulated_clock: Clock) -> World:
    made = World(tmp_path, connection)
    install(made.app)
    return made


def secret_of(source: str) -> str:
    [found] = re.findall(r'<code class="secret">([^<]+)</code>', source)
    return found.replace(" ", "")


def signed_in(
    world: World, name: str, password: str = PASSWORD, code: str = ""
) -> tuple[TestClient, str]:
    """A browser, and the page on which it landed."""
    browser = TestClient(world.app, raise_server_exceptions=False)
    given = {"name": name, "password": password, "code": code, "then": OWN}
    return browser, browser.post("/sign-in", data=given).url.path


def test_a_person_is_added_and_chooses_a_password_at_the_first_sign_in(world: World) -> None:
    world.add_site("H01")
    admin = world.browser("ada", Role.ADMINISTRATOR)
    new = {"name": ODD, "full_name": "Ann <b>", "role": "site_admin", "site": "H01"}

    added = admin.post(LIST, data=new)
    given = secret_of(added.text)
    ann, landed = signed_in(world, ODD, given)
    kept_out = ann.get("/signals").url.path
    typed = {"password": given, "new_password": CHOSEN, "again_password": CHOSEN}
    chosen = ann.post("/account/password", data=typed)

    assert (landed, kept_out) == ("/account/password", "/account/password")
    assert chosen.url.path == OWN and words.PASSWORD_CHANGED in chosen.text
    assert ann.get("/signals").url.path == "/signals"
    assert signed_in(world, ODD, given)[1] == "/sign-in"
    listed = admin.get(LIST).text
    assert given not in listed and "2 people may sign in." in text_of(listed)
    assert f'href="{ONE}?name={quote(ODD, safe="")}"' in listed
    one = admin.get(f"{ONE}?name={quote(ODD, safe='')}").text
    assert "Ann &lt;b&gt;" in one and Page(one).open == Page(listed).open == []
    assert admin.post(ONE, data={"name": ODD, "do": "disable"}).status_code == 200
    assert ann.get("/signals").url.path == "/sign-in"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"role": ""}, words.CHOOSE_ROLE),
        ({"site": "H99"}, "site: no site H99"),
        ({"role": "administrator", "site": "H01"}, "an administrator acts for every site"),
        ({"name": "ada"}, "account ada exists"),
        ({"name": ""}, "account name: 1 to 64"),
        ({"full_name": " "}, "full name: 1 to 200"),
        ({"full_name": "a\x00"}, "full name: 1 to 200"),
    ],
)
def test_a_person_who_cannot_be_added_is_not_and_the_form_keeps_what_was_typed(
    world: World, changes: dict[str, str], why: str
) -> None:
    world.add_site("H01")
    admin = world.browser("ada", Role.ADMINISTRATOR)
    new = {"name": "ann", "full_name": "Ann", "role": "viewer", "site": "H01"} | changes

    answer = admin.post(LIST, data=new)

    assert answer.status_code == 422 and why in answer.text
    assert f'value="{new["name"]}"' in answer.text and 'class="secret"' not in answer.text
    assert "1 person may sign in." in text_of(answer.text)


def test_an_account_is_changed_reset_and_brought_back(world: World) -> None:
    world.add_site("H01"), world.add_person("bob", Role.VIEWER)
    admin = world.browser("ada", Role.ADMINISTRATOR)

    def ask(do: str, **more: str) -> str:
        answer = admin.post(ONE, data={"name": "bob", "do": do} | more)
        assert answer.status_code == 200, text_of(answer.text)
        return answer.text

    changed = text_of(ask("role", role="site_admin", site="H01"))
    disabled = text_of(ask("disable"))
    enabled = text_of(ask("enable"))
    given = secret_of(ask("password"))
    for _ in range(5):
        signed_in(world, "bob", "wrong password")
    locked = text_of(admin.get(f"{ONE}?name=bob").text)
    unlocked = text_of(ask("unlock"))

    assert "Role site admin: codes and edges, of one site or of all Site H01" in changed
    assert "State: disabled 2026-03-10 12:00 UTC." in disabled and "Reset" not in disabled
    assert "State: active." in enabled
    assert "State: locked until" in locked and "Unlock" in locked
    assert "State: one-time password, good until 2026-03-13" in unlocked
    assert "Unlock" not in unlocked
    assert signed_in(world, "bob", given)[1] == "/account/password"


def test_the_last_administrator_is_told_why_nothing_happens(world: World) -> None:
    admin = world.browser("ada", Role.ADMINISTRATOR)

    for given in ({"do": "disable"}, {"do": "role", "role": "viewer"}, {"do": "password"}):
        answer = admin.post(ONE, data={"name": "ada"} | given)
        assert answer.status_code == 422 and "data-errors" in answer.text
    assert admin.post(ONE, data={"name": "ada", "do": "explode"}).status_code == 422
    assert admin.post(ONE, data={"name": "nobody", "do": "disable"}).status_code == 404
    assert admin.get(LIST).status_code == 200
    own = admin.get(f"{ONE}?name=ada").text
    assert 'value="password"' not in own and 'href="/account"' in own


@pytest.mark.parametrize("role", [r for r in Role if r is not Role.ADMINISTRATOR])
def test_accounts_are_for_administrators_alone(world: World, role: Role) -> None:
    browser = world.browser("ann", role)

    asked = [
        browser.get(LIST),
        browser.get(f"{ONE}?name=ann"),
        browser.post(LIST, data={"name": "x", "full_name": "x", "role": "administrator"}),
        browser.post(ONE, data={"name": "ann", "do": "role", "role": "administrator"}),
    ]

    assert [a.status_code for a in asked] == [403] * 4
    with world.sessions() as session:
        assert people.get(session, "ann").role is role
    assert LIST not in browser.get("/admin/enrolment").text


# One's own


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"password": "wrong password"}, words.PASSWORD_NOT_YOURS),
        ({"again_password": "another one typed"}, words.PASSWORDS_DIFFER),
        ({"new_password": "short", "again_password": "short"}, "12 to 1024 characters"),
        ({"new_password": PASSWORD, "again_password": PASSWORD}, "another than the present"),
    ],
)
def test_a_refused_password_changes_nothing_and_is_not_on_the_page(
    world: World, changes: dict[str, str], why: str
) -> None:
    ann = world.browser("ann", Role.VIEWER)
    typed = {"password": PASSWORD, "new_password": CHOSEN, "again_password": CHOSEN} | changes

    answer = ann.post("/account/password", data=typed)

    assert answer.status_code == 422 and why in answer.text
    assert not any(f'"{value}"' in answer.text for value in typed.values())
    assert signed_in(world, "ann")[1] == OWN


def test_codes_are_set_up_confirmed_and_ended(world: World, simulated_clock: Clock) -> None:
    ann, _ = world.browser("ann", Role.VIEWER), None
    refused = ann.post("/account/codes", data={"password": "wrong password"})
    begun = ann.post("/account/codes", data={"password": PASSWORD})
    secret = secret_of(begun.text)
    totp = pyotp.TOTP(secret)
    wrong = ann.post("/account/codes/confirmation", data={"code": "000000"})
    without = signed_in(world, "ann")[1]  # not confirmed yet
    code = totp.at(clock.now())
    set_up = ann.post("/account/codes/confirmation", data={"code": f"{code[:3]} {code[3:]}"})
    simulated_clock.advance(minutes=1)
    asked = signed_in(world, "ann")[1], signed_in(world, "ann", code=totp.at(clock.now()))[1]
    ended = ann.post("/account/codes/end", data={"password": PASSWORD})

    assert refused.status_code == 422 and words.PASSWORD_NOT_YOURS in refused.text
    assert '<svg role="img"' in begun.text and 'class="qr"' in begun.text
    assert secret in begun.text.replace(" ", "")
    assert Page(begun.text).open == []
    assert wrong.status_code == 422 and words.CODE_NOT_RIGHT in wrong.text
    assert secret not in wrong.text.replace(" ", "")  # shown once
    assert without == OWN and words.NOTICES["codes"] in set_up.text
    assert asked == ("/sign-in", OWN)
    assert ended.url.path == OWN and words.NOTICES["codes-ended"] in ended.text
    assert signed_in(world, "ann")[1] == OWN


def test_a_token_is_shown_once_opens_what_its_owner_reads_and_is_revoked(world: World) -> None:
    ann, bob = world.browser("ann", Role.VIEWER), world.browser("bob", Role.VIEWER)
    given = {"purpose": "notebook <x>", "days": "30", "password": PASSWORD}

    made = ann.post("/account/tokens", data=given)
    token = secret_of(made.text)
    script = TestClient(world.app, headers={"authorization": f"Bearer {token}"})
    opened = script.get("/api/v1/signals").status_code
    page = ann.get(OWN).text
    [identifier] = re.findall(r'name="id" value="([^"]+)"', page)
    by_another = bob.post("/account/tokens/revocation", data={"id": identifier})
    still = script.get("/api/v1/signals").status_code
    revoked = ann.post("/account/tokens/revocation", data={"id": identifier})

    assert token not in page and "notebook &lt;x&gt;" in page
    assert (opened, by_another.status_code, still) == (200, 404, 200)
    assert words.NOTICES["token"] in revoked.text and "Revoke notebook" not in revoked.text
    assert script.get("/api/v1/signals").status_code == 401


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"password": "wrong password"}, words.PASSWORD_NOT_YOURS),
        ({"purpose": " "}, "purpose: 1 to 100"),
        ({"days": "0"}, "days: 1 to 366"),
        ({"days": "400"}, "days: 1 to 366"),
        ({"days": "two"}, "Days: a whole number from 1 to 366"),
        ({"days": "²"}, "Days: a whole number from 1 to 366"),
    ],
)
def test_a_refused_token_is_not_made(world: World, changes: dict[str, str], why: str) -> None:
    ann = world.browser("ann", Role.VIEWER)
    given = {"purpose": "notebook", "days": "30", "password": PASSWORD} | changes

    answer = ann.post("/account/tokens", data=given)

    assert answer.status_code == 422 and why in answer.text
    assert "You have no API token." in answer.text and PASSWORD not in answer.text


def test_sessions_are_listed_by_browser_and_ended(world: World) -> None:
    ann = world.browser("ann", Role.VIEWER)
    firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
    others = [
        TestClient(world.app, headers={"user-agent": a}) for a in (firefox, "<b>", "curl/8.5")
    ]
    for other in others:
        other.post("/sign-in", data={"name": "ann", "password": PASSWORD, "then": OWN})
    page = ann.get(OWN).text
    identifiers = re.findall(r'name="id" value="([0-9a-f]{64})"', page)

    ended = ann.post("/account/sessions/end", data={"id": identifiers[0]})
    rest = ann.post("/account/sessions/end-others", data={"x": ""})

    assert "Firefox on Linux" in page and "&lt;b&gt;" in page and "curl/8.5" in page
    assert len(identifiers) == page.count("End this session") == 3
    assert re.search(r"testclient</td>.*?<td>this one</td>", page, re.DOTALL)
    assert words.NOTICES["session"] in ended.text and ended.text.count("End this session") == 2
    assert words.NOTICES["sessions"] in rest.text and "End this session" not in rest.text
    assert {o.get(OWN).url.path for o in others} == {"/sign-in"}
    assert Page(page).open == Page(rest.text).open == []


@pytest.mark.parametrize(
    ("agent", "shown"),
    [
        ("Mozilla/5.0 (Windows NT 10.0) Chrome/140.0.0.0 Safari/537.36", "Chrome on Windows"),
        ("Mozilla/5.0 (Windows NT 10.0) Chrome/140 Safari/537.36 Edg/140", "Edge on Windows"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Safari/604.1", "Safari on iPhone"),
        ("python-httpx/0.28", "python-httpx/0.28"),
        ("", "not said"),
    ],
)
def test_a_browser_is_named_in_short(agent: str, shown: str) -> None:
    assert words.browser(agent) == shown


def test_a_token_cannot_change_the_account_of_its_owner(world: World) -> None:
    ann = world.browser("ann", Role.ADMINISTRATOR)
    given = {"purpose": "notebook", "days": "30", "password": PASSWORD}
    token = secret_of(ann.post("/account/tokens", data=given).text)
    script = TestClient(world.app, headers={"authorization": f"Bearer {token}"})
    typed = {"password": PASSWORD, "new_password": CHOSEN, "again_password": CHOSEN}

    asked = [
        script.post("/account/password", data=typed),
        script.post("/account/codes", data={"password": PASSWORD}),
        script.post("/account/tokens", data=given),
        script.post(LIST, data={"name": "x", "full_name": "x", "role": "viewer"}),
    ]

    assert [a.status_code for a in asked] == [403] * 4


@pytest.mark.parametrize("path", [LIST, ONE, OWN, "/account/password", "/admin"])
def test_a_stranger_is_asked_to_sign_in(world: World, path: str) -> None:
    browser = TestClient(world.app, follow_redirects=False)

    assert browser.get(path).headers["location"].startswith("/sign-in?then=")
