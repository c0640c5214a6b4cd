"""The engine finds each planted change with its cause, and is silent on the undrifted twin."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from app.lab.simulate import Drift, simulate_cohort
from monitors.engine import Evaluation, Plan, SignalResult, build_reference, evaluate
from monitors.errors import DesignError, NotAssessable
from monitors.observations import Event
from monitors.schema import NUMERIC_UNITS
from tests.engine.fleets import (
    ANNOTATION,
    ORDINARY,
    PREVALENCE,
    SCANNER,
    SEED,
    VERSION,
    a_fleet,
    a_history,
    a_reference,
    found,
    shuffled,
)

END = ORDINARY.reference_end


def statistical(evaluation: Evaluation) -> list[SignalResult]:
    return [s for s in evaluation.signals if s.kind == "statistical"]


def test_an_undrifted_fleet_raises_nothing() -> None:
    assert found().signals == ()


@pytest.mark.parametrize(
    ("drift", "cause", "site"),
    [
        (SCANNER, "scanner", "H2"),
        (PREVALENCE, "prevalence", "H3"),
        (ANNOTATION, "annotation", "H1"),
    ],
)
def test_a_planted_change_is_one_signal_with_its_cause_at_its_site(
    drift: Drift, cause: str, site: str
) -> None:
    [signal] = statistical(found(drift))

    assert signal.history[-1].causes == (cause,)
    assert signal.history[-1].probability >= 0.8
    assert signal.sites == (site,)
    assert signal.day > END + drift.day


@pytest.mark.parametrize("drift", [SCANNER, PREVALENCE, ANNOTATION])
def test_the_change_date_interval_holds_the_day_that_was_planted(drift: Drift) -> None:
    [signal] = statistical(found(drift))

    assert signal.change_interval is not None
    low, high = signal.change_interval
    assert low <= END + drift.day <= high


def test_a_scanner_change_names_the_scanner_and_a_prevalence_change_none() -> None:
    [scanner] = statistical(found(SCANNER))
    [prevalence] = statistical(found(PREVALENCE))

    assert scanner.scanners == ("H2-S1",)
    assert prevalence.scanners == ()


def test_a_scanner_change_shows_what_moved_with_its_interval() -> None:
    [signal] = statistical(found(SCANNER))

    largest = signal.characteristics[0]
    assert abs(largest.effect) > 0.5
    assert largest.interval[0] < largest.effect < largest.interval[1]


def test_an_annotation_signal_says_how_far_the_labels_moved() -> None:
    [signal] = [s for s in found(ANNOTATION).signals if s.kind == "statistical"]

    labels = signal.characteristics[0]

    assert (labels.name, labels.unit) == ("labels_given_score", "log odds")
    assert 0 < labels.interval[0] < labels.effect < labels.interval[1]


def test_a_scanner_signal_says_nothing_of_labels() -> None:
    [signal] = [s for s in found(SCANNER).signals if s.kind == "statistical"]

    assert "labels_given_score" not in [c.name for c in signal.characteristics]


def test_three_changes_at_three_sites_are_three_signals() -> None:
    signals = statistical(found(SCANNER, PREVALENCE, ANNOTATION))

    assert {(s.sites, s.history[-1].causes) for s in signals} == {
        (("H2",), ("scanner",)),
        (("H3",), ("prevalence",)),
        (("H1",), ("annotation",)),
    }


def test_a_new_software_version_is_an_event_and_no_statistical_signal() -> None:
    [event] = found(VERSION).signals

    assert (event.kind, event.event, event.scanners) == (
        "deterministic",
        "software_version",
        ("H1-S2",),
    )
    [model] = {s.model for s in a_history(VERSION).strata if s.scanner == "H1-S2"}
    assert event.scanner_models == (model,)
    assert model
    assert event.day == END + VERSION.day
    assert found(VERSION).assessability["H1:H1-S2:2.0:pa"] == "tested against H1:H1-S2:1.0:pa"


def test_a_changed_image_does_not_hide_behind_a_changed_header() -> None:
    moved = Drift(kind="scanner", day=12, site="H1", scanner="S2", size=1.2)

    signals = found(VERSION, moved).signals

    assert [s.kind for s in signals] == ["deterministic", "statistical"]
    assert signals[1].history[-1].causes == ("scanner",)
    assert signals[1].scanners == ("H1-S2",)


def test_a_version_seen_only_in_the_windows_is_an_event_too() -> None:
    history = replace(a_history(VERSION), events=())

    [event] = evaluate(Plan(), a_reference(VERSION), history).signals

    assert (event.event, event.scanners) == ("software_version", ("H1-S2",))


def test_a_registered_lock_event_is_a_signal_with_that_cause() -> None:
    history = replace(a_history(), events=(Event(END + 3, "lock", "H1"),))

    [signal] = evaluate(Plan(), a_reference(), history).signals

    assert (signal.kind, signal.history[-1].causes) == ("deterministic", ("lock",))


def test_a_fixed_image_that_scores_differently_breaks_the_lock_at_once() -> None:
    history = a_history()
    rounds = history.sentinels
    rows = rounds.rows.copy()
    late = int(np.flatnonzero(rounds.day >= END)[0])
    rows[late, history.schema.sentinel_columns["deviation"]] = NUMERIC_UNITS // 100

    evaluation = evaluate(
        Plan(), a_reference(), replace(history, sentinels=replace(rounds, rows=rows))
    )

    [signal] = evaluation.signals
    assert (signal.kind, signal.event, signal.sites) == (
        "deterministic",
        "lock",
        (rounds.site[late],),
    )
    assert signal.statistic == pytest.approx(0.01, rel=1e-3)


def test_the_order_of_rows_and_strata_changes_nothing() -> None:
    drifts = (SCANNER, PREVALENCE, ANNOTATION)
    history = shuffled(a_history(*drifts))

    reference = build_reference(Plan(), history, END)
    again = evaluate(Plan(), reference, history)

    assert reference.digest == a_reference(*drifts).digest
    assert again.signals == found(*drifts).signals


def test_the_same_input_gives_the_same_bytes() -> None:
    first = found(SCANNER)
    again = evaluate(Plan(), a_reference(SCANNER), a_history(SCANNER))

    assert [t.statistic.tobytes() for t in first.traces] == [
        t.statistic.tobytes() for t in again.traces
    ]
    assert first.signals == again.signals


@pytest.mark.parametrize("day", [20, 30, 40])
def test_a_longer_history_repeats_what_a_shorter_one_said(day: int) -> None:
    drifts = (SCANNER, PREVALENCE, ANNOTATION)
    reference, history = a_reference(*drifts), a_history(*drifts)

    early = evaluate(Plan(), reference, history, upto=END + day).signals

    whole = {s.id: s for s in found(*drifts).signals}
    for signal in early:
        later = whole[signal.id]
        assert (signal.day, signal.stream, signal.statistic) == (
            later.day,
            later.stream,
            later.statistic,
        )
        assert later.history[: len(signal.history)] == signal.history
    assert {s.id for s in early} == {s.id for s in whole.values() if s.day <= END + day}


@pytest.mark.parametrize("drift", [SCANNER, PREVALENCE, ANNOTATION])
def test_a_signal_is_raised_once_while_its_stream_climbs_on(drift: Drift) -> None:
    evaluation = found(drift)

    [signal] = statistical(evaluation)
    trace = next(t for t in evaluation.traces if t.stream == signal.stream)
    assert trace.statistic[trace.day == signal.day] == pytest.approx(signal.statistic)
    assert trace.statistic[-1] > trace.statistic[trace.day == signal.day]


def test_without_labels_a_rise_of_high_scores_is_not_named_prevalence() -> None:
    history = a_history(PREVALENCE)
    late = history.labels.week + 7 > END
    labels = history.labels
    kept = np.flatnonzero(~late)
    without = replace(
        labels,
        rows=labels.rows[kept],
        week=labels.week[kept],
        arrival=labels.arrival[kept],
        site=tuple(labels.site[i] for i in kept),
        source=tuple(labels.source[i] for i in kept),
        reader_group=tuple(labels.reader_group[i] for i in kept),
    )

    [signal] = statistical(
        evaluate(Plan(), a_reference(PREVALENCE), replace(history, labels=without))
    )

    assert {belief.causes for belief in signal.history} == {("undetermined",)}
    assert "labels" in signal.missing


def test_the_validation_cohort_gives_the_label_shift_direction() -> None:
    history = a_history(PREVALENCE)
    cohort = simulate_cohort(a_fleet(PREVALENCE), history.schema, SEED)
    reference = build_reference(Plan(), history, END, cohort)

    [signal] = statistical(evaluate(Plan(), reference, history))

    assert reference.shift is not None
    assert not reference.shift.from_labels
    assert signal.history[-1].causes == ("prevalence",)


def test_the_promise_is_stated_and_divides_over_the_streams() -> None:
    plan = Plan(false_signals_per_year=0.5)
    evaluation = evaluate(plan, a_reference(), a_history())

    streams = len(a_reference().streams)
    assert evaluation.false_signals_promised_per_year == 0.5
    assert {t.limit for t in evaluation.traces} == {streams * 365.25 / 0.5}


def test_every_watched_stream_has_a_trace() -> None:
    assert {t.stream for t in found().traces} == {s.name for s in a_reference().streams}


def test_a_small_reference_says_that_it_is_provisional() -> None:
    words = set(a_reference().assessability.values())

    assert all(word.startswith("provisional:") for word in words if "not" not in word)


def test_a_reference_without_enough_cases_is_refused() -> None:
    history = a_history()
    first = int(history.cases.start.min())

    with pytest.raises(NotAssessable, match="no stratum has 300 reference cases"):
        build_reference(Plan(), history, first + 5)


def test_a_plan_without_a_budget_is_refused() -> None:
    with pytest.raises(DesignError, match="false_signals_per_year must be positive"):
        Plan(false_signals_per_year=0.0)
    with pytest.raises(DesignError, match=r"naming_probability: 0.5 to 1 expected, got 0.3"):
        Plan(naming_probability=0.3)
    with pytest.raises(DesignError, match="mute_days: at least 1 expected, got 0"):
        Plan(mute_days=0)


def test_a_plan_is_named_by_what_it_says() -> None:
    assert Plan().digest == Plan().digest
    assert Plan().digest != Plan(window_cases=80).digest
