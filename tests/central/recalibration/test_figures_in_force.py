"""Figures after a recalibration: each at the operating point that flagged the cases."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from app import clock
from app.central.accounts.models import Role
from app.central.recalibration.in_force import in_force
from app.central.reports.assembling import assemble, read, written
from app.central.surveillance.measured import Counts, Days, measured
from app.central.surveillance.operating import Use, parts_of
from app.central.surveillance.performance import PerformanceView, performance
from app.central.surveillance.pool import Pool, pool_within
from dashboards import performance as shown
from dashboards import wording_performance as phrases
from dashboards.reports.content import report_view
from dashboards.web import install
from tests.central.recalibration.test_recalibration_loop import CHANGE, UNTIL, Loop, _day, _labels
from tests.central.recalibration.test_recalibration_loop import loop as loop
from tests.central.recalibration.test_recalibration_loop import submitted as submitted
from tests.support.fleet import PASSWORD

pytestmark = pytest.mark.filterwarnings("ignore:.*sRGB2014.icc:ResourceWarning")
ALL = Days.of(date(2026, 1, 27), date(2026, 3, 2))


def days_of(loop: Loop, points: list[tuple[str, float]]) -> date:
    """A day for each, flagged at that operating point; the first of them."""
    rng, first = np.random.default_rng(7), clock.now().date() + timedelta(1)
    for i, (point, threshold) in enumerate(points):
        day = first + timedelta(i)
        loop.clock.set(datetime(day.year, day.month, day.day, 3, tzinfo=UTC) + timedelta(1))
        cases = _day(rng, 200, 0.25, threshold)
        window = loop.edge.window(day, cases=cases, operating_point=point)
        assert loop.edge.send(window).status_code == 200
    return first


def uses(loop: Loop, last: date) -> list[tuple[str, float | None, Days]]:
    with loop.world.sessions() as session:
        found = in_force(session, loop.world.manifest, Days.of(ALL_FIRST, last))
    assert {use.site for use in found} <= {"H01"}
    return [(use.point, use.threshold, use.days) for use in found]


ALL_FIRST = date.fromordinal(ALL.start)


def pool(loop: Loop) -> Pool:
    with loop.world.sessions() as session:
        upto = clock.now().date() + timedelta(1)
        return pool_within(session, loop.world.lock_digest, upto=upto, scope="H01")


def view_of(loop: Loop, threshold: float | None, first: date) -> PerformanceView:
    """With another threshold at the site from `first` on."""
    use = Use(site="H01", point="P-1", threshold=threshold, days=Days(first.toordinal(), ALL.end))
    return performance(
        pool(loop),
        ALL,
        manifest=loop.world.manifest,
        threshold=0.25,
        uses=[use],
        sites=["H01"],
        signals=(),
    )


def same(a: Counts, b: Counts) -> bool:
    return all(
        np.array_equal(getattr(a, name), getattr(b, name))
        for name in ("scores", "labelled", "positive")
    )


def test_a_release_holds_from_the_first_window_that_names_it_until_it_is_undone(
    loop: Loop, submitted: Any
) -> None:
    loop.decide(submitted)
    new = loop.release(submitted).json()["id"]
    nothing = uses(loop, clock.now().date())
    first = days_of(loop, [("OP-1", 0.25), (new, 0.125), (new, 0.125)])  # taken a day late
    loop.approver.post("/api/v1/session", json={"name": "approver", "password": PASSWORD})
    address = f"/api/v1/point-releases/{new}/roll-back"
    back = loop.approver.post(address, json={"reason": "PPV fell", "password": PASSWORD})
    assert back.status_code == 201, back.text
    # That day began before the roll-back; the next one did not.
    undone = days_of(loop, [(back.json()["id"], 0.25)])

    held = Days((first + timedelta(1)).toordinal(), undone.toordinal())
    assert nothing == []
    assert uses(loop, undone) == [(new, 0.125, held)]
    assert uses(loop, first + timedelta(1)) == [(new, 0.125, Days(held.start, held.start + 1))]
    assert uses(loop, first) == []


def test_a_release_that_no_window_names_changes_no_figure(loop: Loop, submitted: Any) -> None:
    loop.decide(submitted)
    loop.release(submitted)
    first = days_of(loop, [("OP-1", 0.25)] * 3)

    assert uses(loop, first + timedelta(2)) == []


def test_figures_at_two_scores_stand_apart_and_add_up(loop: Loop) -> None:
    tables = {"labels": _labels(loop.edge, 0.1)}
    tables["labels"] = type(tables["labels"])(
        (("2026-02-09", "random_audit", "readers-1", "policy-1"),), tables["labels"].values
    )
    sent = loop.edge.send(loop.edge.window(UNTIL, tables=tables, stream="labels"))
    assert sent.status_code == 200, sent.text
    schema, mine, day = loop.world.schema, pool(loop), CHANGE.toordinal()
    early, late = mine.counts(Days(ALL.start, day)), mine.counts(Days(day, ALL.end))

    view = view_of(loop, 0.5, CHANGE)

    old, new = view.points
    assert (old.threshold, new.threshold) == (0.25, 0.5)
    assert old.overall == measured(schema, early, 0.25) == old.sites["H01"]
    assert new.overall == measured(schema, late, 0.5) == new.sites["H01"]
    assert old.overall.rates["sensitivity"].value > 0.85  # 90 % as cleared
    assert 0.5 < new.overall.rates["sensitivity"].value < 0.7  # 60 % of positives lie above 0.5
    assert new.cleared["sensitivity"].value == pytest.approx(0.6)
    parts = parts_of(mine, ALL, ["H01"], 0.25, new.uses)
    assert same(parts[0].overall.with_(parts[1].overall), mine.counts(ALL))
    said = shown.sentences(view, ALL.words)
    assert said[0] == phrases.NOT_POOLED
    assert "At P-1, flagged from 0.5: H01 2026-02-20 to 2026-03-02." in said
    assert [g.caption.split("; ")[1] for g in shown.compared_grids(view)] == [
        "flagged from 0.25, as cleared",
        "flagged from 0.5",
    ]


def test_one_other_score_all_the_time_is_the_only_one_shown(loop: Loop) -> None:
    view = view_of(loop, 0.5, ALL_FIRST)

    assert (view.threshold, view.further) == (0.5, ())
    assert view.overall == measured(loop.world.schema, pool(loop).counts(ALL), 0.5)
    said = shown.sentences(view, ALL.words)
    assert phrases.NOT_POOLED not in said
    assert said[0].startswith("At P-1, flagged from 0.5: H01")
    [grid] = shown.compared_grids(view)
    assert grid.columns[1] == "Validation cohort, from this score (95 %)"


def test_scores_by_class_of_scanners_are_not_measured_and_it_is_said(loop: Loop) -> None:
    view = view_of(loop, None, CHANGE)

    old, new = view.points
    assert old.overall is not None and new.overall is None
    assert any(phrases.CLASSES_NOT_TOLD_APART in s for s in shown.sentences(view, ALL.words))
    assert shown.compared_grids(view)[1].empty == phrases.CLASSES_NOT_TOLD_APART


def test_pages_and_the_report_measure_at_what_was_in_force(loop: Loop, submitted: Any) -> None:
    install(loop.world.app)
    loop.decide(submitted)
    new = loop.release(submitted).json()["id"]
    first = days_of(loop, [(new, 0.125)] * 3)
    last, digest = first + timedelta(2), loop.world.lock_digest
    loop.author.post("/api/v1/session", json={"name": "author", "password": PASSWORD})
    loop.world.an_edge("H02")
    bound = loop.world.browser("elsewhere", Role.ANALYST, "H02")
    address = f"/devices/{digest}/{{}}?first={ALL_FIRST}&last={last}"
    page = loop.author.get(address.format("performance"))
    now = loop.author.get(address.format("prevalence"))
    elsewhere = bound.get(address.format("performance"))
    of_fleet = [loop.author.get(path).text for path in ("/", f"/devices/{digest}")]

    where = f"{new}, flagged from 0.125: H01 {first} to {last}"
    assert (page.status_code, now.status_code) == (200, 200)
    assert phrases.NOT_POOLED in page.text and where in page.text
    assert "where cases are flagged from 0.125" in now.text
    assert new not in elsewhere.text  # of another site
    assert all(f"H01, from 0.125 since {first}" in text for text in of_fleet)
    assert "from 0.125" not in bound.get("/").text
    with loop.world.sessions() as session:
        report = assemble(
            session, digest, ALL_FIRST, last + timedelta(1), number="-", by="x", now=clock.now()
        )
    kept = read(written(report))
    assert kept.performance == report.performance
    sections = report_view(kept, "0" * 64).sections
    [section] = [s for s in sections if s.title == "Performance and sub-groups"]
    assert any(where in fact.value for fact in section.facts)
