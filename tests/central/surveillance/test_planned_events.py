"""Planned events: drawn at once, a new stage only after a second person approved it."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from starlette.testclient import TestClient

from app import clock
from app.central.accounts.models import Role
from app.central.audit import service as audit
from app.central.events import service as events
from app.central.references import service as references
from app.central.surveillance import alarm_test, evidence, service
from app.central.surveillance.models import AlarmOutcome
from app.central.surveillance.results import read_evidence
from app.contracts.signing import canonical, verify
from tests.central.surveillance.conftest import MONITORED_FROM, Watched
from tests.support.fleet import PASSWORD, World

DAY = MONITORED_FROM + timedelta(days=4)
WORDS = "Detector calibrated by the vendor"
NOW = date(2026, 3, 10)


def body(world: World, **changes: Any) -> dict[str, Any]:
    return {
        "lock_digest": world.lock_digest,
        "site_id": "H01",
        "scanner": "scanner-1",
        "kind": "service",
        "first_day": "2026-03-09",
        "last_day": "2026-03-09",
        "description": WORDS,
    } | changes


def registered(browser: TestClient, world: World, **changes: Any) -> dict[str, Any]:
    answer = browser.post("/api/v1/events", json=body(world, **changes))
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def decided(browser: TestClient, event: dict[str, Any], **changes: Any) -> Any:
    given = {
        "verdict": "new_stage",
        "reason": "The phantom shows another noise level since.",
        "seen_digest": event["digest"],
        "password": PASSWORD,
    }
    return browser.post(f"/api/v1/events/{event['id']}/decision", json=given | changes)


@pytest.fixture
def peopled(world: World) -> World:
    world.add_site()
    return world


def test_an_event_is_on_record_and_in_the_audit_trail(peopled: World) -> None:
    browser = peopled.browser("ann", Role.ANALYST)

    event = registered(browser, peopled)

    assert browser.get("/api/v1/events").json() == [event]
    assert browser.get(f"/api/v1/events/{event['id']}").json() == event
    assert (event["id"], event["registered_by"], event["decision"]) == ("E-0001", "ann", None)
    with peopled.sessions() as session:
        newest = audit.lines(session, limit=1)[0]
    assert (newest.actor, newest.action, newest.subject) == (
        "ann",
        "events:event:register",
        "E-0001",
    )
    assert newest.detail["digest"] == event["digest"]


def test_who_may_register_and_where(peopled: World) -> None:
    peopled.add_site("H02")
    here = peopled.browser("here", Role.SITE_ADMIN, "H01")
    there = peopled.browser("there", Role.SITE_ADMIN, "H02")

    assert registered(here, peopled)["site_id"] == "H01"
    assert there.post("/api/v1/events", json=body(peopled)).status_code == 404
    assert there.get("/api/v1/events").json() == []
    assert there.get("/api/v1/events/E-0001").status_code == 404
    for role in (Role.VIEWER, Role.AUDITOR, Role.REGULATORY):
        answer = peopled.browser(role.value, role).post("/api/v1/events", json=body(peopled))
        assert answer.status_code == 403


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"description": "Rescanned 19480412 twice"}, "identifier"),
        ({"description": "Series 1.2.840.10008.5"}, "identifier"),
        ({"description": "DOE^JANE was scanned"}, "identifier"),
        ({"description": "  "}, "1 to 500"),
        ({"last_day": "2026-03-08"}, "last day"),
        ({"last_day": "2027-03-20"}, "last day"),
        ({"scanner": "a\x00b"}, "scanner"),
    ],
)
def test_what_cannot_be_an_event_is_refused_and_not_repeated(
    peopled: World, changes: dict[str, str], says: str
) -> None:
    answer = peopled.browser("ann", Role.ANALYST).post(
        "/api/v1/events", json=body(peopled, **changes)
    )

    assert answer.status_code == 422
    assert says in answer.json()["detail"]
    assert changes.get("description", "DOE").strip() not in answer.text or says == "1 to 500"


def test_a_second_person_decides_once_and_signs(peopled: World) -> None:
    quality = peopled.browser("quinn", Role.QUALITY_APPROVER)
    own = registered(quality, peopled)
    event = registered(peopled.browser("ann", Role.ANALYST), peopled)

    assert decided(quality, own).status_code == 409
    assert decided(quality, event, seen_digest="0" * 64).status_code == 409
    assert decided(quality, event, password="not mine").status_code == 401
    assert decided(quality, event, reason=" \n").status_code == 422
    answer = decided(quality, event)
    assert answer.status_code == 200, answer.text
    assert decided(quality, event, verdict="annotation_only").status_code == 409

    found = answer.json()["decision"]
    signed = {k: v for k, v in found.items() if k != "signature"} | {"event_id": event["id"]}
    with peopled.sessions() as session:
        stored = events.get(session, event["id"])
        newest = audit.lines(session, limit=1)[0]
    assert stored.decision is not None
    signed["decided_at"] = stored.decision.decided_at.isoformat()
    verify(peopled.key.public, events.DOMAIN, canonical(signed), bytes.fromhex(found["signature"]))
    assert (newest.actor, newest.action) == ("quinn", "events:event:new_stage")


def test_nobody_else_decides_and_never_before_the_event_is_over(peopled: World) -> None:
    analyst = peopled.browser("ann", Role.ANALYST)
    today = registered(analyst, peopled, last_day=NOW.isoformat())

    assert decided(peopled.browser("bea", Role.ANALYST), today).status_code == 403
    answer = decided(peopled.browser("quinn", Role.QUALITY_APPROVER), today)
    assert answer.status_code == 409
    assert "after its last day" in answer.json()["detail"]


@pytest.mark.parametrize("table", ["planned_event", "event_decision"])
def test_what_was_registered_and_decided_cannot_be_changed(peopled: World, table: str) -> None:
    event = registered(peopled.browser("ann", Role.ANALYST), peopled)
    assert decided(peopled.browser("quinn", Role.QUALITY_APPROVER), event).status_code == 200

    with peopled.sessions() as session, pytest.raises(DBAPIError, match="append-only"):
        session.execute(text(f"DELETE FROM {table}"))


def an_event(watched: Watched, *, verdict: str = "new_stage") -> None:
    """Registered and decided now, on a service on `DAY`."""
    world = watched.world
    days = {"first_day": DAY.isoformat(), "last_day": DAY.isoformat()}
    event = registered(world.browser("ann", Role.ANALYST), world, **days)
    answer = decided(world.browser("quinn", Role.QUALITY_APPROVER), event, verdict=verdict)
    assert answer.status_code == 200, answer.text


def assessable(watched: Watched, day: date) -> dict[str, str]:
    return {
        name: words
        for name, words in read_evidence(watched.evaluate(day).evidence).assessability.items()
        if name.endswith("E-0001")
    }


def streams(watched: Watched) -> list[str]:
    return [s.signal.kind for s in watched.signals()]


def test_an_event_that_stays_an_annotation_silences_nothing(watched: Watched) -> None:
    watched.go_on(6, changes_on=DAY + timedelta(days=1))
    an_event(watched, verdict="annotation_only")
    watched.go_on(24, changes_on=DAY + timedelta(days=1))

    assert "statistical" in streams(watched)
    assert assessable(watched, clock.now().date()) == {}


def test_a_new_stage_is_not_assessable_until_its_reference_is_approved(watched: Watched) -> None:
    changed = DAY + timedelta(days=1)
    watched.go_on(6, changes_on=changed)
    an_event(watched)
    watched.clock.advance(days=1)
    [words] = assessable(watched, clock.now().date()).values()
    assert words == "not assessable: new stage, 40 of 300 cases"

    world = watched.world
    for morning in play_on(watched, 20, changed):
        watched.evaluate(morning)
    assert streams(watched) == []
    with world.sessions.begin() as session:
        until = clock.now().date() - timedelta(days=2)
        made = references.propose(session, world.lock_digest, until, by="ann", now=clock.now())
        assert made.summary["stability"]["state"] == "held_still"
        references.approve(session, made.id, by="quinn", now=clock.now())

    [words] = assessable(watched, clock.now().date()).values()
    assert words.startswith("provisional: ")
    assert streams(watched) == []


def test_a_stage_opened_late_is_no_change_inside_a_candidate(watched: Watched) -> None:
    watched.go_on(30, changes_on=DAY + timedelta(days=1))
    an_event(watched)
    world, until = watched.world, clock.now().date() - timedelta(days=2)

    with world.sessions.begin() as session:
        made = references.propose(session, world.lock_digest, until, by="ann", now=clock.now())

    assert made.summary["stability"]["state"] == "held_still"
    assert "H01:scanner-1:4.1:chest_pa:E-0001" in made.summary["assessability"]


def test_an_alarm_test_asks_for_nothing_of_a_stage_without_a_baseline(watched: Watched) -> None:
    watched.go_on(6)
    an_event(watched)
    watched.clock.advance(days=1)
    for _ in play_on(watched, 20, clock.now().date() + timedelta(days=99)):
        pass

    with watched.world.sessions.begin() as session:
        made = alarm_test.run(
            session,
            watched.world.lock_digest,
            clock.now().date(),
            announce=lambda *_: None,
            by="lockwatch",
            now=clock.now(),
        )

    assert made.outcome is AlarmOutcome.NOT_POSSIBLE
    assert streams(watched) == []


def play_on(watched: Watched, days: int, changed: date) -> Any:
    from tests.support.playing import play

    first = clock.now().date() - timedelta(days=1)
    for morning in play(watched.edge, watched.clock, days, first=first, seed=3, changes_on=changed):
        watched.clock.advance(hours=3)
        yield morning


def test_a_late_event_leaves_every_evaluation_and_signal_as_it_was(watched: Watched) -> None:
    changed = DAY + timedelta(days=1)
    watched.go_on(30, changes_on=changed)
    [before] = [s for s in watched.signals() if s.signal.kind == "statistical"]
    today = clock.now().date()
    earlier = watched.evaluate(today)
    an_event(watched)

    again = watched.evaluate(today)
    assert (again.input_digest, again.result_digest) == (
        earlier.input_digest,
        earlier.result_digest,
    )
    watched.clock.advance(days=1)
    later = watched.evaluate(today + timedelta(days=1))
    assert later.input_digest != earlier.input_digest
    found = read_evidence(later.evidence).signals.values()
    assert before.signal.date in [s.date for s in found if s.kind == "statistical"]
    [after] = [s for s in watched.signals() if s.signal.kind == "statistical"]
    assert (after.id, after.signal.date, after.state) == (
        before.id,
        before.signal.date,
        before.state,
    )


def test_the_same_events_give_the_same_bytes(watched: Watched) -> None:
    watched.go_on(6)
    an_event(watched)
    watched.clock.advance(days=1)
    day = clock.now().date()
    first = watched.evaluate(day)

    with watched.world.sessions.begin() as session:
        session.execute(text("UPDATE signal SET evaluation = NULL"))
        session.execute(
            text("DELETE FROM evaluation WHERE input_digest = :d").bindparams(d=first.input_digest)
        )
    again = watched.evaluate(day)

    assert again.result_digest == first.result_digest


def test_a_signal_names_the_events_of_its_site_within_two_weeks(watched: Watched) -> None:
    watched.go_on(30, changes_on=DAY)
    world = watched.world
    days = {"first_day": DAY.isoformat(), "last_day": DAY.isoformat()}
    registered(world.browser("ann", Role.ANALYST), world, **days)
    old = (DAY - timedelta(days=40)).isoformat()
    registered(world.browser("bea", Role.ANALYST), world, first_day=old, last_day=old)
    [signal] = [s for s in watched.signals() if s.signal.kind == "statistical"]

    with world.sessions() as session:
        found = evidence.signal_evidence(session, signal.id)
        assert service.signal(session, signal.id).signal == signal.signal

    assert found is not None
    [change] = [c for c in found.changes if c.described]
    assert (change.detail, change.what, change.described) == ("E-0001", "service", WORDS)
