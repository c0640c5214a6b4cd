"""A person in Chromium, with everything the page asked for and complained about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.central.accounts.models import Role
from tests.browser.conftest import Service
from tests.dashboards.pages_examples import admin_paths, example_paths, paths
from tests.support.fleet import PASSWORD

if TYPE_CHECKING:
    from playwright.sync_api import Page


class Visit:
    """A page of a person signed in, with everything it asked for and complained about."""

    def __init__(self, page: Page, service: Service) -> None:
        self.page, self.service = page, service
        self.requests: list[str] = []
        self.complaints: list[str] = []
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", self._hear)

    def _hear(self, message: object) -> None:
        kind, text = message.type, message.text  # type: ignore[attr-defined]
        if kind in {"error", "warning"}:
            self.complaints.append(text)

    def open(self, path: str) -> Page:
        self.page.goto(self.service.url + path, wait_until="load")
        return self.page

    def sign_in(self, role: Role = Role.QUALITY_APPROVER) -> None:
        self.page.fill("#name", role.value)
        self.page.fill("#password", PASSWORD)
        self.page.click("main button")


def every_page(service: Service) -> dict[Role, dict[str, str]]:
    """Every page, under somebody who may open it."""
    return {
        Role.QUALITY_APPROVER: paths(service.scene),
        Role.ADMINISTRATOR: admin_paths(service.scene) | example_paths(),
    }


def drawn(page: Page) -> None:
    """Wait until every live figure has been drawn."""
    # A selector, not a function: the policy forbids to evaluate strings.
    page.wait_for_selector("figure[data-live]:not([data-drawn])", state="detached")


def reach(page: Page, selector: str) -> None:
    """Go on by Tab until the element has the focus."""
    wanted = selector.removeprefix("#")
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == wanted:
            return
    raise AssertionError(f"{selector} cannot be reached by the keyboard")
