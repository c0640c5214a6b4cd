"""An evaluation that somebody asks for: the same job and engine, found again, never run twice."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

from sqlalchemy import func, select
from starlette.testclient import TestClient

from app import clock
from app.central.accounts.models import Role
from app.central.audit import service as audit
from app.central.jobs import repository as jobs
from app.central.jobs.models import JobRun
from app.central.surveillance import on_demand, service
from app.central.surveillance.models import Evaluation
from app.central.worker import Worker
from tests.central.surveillance.conftest import Watched
from tests.support.fleet import World
from tests.support.rendering import RENDERERS


def a_worker(world: World) -> Worker:
    return Worker(world.settings, world.sessions, RENDERERS)


def path(world: World) -> str:
    return f"/api/v1/device-versions/{world.lock_digest}/evaluations"


def asked(browser: TestClient, world: World) -> Any:
    answer = browser.post(path(world))
    assert answer.status_code == 202, answer.text
    return answer


def evaluations(world: World) -> int:
    with world.sessions() as session:
        return session.scalar(select(func.count()).select_from(Evaluation)) or 0


def test_a_job_is_found_again_and_done_by_a_worker(watched: Watched) -> None:
    world = watched.world
    a_worker(world).round()
    watched.clock.advance(hours=5)
    ann = world.browser("ann", Role.ANALYST)

    answer = asked(ann, world)
    where = answer.headers["location"]
    before = ann.get(where)
    a_worker(world).round()

    assert before.json() == answer.json()
    assert (before.json()["state"], ann.get(where).json()["state"]) == ("due", "done")
    found = ann.get(f"/api/v1/device-versions/{world.lock_digest}/evaluation").json()
    assert found["upto"] == clock.now().date().isoformat()
    with world.sessions() as session:
        [line] = [x for x in audit.lines(session) if x.action == "surveillance:evaluation:ask"]
    assert (line.actor, line.subject) == ("ann", world.lock_digest)


def test_before_six_the_day_before_is_evaluated(watched: Watched) -> None:
    world = watched.world
    a_worker(world).round()
    early = watched.clock.set(clock.now().replace(hour=5) + timedelta(days=1))
    asked(world.browser("ann", Role.ANALYST), world)

    a_worker(world).round()

    with world.sessions() as session:
        found = service.last_evaluation(session, world.lock_digest)
    assert found is not None and found.upto == early.date() - timedelta(days=1)


def test_asked_twice_it_is_one_job_until_a_worker_takes_it(watched: Watched) -> None:
    world = watched.world
    a_worker(world).round()
    watched.clock.advance(hours=5)
    ann = world.browser("ann", Role.ANALYST)

    with ThreadPoolExecutor(4) as pool:
        runs = [a.json() for a in pool.map(lambda _: asked(ann, world), range(4))]
    a_worker(world).round()
    again = asked(ann, world).json()

    assert len({run["due_at"] for run in runs}) == 1
    assert (again["state"], again["due_at"]) != ("done", runs[0]["due_at"])


def test_the_same_input_is_evaluated_once_however_often_it_is_asked(watched: Watched) -> None:
    world = watched.world
    a_worker(world).round()
    watched.clock.set(clock.now().replace(hour=6))
    a_worker(world).round()  # the planned one
    planned = evaluations(world)
    watched.clock.advance(hours=2)

    ann = world.browser("ann", Role.ANALYST)
    for _ in range(2):
        asked(ann, world)
        a_worker(world).round()

    assert planned == 1
    assert evaluations(world) == planned
    with world.sessions() as session:
        runs = session.scalars(
            select(JobRun).where(JobRun.job == on_demand.job_name(world.lock_digest))
        ).all()
    assert [run.state.value for run in runs] == ["done"] * 3


def test_two_at_once_are_evaluated_once(watched: Watched) -> None:
    world, day = watched.world, clock.now().date()

    def evaluate(_: int) -> str:
        with world.sessions.begin() as session:
            found = service.evaluate(
                session, world.lock_digest, day, announce=lambda *_: None, now=clock.now()
            )
            assert found is not None
            return found.input_digest

    with ThreadPoolExecutor(3) as pool:
        digests = set(pool.map(evaluate, range(3)))

    assert len(digests) == evaluations(world) == 1


def test_who_may_ask_and_of_what(world: World) -> None:
    world.add_site()
    viewer, ann = world.browser("vic", Role.VIEWER), world.browser("ann", Role.ANALYST)

    assert viewer.post(path(world)).status_code == 403
    answer = ann.post(path(world))
    assert answer.status_code == 409
    assert "approved reference" in answer.json()["detail"]
    unknown = f"/api/v1/device-versions/{'0' * 64}/evaluations"
    assert ann.post(unknown).status_code == 404
    assert viewer.get("/api/v1/jobs/no.job/2026-03-01T00:00:00Z").status_code == 404
    assert viewer.get("/api/v1/jobs/no.job/2026-03-01T00:00:00").status_code == 422


def test_what_is_running_is_not_what_was_asked_for_later(watched: Watched) -> None:
    # A run that began before a reference was approved does not know it; the next one does.
    world = watched.world
    a_worker(world).round()
    watched.clock.advance(hours=5)
    ann = world.browser("ann", Role.ANALYST)
    first = asked(ann, world).json()
    with world.sessions.begin() as session:
        claimed = jobs.claim(session, [first["job"]], "worker", timedelta(minutes=10), 5)
    assert claimed is not None

    second = asked(ann, world).json()

    assert (second["due_at"] != first["due_at"], second["state"]) == (True, "due")
