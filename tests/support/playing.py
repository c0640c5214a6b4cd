"""Weeks of windows for tests of surveillance, with or without a change in them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta

import numpy as np

from app import clock
from app.contracts.window import Table, Window
from monitors.schema import FloatArray
from monitors.summaries import Cases
from tests.conftest import Clock
from tests.support.fleet import FakeEdge

FIRST_DAY = date(2026, 1, 5)
CASES_A_DAY = 40


def a_day(rng: np.random.Generator, *, noise: float = 1.2, n: int = CASES_A_DAY) -> Cases:
    """Cases of `tests.contracts.examples.a_schema`; `noise` is the mean of that characteristic."""
    level = rng.gamma(30.0, noise / 30.0, n)
    score: FloatArray = rng.beta(1.2, 5.0, size=(n, 1))
    outcome = np.where(score[:, 0] >= 0.25, 1, 0)
    return Cases(
        numeric=np.column_stack([level, rng.normal(95, 6, n)]),
        categorical=rng.integers(0, 2, size=(n, 1)),
        scores=score,
        embedding=rng.normal(size=(n, 2)),
        outcome=outcome.astype(np.int64),
    )


def play(
    edge: FakeEdge,
    clock_: Clock,
    days: int,
    *,
    first: date = FIRST_DAY,
    seed: int = 1,
    changes_on: date | None = None,
    stratum_from: tuple[date, tuple[str, ...]] | None = None,
) -> Iterator[date]:
    """Send a window a day, each early on the next morning; yields the morning it arrived."""
    rng = np.random.default_rng(seed)
    for i in range(days):
        day = first + timedelta(days=i)
        changed = changes_on is not None and day >= changes_on
        cases = a_day(rng, noise=1.9 if changed else 1.2)
        arrival = clock_.set(
            clock.now().replace(year=day.year, month=day.month, day=day.day, hour=3, minute=0)
            + timedelta(days=1)
        )
        stratum = edge_stratum(day, stratum_from)
        assert edge.send(edge.window(day, cases=cases, stratum=stratum)).status_code == 200
        if arrival.weekday() == 0:
            assert edge.send(some_labels(edge, rng, day)).status_code == 200
        yield arrival.date()


def some_labels(edge: FakeEdge, rng: np.random.Generator, day: date) -> Window:
    """A labelling week that ended on `day`: 30 audited cases in every merged score bin."""
    schema = edge.world.schema
    row = np.zeros((1, schema.width(schema.label_columns)), dtype=np.int64)
    row[0, schema.label_columns["labelled"]] = 30
    row[0, schema.label_columns["positive"]] = rng.binomial(30, [0.05, 0.2, 0.6])
    week = day - timedelta(days=day.weekday())
    table = Table(((week.isoformat(), "random_audit", "readers-1", "policy-1"),), row)
    return edge.window(day, tables={"labels": table}, stream="labels")


def edge_stratum(day: date, change: tuple[date, tuple[str, ...]] | None) -> tuple[str, ...]:
    if change is not None and day >= change[0]:
        return change[1]
    return ("scanner-1", "ACME", "BX-2", "4.1", "chest_pa")
