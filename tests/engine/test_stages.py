"""New stages: a scanner after an approved event is held against a baseline of its own, or none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from app.lab.simulate import Drift
from monitors.engine import Evaluation, Plan, SignalResult, build_reference, evaluate
from monitors.observations import Event, History, OpenedStage
from monitors.stages import in_retrospect, staged
from tests.engine.fleets import ORDINARY, SCANNER, a_history, a_reference, found

END = ORDINARY.reference_end
DAY = END + SCANNER.day
AT = {"site": "H2", "scanner": "H2-S1"}


def opened(history: History, known: int, *, day: int = DAY, scanner: str = "H2-S1") -> History:
    return replace(history, stages=(OpenedStage("E-0001", day, "H2", scanner, known),))


def statistical(evaluation: Evaluation) -> list[SignalResult]:
    return [s for s in evaluation.signals if s.kind == "statistical"]


def stage_words(evaluation: Evaluation) -> list[str]:
    return [words for name, words in evaluation.assessability.items() if name.endswith("E-0001")]


def test_a_stage_that_was_known_at_once_is_tested_against_nothing() -> None:
    history = opened(a_history(SCANNER), DAY)

    evaluation = evaluate(Plan(), a_reference(SCANNER), history)

    assert statistical(found(SCANNER)) != []
    assert statistical(evaluation) == []
    [words] = stage_words(evaluation)
    assert words.startswith("not assessable: new stage, ")
    assert words.endswith(" of 300 cases")


def test_other_scanners_are_watched_as_before_while_a_stage_waits() -> None:
    elsewhere = Drift(kind="scanner", day=12, site="H3", scanner="S1", size=1.0)
    history = opened(a_history(elsewhere), DAY)

    [signal] = statistical(evaluate(Plan(), a_reference(elsewhere), history))

    assert signal.sites == ("H3",)


@pytest.mark.parametrize("after", [1, 10])
def test_a_stage_opened_after_a_signal_leaves_the_signal_as_it_was(after: int) -> None:
    [before] = statistical(found(SCANNER))
    history = opened(a_history(SCANNER), before.day + after)

    [signal] = statistical(evaluate(Plan(), a_reference(SCANNER), history))

    assert (signal.id, signal.day, signal.statistic) == (before.id, before.day, before.statistic)


def test_a_stage_known_later_changes_nothing_that_was_said_before() -> None:
    known = DAY + 4
    reference = a_reference(SCANNER)

    without = evaluate(Plan(), reference, a_history(SCANNER), upto=known - 1)
    with_it = evaluate(Plan(), reference, opened(a_history(SCANNER), known), upto=known - 1)

    assert with_it.signals == without.signals
    assert [t.statistic.tobytes() for t in with_it.traces] == [
        t.statistic.tobytes() for t in without.traces
    ]


def test_a_reference_with_enough_cases_of_a_stage_is_its_new_baseline() -> None:
    history = opened(a_history(SCANNER), DAY + 30)
    until = END + 40

    reference = build_reference(Plan(), history, until)

    own = [u for u in reference.units if u.stage == "E-0001"]
    assert {(u.site, u.scanner) for u in own} == {("H2", "H2-S1")}
    evaluation = evaluate(Plan(), reference, history)
    assert statistical(evaluation) == []
    assert stage_words(evaluation)[0].startswith("provisional")
    # The same reference without the stage averages before and after, and fits neither.
    blurred = build_reference(Plan(), a_history(SCANNER), until)
    at = [i for i, u in enumerate(blurred.units) if u.scanner == "H2-S1"]
    assert blurred.null.cases[at].sum() > reference.null.cases[reference.units.index(own[0])]


def test_a_change_within_a_stage_is_found_against_its_own_baseline() -> None:
    history = opened(a_history(SCANNER), DAY + 30, day=END - 20)
    reference = build_reference(Plan(), history, END)

    [signal] = statistical(evaluate(Plan(), reference, history))

    assert [u.stage for u in reference.units if u.scanner == "H2-S1"] == ["", "E-0001"]
    assert (signal.sites, signal.scanners) == (("H2",), ("H2-S1",))


def test_a_stage_of_a_site_is_one_of_every_scanner_there() -> None:
    whole = in_retrospect(opened(a_history(), DAY, scanner=""))

    after = whole.cases.start >= DAY
    here = np.array([s.site == "H2" for s in whole.strata])[whole.cases.stratum]
    in_stage = np.array([s.stage == "E-0001" for s in whole.strata])[whole.cases.stratum]
    assert (in_stage == (after & here)).all()
    assert in_stage.any()


def test_the_newest_stage_that_had_begun_holds_a_window() -> None:
    first = OpenedStage("E-0001", DAY, known=0, **AT)
    second = OpenedStage("E-0002", DAY + 5, known=0, **AT)

    whole = staged(replace(a_history(), stages=(second, first)), ())

    for name, since, until in (("E-0001", DAY, DAY + 5), ("E-0002", DAY + 5, END + 999)):
        mine = np.array([s.stage == name for s in whole.strata])[whole.cases.stratum]
        assert whole.cases.start[mine].min() >= since
        assert whole.cases.start[mine].max() < until


def test_a_planned_event_is_no_signal_and_speaks_for_the_scanner() -> None:
    # So small a change that its cause stays open for a while.
    small = Drift(kind="scanner", day=12, site="H2", scanner="S1", size=0.4)
    reference, history = a_reference(small), a_history(small)
    event = Event(END + 10, "planned", "H2", "H2-S1", "E-0001", last=END + 12, known=END + 11)

    [without] = statistical(evaluate(Plan(), reference, history))
    evaluation = evaluate(Plan(), reference, replace(history, events=(event,)))

    [with_it] = evaluation.signals
    assert (with_it.id, with_it.statistic) == (without.id, without.statistic)
    assert with_it.history[0].candidates["scanner"] > without.history[0].candidates["scanner"]
    late = replace(event, known=without.day + 1)
    [unaware] = evaluate(Plan(), reference, replace(history, events=(late,))).signals
    assert unaware.history[0] == without.history[0]
