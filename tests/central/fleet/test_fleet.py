"""How device versions and edges come in, and what is noticed about them."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest

from app import clock
from app.central.accounts.models import Role
from app.central.errors import NotAllowed, NotFound, Unusable
from app.central.fleet import jobs, service
from app.central.fleet.models import EDGE_TRANSITIONS, EdgeAction, EdgeState
from app.central.fleet.repository import find_edge
from app.central.surveillance import service as surveillance
from app.contracts.manifest import PAYLOAD_TYPE, Manifest
from app.contracts.signing import SigningKey, seal
from app.errors import SignatureRefused
from tests.conftest import Clock
from tests.contracts.examples import a_manifest
from tests.support.fleet import MANUFACTURER, FakeEdge, World
from tests.support.playing import a_day


def envelope(manifest: Manifest, *keys: SigningKey) -> bytes:
    content = json.loads(manifest.canonical)
    return seal(PAYLOAD_TYPE, content, keys or [MANUFACTURER])


def register(world: World, content: bytes, threshold: int = 1) -> str:
    with world.sessions.begin() as session:
        return service.register_device(
            session,
            content,
            trusted=world.settings.manufacturer_keys,
            threshold=threshold,
            by="test",
            now=clock.now(),
        ).lock_digest


# Device versions


def test_a_registered_version_again_changes_nothing(world: World) -> None:
    assert register(world, envelope(a_manifest())) == world.lock_digest

    with world.sessions() as session:
        assert len(service.device_versions(session)) == 1


def test_a_manifest_that_the_manufacturer_did_not_sign_is_refused(world: World) -> None:
    with pytest.raises(SignatureRefused, match="1 trusted signatures expected, got 0"):
        register(world, envelope(a_manifest(version="9"), SigningKey.generate()))


def test_two_signatures_of_one_key_are_one(world: World) -> None:
    with pytest.raises(SignatureRefused, match="2 trusted signatures expected, got 1"):
        register(world, envelope(a_manifest(version="9"), MANUFACTURER, MANUFACTURER), threshold=2)


def test_a_release_that_does_not_count_up_is_refused(world: World) -> None:
    with pytest.raises(NotAllowed, match="not above the 1 registered"):
        register(world, envelope(a_manifest(version="0.9.0")))


def test_an_administrator_registers_over_the_api_and_a_plan_is_put_in_force(world: World) -> None:
    browser = world.browser("adm", Role.ADMINISTRATOR)
    newer = a_manifest(version="2.0.0", release_counter=2)

    answer = browser.post("/api/v1/device-versions", content=envelope(newer))

    assert answer.status_code == 201
    assert answer.json()["lock_digest"] == newer.lock_digest
    versions = browser.get("/api/v1/device-versions").json()
    assert [v["version"] for v in versions] == ["1.0.0", "2.0.0"]


@pytest.mark.parametrize(
    ("site_id", "name", "timezone", "why"),
    [
        ("H 01", "Hospital", "UTC", "letters, digits"),
        ("H01", "Hospital\r\nBcc: x@example.org", "UTC", "printable"),
        ("H01", "Hospital", "Mars/Olympus", "IANA name"),
    ],
)
def test_a_site_needs_a_usable_name_and_zone(
    world: World, site_id: str, name: str, timezone: str, why: str
) -> None:
    with world.sessions() as session, pytest.raises(Unusable, match=why):
        service.add_site(session, site_id, name, timezone, by="test", now=clock.now())


# Enrolment


def test_an_edge_is_pending_until_a_person_has_compared_its_fingerprint(world: World) -> None:
    edge = world.an_edge(active=False)
    assert edge.get("/edge/v1/state").json()["state"] == "pending"

    with world.sessions.begin() as session, pytest.raises(NotAllowed, match="fingerprint"):
        service.act(
            session,
            edge.edge_id,
            EdgeAction.APPROVE,
            by="ann",
            now=clock.now(),
            seen_fingerprint="ab" * 32,
        )
    world.act(edge, EdgeAction.APPROVE)

    state = edge.get("/edge/v1/state").json()
    assert state["state"] == "active"
    assert state["receipt_keys"] == [world.key.public.hex()]
    with world.sessions() as session:
        assert service.edge_view(session, edge.edge_id).approved_by == "test"


def test_a_lost_answer_costs_no_code_the_same_key_gets_it_again(world: World) -> None:
    world.add_site()
    code = world.code()
    edge = FakeEdge(world)

    first, again = edge.enrol(code), edge.enrol(code)

    assert first.status_code == again.status_code == 200
    assert first.json() == again.json()


def test_a_used_code_gives_another_key_nothing(world: World) -> None:
    world.add_site()
    code = world.code()
    FakeEdge(world).enrol(code)

    answer = FakeEdge(world).enrol(code)

    assert (answer.status_code, answer.json()["reason"]) == (401, "code")


def test_an_expired_or_unknown_code_is_refused(world: World, simulated_clock: Clock) -> None:
    world.add_site()
    code = world.code()
    simulated_clock.advance(hours=24)

    assert FakeEdge(world).enrol(code).status_code == 401
    assert FakeEdge(world).enrol("0" * 32).status_code == 401


def test_a_key_enrols_one_edge_only(world: World) -> None:
    edge = world.an_edge()

    answer = edge.enrol(world.code())

    assert answer.status_code == 409


def test_a_key_that_the_edge_does_not_hold_is_refused(world: World) -> None:
    world.add_site()
    content = b'{"code":"x","public_key":"' + b"ab" * 32 + b'","agent_version":"1",'
    content += b'"lock_digest":"' + b"cd" * 32 + b'","signature":"zz"}'

    assert world.client.post("/edge/v1/enrol", content=content).status_code == 401


def test_enrolment_is_limited(world: World) -> None:
    world.app.state.enrolment_limiter.__init__(per_minute=1)
    world.add_site()

    FakeEdge(world).enrol("0" * 32)
    answer = FakeEdge(world).enrol("0" * 32)

    assert answer.status_code == 429


@pytest.mark.parametrize("state", list(EdgeState))
@pytest.mark.parametrize("action", list(EdgeAction))
def test_what_the_table_of_transitions_does_not_allow_is_refused(
    world: World, state: EdgeState, action: EdgeAction
) -> None:
    edge = world.an_edge()
    with world.sessions.begin() as session:
        row = find_edge(session, edge.edge_id)
        assert row is not None
        row.state = state

    expected = EDGE_TRANSITIONS.get((state, action))
    if expected is None:
        with pytest.raises(NotAllowed, match=f"edge {edge.edge_id} is {state.value}"):
            world.act(edge, action)
        return
    world.act(edge, action)
    with world.sessions() as session:
        assert service.edge_view(session, edge.edge_id).state is expected


# Watching


def raised(world: World) -> list[tuple[str, str, str]]:
    told: list[str] = []
    with world.sessions.begin() as session:
        jobs.watch(session, lambda _, view: told.append(view.id), clock.now())
    with world.sessions() as session:
        return [
            (v.signal.event, str(v.severity), v.signal.history[0].causes[0])
            for v in surveillance.signals(session)
        ]


def test_an_edge_that_runs_another_version_than_expected_raises_a_lock_signal_once(
    world: World,
) -> None:
    newer = a_manifest(version="2.0.0", release_counter=2)
    register(world, envelope(newer))
    edge = world.an_edge()

    edge.send(edge.window(lock_digest=newer.lock_digest))

    assert raised(world) == [("lock", "urgent", "lock")]
    assert raised(world) == [("lock", "urgent", "lock")]
    with world.sessions() as session:
        assert not service.edge_view(session, edge.edge_id).lock_holds


def test_an_edge_whose_own_checks_fail_raises_a_lock_signal(world: World) -> None:
    edge = world.an_edge()

    edge.send(edge.window(lock_state="broken"))

    assert raised(world) == [("lock", "urgent", "lock")]


def test_a_silent_edge_raises_one_signal_a_silence(world: World, simulated_clock: Clock) -> None:
    edge = world.an_edge()
    edge.get("/edge/v1/state")
    assert raised(world) == []

    simulated_clock.advance(days=3)
    assert raised(world) == raised(world) == [("silence", "warning", "data_quality")]

    edge.get("/edge/v1/state")
    simulated_clock.advance(days=3)
    assert len(raised(world)) == 2


def days_of_cases(
    edge: FakeEdge, clock_: Clock, counts: list[int], start: int = 0, lag: int = 0
) -> None:
    """A window a day of so many cases each, from the first Monday of the year or `start` later.

    Each arrives in the night after its day, or `lag` days later.
    """
    rng = np.random.default_rng(1)
    for i, n in enumerate(counts, start):
        day = date(2026, 1, 5) + timedelta(days=i)
        clock_.set(datetime(2026, 1, 5, 3, tzinfo=UTC) + timedelta(days=i + 1 + lag))
        assert edge.send(edge.window(day, cases=a_day(rng, n=n))).status_code == 200


@pytest.mark.parametrize(
    ("counts", "events"),
    [
        ([42] * 28 + [21] * 7, []),  # exactly half
        ([42] * 28 + [21] * 6 + [20], [("routing", "warning", "data_quality")]),
        ([40] * 35, []),
    ],
)
def test_a_week_with_fewer_than_half_the_studies_is_told(
    world: World, simulated_clock: Clock, counts: list[int], events: list[object]
) -> None:
    edge = world.an_edge()

    days_of_cases(edge, simulated_clock, counts)

    assert raised(world) == events
    assert raised(world) == events


def test_a_fall_that_lasts_is_one_signal_and_another_fall_after_it_a_second(
    world: World, simulated_clock: Clock
) -> None:
    edge = world.an_edge()
    told = []

    days_of_cases(edge, simulated_clock, [200] * 28 + [50] * 7)
    told.append(len(raised(world)))
    for start in (35, 42, 49, 56, 63):  # the fall lasts
        days_of_cases(edge, simulated_clock, [50] * 7, start)
        told.append(len(raised(world)))
    days_of_cases(edge, simulated_clock, [24] * 7, 70)
    told.append(len(raised(world)))

    assert told == [1, 1, 1, 1, 1, 1, 2]


def test_days_that_an_edge_has_not_closed_yet_are_not_missing(
    world: World, simulated_clock: Clock
) -> None:
    edge = world.an_edge()

    days_of_cases(edge, simulated_clock, [40] * 35, lag=4)

    assert raised(world) == []


def test_half_of_a_small_number_is_no_surprise(world: World, simulated_clock: Clock) -> None:
    edge = world.an_edge()
    for week in range(4):  # one merged window a week, then none
        simulated_clock.set(datetime(2026, 1, 12, 3, tzinfo=UTC) + timedelta(weeks=week))
        cases = a_day(np.random.default_rng(week), n=25)
        edge.send(edge.window(date(2026, 1, 11) + timedelta(weeks=week), cases=cases))
    simulated_clock.set(datetime(2026, 2, 9, 3, tzinfo=UTC))
    edge.get("/edge/v1/state")

    assert raised(world) == []


def test_an_edge_that_answers_but_closes_no_window_is_late(
    world: World, simulated_clock: Clock
) -> None:
    edge = world.an_edge()
    edge.send(edge.window())
    for _ in range(17):
        simulated_clock.advance(days=1)
        edge.get("/edge/v1/state")

    assert raised(world) == [("lateness", "notice", "data_quality")]


def test_an_edge_in_order_raises_nothing(world: World) -> None:
    edge = world.an_edge()

    edge.send(edge.window())

    assert raised(world) == []


def test_what_is_not_there_is_not_found(world: World) -> None:
    with world.sessions() as session:
        for look in (
            lambda: service.get_edge(session, "edge-0"),
            lambda: service.get_device_version(session, "ab" * 32),
            lambda: service.create_code(
                session, "H99", world.lock_digest, by="x", now=clock.now() + timedelta()
            ),
        ):
            with pytest.raises(NotFound):
                look()
