"""S6, A2: workers whose clocks differ, and a session that somebody else has chosen."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from app import clock
from app.central.accounts.models import Role
from app.central.audit import service as audit
from app.central.audit.models import AuditEntry
from app.central.jobs import repository as jobs
from tests.support.fleet import PASSWORD, World, assert_balance

SHIFTED = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>

int clock_gettime(clockid_t which, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int answer = real(which, now);
    if (which == CLOCK_REALTIME) now->tv_sec += atol(getenv("WRONG_BY_S"));
    return answer;
}
"""
WORKER = """
import sys, time
from datetime import timedelta
from app.central.database import open_engine, session_factory
from app.central.jobs.schedule import Every
from app.central.jobs.service import Job, run_due, shared_now
from tests.faults.test_workers import note
factory = session_factory(open_engine(sys.argv[1], pool_size=1))
jobs = {"every": Job("every", Every(timedelta(seconds=1)), note)}
print(int(time.time()), flush=True)
until = time.monotonic() + float(sys.argv[2])
while time.monotonic() < until:
    run_due(factory, jobs, f"wrong by {sys.argv[3]}", shared_now(factory))
    time.sleep(0.05)
"""
HOUR_S = 3600
ROOT = Path(__file__).parents[2]


def note(session: Session, due_at: datetime) -> None:
    """What a run does, at what time by the database's clock."""
    at = session.scalars(select(func.clock_timestamp())).one()
    audit.record(session, actor="job", action="test:job:run", subject=due_at.isoformat(), at=at)


@pytest.fixture
def shifting(tmp_path: Path) -> Path:
    """What makes a process believe another time: a library that is loaded before libc."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler: a process cannot be given a wrong clock")
    (tmp_path / "shifted.c").write_text(SHIFTED)
    made = tmp_path / "shifted.so"
    command = [compiler, "-shared", "-fPIC", tmp_path / "shifted.c", "-o", made, "-ldl"]
    subprocess.run(command, check=True)
    return made


def start(world: World, shifting: Path, wrong_by_s: int) -> subprocess.Popen[str]:
    """A worker whose clock is wrong; it lives for four seconds."""
    url = world.bind.engine.url.render_as_string(hide_password=False)
    environment = {n: v for n, v in os.environ.items() if n != clock.VARIABLE}
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, url, "4", str(wrong_by_s)],
        cwd=ROOT,
        env={**environment, "LD_PRELOAD": str(shifting), "WRONG_BY_S": str(wrong_by_s)},
        stdout=subprocess.PIPE,
        text=True,
    )


def test_s6_workers_whose_clocks_are_an_hour_wrong_do_each_due_time_once_and_in_time(
    committed: World, shifting: Path
) -> None:
    edge = committed.an_edge()
    edge.send(edge.window())
    wrong = (HOUR_S, -HOUR_S, 0)
    workers = [start(committed, shifting, by) for by in wrong]
    believed = [int(w.communicate(timeout=60)[0]) for w in workers]
    assert [w.returncode for w in workers] == [0, 0, 0]
    with committed.sessions() as session:
        done = select(AuditEntry.subject, AuditEntry.at).where(AuditEntry.actor == "job")
        runs = [(datetime.fromisoformat(due), at) for due, at in session.execute(done)]
        unfinished = jobs.unfinished(session, max(due for due, _ in runs))

    assert [round((b - believed[2]) / HOUR_S) for b in believed] == [1, -1, 0]
    due = sorted(due for due, _ in runs)
    assert due == [due[0] + timedelta(seconds=n) for n in range(len(due))]  # each, and once
    assert len(due) >= 3
    assert all(timedelta(0) <= at - due < timedelta(minutes=1) for due, at in runs)  # in time
    assert unfinished == 0
    assert_balance(committed, edge)


def test_a2_a_cookie_given_before_log_in_opens_nothing_after_it(world: World) -> None:
    world.add_person("ann", Role.VIEWER)
    planted = "chosen-by-somebody-else"
    victim = TestClient(world.app, cookies={"lockwatch": planted})

    answer = victim.post("/api/v1/session", json={"name": "ann", "password": PASSWORD})
    thief = TestClient(world.app, cookies={"lockwatch": planted})

    assert answer.cookies["lockwatch"] != planted
    assert thief.get("/api/v1/session").status_code == 401
