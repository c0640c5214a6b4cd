"""A person in a real browser, from the link in the mail to the signed decision and the report."""

from __future__ import annotations

import re
from email import message_from_bytes
from email.policy import default
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from sqlalchemy import select

from app import clock
from app.central.alerts.models import OutboxMail
from app.central.reports import drafting
from dashboards.render import renderers
from tests.browser.conftest import Service
from tests.browser.visits import Visit, drawn, every_page, reach
from tests.support.fleet import PASSWORD

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = [
    pytest.mark.browser,
    pytest.mark.filterwarnings("ignore:.*sRGB2014.icc:ResourceWarning"),
]


def test_every_page_asks_only_this_service_and_breaks_no_rule(visit: Visit) -> None:
    for role, pages in every_page(visit.service).items():
        visit.open("/sign-in")
        visit.sign_in(role)
        for path in pages.values():
            drawn(visit.open(path))

    hosts = {urlsplit(url).netloc for url in visit.requests if not url.startswith("data:")}
    assert hosts == {urlsplit(visit.service.url).netloc}
    assert visit.complaints == []


def test_a_style_that_the_policy_forbids_is_a_complaint(visit: Visit) -> None:
    """Planted: a page with such a style would fail the test above."""
    page = visit.open("/sign-in")
    assert visit.complaints == []

    page.evaluate(
        "document.head.append(Object.assign(document.createElement('style'),"
        "{textContent: 'p { color: red }'}))"
    )

    assert len(visit.complaints) == 1
    assert "Content Security Policy" in visit.complaints[0]


def test_charts_are_drawn_live_without_any_way_to_share_them(visit: Visit) -> None:
    visit.open("/signals/S-0001")
    visit.sign_in()
    page = visit.page
    drawn(page)

    assert page.locator("figure.live .plot svg.main-svg").count() > 0
    assert page.locator(".modebar").count() == 0
    assert page.get_by_text("Share chart").count() == 0
    assert page.locator("figure.live .static").first.is_hidden()
    assert page.locator(".plot").first.get_attribute("aria-hidden") == "true"


def test_on_paper_the_static_figure_takes_the_place_of_the_live_one(visit: Visit) -> None:
    visit.open("/signals/S-0001")
    visit.sign_in()
    drawn(visit.page)

    visit.page.emulate_media(media="print")

    assert visit.page.locator("figure.live .static").first.is_visible()
    assert visit.page.locator("figure.live .plot").first.is_hidden()
    assert visit.page.locator("header.top").is_hidden()


def test_no_page_is_wider_than_a_narrow_screen(chromium: Browser, service: Service) -> None:
    widths = {}
    for role, pages in every_page(service).items():
        context = chromium.new_context(viewport={"width": 320, "height": 640})
        context.set_default_timeout(180_000)
        visit = Visit(context.new_page(), service)
        visit.open("/")
        visit.sign_in(role)
        for path in pages.values():
            widths[path] = visit.open(path).evaluate("document.documentElement.scrollWidth")
        context.close()

    assert {path: width for path, width in widths.items() if width > 320} == {}


def test_the_keyboard_is_enough_to_pass_the_navigation(visit: Visit) -> None:
    visit.open("/")
    visit.sign_in()
    page = visit.open("/signals")

    page.keyboard.press("Tab")
    first = page.evaluate("document.activeElement.textContent")
    page.keyboard.press("Enter")
    for _ in range(10):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.getAttribute('href')") == "/signals/S-0001":
            break
    page.keyboard.press("Enter")
    page.wait_for_url("**/signals/S-0001")

    assert first == "To the content"


def test_without_javascript_everything_is_there(chromium: Browser, service: Service) -> None:
    context = chromium.new_context(java_script_enabled=False)
    context.set_default_timeout(180_000)
    visit = Visit(context.new_page(), service)
    visit.open("/signals/S-0001")
    visit.sign_in()

    page = visit.page
    assert page.locator("figure svg").first.is_visible()
    assert page.locator("#password").is_visible()
    page.locator("summary").first.click()
    assert page.locator("figure table").first.is_visible()
    context.close()


def test_from_the_mail_to_the_signed_decision_and_the_report(visit: Visit) -> None:
    with visit.service.scene.world.sessions() as session:
        [raw] = session.scalars(select(OutboxMail.message)).all()
    mail = message_from_bytes(raw, policy=default)
    body = mail.get_body(("plain",))
    assert body is not None
    [link] = re.findall(r"http://\S+", body.get_content())

    visit.open(urlsplit(link).path)
    visit.sign_in()
    page = visit.page
    page.fill("#password", PASSWORD)
    page.click("text=Take this signal")
    page.wait_for_selector("text=under assessment")
    page.select_option("#verdict", "confirm")
    page.select_option("#cause", "scanner")
    page.fill("#rationale", "Images of both weeks were compared: the edges are sharper now.")
    page.fill("#password", "not my password")
    page.click("text=Sign decision")
    page.wait_for_selector("[data-errors]")
    refused = page.locator("[data-errors]").inner_text()
    focus = page.evaluate("document.activeElement.hasAttribute('data-errors')")
    kept = page.input_value("#rationale")
    page.fill("#password", PASSWORD)
    page.click("text=Sign decision")
    page.wait_for_selector("text=the edges are sharper now")
    page.goto(visit.service.url + "/reports")
    page.fill("#start", "2026-03-01")
    page.fill("#end", "2026-03-16")
    page.click("text=Draft report >> visible=true")
    page.wait_for_selector("text=Being drafted")
    page.goto(visit.service.url + "/reports")  # left, and found again
    page.click("text=DR-0002")
    page.wait_for_selector("text=Being drafted")
    scene = visit.service.scene
    drafting.draft_waiting(scene.world.sessions, renderers().report, clock.now())
    page.wait_for_selector('a[href="/reports/DR-0002.pdf"]')  # the page has looked again

    assert "not yours" in refused and focus and kept.startswith("Images of both weeks")
    decisions = scene.signal("S-0001").decisions
    assert {(d.action.value, d.cause) for d in decisions} == {
        ("start_assessment", ""),
        ("confirm", "scanner"),
    }
    assert page.locator("#meaning option").count() == 2  # its author may only withdraw it
    assert [c for c in visit.complaints if "422" not in c] == []


def test_a_report_is_reviewed_with_the_keyboard_alone(visit: Visit) -> None:
    visit.open("/reports/DR-0001")
    visit.sign_in()
    page = visit.page

    reach(page, "#meaning")
    page.keyboard.type("review")
    reach(page, "#password")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_selector("text=reviewed, waits for approval")

    assert page.locator("text=Signed by Quality_Approver Person").is_visible()
