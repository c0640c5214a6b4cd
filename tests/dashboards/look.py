"""Pictures of every page, to be looked at: `python -m tests.dashboards.look FOLDER`.

Plays the scene of the tests, serves it, and photographs each page in Chromium: wide, narrow and
as it prints.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from app.central.accounts.models import Role
from tests.browser.conftest import QUIET, Service
from tests.browser.visits import drawn, every_page
from tests.dashboards.conftest import Scene, a_scene
from tests.dashboards.pages_examples import await_an_edge, draft_a_report
from tests.support.example_world import load
from tests.support.fleet import PASSWORD
from tests.support.postgres import Databases, SharedServer

if TYPE_CHECKING:
    from playwright.sync_api import Page

VIEWS = {"wide": 1280, "narrow": 320}


@contextmanager
def played() -> Iterator[Scene]:
    """The scene on a server of its own."""
    with ExitStack() as stack:
        shared = SharedServer()
        stack.callback(shared.stop)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        yield stack.enter_context(a_scene(Databases.on(shared.server), folder))


def photograph(service: Service, folder: Path, wanted: str) -> None:
    """One picture a page and view."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        chromium = shutil.which("chromium")
        browser = driver.chromium.launch(executable_path=chromium, args=list(QUIET))
        for view, width in VIEWS.items():
            for role, pages in every_page(service).items():
                page = browser.new_page(viewport={"width": width, "height": 800})
                page.goto(service.url + "/sign-in")
                page.screenshot(path=folder / f"sign-in-{view}.png", full_page=True)
                page.fill("#name", role.value)
                page.fill("#password", PASSWORD)
                page.click("main button")
                for name, path in pages.items():
                    if wanted in name:
                        page.goto(service.url + path, wait_until="load")
                        take(page, folder, name, view)
        browser.close()


def take(page: Page, folder: Path, name: str, view: str) -> None:
    """A page as it is, and wide ones as they print, too."""
    if view == "wide":
        drawn(page)
    page.screenshot(path=folder / f"{name}-{view}.png", full_page=True)
    if view == "wide":
        page.emulate_media(media="print")
        page.screenshot(path=folder / f"{name}-print.png", full_page=True)
        page.emulate_media(media="screen")


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    with played() as scene:
        for who in (Role.QUALITY_APPROVER, Role.ADMINISTRATOR):
            scene.browser(who)
        draft_a_report(scene)
        await_an_edge(scene)
        load(scene.engine)
        with Service(scene) as running:
            photograph(running, target, sys.argv[2] if len(sys.argv) > 2 else "")
