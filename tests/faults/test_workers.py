"""S6, A2: workers whose clocks differ, and a session that somebody else has chosen."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from app import clock
from app.central.accounts.models import Role
from app.central.audit import service as audit
from app.central.audit.models import AuditEntry
from app.central.jobs.schedule import Every
from app.central.jobs.service import Job, run_due
from tests.support.fleet import PASSWORD, World

HOUR = timedelta(hours=1)


def note(session: Session, due_at: datetime) -> None:
    audit.record(session, actor="job", action="test:job:run", subject=str(due_at), at=due_at)


def test_s6_workers_whose_clocks_differ_do_each_due_time_once(committed: World) -> None:
    jobs, now = {"hourly": Job("hourly", Every(HOUR), note)}, clock.now()
    run_due(committed.sessions, jobs, "first", now)
    with committed.sessions() as session:
        before = session.scalar(select(func.count()).select_from(AuditEntry)) or 0

    done = 0
    for n in range(1, 7):
        done += run_due(committed.sessions, jobs, "ahead", now + (n + 1) * HOUR)
        done += run_due(committed.sessions, jobs, "right", now + n * HOUR)

    with committed.sessions() as session:
        after = session.scalar(select(func.count()).select_from(AuditEntry)) or 0
    assert done == after - before == 7


def test_a2_a_cookie_given_before_log_in_opens_nothing_after_it(world: World) -> None:
    world.add_person("ann", Role.VIEWER)
    planted = "chosen-by-somebody-else"
    victim = TestClient(world.app, cookies={"lockwatch": planted})

    answer = victim.post("/api/v1/session", json={"name": "ann", "password": PASSWORD})
    thief = TestClient(world.app, cookies={"lockwatch": planted})

    assert answer.cookies["lockwatch"] != planted
    assert thief.get("/api/v1/session").status_code == 401
