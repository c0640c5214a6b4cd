"""C9: what is stored of one edge cannot be read; that edge is told of, the others are evaluated."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import func, select, text

from app import clock
from app.central.audit.service import lines
from app.central.intake.models import StoredWindow
from app.central.jobs import service as jobs
from app.central.surveillance import service
from app.central.surveillance.models import Evaluation
from app.central.surveillance.on_demand import job_name
from app.central.worker import Worker
from tests.central.surveillance.conftest import MONITORED_FROM, Watched
from tests.central.surveillance.conftest import played as played
from tests.central.surveillance.conftest import watched as watched
from tests.support.fleet import World, assert_balance, assert_ledger
from tests.support.rendering import RENDERERS


def stored(world: World) -> int:
    with world.sessions() as session:
        return session.scalar(select(func.count()).select_from(StoredWindow)) or 0


def evaluated(world: World) -> int:
    """Windows that the newest evaluation has looked at."""
    with world.sessions() as session:
        newest = select(Evaluation.windows).order_by(Evaluation.upto.desc()).limit(1)
        return session.scalar(newest) or 0


def states(world: World) -> set[str]:
    with world.sessions() as session:
        runs = jobs.recent_runs(session)
    return {run.state.value for run in runs if run.job == job_name(world.lock_digest)}


def test_c9_an_edge_whose_data_cannot_be_read_stops_no_other(watched: Watched) -> None:
    world, first = watched.world, watched.edge
    second = world.an_edge("H02")
    worker = Worker(world.settings, world.sessions, RENDERERS)
    worker.round()
    for edge in (first, second):
        edge.send(edge.window(MONITORED_FROM))
    newest = {"edge": first.edge_id, "sequence": first.sequence}
    where = "WHERE edge_id = :edge AND sequence = :sequence"
    with world.sessions.begin() as session:
        raw = session.scalar(text(f"SELECT raw FROM stored_window {where}"), newest)
        session.execute(text(f"UPDATE stored_window SET raw = ''::bytea {where}"), newest)

    watched.clock.advance(days=1)
    worker.round()

    assert states(world) == {"done"}
    assert evaluated(world) == stored(world) - 1
    with world.sessions() as session:
        told = {(v.signal.event, v.signal.sites) for v in service.signals(session)}
        [line] = [x for x in lines(session, subject=first.edge_id) if "altered" in x.action]
    assert ("stored_windows", ("H01",)) in told
    assert line.detail == {"count": 1, "windows": [f"{first.epoch}.{first.sequence}"]}

    with world.sessions.begin() as session:  # brought back, say from a copy
        session.execute(
            text(f"UPDATE stored_window SET raw = :raw {where}"), {**newest, "raw": raw}
        )
    watched.clock.set(clock.now() + timedelta(days=1))
    worker.round()
    assert evaluated(world) == stored(world)
    for edge in (first, second):
        assert_balance(world, edge)
    assert_ledger(world)
