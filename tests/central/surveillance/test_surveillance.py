"""From stored windows to signals, through the real engine."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import pytest
from sqlalchemy import select, text

from app import clock
from app.central.errors import NotAllowed, Unusable
from app.central.intake.arrival import evaluation_instant
from app.central.references import service as references
from app.central.references.freezing import freeze, thaw
from app.central.references.models import Reference, ReferenceState
from app.central.surveillance import evidence, history, service
from app.central.surveillance.models import Evaluation
from app.contracts.signals import SignalsFile
from app.errors import ContractError
from monitors.engine import evaluate
from monitors.errors import NotAssessable
from monitors.plan import Plan
from tests.central.surveillance.conftest import MONITORED_FROM, Watched
from tests.support.fleet import World

CHANGE = MONITORED_FROM + timedelta(days=8)


def test_a_changed_scanner_is_found_dated_and_told_once(watched: Watched) -> None:
    watched.go_on(18, changes_on=CHANGE)

    [signal] = watched.signals()
    assert signal.signal.kind == "statistical"
    assert signal.signal.sites == ("H01",)
    assert signal.signal.characteristics[0].name == "noise"
    assert signal.signal.change_interval is not None
    low, high = signal.signal.change_interval
    assert low - timedelta(days=1) <= CHANGE <= high + timedelta(days=1)
    assert [view.id for view in watched.told] == [signal.id]


def test_the_undrifted_twin_stays_silent(watched: Watched) -> None:
    watched.go_on(18)

    assert watched.signals() == ()


def test_a_changed_header_is_an_event_and_no_statistical_signal(watched: Watched) -> None:
    updated = ("scanner-1", "ACME", "BX-2", "4.2", "chest_pa")

    watched.go_on(12, stratum_from=(CHANGE, updated))

    [signal] = watched.signals()
    assert (signal.signal.kind, signal.signal.event) == ("deterministic", "software_version")
    assert signal.severity == "info"


def test_the_same_input_is_evaluated_once(watched: Watched) -> None:
    watched.go_on(2)
    day = clock.now().date()

    again = watched.evaluate(day)

    with watched.world.sessions() as session:
        stored = session.scalars(select(Evaluation).where(Evaluation.upto == day)).all()
    assert [e.input_digest for e in stored] == [again.input_digest]


def test_an_evaluation_sees_what_arrived_before_six(watched: Watched) -> None:
    watched.go_on(1)
    morning = clock.now().date() + timedelta(days=1)
    watched.clock.set(evaluation_instant(morning))
    watched.edge.send(watched.edge.window(morning - timedelta(days=1)))
    watched.clock.advance(minutes=1)

    with watched.world.sessions() as session:
        at_six = history.assemble(session, watched.world.lock_digest, upto=morning)
        next_day = history.assemble(
            session, watched.world.lock_digest, upto=morning + timedelta(days=1)
        )

    assert next_day.windows == at_six.windows + 1
    assert next_day.history.cases.arrival.max() == morning.toordinal() + 1


def test_late_windows_do_not_change_an_approved_reference(watched: Watched) -> None:
    with watched.world.sessions() as session:
        before = session.get_one(Reference, watched.reference_id).digest
    late = watched.edge.window(MONITORED_FROM - timedelta(days=20), revision=1)
    watched.edge.send(late)
    watched.clock.advance(days=1)

    watched.evaluate(clock.now().date())

    with watched.world.sessions() as session:
        reference = session.get_one(Reference, watched.reference_id)
        assert freeze(references.statistics_of(reference)) == reference.frozen
        assert reference.digest == before


def test_a_thawed_reference_gives_the_results_of_the_frozen_one(watched: Watched) -> None:
    watched.go_on(3)
    with watched.world.sessions() as session:
        arrived = history.assemble(session, watched.world.lock_digest, upto=clock.now().date())
        stored = session.get_one(Reference, watched.reference_id).frozen
    built = references.build_reference(
        Plan(),
        arrived.history,
        MONITORED_FROM.toordinal() - 1,
        None,
    )

    direct = evaluate(Plan(), built, arrived.history)
    through_bytes = evaluate(Plan(), thaw(freeze(built)), arrived.history)

    assert stored
    assert [t.statistic.tobytes() for t in direct.traces] == [
        t.statistic.tobytes() for t in through_bytes.traces
    ]


def test_reference_bytes_that_were_altered_are_refused(watched: Watched) -> None:
    with watched.world.sessions.begin() as session:
        session.execute(text("UPDATE reference SET frozen = frozen || ' '::bytea"))

    with pytest.raises(NotAllowed, match="is not what was approved"):
        watched.evaluate(clock.now().date())


@pytest.mark.parametrize(
    "frozen",
    [b'{"type": "os:system", "fields": {}}', b'{"type": "monitors.schema:np", "fields": {}}'],
)
def test_only_types_of_monitors_are_thawed(frozen: bytes) -> None:
    with pytest.raises(ContractError, match="is not a"):
        thaw(frozen)


def test_what_has_no_exact_form_is_not_frozen() -> None:
    with pytest.raises(ContractError, match="cannot be frozen"):
        freeze(object())


def test_without_an_approved_reference_nothing_is_evaluated(world: World) -> None:
    with world.sessions.begin() as session:
        found = service.evaluate(
            session,
            world.lock_digest,
            clock.now().date(),
            announce=lambda *_: None,
            now=clock.now(),
        )

    assert found is None


def test_a_reference_needs_a_second_person(watched: Watched) -> None:
    with watched.world.sessions.begin() as session:
        made = references.propose(
            session, watched.world.lock_digest, MONITORED_FROM, by="a", now=_later(watched)
        )

        with pytest.raises(NotAllowed, match="by another person"):
            references.approve(session, made.id, by="a", now=clock.now())


def test_a_new_reference_supersedes_the_one_in_force(watched: Watched) -> None:
    with watched.world.sessions.begin() as session:
        made = references.propose(
            session, watched.world.lock_digest, MONITORED_FROM, by="a", now=_later(watched)
        )
        references.approve(session, made.id, by="b", now=clock.now())
        states = {r.id: r.state for r in session.scalars(select(Reference))}

        with pytest.raises(NotAllowed, match="is approved"):
            references.approve(session, made.id, by="b", now=clock.now())

    assert states == {
        watched.reference_id: ReferenceState.SUPERSEDED,
        made.id: ReferenceState.APPROVED,
    }


def test_a_reference_period_must_lie_in_the_past(world: World) -> None:
    with world.sessions() as session, pytest.raises(Unusable, match="a day before"):
        references.propose(session, world.lock_digest, clock.now().date(), by="a", now=clock.now())


def test_too_few_cases_are_no_reference(world: World) -> None:
    edge = world.an_edge()
    edge.send(edge.window())

    with world.sessions() as session, pytest.raises(NotAssessable):
        references.propose(
            session,
            world.lock_digest,
            clock.now().date() - timedelta(days=1),
            by="a",
            now=clock.now(),
        )


def test_the_evidence_of_a_signal_compares_reference_and_current(watched: Watched) -> None:
    watched.go_on(16, changes_on=CHANGE)
    [signal] = watched.signals()

    with watched.world.sessions() as session:
        found = evidence.signal_evidence(session, signal.id)

    assert found is not None
    assert found.traces[0].stream == signal.signal.stream
    assert found.traces[0].statistic[-1] > found.traces[0].limit
    noise = next(c for c in found.comparisons if c.name == "noise")
    assert sum(noise.reference) + sum(noise.outside[:1]) + noise.missing[0] == found.reference_cases
    series = next(s for s in found.series if s.name == "noise")
    assert series.centre == pytest.approx(1.2, abs=0.02)
    assert series.points[-1].mean == pytest.approx(1.9, abs=0.05)


def test_the_standing_of_the_fleet_names_the_site_that_signals(watched: Watched) -> None:
    watched.go_on(16, changes_on=CHANGE)

    with watched.world.sessions() as session:
        found = evidence.fleet_standing(session, watched.world.lock_digest, clock.now().date())

    [site] = found.sites
    assert site.blocks["acquisition"] == "signal"
    assert site.blocks["score"] in {"quiet", "warning"}
    assert site.open_signals == (watched.signals()[0].id,)
    assert found.promised == 1.0


def test_the_api_gives_signals_in_the_laboratorys_shape(watched: Watched) -> None:
    from app.central.accounts.models import Role

    watched.go_on(16, changes_on=CHANGE)
    browser = watched.world.browser("ann", Role.VIEWER)

    answer = browser.get(f"/api/v1/device-versions/{watched.world.lock_digest}/signals-file")

    file = SignalsFile.model_validate_json(answer.content)
    assert [s.id for s in file.runs[0].signals] == [s.id for s in watched.signals()]
    assert json.loads(answer.content)["runs"][0]["false_signals_promised_per_year"] == 1.0


def _later(watched: Watched) -> datetime:
    watched.go_on(3)
    return clock.now()
