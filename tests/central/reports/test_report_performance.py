"""Performance and sub-groups in a report's evidence: frozen when drafted, read back as such."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime

import numpy as np
import pytest

from app.central.reports import service
from app.central.reports.assembling import read, written
from app.central.surveillance.performance import PerformanceView
from app.contracts.window import Table
from monitors.performance import Audit, post_stratified, predictive_values
from monitors.proportions import wilson
from monitors.summaries import Cases
from tests.central.reports.test_reports import drafted
from tests.support.fleet import FakeEdge, World
from tests.support.rendering import RENDERERS

START, END = date(2026, 3, 1), date(2026, 3, 10)
MONDAY = date(2026, 3, 2)
LABELLED, POSITIVE = [60, 50, 20], [3, 20, 16]


def some_cases(n: int = 400) -> Cases:
    """Scores spread evenly; those of 0.25 and more are flagged."""
    score = np.linspace(0.01, 0.99, n)
    rng = np.random.default_rng(3)
    return Cases(
        numeric=np.column_stack([rng.gamma(16.0, 0.1, n), rng.normal(95, 5, n)]),
        categorical=rng.integers(0, 2, (n, 1)),
        scores=score[:, None],
        embedding=rng.normal(0, 1, (n, 2)),
        outcome=(score >= 0.25).astype(np.int64),
    )


def sent(edge: FakeEdge, *, source: str = "random_audit") -> None:
    """A day of cases, a week of reads, and a month with one level large and one missing."""
    cases = edge.window(date(2026, 3, 3), cases=some_cases())
    key = (MONDAY.isoformat(), source, "group-1", "v1")
    reads = Table((key,), np.array([[*LABELLED, *POSITIVE]]))
    levels = Table((("sex", "F"),), np.array([[200, 80, 30, 10, 5, 5, 1, 2, 3, 4]]))
    end = datetime(2026, 3, 9, tzinfo=UTC)
    for window in (
        cases,
        edge.window(MONDAY, tables={"labels": reads}, stream="labels"),
        edge.window(START, tables={"subgroups": levels}, stream="subgroups", end=end),
    ):
        answer = edge.send(window)
        assert edge.receipt(answer).windows[0].outcome == "stored", answer.text


def frozen(world: World) -> PerformanceView:
    made = drafted(world, START, END)
    with world.sessions() as session:
        found = read(service.issued(session, made.number).evidence).performance
    assert found is not None
    return found


def test_figures_are_frozen_with_the_counts_that_give_them_again(world: World) -> None:
    sent(world.an_edge("H01"))
    world.an_edge("H02")

    found = frozen(world)

    assert found.overall is not None
    assert (found.overall.labelled, found.overall.positive) == ((60, 50, 20), (3, 20, 16))
    assert sum(found.overall.cases) == 400
    kept = (found.overall.cases, found.overall.labelled, found.overall.positive)
    audit = Audit(*(np.array(c, dtype=float) for c in kept))
    at = 1  # 0.25 is the first edge of the bins of labels
    assert found.overall.rates["sensitivity"].low == post_stratified(audit, at).sensitivity.low
    assert found.overall.rates["ppv"].high == predictive_values(audit, at).ppv.high
    assert found.sites["H01"] == found.overall
    assert not found.sites["H02"].rates and found.sites["H02"].reads == 0
    assert set(found.cleared) >= {"sensitivity", "specificity", "ppv", "npv"}


def test_reads_of_another_source_are_no_sample_and_do_not_count(world: World) -> None:
    sent(world.an_edge("H01"), source="follow_up")

    found = frozen(world)

    assert found.overall is not None
    assert found.overall.reads == 0 and not found.overall.rates


def test_levels_hold_together_and_one_that_was_not_sent_keeps_its_place(world: World) -> None:
    sent(world.an_edge("H01"))

    found = frozen(world).subgroups

    women, men, scanners = found.levels
    assert (women.name, women.cases, women.flagged) == ("F", 200, 80)
    assert (women.reads, women.positive) == (50, 10)
    limits = wilson(80, 200, 1 - 0.05 / 3)
    assert women.flagged_rate is not None
    assert (women.flagged_rate.low, women.flagged_rate.high) == (limits.low, limits.high)
    assert (men.name, men.cases, men.flagged_rate) == ("M", None, None)
    assert (scanners.margin, scanners.name, scanners.cases) == ("scanner_model", "ACME BX-2", 400)
    assert scanners.reads is None
    [coverage] = found.coverage
    assert (coverage.silent, coverage.sites, coverage.cases) == (0, 1, 200)


def test_the_evidence_reads_back_and_writes_the_same_bytes(world: World) -> None:
    sent(world.an_edge("H01"))
    made = drafted(world, START, END)

    with world.sessions() as session:
        evidence = service.issued(session, made.number).evidence
        again = service.rebuild(session, made.number, renderer=RENDERERS.report)

    assert written(read(evidence)) == evidence
    assert again.is_equal


def test_evidence_of_before_is_read_without_these_figures(world: World) -> None:
    made = drafted(world, START, END)
    with world.sessions() as session:
        content = json.loads(service.issued(session, made.number).evidence)
    assert content.pop("performance") is not None

    assert read(json.dumps(content).encode()).performance is None


@pytest.mark.parametrize("reads", [0, 99])
def test_too_few_reads_are_counted_and_nothing_is_estimated(world: World, reads: int) -> None:
    edge = world.an_edge("H01")
    edge.send(edge.window(date(2026, 3, 3), cases=some_cases()))
    table = Table(((MONDAY.isoformat(), "random_audit", "g", "v1"),), np.array([[reads, *[0] * 5]]))
    edge.send(edge.window(MONDAY, tables={"labels": table}, stream="labels"))

    found = frozen(world).overall

    assert found is not None
    assert (found.reads, found.needed, found.rates, found.bounds) == (reads, 100, {}, {})
