"""axe-core in Chromium over every page: WCAG 2.2, levels A and AA."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.conftest import Service
from tests.browser.visits import Visit, drawn, every_page

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [
    pytest.mark.browser,
    pytest.mark.filterwarnings("ignore:.*sRGB2014.icc:ResourceWarning"),
]
TAGS = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa")
WIDTHS = (1260, 320)


def violations(page: Page) -> list[str]:
    """What axe holds against the page, with the first element of each."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    found: dict[str, Any] = axe.run(page, options={"runOnly": list(TAGS)}).response
    assert found["passes"], "axe looked at nothing"
    return [f"{v['id']}: {v['nodes'][0]['html'][:200]}" for v in found["violations"]]


@pytest.mark.parametrize("width", WIDTHS)
def test_no_page_breaks_a_rule_that_axe_can_check(
    chromium: Browser, service: Service, width: int
) -> None:
    found: dict[str, list[str]] = {}
    for role, pages in every_page(service).items():
        # Only here the policy is set aside: axe is a script that is put into the page.
        context = chromium.new_context(viewport={"width": width, "height": 900}, bypass_csp=True)
        context.set_default_timeout(180_000)
        visit = Visit(context.new_page(), service)
        visit.open("/")
        found["sign-in"] = violations(visit.page)
        visit.sign_in(role)
        for name, path in pages.items():
            page = visit.open(path)
            if width > 640:
                drawn(page)
            found[name] = violations(page)
        context.close()

    assert {name: broken for name, broken in found.items() if broken} == {}


def test_axe_sees_a_planted_fault(chromium: Browser, service: Service) -> None:
    context = chromium.new_context(bypass_csp=True)
    page = context.new_page()
    page.goto(service.url + "/sign-in")
    page.evaluate("document.querySelector('label[for=name]').remove()")
    page.evaluate("document.querySelector('h1').style.color = '#ddd'")

    found = violations(page)
    context.close()

    assert {line.split(":")[0] for line in found} == {"label", "color-contrast"}
