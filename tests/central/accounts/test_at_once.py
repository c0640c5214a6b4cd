"""Two administrators who make the same thing at the same instant: one does, one is told why not."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from app import clock
from app.central.accounts import identities, people
from app.central.accounts.models import Role
from app.central.alerts.models import Severity
from app.central.alerts.service import add_recipient
from app.central.fleet import service as fleet
from tests.conftest import Clock
from tests.support.fleet import World

ISSUER = "https://id.example.org"


@pytest.fixture
def committed(tmp_path: Path, fresh_database: Engine, simulated_clock: Clock) -> World:
    return World(tmp_path, fresh_database, oidc_issuer=ISSUER, oidc_client_id="lockwatch")


def account(session: Session) -> None:
    people.invite(session, "new", "New", Role.VIEWER, None, by="first", now=clock.now())


def identity(session: Session) -> None:
    identities.link(session, "ann", ISSUER, "subject-1", by="first", now=clock.now())


def site(session: Session) -> None:
    fleet.add_site(session, "H01", "Hospital", "UTC", by="first", now=clock.now())


def recipient(session: Session) -> None:
    add_recipient(session, "q@example.org", Severity.NOTICE, by="first", now=clock.now())


@pytest.mark.parametrize(
    ("first", "method", "path", "body", "why"),
    [
        (
            account,
            "POST",
            "/api/v1/accounts",
            {"name": "new", "full_name": "Other", "role": "viewer", "password": "a" * 12},
            "account new exists",
        ),
        (
            identity,
            "PUT",
            "/api/v1/accounts/bob/identity",
            {"subject": "subject-1"},
            "linked to somebody at the same moment",
        ),
        (
            site,
            "POST",
            "/api/v1/sites",
            {"id": "H01", "name": "Other", "timezone": "UTC"},
            "site H01 exists",
        ),
        (
            recipient,
            "POST",
            "/api/v1/recipients",
            {"address": "q@example.org", "least_severity": "urgent"},
            "this address is told already",
        ),
    ],
)
def test_of_two_at_the_same_instant_the_second_is_told_why_not(
    committed: World,
    first: Callable[[Session], None],
    method: str,
    path: str,
    body: dict[str, str],
    why: str,
) -> None:
    for name in ("ann", "bob"):
        committed.add_person(name, Role.VIEWER)
    admin = committed.browser("adm", Role.ADMINISTRATOR)

    with ThreadPoolExecutor(1) as pool:
        with committed.sessions.begin() as session:
            first(session)
            second = pool.submit(admin.request, method, path, json=body)
            until_somebody_waits(committed)
        answer = second.result()

    assert (answer.status_code, answer.json()["title"]) == (409, "Not allowed now")
    assert why in answer.json()["detail"]


def until_somebody_waits(world: World) -> None:
    """Until the second has come as far as the first's row, which is not committed yet."""
    waiting = text("SELECT 1 FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'")
    for _ in range(1000):
        with world.sessions() as session:
            if session.scalar(waiting):
                return
        time.sleep(0.01)
    raise AssertionError("the second never waited")
