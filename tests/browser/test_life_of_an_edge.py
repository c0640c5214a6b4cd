"""An administrator in a real browser: from the code to the approved edge, and a second factor."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyotp
import pytest

from app import clock
from app.central.accounts.models import Role
from app.central.fleet import service as fleet
from app.central.fleet.models import EdgeState
from tests.browser.conftest import Service
from tests.browser.test_accessibility import violations
from tests.browser.visits import Visit, reach
from tests.dashboards.conftest import QUIET_SITE
from tests.support.fleet import PASSWORD, FakeEdge

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = [
    pytest.mark.browser,
    pytest.mark.filterwarnings("ignore:.*sRGB2014.icc:ResourceWarning"),
]


def test_an_edge_is_brought_in_with_the_keyboard_alone(visit: Visit) -> None:
    world = visit.service.scene.world
    visit.open("/")
    visit.sign_in(Role.ADMINISTRATOR)
    page = visit.page

    page.get_by_role("link", name="Admin", exact=True).focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/admin/enrolment")
    reach(page, "#code-site")
    page.keyboard.type(QUIET_SITE)
    reach(page, "#code-version")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector("code.secret")
    edge = FakeEdge(world)
    edge.enrol(page.locator("code.secret").inner_text())
    visit.open(f"/admin/enrolment/edges/{edge.edge_id}")
    reach(page, "#fingerprint")
    page.keyboard.type("00" * 32)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector("[data-errors]")
    refused = page.locator("[data-errors]").inner_text()
    has_focus = page.evaluate("document.activeElement.hasAttribute('data-errors')")
    page.fill("#fingerprint", "")
    page.focus("#fingerprint")
    page.keyboard.type(edge.key.key_id)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=its windows count")

    assert "not that of the key" in refused and has_focus
    with world.sessions() as session:
        assert fleet.edge_view(session, edge.edge_id).state is EdgeState.ACTIVE
    assert [c for c in visit.complaints if "422" not in c] == []


def test_what_is_shown_once_and_what_is_refused_break_no_rule_of_axe(
    chromium: Browser, service: Service
) -> None:
    # Only here the policy is set aside: axe is a script that is put into the page.
    context = chromium.new_context(viewport={"width": 320, "height": 800}, bypass_csp=True)
    context.set_default_timeout(180_000)
    visit = Visit(context.new_page(), service)
    visit.open("/admin/accounts")
    visit.sign_in(Role.ADMINISTRATOR)
    page, found = visit.page, {}

    page.goto(service.url + "/admin/accounts")
    page.fill("#name", "nia")
    page.fill("#full_name", "Nia Near")
    page.select_option("#role", "site_admin")
    page.click("text=Add person")
    page.wait_for_selector("code.secret")
    given, found["password shown"] = page.locator("code.secret").inner_text(), violations(page)
    width = page.evaluate("document.documentElement.scrollWidth")
    visit.open("/account")
    page.fill("#codes-password", PASSWORD)
    page.click("text=Set up one-time codes")
    page.wait_for_selector("svg.qr")
    secret, found["QR code"] = page.locator("code.secret").inner_text(), violations(page)
    widths = [width, page.evaluate("document.documentElement.scrollWidth")]
    page.fill("#code", "000000")
    page.click("text=Confirm")
    page.wait_for_selector("[data-errors]")
    found["code refused"] = violations(page)
    page.fill("#code", pyotp.TOTP(secret.replace(" ", "")).at(clock.now()))
    page.click("text=Confirm")
    page.wait_for_selector("text=the next sign-in asks for one")
    page.fill("#codes-end-password", PASSWORD)
    page.click("text=End one-time codes")
    page.wait_for_selector("text=One-time codes are ended")
    page.click("text=Sign out")
    page.fill("#name", "nia")
    page.fill("#password", given)
    page.click("main button")
    page.wait_for_url("**/account/password")
    found["password due"] = violations(page)
    context.close()

    assert {name: broken for name, broken in found.items() if broken} == {}
    assert max(widths) <= 320
