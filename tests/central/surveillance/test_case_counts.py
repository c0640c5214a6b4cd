"""What pages read instead of windows says what the windows say, however it came to be."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
from alembic import command
from sqlalchemy import Engine, select, text, update
from sqlalchemy.orm import Session

from app import clock
from app.central.audit.models import AuditEntry
from app.central.database import alembic_config, migrate
from app.central.fleet import service as fleet
from app.central.fleet.models import EdgeAction
from app.central.intake import case_counts, counting
from app.central.intake.models import CaseCount
from app.central.intake.service import balances
from app.central.surveillance import evidence, history
from app.central.surveillance.models import Evaluation
from app.contracts.window import Table
from monitors.summaries import summarise, tallies
from tests.central.surveillance.conftest import MONITORED_FROM, Watched
from tests.contracts.examples import some_cases
from tests.support.fleet import SCANNER, FakeEdge, World

DAY = date(2026, 3, 8)
OTHER = ("scanner-2", *SCANNER[1:])


def two_days(edge: FakeEdge, first: date) -> Table:
    """Two scanners on one day, and one of them again over that day and the next."""
    schema = edge.world.schema
    spans = ((first, 1, SCANNER), (first, 1, OTHER), (first, 2, SCANNER))
    keys, rows = [], []
    for i, (start, days, stratum) in enumerate(spans):
        cases = some_cases(40 + i, seed=i)
        keys.append((start.isoformat(), (start + timedelta(days)).isoformat(), *stratum))
        rows.append(summarise(schema, cases, np.zeros(len(cases), dtype=np.int64), 1)[0])
    return Table(tuple(keys), np.array(rows))


def kept(session: Session, world: World) -> dict[tuple[object, ...], tuple[int, int]]:
    rows = session.scalars(select(CaseCount))
    return {(r.site_id, r.start, r.end, r.arrival): (r.analysed, r.flagged) for r in rows}


def in_windows(session: Session, world: World) -> dict[tuple[object, ...], tuple[int, int]]:
    """The same from the decoded windows, by way of what the engine looks at."""
    upto = clock.now().date() + timedelta(2)
    found = history.assemble(session, world.lock_digest, upto=upto).history
    counts = tallies(found.schema, found.cases.rows)
    sums: dict[tuple[object, ...], tuple[int, int]] = {}
    for i, stratum in enumerate(found.cases.stratum):
        cases = found.cases
        days = (cases.start[i], cases.end[i], cases.arrival[i])
        key = (found.strata[stratum].site, *(date.fromordinal(int(d)) for d in days))
        before = sums.get(key, (0, 0))
        now = int(counts["analysed"][i]), int(counts["flagged"][i])
        sums[key] = before[0] + now[0], before[1] + now[1]
    return sums


def test_intake_counts_what_the_windows_hold(world: World) -> None:
    edges = [world.an_edge("H01"), world.an_edge("H02")]
    for edge in edges:
        edge.send(edge.window(DAY, tables={"strata": two_days(edge, DAY)}))
        edge.send(edge.window(DAY, revision=1))
        edge.send(edge.window(DAY + timedelta(1)))

    with world.sessions() as session:
        assert kept(session, world) == in_windows(session, world)
        assert len(kept(session, world)) == 6


def test_a_window_that_is_not_stored_is_not_counted(world: World) -> None:
    edge = world.an_edge()
    world.act(edge, EdgeAction.SUSPEND)
    edge.send(edge.window(DAY))

    with world.sessions() as session:
        assert kept(session, world) == {}
        [found] = balances(session)
    assert (found.stored, found.quarantined_by_reason) == (0, {"suspended": 1})
    assert found.last_window_end is None


def test_what_arrives_later_does_not_change_an_earlier_day(watched: Watched) -> None:
    watched.go_on(3)
    lock_digest, today = watched.world.lock_digest, clock.now().date()
    with watched.world.sessions() as session:
        before = evidence.fleet_standing(session, lock_digest, today)
    watched.go_on(3)
    with watched.world.sessions() as session:
        again = case_counts.received(
            session, lock_digest, since=before.since, upto=today + timedelta(1)
        )

    late = watched.edge.window(MONITORED_FROM, revision=1)
    watched.clock.advance(days=3)
    watched.edge.send(late)
    with watched.world.sessions() as session:
        after = case_counts.received(
            session, lock_digest, since=before.since, upto=today + timedelta(1)
        )
    assert after == again
    assert again["H01"].analysed > before.sites[0].analysed  # the day after `today` is in it


def test_a_site_is_counted_alone_for_a_person_who_is_bound_to_it(world: World) -> None:
    for site in ("H01", "H02"):
        edge = world.an_edge(site)
        edge.send(edge.window(DAY))
    upto = clock.now().date() + timedelta(1)

    with world.sessions() as session:
        found = case_counts.received(session, world.lock_digest, since=DAY, upto=upto, scope="H02")
        every = case_counts.before(session, world.lock_digest, until=DAY + timedelta(1), upto=upto)
        mine = case_counts.before(
            session, world.lock_digest, until=DAY + timedelta(1), upto=upto, scope="H02"
        )

        rates = case_counts.by_site(session, world.lock_digest, since=DAY, upto=upto)

    assert list(found) == ["H02"]
    assert rates == {"H01": mine, "H02": mine}
    assert mine == (found["H02"].analysed, found["H02"].flagged)
    assert every == (2 * mine[0], 2 * mine[1])


def recounted(world: World, edge: FakeEdge) -> counting.Recount:
    with world.sessions.begin() as session:
        row = fleet.get_edge(session, edge.edge_id)
        return counting.recount(session, row, by="test", now=clock.now())


def test_a_recount_agrees_puts_right_and_then_agrees_again(world: World) -> None:
    edge = world.an_edge()
    for i in range(3):
        edge.send(edge.window(DAY + timedelta(i)))
    assert recounted(world, edge) == counting.Recount(3, agrees=True)
    with world.sessions.begin() as session:
        right = kept(session, world)
        session.execute(update(CaseCount).values(flagged=CaseCount.flagged + 1))

    assert recounted(world, edge) == counting.Recount(3, agrees=False)

    assert recounted(world, edge).agrees
    with world.sessions() as session:
        assert kept(session, world) == right
        told = session.scalars(
            select(AuditEntry.subject).where(AuditEntry.action == "intake:counts:rebuild")
        ).all()
    assert told == [edge.edge_id]


def test_a_recount_holds_the_balance_to_the_ledger_of_arrivals(world: World) -> None:
    edge = world.an_edge()
    for i in range(3):
        edge.send(edge.window(DAY + timedelta(i)))
    with world.sessions.begin() as session:
        right = balances(session)
        session.execute(text("UPDATE edge_cursor SET seen = '{[1,3)}', cases_end = NULL"))

    assert not recounted(world, edge).agrees

    with world.sessions() as session:
        assert balances(session) == right


def state(engine: Engine, world: World) -> tuple[object, ...]:
    with Session(engine) as session:
        standings = session.scalars(select(Evaluation.standing).order_by(Evaluation.upto)).all()
        return kept(session, world), standings, balances(session)


def test_the_migration_fills_what_intake_and_evaluations_would_have_kept(
    watched: Watched,
) -> None:
    watched.go_on(3)
    engine = watched.world.bind
    assert isinstance(engine, Engine)
    made = state(engine, watched.world)
    with engine.begin() as connection:
        config = alembic_config()
        config.attributes["connection"] = connection
        command.downgrade(config, "0601_alarm_tests")

    migrate(engine)

    assert state(engine, watched.world) == made
    assert len(made[1]) == 3  # type: ignore[arg-type]
