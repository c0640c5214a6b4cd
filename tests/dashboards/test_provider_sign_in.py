"""Signing in with an identity provider: a real one of its kind, over real HTTP, right and wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from sqlalchemy import Connection, Engine, select
from starlette.testclient import TestClient

from app import clock
from app.central.accounts import identities, people
from app.central.accounts.models import ProviderRequest, Role
from app.central.accounts.repository import forget_sessions
from app.central.audit.service import lines
from app.central.settings import read_settings
from app.errors import ContractError
from dashboards import wording_admin as words
from dashboards.web import install
from tests.conftest import Clock
from tests.dashboards.test_account_pages import secret_of
from tests.dashboards.test_pages import text_of
from tests.support.fleet import PASSWORD, World
from tests.support.identity_provider import CLIENT, SECRET, Claims, FakeProvider

ADMIN = "/admin/accounts"


@pytest.fixture
def provider(simulated_clock: Clock) -> Iterator[FakeProvider]:
    with FakeProvider() as running:
        yield running


def a_world(
    folder: Path, bind: Engine | Connection, provider: FakeProvider, **settings: Any
) -> World:
    (folder / "secret").write_text(SECRET + "\n")
    made = World(
        folder,
        bind,
        oidc_issuer=provider.issuer,
        oidc_client_id=CLIENT,
        oidc_client_secret_file=folder / "secret",
        oidc_name="Example SSO",
        **settings,
    )
    install(made.app)
    return made


@pytest.fixture
def world(tmp_path: Path, connection: Connection, provider: FakeProvider) -> World:
    made = a_world(tmp_path, connection, provider)
    made.add_person("ann", Role.ANALYST)
    link(made, "ann", "ann-0001")
    return made


def link(world: World, name: str, subject: str) -> None:
    with world.sessions.begin() as session:
        issuer = world.settings.oidc_issuer
        identities.link(session, name, issuer, subject, by="test", now=clock.now())


def a_browser(world: World) -> TestClient:
    return TestClient(world.app, raise_server_exceptions=False, follow_redirects=False)


def leave(browser: TestClient, then: str = "/signals") -> dict[str, str]:
    """To the provider: what its address asks."""
    answer = browser.get("/sign-in/provider", params={"then": then})
    assert answer.status_code == 303, answer.text
    address = urlsplit(answer.headers["location"])
    return {name: values[0] for name, values in parse_qs(address.query).items()}


def agree(provider: FakeProvider, asked: dict[str, str]) -> str:
    """At the provider: the address of the way back."""
    return httpx.post(f"{provider.issuer}/consent", data=asked).headers["location"]


def come_back(world: World, provider: FakeProvider, browser: TestClient | None = None) -> Any:
    browser = browser or a_browser(world)
    return browser.get(agree(provider, leave(browser)))


def refusals(world: World) -> list[tuple[str, str]]:
    with world.sessions() as session:
        found = [x for x in lines(session) if x.action == "accounts:session:refused"]
    return [(x.reason, x.subject) for x in found]


def test_a_linked_person_signs_in_and_lands_where_they_were_going(
    world: World, provider: FakeProvider
) -> None:
    browser = a_browser(world)
    asked = leave(browser)
    back = agree(provider, asked)

    landed = browser.get(back)
    me = browser.get("/api/v1/session").json()

    assert (landed.status_code, landed.headers["location"]) == (303, "/signals")
    assert (me["name"], me["role"]) == ("ann", "analyst")
    assert asked["redirect_uri"] == "http://testserver/sign-in/provider/return"
    assert len({asked["state"], asked["nonce"], asked["code_challenge"]}) == 3
    with world.sessions() as session:
        [begun] = [x for x in lines(session) if x.action == "accounts:session:begin"]
        assert session.scalars(select(ProviderRequest)).all() == []
    assert (begun.actor, dict(begun.detail)) == ("ann", {"with": "provider"})
    page = browser.get("/account").text
    assert "identity provider" in page and f"ann-0001 at {provider.issuer}" in page
    for cookie in landed.headers.get_list("set-cookie"):
        assert "HttpOnly" in cookie and "SameSite=lax" in cookie


def test_the_keys_may_be_of_a_curve_and_may_change(world: World, provider: FakeProvider) -> None:
    assert come_back(world, provider).status_code == 303
    read = provider.asked.count("/jwks")
    assert come_back(world, provider).status_code == 303
    assert provider.asked.count("/jwks") == read  # kept

    provider.rotate("second", "ES256")

    assert come_back(world, provider).status_code == 303
    assert provider.asked.count("/jwks") == read + 1


def later(seconds: float, *names: str) -> Callable[[Claims], Claims]:
    return lambda claims: claims | {name: claims[name] + seconds for name in names}


def but(**changes: Any) -> Callable[[Claims], Claims]:
    return lambda claims: {k: v for k, v in (claims | changes).items() if v is not None}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (but(nonce="another"), "nonce"),
        (but(nonce=None), "nonce"),
        (but(iss="https://other.example"), "issuer"),
        (but(iss=None), "issuer"),
        (but(aud="another client"), "audience"),
        (but(aud="another client", azp=CLIENT), "audience"),
        (but(aud=[CLIENT, "another"]), "audience"),  # and no azp
        (but(aud=[CLIENT, "another"], azp="another"), "audience"),
        (but(azp="another"), "audience"),
        (but(aud=None), "audience"),
        (later(-361, "exp"), "expired"),
        (but(exp=None), "expired"),
        (later(61, "iat"), "issued"),
        (later(-601, "iat"), "issued"),
        (but(nbf=4e9), "issued"),
        (but(sub=None), "token"),
        (but(sub=""), "subject"),
        (but(sub="x" * 256), "subject"),
        (but(sub=7), "token"),
    ],
)
def test_a_token_that_does_not_fit_opens_nothing(
    world: World, provider: FakeProvider, change: Callable[[Claims], Claims], reason: str
) -> None:
    provider.forge = lambda claims: provider.sign(change(claims))
    browser = a_browser(world)

    refused = come_back(world, provider, browser)

    assert refused.status_code == 403 and f"({reason})" in text_of(refused.text)
    assert browser.get("/api/v1/session").status_code == 401
    assert refusals(world) == [(reason, "not known")]


@pytest.mark.parametrize(
    "change",
    [
        but(),
        but(aud=[CLIENT]),
        but(aud=[CLIENT, "another"], azp=CLIENT),
        later(-350, "exp"),  # within the skew
        later(59, "iat"),
    ],
)
def test_a_token_that_fits_in_another_form_opens_a_session(
    world: World, provider: FakeProvider, change: Callable[[Claims], Claims]
) -> None:
    provider.forge = lambda claims: provider.sign(change(claims))

    assert come_back(world, provider).status_code == 303


def another_key(provider: FakeProvider, claims: Claims) -> str:
    """Signed by a key that the provider has never shown, under the name of the one it shows."""
    shown, provider.keys = provider.keys, [provider._key("RS256", "first")]
    token = provider.sign(claims)
    provider.keys = shown
    return token


@pytest.mark.parametrize(
    ("forge", "reason"),
    [
        (FakeProvider.unsigned, "algorithm"),
        (FakeProvider.signed_with_public_key, "algorithm"),
        (another_key, "signature"),
        (lambda provider, claims: provider.sign(claims, kid="never shown"), "key"),
        (lambda provider, claims: provider.sign(claims)[:-8] + "AAAAAAAA", "signature"),
        (lambda *_: "not a token", "token"),
        (lambda *_: "", "token"),
    ],
)
def test_a_token_that_the_provider_has_not_signed_opens_nothing(
    world: World,
    provider: FakeProvider,
    forge: Callable[[FakeProvider, Claims], str],
    reason: str,
) -> None:
    provider.forge = lambda claims: forge(provider, claims)

    refused = come_back(world, provider)

    assert refused.status_code == 403 and f"({reason})" in text_of(refused.text)
    assert refusals(world) == [(reason, "not known")]
    assert provider.asked.count("/jwks") == (2 if reason == "key" else 1)


def test_a_way_back_is_taken_once_and_by_the_browser_that_left(
    world: World, provider: FakeProvider, simulated_clock: Clock
) -> None:
    mine, other = a_browser(world), a_browser(world)
    back = agree(provider, leave(mine))
    cookie = mine.cookies["lockwatch-sign-in"]
    assert mine.get(back).status_code == 303
    assert "lockwatch-sign-in" not in mine.cookies

    mine.cookies.set("lockwatch-sign-in", cookie)  # as if it had been copied
    replayed = mine.get(back)
    leave(other)
    stolen = other.get(agree(provider, leave(a_browser(world))))
    wrong = other.get("/sign-in/provider/return", params={"code": "x", "state": "x" * 5000})
    bare = a_browser(world).get("/sign-in/provider/return")
    late = a_browser(world)
    back = agree(provider, leave(late))
    simulated_clock.advance(minutes=10, seconds=1)

    answers = [replayed, stolen, wrong, bare, late.get(back)]
    assert [a.status_code for a in answers] == [403] * 5
    assert all("was not begun in this browser" in text_of(a.text) for a in answers)
    assert refusals(world) == [("state", "not known")] * 5
    assert provider.asked.count("/token") == 1  # no code was even tried
    with world.sessions.begin() as session:
        forget_sessions(session, clock.now())
    with world.sessions() as session:
        assert session.scalars(select(ProviderRequest)).all() == []


def test_a_code_that_was_redeemed_before_opens_nothing(
    world: World, provider: FakeProvider
) -> None:
    first, second = a_browser(world), a_browser(world)
    old = parse_qs(urlsplit(agree(provider, leave(first))).query)["code"][0]
    mine = leave(second)["state"]

    stolen = second.get("/sign-in/provider/return", params={"code": old, "state": mine})

    assert stolen.status_code == 403 and "(code)" in stolen.text  # PKCE: of another browser
    assert refusals(world) == [("code", "not known")]


@pytest.mark.parametrize(
    ("answer", "changes", "reason", "shown"),
    [
        ({"error": "access_denied"}, {}, "cancelled", "(access_denied)"),
        ({"error": "<b>", "code": ""}, {}, "cancelled", "(no code)"),
        ({"iss": "https://other.example"}, {}, "issuer", "not from the provider"),
        (
            {},
            {"authorization_response_iss_parameter_supported": True},
            "issuer",
            "not from the provider",
        ),
    ],
)
def test_an_answer_that_is_no_consent_opens_nothing(
    world: World,
    provider: FakeProvider,
    answer: dict[str, str],
    changes: Claims,
    reason: str,
    shown: str,
) -> None:
    provider.answer, provider.changes = answer, changes

    refused = come_back(world, provider)

    assert refused.status_code == 403 and shown in text_of(refused.text)
    assert refusals(world) == [(reason, "not known")]


def test_a_stranger_is_told_the_identity_and_gets_no_account_until_it_is_linked(
    world: World, provider: FakeProvider
) -> None:
    provider.subject = "bob@example.org"  # a subject, whatever it looks like
    admin = world.browser("ada", Role.ADMINISTRATOR)
    world.add_person("bob@example.org", Role.VIEWER)  # a name is no identity

    refused = come_back(world, provider)
    made = admin.post(f"{ADMIN}/identity", data={"name": "bob@example.org", "subject": "no\x00"})
    linked = admin.post(
        f"{ADMIN}/identity", data={"name": "bob@example.org", "subject": " bob@example.org "}
    )
    bob = a_browser(world)
    opened = come_back(world, provider, bob)
    page = admin.get(f"{ADMIN}/person?name=bob%40example.org").text
    unlinked = admin.post(f"{ADMIN}/identity/end", data={"name": "bob@example.org"})

    assert refused.status_code == 403
    assert "on a way by which they know you: bob@example.org" in text_of(refused.text)
    assert 'href="/sign-in">To the sign-in' in refused.text
    assert refusals(world) == [("unlinked", "bob@example.org")]
    assert made.status_code == 422 and "printable ASCII" in made.text
    assert linked.status_code == 200 and opened.status_code == 303
    assert "Signs in as <code>bob@example.org</code>" in page and 'name="subject"' not in page
    assert 'name="subject"' in unlinked.text
    assert bob.get("/api/v1/session").status_code == 401
    assert come_back(world, provider).status_code == 403


def test_one_identity_is_one_person(world: World, provider: FakeProvider) -> None:
    admin = world.browser("ada", Role.ADMINISTRATOR)
    world.add_person("bob", Role.VIEWER)
    api = "/api/v1/accounts"

    taken = admin.put(f"{api}/bob/identity", json={"subject": "ann-0001"})
    second = admin.put(f"{api}/ann/identity", json={"subject": "ann-0002"})
    none = admin.get(f"{api}/bob/identity")
    right = admin.put(f"{api}/bob/identity", json={"subject": "bob-0001"})
    gone = admin.delete(f"{api}/bob/identity").status_code, admin.delete(f"{api}/bob/identity")

    assert (taken.status_code, second.status_code, none.status_code) == (409, 409, 404)
    assert "is linked to ann" in taken.json()["detail"]
    assert right.json()["subject"] == "bob-0001" and right.json()["issuer"] == provider.issuer
    assert (gone[0], gone[1].status_code) == (204, 404)
    for call in (admin.get(f"{api}/x/identity"), admin.put(f"{api}/x/identity", json={})):
        assert call.status_code in {404, 422}
    ann = world.browser("eve", Role.ANALYST)
    assert ann.put(f"{api}/eve/identity", json={"subject": "x"}).status_code == 403
    with world.sessions() as session:
        done = [x.action for x in lines(session) if x.action.startswith("accounts:identity")]
    assert sorted(done) == ["accounts:identity:link"] * 2 + ["accounts:identity:unlink"]


def test_somebody_suspended_is_refused_and_the_open_session_ends(
    world: World, provider: FakeProvider
) -> None:
    world.add_person("ada", Role.ADMINISTRATOR)
    browser = a_browser(world)
    come_back(world, provider, browser)

    with world.sessions.begin() as session:
        people.disable(session, "ann", by="ada", now=clock.now())
    refused = come_back(world, provider)

    assert browser.get("/api/v1/session").status_code == 401
    assert refused.status_code == 403 and "Your account is disabled" in refused.text
    assert refusals(world) == [("disabled", "ann")]


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({"issuer": "https://other.example"}, "got https://other.example"),
        ({"token_endpoint": "http://example.org/token"}, "token_endpoint: an https:// address"),
        ({"token_endpoint": None}, "token_endpoint: an https:// address"),
        ({"code_challenge_methods_supported": ["plain"]}, "S256 expected"),
        ({"id_token_signing_alg_values_supported": ["HS256"]}, "ES256 or ES384"),
        ({"response_types_supported": "code"}, "response_types_supported: code expected"),
    ],
)
def test_a_provider_whose_document_does_not_fit_is_not_gone_to(
    world: World, provider: FakeProvider, changes: Claims, shown: str
) -> None:
    provider.changes = changes

    refused = a_browser(world).get("/sign-in/provider")

    assert refused.status_code == 503 and shown in text_of(refused.text)
    assert refusals(world) == [("document", "not known")]


def test_a_provider_that_is_down_leaves_the_password(
    tmp_path: Path, connection: Connection
) -> None:
    with FakeProvider() as provider:
        pass
    world = a_world(tmp_path, connection, provider)
    world.add_person("ann", Role.ANALYST)

    refused = a_browser(world).get("/sign-in/provider")
    by_password = TestClient(world.app).post(
        "/sign-in", data={"name": "ann", "password": PASSWORD, "then": "/signals"}
    )

    assert refused.status_code == 503
    assert "Example SSO does not answer (ConnectError)" in text_of(refused.text)
    assert refusals(world) == [("unreachable", "not known")]
    assert by_password.url.path == "/signals"


def test_the_way_leads_nowhere_but_into_this_service(world: World, provider: FakeProvider) -> None:
    for then in ("https://evil.example/", "//evil.example", "/\\evil.example", "javascript:1"):
        browser = a_browser(world)
        assert browser.get(agree(provider, leave(browser, then))).headers["location"] == "/"


def test_asking_too_often_is_slowed_down(
    tmp_path: Path, connection: Connection, provider: FakeProvider
) -> None:
    world = a_world(tmp_path, connection, provider, requests_per_minute=20)
    browser = a_browser(world)

    answers = [browser.get("/sign-in/provider/return").status_code for _ in range(4)]

    assert answers == [403, 403, 429, 429] and len(refusals(world)) == 2


def test_without_a_provider_nothing_of_it_is_there(
    tmp_path: Path, connection: Connection, simulated_clock: Clock
) -> None:
    world = World(tmp_path, connection)
    install(world.app)
    browser = a_browser(world)
    admin = world.browser("ada", Role.ADMINISTRATOR)

    assert "provider" not in browser.get("/sign-in").text
    assert "dentity" not in admin.get(f"{ADMIN}/person?name=ada").text
    assert browser.get("/sign-in/provider").status_code == 404
    assert browser.get("/sign-in/provider/return?state=x&code=x").status_code == 404
    body = {"subject": "x"}
    assert admin.put("/api/v1/accounts/ada/identity", json=body).status_code == 404


# Signing, and passwords beside the provider


def test_a_one_time_password_signs_nothing_and_a_chosen_one_does(
    world: World, provider: FakeProvider
) -> None:
    admin = world.browser("ada", Role.ADMINISTRATOR)
    given = secret_of(admin.post(f"{ADMIN}/person", data={"name": "ann", "do": "password"}).text)
    browser = a_browser(world)
    come_back(world, provider, browser)
    asked = {"purpose": "notebook", "days": 1}

    page = browser.get("/account")
    unsigned = [browser.post("/api/v1/codes", json={"password": p}) for p in (given, PASSWORD)]
    on_page = browser.post("/account/tokens", data=asked | {"password": given})
    own = {"password": given, "new_password": "a password of my own"}
    chosen = browser.put("/api/v1/account/password", json=own)
    signed = browser.post("/api/v1/codes", json={"password": own["new_password"]})

    assert page.status_code == 200 and words.SIGNS_NOTHING.split(":")[0] in text_of(page.text)
    assert [a.status_code for a in unsigned] == [409, 409]
    assert "identity provider's word signs nothing" in unsigned[0].json()["detail"]
    assert on_page.status_code == 422 and "signs nothing" in text_of(on_page.text)
    assert (chosen.status_code, signed.status_code) == (204, 200)
    [goes_on] = browser.get("/api/v1/sessions").json()
    assert goes_on["opened_with"] == "provider"
    assert words.SIGNS_NOTHING.split(":")[0] not in text_of(browser.get("/account").text)


def test_with_a_break_glass_account_nobody_else_signs_in_by_password(
    tmp_path: Path, connection: Connection, provider: FakeProvider
) -> None:
    world = a_world(tmp_path, connection, provider, break_glass="ada")
    world.add_person("ada", Role.ADMINISTRATOR), world.add_person("ann", Role.ANALYST)
    link(world, "ann", "ann-0001")
    typed = {"name": "ann", "password": PASSWORD, "then": "/signals"}

    on_page = a_browser(world).post("/sign-in", data=typed)
    over_api = a_browser(world).post("/api/v1/session", json={"name": "ann", "password": PASSWORD})
    emergency = a_browser(world).post("/sign-in", data=typed | {"name": "ada"})
    browser = a_browser(world)
    come_back(world, provider, browser)

    assert on_page.status_code == 401 and "passwords only sign here" in on_page.text
    assert over_api.status_code == 401 and over_api.json()["reason"] == "provider"
    assert emergency.headers["location"] == "/signals"
    assert browser.post("/api/v1/codes", json={"password": PASSWORD}).status_code == 200
    assert "In an emergency" in a_browser(world).get("/sign-in").text


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"oidc_issuer": "http://example.org"}, "an https:// address"),
        ({"oidc_issuer": "https://u:p@example.org"}, "an https:// address"),
        ({"oidc_issuer": "https://example.org?x"}, "an https:// address"),
        ({"oidc_issuer": "https://[x", "oidc_client_id": "x"}, "address expected"),
        ({"oidc_issuer": "https://example.org"}, "oidc_client_id: expected"),
        ({"oidc_client_id": "x"}, "oidc_issuer: expected"),
        ({"break_glass": "ada"}, "oidc_issuer: expected"),
    ],
)
def test_settings_name_a_provider_whole(settings: dict[str, str], why: str) -> None:
    with pytest.raises(ContractError, match=why):
        read_settings(environment={}, **settings)
