"""Windows of one edge taken in at once, on two connections: each sees what the other wrote."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event, text
from sqlalchemy.orm import Session

from app import clock
from app.central.fleet.repository import find_edge
from app.central.intake import service
from app.contracts.exchange import WindowReceipt
from app.errors import AppError
from tests.conftest import Clock
from tests.support.fleet import FakeEdge, World, assert_balance

WAITING = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")


@pytest.fixture
def world(tmp_path: Path, fresh_database: Engine, simulated_clock: Clock) -> World:
    return World(tmp_path, fresh_database)


def take_in(session: Session, edge: FakeEdge, raw: bytes) -> WindowReceipt | AppError:
    known = find_edge(session, edge.edge_id)
    assert known is not None
    return service.take_in(session, known, raw, now=clock.now())


def words(taken: WindowReceipt | AppError) -> tuple[str, str]:
    assert isinstance(taken, WindowReceipt), taken
    return taken.outcome, taken.reason


def while_another_waits(
    world: World, engine: Engine, first: Callable[[Session], Any], second: Callable[[Session], Any]
) -> tuple[Any, Any]:
    """What `first` and `second` return; `first` commits once `second` waits for it."""

    def run() -> Any:
        with world.sessions.begin() as session:
            return second(session)

    apart = engine.execution_options(isolation_level="AUTOCOMMIT")  # to see what is, each time
    with ThreadPoolExecutor(1) as pool, apart.connect() as looking:
        with world.sessions.begin() as session:
            one = first(session)
            other = pool.submit(run)
            while not (looking.scalar(WAITING) or other.done()):
                time.sleep(0.01)
            assert not other.done()
        return one, other.result()


@contextmanager
def statements(engine: Engine) -> Iterator[list[str]]:
    seen: list[str] = []

    def note(_: Any, __: Any, statement: str, *___: Any) -> None:
        seen.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    yield seen
    event.remove(engine, "before_cursor_execute", note)


def test_the_next_window_and_its_receipt_cost_one_statement(
    world: World, fresh_database: Engine
) -> None:
    edge = world.an_edge()
    edge.send(edge.window(date(2026, 3, 1)))
    window = edge.window(date(2026, 3, 2))

    with world.sessions.begin() as session:
        known = find_edge(session, edge.edge_id)
        assert known is not None
        with statements(fresh_database) as seen:
            answer = service.acknowledge(session, known, window.raw, world.key, now=clock.now())

    assert isinstance(answer, bytes)
    assert len(seen) == 1
    assert edge.receipt(edge.get("/edge/v1/receipt")).acked_through == 2
    assert_balance(world, edge)


def test_the_same_window_twice_at_once_is_one_row(world: World, fresh_database: Engine) -> None:
    edge = world.an_edge()
    edge.send(edge.window(date(2026, 3, 1)))
    raw = edge.window(date(2026, 3, 2)).raw

    one, other = while_another_waits(
        world,
        fresh_database,
        lambda session: take_in(session, edge, raw),
        lambda session: take_in(session, edge, raw),
    )

    assert (words(one), words(other)) == (("stored", ""), ("duplicate", ""))
    assert_balance(world, edge)


def test_another_window_of_the_same_number_at_once_is_an_equivocation(
    world: World, fresh_database: Engine
) -> None:
    edge = world.an_edge()
    first = edge.window(date(2026, 3, 1))
    edge.send(first)
    raw = edge.window(date(2026, 3, 2)).raw
    edge.sequence, edge.previous = 1, first.digest
    cloned = edge.window(date(2026, 3, 3)).raw

    one, other = while_another_waits(
        world,
        fresh_database,
        lambda session: take_in(session, edge, raw),
        lambda session: take_in(session, edge, cloned),
    )

    assert words(one) == ("stored", "")
    assert isinstance(other, service.Equivocation)
    assert_balance(world, edge)


def test_the_window_before_that_arrives_meanwhile_is_looked_at(
    world: World, fresh_database: Engine
) -> None:
    """The third names another second than the one that is just being taken in."""
    edge = world.an_edge()
    edge.send(edge.window(date(2026, 3, 1)))
    second = edge.window(date(2026, 3, 2)).raw
    edge.previous = "5" * 64
    third = edge.window(date(2026, 3, 3)).raw

    one, other = while_another_waits(
        world,
        fresh_database,
        lambda session: take_in(session, edge, second),
        lambda session: take_in(session, edge, third),
    )

    assert (words(one), words(other)) == (("stored", ""), ("quarantined", "chain"))
    assert_balance(world, edge)


def test_a_window_of_an_epoch_before_is_receipted_with_the_present_position(
    world: World,
) -> None:
    edge = world.an_edge()
    edge.send(edge.window(date(2026, 3, 1)))
    late = edge.window(date(2026, 3, 2))
    edge.epoch, edge.sequence, edge.previous = 2, 0, "0" * 64
    edge.post("/edge/v1/epoch", b'{"epoch": 2, "reason": "journal_lost"}')

    receipt = edge.receipt(edge.send(late))

    assert (receipt.windows[0].outcome, receipt.epoch, receipt.acked_through) == ("stored", 2, 0)
