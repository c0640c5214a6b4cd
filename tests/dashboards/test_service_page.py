"""The service's own page: what is late, what waits, how large it is, and what is kept."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection
from starlette.testclient import TestClient

from app import clock
from app.central import upkeep
from app.central.accounts.models import Role
from app.central.alerts import service as alerts
from app.central.alerts.ports import RenderedMail
from app.central.worker import Worker
from dashboards import wording_admin as words
from dashboards.render import renderers
from dashboards.web import install
from tests.conftest import Clock
from tests.support.fleet import World

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)


@pytest.fixture
def world(tmp_path: Path, connection: Connection, simulated_clock: Clock) -> World:
    made = World(tmp_path, connection)
    made.app.state.renderers = renderers()
    install(made.app)
    return made


def text_of(browser: TestClient) -> str:
    page = browser.get("/admin/service").text.split('<main id="main">')[1]
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


def test_without_a_worker_it_says_that_nothing_is_done(world: World) -> None:
    shown = text_of(world.browser("lead", Role.ADMINISTRATOR))

    assert "No worker is at work: nothing is evaluated or mailed." in shown
    assert "No worker has ever run." in shown
    assert "Last copy none made" in shown
    assert "lockwatch 0.1.0" in shown
    assert re.search(r"Schema of the database \S+ PostgreSQL 1\d", shown)
    assert re.search(r"Largest tables .*audit entry [\d.]+ KiB", shown)


def test_jobs_workers_and_mails_are_shown_as_they_stand(
    world: World, simulated_clock: Clock
) -> None:
    worker = Worker(world.settings, world.sessions, renderers())
    worker.round()
    simulated_clock.advance(hours=1)
    worker.round()
    with world.sessions.begin() as session:
        mail = RenderedMail("subject", "text", "html")
        alerts.enqueue(session, "test:1", "a@example.org", mail, "b@example.org", clock.now())
        upkeep.note_copy(session, Path("/x/copy-7"), by="lead", now=clock.now())
    browser = world.browser("lead", Role.ADMINISTRATOR)

    shown = text_of(browser)
    simulated_clock.advance(days=2)
    later = text_of(world.browser("again", Role.ADMINISTRATOR))

    assert "A worker is at work. No run is overdue." in shown
    assert "fleet.watch 2026-03-10 13:00 UTC done 1 2026-03-10 13:00 UTC –" in shown
    assert worker.name in shown
    assert f"{words.MAIL_STATES[next(iter(words.MAIL_STATES))]} 1 2026-03-10 13:00 UTC" in shown
    assert "Last copy 2026-03-10 13:00 UTC, within the last day" in shown
    assert "No worker is at work" in later
    assert "2 days ago" in later


def test_only_administrators_see_it(world: World) -> None:
    for role in Role:
        status = world.browser(role.value, role).get("/admin/service").status_code
        assert status == (200 if role is Role.ADMINISTRATOR else 403), role


def test_retention_says_what_is_removed_and_by_which_job(world: World) -> None:
    worker = Worker(world.settings, world.sessions, renderers())
    names = {job.name for job in worker._housekeeping()}

    removing = [rule for rule in upkeep.RULES if rule.kept is not None]

    assert removing
    assert {rule.removed_by for rule in removing} <= names
    assert all(not rule.removed_by for rule in upkeep.RULES if rule.kept is None)


@pytest.mark.parametrize(
    ("size", "shown"),
    [(0, "0 bytes"), (1023, "1023 bytes"), (1024, "1.0 KiB"), (5 << 30, "5.0 GiB")],
)
def test_sizes_can_be_read(size: int, shown: str) -> None:
    assert words.bytes_of(size) == shown


@pytest.mark.parametrize(
    ("life", "shown"),
    [(None, "for ever"), (timedelta(minutes=30), "30 minutes"), (timedelta(hours=12), "12 hours")],
)
def test_how_long_is_said_in_words(life: timedelta | None, shown: str) -> None:
    assert words.kept(life) == shown
