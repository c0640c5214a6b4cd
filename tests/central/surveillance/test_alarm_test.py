"""The alarm is tested on a copy: found, missed, or not to be tested; nothing else changes."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy.orm import Session

from app import clock
from app.central.accounts.models import Role
from app.central.audit import service as audit
from app.central.errors import NotAllowed
from app.central.surveillance import alarm_test, service
from app.central.surveillance.models import AlarmTest
from tests.central.surveillance.conftest import Watched
from tests.support.fleet import World


def run(watched: Watched) -> AlarmTest:
    with watched.world.sessions.begin() as session:
        return alarm_test.run(
            session,
            watched.world.lock_digest,
            clock.now().date(),
            announce=_told(watched),
            by="lockwatch",
            now=clock.now(),
        )


def _told(watched: Watched) -> Any:
    def tell(_: Session, view: service.SignalView) -> None:
        watched.told.append(view)

    return tell


def test_a_change_of_one_standard_deviation_is_found_and_recorded(watched: Watched) -> None:
    watched.go_on(16)
    before = watched.evaluate(clock.now().date()).result_digest

    made = run(watched)

    assert (made.outcome, made.site_id) == ("found", "H01")
    assert made.days_to_signal is not None
    assert 0 <= made.days_to_signal < 16
    assert watched.signals() == ()  # the copy raised it, not the fleet
    assert watched.evaluate(clock.now().date()).result_digest == before
    browser = watched.world.browser("ann", Role.VIEWER)
    path = f"/api/v1/device-versions/{watched.world.lock_digest}/alarm-tests"
    assert [t["id"] for t in browser.get(path).json()] == [made.id]
    with watched.world.sessions() as session:
        [entry] = [e for e in audit.lines(session) if e.action == "surveillance:alarm_test:run"]
    assert entry.detail["outcome"] == "found"


def test_a_change_that_is_not_found_is_a_signal_of_its_own(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched.go_on(16)
    monkeypatch.setattr(alarm_test, "SHIFT_SD", 0.0)

    made = run(watched)

    assert (made.outcome, made.days_to_signal) == ("missed", None)
    [signal] = watched.signals()
    assert (signal.signal.event, signal.severity) == ("alarm_test", "warning")
    assert [view.id for view in watched.told] == [signal.id]


def test_with_few_windows_since_the_reference_nothing_is_claimed(watched: Watched) -> None:
    watched.go_on(5)

    assert run(watched).outcome == "not_possible"
    assert watched.signals() == ()


def test_without_a_reference_there_is_nothing_to_test(world: World) -> None:
    with world.sessions.begin() as session, pytest.raises(NotAllowed, match="approved reference"):
        alarm_test.run(
            session,
            world.lock_digest,
            clock.now().date(),
            announce=lambda *_: None,
            by="lockwatch",
            now=clock.now(),
        )
