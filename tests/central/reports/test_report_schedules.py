"""Reports that come by themselves: which days, when, for which versions, once each."""

from __future__ import annotations

from datetime import UTC, date, datetime
from itertools import pairwise

import pytest

from app import clock
from app.central.accounts.models import Role
from app.central.errors import NotAllowed, Unusable
from app.central.jobs.schedule import due_times
from app.central.reports import schedules, service
from app.central.reports.models import Frequency, ReportState
from app.central.worker import Worker
from tests.conftest import Clock
from tests.support.fleet import World
from tests.support.rendering import RENDERERS


def add(world: World, frequency: Frequency = Frequency.WEEKLY, **changes: object) -> str:
    asked = {
        "recipients": "Board",
        "addresses": ("a@example.org",),
        "with_evidently": True,
        "by": "ann",
        "now": clock.now(),
    }
    with world.sessions.begin() as session:
        device = str(changes.pop("device", world.manifest.device))
        return schedules.add(session, device, frequency, **(asked | changes)).id  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("frequency", "due", "start", "end"),
    [
        (Frequency.DAILY, "2026-03-10", "2026-03-07", "2026-03-08"),
        (Frequency.WEEKLY, "2026-03-11", "2026-03-02", "2026-03-09"),
        (Frequency.MONTHLY, "2026-03-03", "2026-02-01", "2026-03-01"),
        (Frequency.MONTHLY, "2026-01-03", "2025-12-01", "2026-01-01"),
        (Frequency.QUARTERLY, "2026-01-03", "2025-10-01", "2026-01-01"),
    ],
)
def test_a_period_is_due_when_its_last_day_has_been_closed_and_sent(
    frequency: Frequency, due: str, start: str, end: str
) -> None:
    at = datetime.fromisoformat(f"{due}T06:30:00+00:00")

    assert schedules.period_of(frequency, at) == (
        date.fromisoformat(start),
        date.fromisoformat(end),
    )


@pytest.mark.parametrize(
    ("frequency", "times"),
    [(Frequency.DAILY, 365), (Frequency.WEEKLY, 52), (Frequency.MONTHLY, 12)],
)
def test_periods_follow_each_other_without_gap_or_overlap(frequency: Frequency, times: int) -> None:
    year = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 12, 31, tzinfo=UTC)

    due = due_times(schedules.DUE[frequency], *year)
    periods = [schedules.period_of(frequency, at) for at in due]

    assert abs(len(due) - times) <= 1
    assert all(a[1] == b[0] for a, b in pairwise(periods))
    assert all(at.hour == 6 and at.minute == 30 for at in due)


def test_a_quarter_is_due_four_times_a_year() -> None:
    year = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 12, 31, tzinfo=UTC)

    due = due_times(schedules.DUE[Frequency.QUARTERLY], *year)

    assert [(at.month, at.day) for at in due] == [(1, 3), (4, 3), (7, 3), (10, 3)]


def test_a_worker_asks_drafts_and_keeps_evidently_beside_it(
    world: World, simulated_clock: Clock
) -> None:
    edge = world.an_edge()
    edge.send(edge.window(date(2026, 3, 4)))
    add(world)
    worker = Worker(world.settings, world.sessions, RENDERERS)
    worker.round()

    simulated_clock.set(datetime(2026, 3, 11, 6, 31, tzinfo=UTC))
    worker.round()
    worker.round()  # nothing is asked for twice

    with world.sessions() as session:
        [made] = service.reports(session)
    assert (made.start, made.end) == (date(2026, 3, 2), date(2026, 3, 9))
    assert (made.state, made.requested_by) == (ReportState.DRAFT, "RS-0001")
    assert made.schedule_id == "RS-0001"


def test_a_version_that_is_nowhere_installed_is_not_reported_on(world: World) -> None:
    add(world)

    with world.sessions.begin() as session:
        asked = schedules.ask(
            session, "RS-0001", datetime(2026, 3, 4, 6, 30, tzinfo=UTC), clock.now()
        )

    assert asked == 0


def test_the_same_period_is_asked_for_once(world: World) -> None:
    world.an_edge()
    add(world)
    due = datetime(2026, 3, 4, 6, 30, tzinfo=UTC)

    with world.sessions.begin() as session:
        asked = [schedules.ask(session, "RS-0001", due, clock.now()) for _ in range(2)]

    assert asked == [1, 0]


def test_an_ended_schedule_asks_for_nothing(world: World) -> None:
    world.an_edge()
    add(world)
    with world.sessions.begin() as session:
        schedules.end(session, "RS-0001", by="ann", now=clock.now())

    with world.sessions.begin() as session:
        due = datetime(2026, 3, 4, 6, 30, tzinfo=UTC)
        assert schedules.ask(session, "RS-0001", due, clock.now()) == 0
        assert service.schedules(session) == ()
        with pytest.raises(NotAllowed, match="has ended already"):
            schedules.end(session, "RS-0001", by="ann", now=clock.now())


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"device": "Nothing"}, "device: one of those registered expected, got 'Nothing'"),
        ({"recipients": ""}, "recipients: a name of 1 to 100"),
        ({"addresses": ()}, "at least one mail address"),
        ({"addresses": ("a b@example.org",)}, "one plain address expected"),
    ],
)
def test_a_schedule_that_cannot_work_is_refused(
    world: World, changes: dict[str, object], complaint: str
) -> None:
    with pytest.raises(Unusable, match=complaint):
        add(world, **changes)


def test_schedules_are_kept_over_the_api_by_administrators_only(world: World) -> None:
    body = {
        "device": world.manifest.device,
        "frequency": "monthly",
        "recipients": "Board",
        "addresses": ["a@example.org"],
    }
    admin, analyst = (world.browser(r.value, r) for r in (Role.ADMINISTRATOR, Role.ANALYST))

    refused = analyst.post("/api/v1/reports/schedules", json=body)
    made = admin.post("/api/v1/reports/schedules", json=body)
    listed = analyst.get("/api/v1/reports/schedules").json()
    ended = admin.delete("/api/v1/reports/schedules/RS-0001")

    assert (refused.status_code, made.status_code, ended.status_code) == (403, 201, 204)
    assert [s["recipients"] for s in listed] == ["Board"]
    assert admin.get("/api/v1/reports/schedules").json() == []
