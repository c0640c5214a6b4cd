"""S12: windows are committed by somebody else while the evidence of a report is gathered."""

from __future__ import annotations

from datetime import date
from typing import Any

from sqlalchemy import Engine, event

from app import clock
from app.central.reports import drafting, service
from app.central.reports.ports import DriftReport
from tests.support.fleet import FakeEdge, World, assert_balance
from tests.support.rendering import RENDERERS


def ask(world: World) -> str:
    with world.sessions.begin() as session:
        made = drafting.request(
            session, world.lock_digest, date(2026, 3, 1), date(2026, 3, 10), by="a", now=clock.now()
        )
        return made.number


def draft(world: World) -> None:
    assert drafting.draft_waiting(world.sessions, RENDERERS.report, clock.now()) == 1


def drafted(world: World, number: str) -> DriftReport:
    with world.sessions() as session:
        found = service.detail(session, number).content
    assert found is not None
    return found


class Meanwhile:
    """A window of `edge` is committed right after the first query that reads any windows."""

    def __init__(self, world: World, edge: FakeEdge) -> None:
        self.world = world
        self.window = edge.window(date(2026, 3, 8))
        self.edge = edge
        self.has_come = False

    def __call__(self, _: Any, __: Any, statement: str, *___: Any) -> None:
        if not self.has_come and "stored_window" in statement:
            self.has_come = True
            assert self.edge.send(self.window).status_code == 200


def test_s12_a_report_is_of_one_moment_though_windows_come_while_it_is_drawn(
    committed: World,
) -> None:
    edge = committed.an_edge()
    edge.send(edge.window(date(2026, 3, 7)))
    number = ask(committed)
    meanwhile = Meanwhile(committed, edge)
    assert isinstance(committed.bind, Engine)

    event.listen(committed.bind, "after_cursor_execute", meanwhile)
    draft(committed)
    event.remove(committed.bind, "after_cursor_execute", meanwhile)

    assert meanwhile.has_come
    report = drafted(committed, number)
    again = ask(committed)
    draft(committed)
    later = drafted(committed, again)
    assert [balance.stored for balance in report.balances] == [1]
    assert [balance.stored for balance in later.balances] == [2]
    assert later.totals[0].analysed == 2 * report.totals[0].analysed > 0
    assert_balance(committed, edge)
