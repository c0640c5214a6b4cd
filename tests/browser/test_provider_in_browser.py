"""Signing in with an identity provider of another site, in a real browser, under our policy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import Engine

from app.central.accounts.models import Role
from tests.browser.conftest import Service
from tests.browser.test_accessibility import violations
from tests.browser.visits import Visit
from tests.conftest import Clock
from tests.dashboards.conftest import Scene
from tests.dashboards.test_provider_sign_in import a_world, link
from tests.support.identity_provider import FakeProvider
from tests.support.ports import a_free_port

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser


@pytest.fixture
def provider(simulated_clock: Clock) -> Iterator[FakeProvider]:
    with FakeProvider("localhost") as running:  # another site than 127.0.0.1
        yield running


@pytest.fixture
def service(
    tmp_path: Path, fresh_database: Engine, provider: FakeProvider, simulated_clock: Clock
) -> Iterator[Service]:
    port = a_free_port()
    url = f"http://127.0.0.1:{port}"
    world = a_world(tmp_path, fresh_database, provider, base_url=url, break_glass="ada")
    world.add_person("ann", Role.ANALYST), world.add_person("ada", Role.ADMINISTRATOR)
    link(world, "ann", "ann-0001")
    with Service(Scene(world, simulated_clock, ()), port) as running:
        yield running


def test_the_button_leads_there_and_back_to_where_one_was_going(visit: Visit) -> None:
    page = visit.open("/signals?show=all")
    page.get_by_role("link", name="Sign in with Example SSO").focus()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Continue").click()
    page.wait_for_url(f"{visit.service.url}/signals?show=all")

    names = {c["name"]: c for c in page.context.cookies(visit.service.url)}

    assert page.locator(".who").inner_text().startswith("Ann Person")
    assert set(names) == {"lockwatch"} and names["lockwatch"]["httpOnly"]
    page.reload()
    assert page.locator("h1").inner_text() == "Signals"
    assert visit.complaints == []


def test_a_stranger_reads_the_identity_to_give_to_an_administrator(
    visit: Visit, provider: FakeProvider
) -> None:
    provider.subject = "f3a1c2d4-0007"
    page = visit.open("/sign-in")
    page.get_by_role("link", name="Sign in with Example SSO").click()
    page.get_by_role("button", name="Continue").click()
    page.wait_for_selector("text=Sign-in refused")

    assert "f3a1c2d4-0007" in page.locator("main").inner_text()
    assert page.context.cookies(visit.service.url)[0]["name"] == "lockwatch-sign-in"
    assert [c for c in visit.complaints if "403" not in c] == []


def test_the_sign_in_page_with_a_provider_breaks_no_rule(
    chromium: Browser, service: Service
) -> None:
    context = chromium.new_context(bypass_csp=True)
    page = context.new_page()
    page.goto(service.url + "/sign-in")
    page.locator("summary").click()

    found = violations(page)
    context.close()

    assert found == []
