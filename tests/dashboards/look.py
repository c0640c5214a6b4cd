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

from app.central.accounts.models import Role
from tests.browser.conftest import QUIET, Service
from tests.dashboards.conftest import Scene, a_scene
from tests.dashboards.pages_examples import draft_a_report, paths
from tests.support.fleet import PASSWORD
from tests.support.postgres import Databases, SharedServer

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
            page = browser.new_page(viewport={"width": width, "height": 800})
            page.goto(service.url + "/sign-in")
            page.screenshot(path=folder / f"sign-in-{view}.png", full_page=True)
            page.fill("#name", Role.QUALITY_APPROVER.value)
            page.fill("#password", PASSWORD)
            page.click("main button")
            for name, path in paths(service.scene).items():
                if wanted in name:
                    page.goto(service.url + path, wait_until="load")
                    page.wait_for_selector(
                        "figure[data-live]:not([data-drawn])", state="detached"
                    ) if width > 640 else None
                    page.screenshot(path=folder / f"{name}-{view}.png", full_page=True)
                    if view == "wide":
                        page.emulate_media(media="print")
                        page.screenshot(path=folder / f"{name}-print.png", full_page=True)
                        page.emulate_media(media="screen")
        browser.close()


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    with played() as scene:
        scene.browser(Role.QUALITY_APPROVER)
        draft_a_report(scene)
        with Service(scene) as running:
            photograph(running, target, sys.argv[2] if len(sys.argv) > 2 else "")
