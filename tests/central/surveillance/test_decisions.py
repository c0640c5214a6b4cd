"""What people decide about a signal, and what binds them to it."""

from __future__ import annotations

from typing import Any

import pytest

from app import clock
from app.central.accounts.models import Role
from app.central.accounts.service import Signer
from app.central.audit.service import lines
from app.central.errors import NotAllowed, NotFound, Unusable
from app.central.surveillance import service
from app.central.surveillance.models import TRANSITIONS, Action, Signal, SignalState
from app.contracts.signing import canonical, sha256, verify
from tests.conftest import Clock
from tests.support.fleet import PASSWORD, World

WHY = "The scanner's kernel was changed on 2026-03-08; the service log says so."


def a_signal(world: World, state: SignalState = SignalState.DETECTED, site: str = "H01") -> str:
    with world.sessions.begin() as session:
        service.raise_event(
            session,
            world.lock_digest,
            source=f"silence:{site}",
            event="silence",
            cause="data_quality",
            site=site,
            announce=lambda *_: None,
            now=clock.now(),
        )
        found = service.signals(session)[0]
        session.get_one(Signal, found.id).state = state
    return found.id


def decision(world: World, signal_id: str, **changes: Any) -> dict[str, Any]:
    with world.sessions() as session:
        digest = service.signal(session, signal_id).digest
    return {
        "action": "start_assessment",
        "rationale": WHY,
        "seen_digest": digest,
        "password": PASSWORD,
    } | changes


def decide(world: World, signal_id: str, action: Action, **changes: Any) -> SignalState:
    with world.sessions.begin() as session:
        given = {
            "rationale": WHY,
            "cause": "scanner",
            "seen_digest": service.signal(session, signal_id).digest,
        } | changes
        return service.decide(
            session,
            signal_id,
            action,
            signer=Signer("ann", "Ann Person", clock.now()),
            key=world.key,
            **given,
        ).state


def test_a_decision_carries_the_persons_words_and_a_signature(world: World) -> None:
    browser = world.browser("ann", Role.ANALYST)
    signal_id = a_signal(world, SignalState.UNDER_ASSESSMENT)
    body = decision(world, signal_id, action="confirm", cause="scanner")

    answer = browser.post(f"/api/v1/signals/{signal_id}/decisions", json=body)

    assert answer.json()["state"] == "confirmed"
    [made] = answer.json()["decisions"]
    assert (made["rationale"], made["decided_by"], made["printed_name"], made["cause"]) == (
        *(WHY, "ann", "Ann Person", "scanner"),
    )
    signed = {k: made[k] for k in made if k != "signature"} | {"signal": signal_id}
    signed["decided_at"] = clock.now().isoformat()
    verify(
        world.key.public,
        service.DECISION_DOMAIN,
        canonical(signed),
        bytes.fromhex(made["signature"]),
    )
    with world.sessions() as session:
        assert lines(session, subject=signal_id)[0].reason == WHY


def test_without_the_password_nothing_is_decided(world: World) -> None:
    browser = world.browser("ann", Role.ANALYST)
    signal_id = a_signal(world)
    body = decision(world, signal_id, password="wrong password")

    answer = browser.post(f"/api/v1/signals/{signal_id}/decisions", json=body)

    assert (answer.status_code, answer.json()["reason"]) == (401, "credentials")
    assert browser.get(f"/api/v1/signals/{signal_id}").json()["state"] == "detected"


def test_a_viewer_decides_nothing(world: World) -> None:
    browser = world.browser("vic", Role.VIEWER)
    signal_id = a_signal(world)

    answer = browser.post(f"/api/v1/signals/{signal_id}/decisions", json=decision(world, signal_id))

    assert answer.status_code == 403


def test_a_signal_that_changed_since_it_was_shown_is_looked_at_again(world: World) -> None:
    signal_id = a_signal(world)
    with world.sessions.begin() as session:
        seen = service.signal(session, signal_id).digest
        row = session.get_one(Signal, signal_id)
        row.document = {**row.document, "stream": "grown"}

    with pytest.raises(NotAllowed, match="changed since it was shown"):
        decide(world, signal_id, Action.START_ASSESSMENT, seen_digest=seen)


@pytest.mark.parametrize("state", list(SignalState))
@pytest.mark.parametrize("action", list(Action))
def test_only_the_transitions_of_the_table_are_possible(
    world: World, state: SignalState, action: Action
) -> None:
    signal_id = a_signal(world, state)
    expected = TRANSITIONS.get((state, action))

    if expected is None:
        with pytest.raises(NotAllowed, match=f"signal {signal_id} is {state.value}"):
            decide(world, signal_id, action)
    else:
        assert decide(world, signal_id, action) is expected


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"rationale": "  "}, "rationale: 1 to"),
        ({"rationale": "x" * 10_001}, "rationale: 1 to"),
        ({"rationale": "a\x00b"}, "without NUL"),
        ({"cause": "x" * 65}, "0 to 64"),
    ],
)
def test_a_decision_needs_words_that_can_be_kept(
    world: World, changes: dict[str, str], why: str
) -> None:
    signal_id = a_signal(world)

    with pytest.raises(Unusable, match=why):
        decide(world, signal_id, Action.START_ASSESSMENT, **changes)


def test_a_decided_signal_stays_as_it_was_decided_on(world: World, simulated_clock: Clock) -> None:
    signal_id = a_signal(world)
    decide(world, signal_id, Action.START_ASSESSMENT)
    decide(world, signal_id, Action.REFUTE)
    with world.sessions() as session:
        before = service.signal(session, signal_id)

    simulated_clock.advance(days=1)
    a_signal_again = a_signal(world, SignalState.REFUTED)

    with world.sessions() as session:
        assert service.signal(session, signal_id).digest == before.digest
    assert a_signal_again == signal_id


def test_a_signal_of_another_site_is_not_there(world: World) -> None:
    world.add_site("H01")
    world.add_site("H02")
    signal_id = a_signal(world, site="H02")
    browser = world.browser("ann", Role.ANALYST, "H01")

    assert browser.get("/api/v1/signals").json() == []
    assert browser.get(f"/api/v1/signals/{signal_id}").status_code == 404
    body = decision(world, signal_id)
    assert browser.post(f"/api/v1/signals/{signal_id}/decisions", json=body).status_code == 404


def test_an_unknown_signal_is_not_found(world: World) -> None:
    with pytest.raises(NotFound, match="no signal S-9999"), world.sessions() as session:
        service.signal(session, "S-9999")


@pytest.mark.parametrize("statistic", [2.0**53 - 1, 2.0**53, 7.3e20, 7.304604054591152e38])
def test_a_signal_with_much_evidence_reads_back_as_it_was_digested(
    world: World, statistic: float
) -> None:
    signal_id = a_signal(world)
    with world.sessions.begin() as session:
        signal = session.get_one(Signal, signal_id)
        signal.document = signal.document | {"statistic": statistic}
        stored = sha256(canonical(signal.document))

    with world.sessions() as session:
        found = service.signal(session, signal_id)

    assert (found.signal.statistic, found.digest) == (statistic, stored)
