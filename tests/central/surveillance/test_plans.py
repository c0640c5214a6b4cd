"""The surveillance plan: versions, modes, and what an evaluation makes of them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from app.central.accounts.models import Role
from app.central.surveillance import plans, service
from app.central.surveillance.models import SurveillancePlan
from app.contracts.signing import open_sealed
from tests.central.surveillance.conftest import MONITORED_FROM, Watched
from tests.support.fleet import PASSWORD, World
from tests.support.playing import play


def put(world: World, **body: Any) -> Any:
    browser = world.browser("adam", Role.ADMINISTRATOR)
    given = {"reason": "agreed in the plan's review", "password": PASSWORD} | body
    return browser.post(f"/api/v1/device-versions/{world.lock_digest}/plan", json=given)


def test_a_new_version_is_signed_and_names_what_differs(world: World) -> None:
    answer = put(world, parameters={"false_signals_per_year": 0.5}, modes={"embedding": "trial"})

    assert answer.status_code == 201, answer.text
    document = answer.json()["document"]
    assert (document["version"], document["modes"]) == (2, {"embedding": "trial"})
    assert document["parameters"]["false_signals_per_year"] == 0.5
    assert document["parameters"]["window_cases"] == 20
    with world.sessions() as session:
        stored = session.get_one(SurveillancePlan, answer.json()["digest"])
    assert open_sealed(plans.PAYLOAD_TYPE, stored.envelope, [world.key.public]) == stored.document


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"parameters": {"false_signals": 1}}, "false_signals_per_year"),
        ({"parameters": {"window_cases": 20.5}}, "a whole number expected"),
        ({"parameters": {"naming_probability": 2.0}}, "0.5 to 1 expected"),
        ({"modes": {"lock": "off"}}, "schema"),
        ({"modes": {"score": "paused"}}, "schema"),
        ({"reason": ""}, "schema"),
    ],
)
def test_a_plan_that_cannot_be_meant_is_refused(
    world: World, body: dict[str, Any], message: str
) -> None:
    answer = put(world, **body)

    assert (answer.status_code, message in answer.text) == (422, True), answer.text


def test_a_plan_needs_the_password_and_the_role(world: World) -> None:
    path = f"/api/v1/device-versions/{world.lock_digest}/plan"
    given = {"reason": "why not", "password": PASSWORD}
    analyst = world.browser("ann", Role.ANALYST)

    assert put(world, password="wrong password").status_code == 401
    assert analyst.post(path, json=given).status_code == 403
    assert analyst.get(path).json()["document"]["version"] == 1


def evaluated(watched: Watched, modes: dict[str, str]) -> tuple[set[str], set[str], set[str]]:
    """First words of the streams that raised signals, stand on trial, and were drawn."""
    assert put(watched.world, modes=modes).status_code == 201
    changed = MONITORED_FROM + timedelta(days=3)
    for morning in play(
        watched.edge, watched.clock, 16, first=MONITORED_FROM, seed=2, changes_on=changed
    ):
        last = morning
    watched.clock.advance(hours=3)
    watched.evaluate(last)
    with watched.world.sessions() as session:
        found = service.last_evaluation(session, watched.world.lock_digest)
        assert found is not None
        trial = service.on_trial(session, found)
    return (
        {s.signal.stream.partition(":")[0] for s in watched.signals()},
        {s.stream.partition(":")[0] for s in trial},
        {t.block for t in found.evidence.traces},
    )


def test_findings_of_a_monitor_on_trial_are_kept_and_raise_nothing(watched: Watched) -> None:
    signals, trial, drawn = evaluated(watched, {"acquisition": "trial"})

    assert "acquisition" not in signals
    assert "acquisition" in trial
    assert "acquisition" in drawn
    assert watched.told == []


def test_a_monitor_that_is_off_leaves_no_trace(watched: Watched) -> None:
    signals, trial, drawn = evaluated(watched, {"acquisition": "off"})

    assert "acquisition" not in signals | trial | drawn
    assert "score" in drawn
