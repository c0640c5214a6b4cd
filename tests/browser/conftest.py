"""A real Chromium against a real server; what is absent is named, and its tests are skipped."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
import uvicorn

from app.central.accounts.models import Role
from tests.dashboards.conftest import Scene, scene
from tests.dashboards.pages_examples import await_an_edge, draft_a_report
from tests.support.example_world import load

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from tests.browser.visits import Visit

__all__ = ["scene"]

CHROMIUM = shutil.which("chromium")
QUIET = (
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


class Service:
    """The scene's application on a port of the loopback; 0: whichever is free."""

    def __init__(self, played: Scene, port: int = 0) -> None:
        self.scene = played
        config = uvicorn.Config(
            played.world.app, host="127.0.0.1", port=port, log_level="error", lifespan="off"
        )
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, daemon=True)

    def __enter__(self) -> Service:
        self.thread.start()
        while not self.server.started:
            time.sleep(0.02)
        return self

    def __exit__(self, *_: object) -> None:
        self.server.should_exit = True
        self.thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.servers[0].sockets[0].getsockname()[1]}"


@pytest.fixture(scope="module")
def service(scene: Scene) -> Iterator[Service]:
    scene.browser(Role.QUALITY_APPROVER)
    scene.browser(Role.ADMINISTRATOR)
    draft_a_report(scene)
    await_an_edge(scene)
    load(scene.engine)
    with Service(scene) as running:
        yield running


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("chromium is not installed (make setup installs it as root)")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        yield opened
        opened.close()


@pytest.fixture
def visit(chromium: Browser, service: Service) -> Iterator[Visit]:
    from tests.browser.visits import Visit

    context = chromium.new_context(viewport={"width": 1260, "height": 900})
    context.set_default_timeout(180_000)
    yield Visit(context.new_page(), service)
    context.close()
