"""A case table's windows: what an edge would send, and nothing twice."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from app.contracts.disclosure import DEFAULT, Limits
from app.lab.fitting import Names, fit_schema
from app.lab.simulate import (
    EMBEDDING,
    NUMERIC,
    THRESHOLD,
    UNITS,
    Drift,
    Fleet,
    simulate,
    simulate_cases,
    simulate_cohort,
)
from app.lab.windows import CaseTable, to_history
from monitors.errors import DesignError, NotAssessable
from monitors.observations import History
from monitors.schema import Schema
from monitors.summaries import Cases

FLEET = Fleet(volume=30.0, reference_days=21, monitored_days=14, late=0.1)


def a_table(fleet: Fleet = FLEET, seed: int = 1) -> tuple[Schema, CaseTable]:
    table, _, _ = simulate_cases(fleet, seed)
    return fit_schema(Names(NUMERIC, UNITS), table.cases, (THRESHOLD,), 100), table


def tally(history: History, name: str) -> int:
    at = history.schema.columns["tallies"].start + (name == "flagged")
    return int(history.cases.rows[:, at].sum())


def test_no_case_is_counted_twice_and_few_are_held_back() -> None:
    schema, table = a_table()

    history = to_history(schema, table)

    analysed = tally(history, "analysed")
    assert len(table.day) - 60 <= analysed <= len(table.day)
    assert tally(history, "flagged") <= int((table.cases.outcome == 1).sum())


def test_no_window_is_below_the_limits_or_arrives_before_it_ends() -> None:
    schema, table = a_table()

    history = to_history(schema, table)

    n = history.cases.rows[:, schema.columns["tallies"].start]
    assert n.min() >= DEFAULT.minimum_n
    assert (history.cases.end - history.cases.start).max() <= DEFAULT.longest_days
    assert (history.cases.arrival >= history.cases.end).all()
    assert history.moments.rows[:, 0].min() >= DEFAULT.moments_n
    labelled = history.labels.rows[:, schema.label_columns["labelled"]]
    assert labelled.sum(axis=1).min() >= DEFAULT.labels
    assert (history.labels.arrival >= history.labels.week + 7).all()


def test_a_case_that_arrives_late_is_in_a_window_that_arrives_later() -> None:
    schema, table = a_table(replace(FLEET, volume=150.0, late=0.0))
    day = int(table.day[0]) + 3
    mine = (table.stratum == 0) & (table.day == day)
    later = replace(table, arrival=np.where(mine, day + 9, table.arrival))

    prompt, late = to_history(schema, table), to_history(schema, later)

    def arrived(history: History, until: int) -> int:
        here = (history.cases.stratum == 0) & (history.cases.arrival <= until)
        return int(history.cases.rows[here, schema.columns["tallies"].start].sum())

    assert arrived(late, day + 8) <= arrived(prompt, day + 8) - int(mine.sum()) + DEFAULT.minimum_n
    assert abs(arrived(late, day + 15) - arrived(prompt, day + 15)) < DEFAULT.minimum_n


def test_stricter_limits_give_fewer_and_larger_windows() -> None:
    schema, table = a_table()

    ordinary, strict = (
        to_history(schema, table),
        to_history(schema, table, limits=Limits(minimum_n=60)),
    )

    assert len(strict.cases.start) < len(ordinary.cases.start)
    assert strict.cases.rows[:, schema.columns["tallies"].start].min() >= 60


def test_the_threshold_is_a_score_bin_edge() -> None:
    schema, _ = a_table()

    edges = schema.scores[0].edges
    assert THRESHOLD in edges
    assert edges.size == 33


def test_the_joint_vector_of_the_reference_is_standardised() -> None:
    schema, table = a_table(replace(FLEET, late=0.0))
    history = to_history(schema, table)

    n = history.cases.rows[:, schema.columns["joint_n"]].sum()
    mean = history.cases.rows[:, schema.columns["joint_sum"]].sum(axis=0) / n / 4096

    assert np.abs(mean).max() < 0.1


def test_the_same_seed_gives_the_same_windows_and_another_seed_others() -> None:
    one, again, other = (simulate(FLEET, seed) for seed in (5, 5, 6))

    assert one.cases.rows.tobytes() == again.cases.rows.tobytes()
    assert one.labels.rows.tobytes() == again.labels.rows.tobytes()
    assert one.cases.rows.tobytes() != other.cases.rows.tobytes()


def test_a_planted_change_leaves_everything_before_it_as_it_was() -> None:
    """The undrifted twin has the same cases up to the planted day."""
    drift = Drift(kind="scanner", day=5, site="H1", scanner="S1", size=2.0)
    still, _, _ = simulate_cases(FLEET, 3)
    moved, _, _ = simulate_cases(replace(FLEET, drifts=(drift,)), 3)

    before = still.day < FLEET.reference_end + 5
    assert np.array_equal(still.cases.numeric[before], moved.cases.numeric[before])
    assert not np.array_equal(still.cases.numeric[~before], moved.cases.numeric[~before])


def test_a_cohort_has_both_classes_in_the_order_of_the_joint_vector() -> None:
    history = simulate(FLEET, 2)

    cohort = simulate_cohort(FLEET, history.schema, 2)

    assert cohort.joint_mean.shape == (2, history.schema.joint.size)
    assert cohort.joint_mean[1, 0] - cohort.joint_mean[0, 0] > 1  # the logit score
    assert cohort.score_counts.sum() == cohort.joint_n.sum()


def test_a_schema_of_too_few_cases_is_refused() -> None:
    few = Cases(
        np.zeros((20, 0)),
        np.zeros((20, 0), dtype=np.int64),
        np.full((20, 1), 0.5),
        np.zeros((20, EMBEDDING)),
        np.zeros(20, dtype=np.int64),
    )

    with pytest.raises(NotAssessable, match="at least 100 reference cases, got 20"):
        fit_schema(Names((), ()), few)


def test_a_fleet_of_nothing_and_an_unknown_mechanism_are_refused() -> None:
    with pytest.raises(DesignError, match="at least one site, scanner and day"):
        Fleet(sites=0)
    with pytest.raises(DesignError, match=r"mechanism: one of .* expected, got 'magic'"):
        Fleet(mechanism="magic")
