"""Attempts to get into an account: each in the trail, told at once, never a flood."""

from __future__ import annotations

import mailbox
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from app import clock
from app.central.accounts import people
from app.central.accounts.models import Role
from app.central.alerts.models import Severity
from app.central.alerts.service import add_recipient
from app.central.audit.service import AuditLine, lines
from app.central.worker import Worker
from tests.conftest import Clock
from tests.support.fleet import PASSWORD, World
from tests.support.rendering import RENDERERS


def attempt(world: World, name: str, password: str = "a wrong password") -> int:
    body = {"name": name, "password": password}
    return int(world.client.post("/api/v1/session", json=body).status_code)


def failures(world: World, name: str) -> list[AuditLine]:
    """What the trail holds of attempts that failed, the oldest first."""
    verbs = ("accounts:session:failed", "accounts:session:locked")
    with world.sessions() as session:
        found = [line for line in lines(session, subject=name) if line.action in verbs]
    return found[::-1]


def test_every_failed_log_in_to_an_account_is_in_the_trail(world: World) -> None:
    world.add_person("ann", Role.VIEWER)

    for _ in range(2):
        assert attempt(world, "ann") == 401
    assert attempt(world, "ann", PASSWORD) == 200
    assert attempt(world, "ann") == 401

    found = failures(world, "ann")
    assert [line.detail["failed_attempts"] for line in found] == [1, 2, 1]
    assert {line.actor for line in found} == {"not authenticated"}
    assert {line.detail["to"] for line in found} == {"log in"}


def test_a_wrong_password_at_signing_is_in_the_trail_too(
    tmp_path: Path, fresh_database: Engine, simulated_clock: Clock
) -> None:
    world = World(tmp_path, fresh_database)  # real commits: the refused request is rolled back
    browser = world.browser("ann", Role.VIEWER)

    body = {"password": "a wrong password", "new_password": "another horse battery"}
    assert browser.put("/api/v1/account/password", json=body).status_code == 401

    [line] = failures(world, "ann")
    assert (line.actor, line.detail["to"]) == ("ann", "sign")


def test_a_disabled_account_is_no_quieter_and_opens_for_no_password(world: World) -> None:
    world.add_person("ann", Role.VIEWER)
    with world.sessions.begin() as session:
        people.disable(session, "ann", by="adm", now=_now())

    assert attempt(world, "ann", PASSWORD) == 401

    [line] = failures(world, "ann")
    assert line.detail["disabled"] is True


def test_a_flood_of_guesses_writes_few_entries_and_of_unknown_names_none(
    world: World, simulated_clock: Clock
) -> None:
    world.add_person("ann", Role.VIEWER)
    with world.sessions() as session:
        before = len(lines(session))

    for _ in range(120):  # an hour, an attempt every 30 seconds
        attempt(world, "ann")
        attempt(world, "nobody")
        simulated_clock.advance(seconds=30)

    found = failures(world, "ann")
    with world.sessions() as session:
        assert len(lines(session)) == before + len(found)
    assert len(found) == 11  # four free ones, then after 0.5, 1, 2, … minutes
    assert {line.action for line in found[4:]} == {"accounts:session:locked"}


def subjects(folder: Path) -> list[str]:
    told = mailbox.Maildir(folder / "mail")
    return [str(m["Subject"]).splitlines()[0] for m in told]


@pytest.mark.parametrize(("guesses", "told"), [(4, 0), (5, 1)])
def test_who_is_on_duty_is_told_of_a_locked_account_once_a_day(
    world: World, simulated_clock: Clock, tmp_path: Path, guesses: int, told: int
) -> None:
    world.add_person("ann", Role.VIEWER)
    with world.sessions.begin() as session:
        add_recipient(session, "q@example.org", Severity.URGENT, by="adm", now=_now())
    worker = Worker(world.settings, world.sessions, RENDERERS)
    worker.round()
    for _ in range(guesses):
        attempt(world, "ann")

    for _ in range(3):
        simulated_clock.advance(minutes=5)
        attempt(world, "ann", PASSWORD)  # a success does not hide it
        worker.round()

    assert subjects(tmp_path) == ["Account ann is locked after wrong passwords"] * told


def _now() -> datetime:

    return clock.now() - timedelta(seconds=1)
