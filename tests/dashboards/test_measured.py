"""Numbers on the topic pages against the statistics they come from, and their refusals."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from app.central.surveillance import measured as figures
from app.central.surveillance.measured import Days, Rate
from app.central.surveillance.subgroups import Level
from dashboards import measured, wording
from dashboards import wording_performance as phrases
from dashboards.pages import scanners
from monitors.errors import NotAssessable
from monitors.observations import History, LabelRows
from monitors.performance import (
    Audit,
    auc_interval,
    auc_post_stratified,
    post_stratified,
    predictive_values,
)
from monitors.prevalence import Classes, mlls
from monitors.proportions import wilson
from tests.dashboards import history_example as example
from tests.support.decoded import counts, reads

ALL = Days.of(example.FIRST, example.UPTO)
THRESHOLD = 0.5


@pytest.fixture(scope="module")
def history() -> History:
    """The example with audited reads of its first site, more of them positive upward."""
    made = example.history()
    labelled = np.array([40, 40, 40, 18])
    positive = np.array([2, 13, 24, 15])
    rows = np.array([np.concatenate([labelled, positive])])
    week = np.array([date(2026, 3, 2).toordinal()])
    labels = LabelRows(rows, week, week + 7, ("H01",), ("random_audit",), ("A",))
    return replace(made, labels=labels)


def measured_in(history: History, *sites: str) -> figures.Measured:
    return figures.measured(history.schema, counts(history, ALL, sites), THRESHOLD)


def test_days_are_half_open_and_read_as_both_ends() -> None:
    days = Days.of(date(2026, 3, 1), date(2026, 3, 3))

    assert days.words == "2026-03-01 to 2026-03-03"
    assert days.holds(np.array([days.start - 1, days.start, days.end - 1, days.end])).tolist() == [
        False,
        True,
        True,
        False,
    ]


def test_every_case_is_in_one_merged_bin(history: History) -> None:
    scores = counts(history, ALL).scores

    assert figures.merged(history.schema, scores).sum() == scores.sum() > 0


def test_a_threshold_off_the_bins_of_labels_is_refused(history: History) -> None:
    with pytest.raises(NotAssessable, match="does not lie on an edge of the bins of labels"):
        figures.threshold_bins(history.schema, float(history.schema.scores[0].edges[1]))


def test_measured_figures_are_the_post_stratified_ones(history: History) -> None:
    found = measured_in(history)

    cases = figures.merged(history.schema, counts(history, ALL).scores)
    labelled, positive = reads(history, ALL)
    _, at = figures.threshold_bins(history.schema, THRESHOLD)
    audit = Audit(*(x.astype(float) for x in (cases, labelled, positive)))
    expected, values = post_stratified(audit, at), predictive_values(audit, at)
    assert found.rates == {
        "sensitivity": Rate.of(expected.sensitivity),
        "specificity": Rate.of(expected.specificity),
        "ppv": Rate.of(values.ppv),
        "npv": Rate.of(values.npv),
        "auc": Rate.of(auc_interval(auc_post_stratified(audit))),
    }
    assert found.reads == int(labelled.sum()) and sum(found.cases) == int(cases.sum())


def test_a_site_is_measured_on_its_own_cases_and_reads(history: History) -> None:
    rows = np.array([[40, 40, 40, 5, 2, 13, 24, 4]])
    some = replace(history, labels=replace(history.labels, rows=rows))

    first, second = (measured_in(some, site) for site in ("H01", "H02"))

    everywhere = measured_in(some)
    assert [a + b for a, b in zip(first.cases, second.cases, strict=True)] == [*everywhere.cases]
    assert first.reads == everywhere.reads and first.rates and first.rates != everywhere.rates
    assert not second.rates and phrases.unmeasured(second) == "needs reference reads: 0 of 100"
    assert "100 more reads of the random audit" in phrases.would_change(second)[0]


def test_a_bin_with_cases_but_no_read_gives_bounds_and_no_estimate(history: History) -> None:
    rows = history.labels.rows.copy()
    rows[:, [3, history.schema.merged_label_bins + 3]] = 0
    labels = replace(history.labels, rows=rows)

    found = measured_in(replace(history, labels=labels))

    low, high = found.bounds["sensitivity"]
    assert not found.rates and 0 <= low < high <= 1
    assert "Sensitivity lies between" in phrases.measured_sentence(found, ALL.words)
    assert phrases.unmeasured(found) == phrases.ONLY_BOUNDS
    assert "reads in 1 bin of scores without any" in phrases.would_change(found)[0]


def test_more_reads_than_cases_are_refused_in_words(history: History) -> None:
    labels = replace(history.labels, rows=history.labels.rows * 1000)

    found = measured_in(replace(history, labels=labels))

    assert not found.rates and "labelled <= cases expected" in phrases.unmeasured(found)
    assert "A longer period" in phrases.would_change(found)[0]


def test_cleared_figures_are_counted_at_the_operating_point(history: History) -> None:
    negative, positive = np.zeros(32), np.zeros(32)
    negative[[2, 20]], positive[[2, 20]] = (90, 10), (5, 15)

    found = figures.cleared(history.schema, Classes(negative, positive), THRESHOLD)

    assert {k: v.value for k, v in found.items()} == pytest.approx(
        {"sensitivity": 0.75, "specificity": 0.9, "ppv": 0.6, "npv": 90 / 95, "auc": 0.825}
    )
    assert Rate.of(wilson(15, 20)) == found["sensitivity"]


def test_the_calibration_leaves_out_bins_with_few_reads(history: History) -> None:
    columns = history.schema.merged_label_bins
    rows = history.labels.rows.copy()
    rows[:, columns - 1] = measured.LEAST_IN_BIN  # the last bin as well as it can be
    rows[:, 0], rows[:, columns] = measured.LEAST_IN_BIN - 1, 0
    some = counts(replace(history, labels=replace(history.labels, rows=rows)), ALL)

    found = measured.calibration(history.schema, some, ALL.words)

    assert found is not None
    assert len(found.chart.bins) == columns - 1
    assert "1 bin with fewer than 20 reads is left out" in found.chart.caption
    first = found.chart.bins[0]
    assert first.low <= first.observed <= first.high
    assert found.fit is not None and found.fit.slope > 0


def test_prevalence_is_the_maximum_likelihood_one_and_refused_for_few(history: History) -> None:
    scores = counts(history, ALL).scores
    classes = Classes(scores[::1] + 1.0, scores[::-1] + 1.0)
    one_day = counts(history, Days(ALL.start, ALL.start + 1), ("H01",))

    row, few = measured.prevalences(classes, {"all": scores, "one": one_day.scores})

    assert row.estimate is not None and row.estimate.value == mlls(classes, scores).value
    assert few.estimate is None and few.reason == wording.needs_cases(few.cases, 100)


def test_a_forest_of_subgroups_keeps_the_plans_order_and_the_place_of_what_is_missing() -> None:
    limits = Rate.of(wilson(40, 400, 1 - 0.05 / 4))
    levels = [
        Level(margin="sex", name="F", cases=400, flagged=40, flagged_rate=limits),
        Level(margin="sex", name="M", cases=200, flagged=60, flagged_rate=limits),
        Level(margin="sex", name="U", cases=None),
        Level(margin="sex", name="O", cases=29, flagged=3),
    ]

    forest = measured.flagged_forest("sex", levels, 4)

    assert forest is not None
    assert [g.name for g in forest.groups] == ["female", "male", "U", "other"]
    assert (forest.groups[0].low, forest.groups[0].high) == (limits.low, limits.high)
    assert forest.groups[2].estimate is None and forest.groups[2].note == phrases.SUPPRESSED
    assert forest.groups[3].note == wording.needs_cases(29, 30)
    assert forest.overall == pytest.approx(103 / 629)


def test_readers_without_a_reference_are_not_compared(history: History) -> None:
    row = measured.readers("A", reads(history, Days(0, 1)), reads(history, ALL))

    assert row.ratio is None and row.reference == (0, 0)
    assert phrases.readers_finding(row) == phrases.NO_COMPARISON
    assert measured.readers_forest([row]).groups[0].estimate is None


def test_each_scanner_has_a_lane_with_its_versions_and_missing_shares_by_week() -> None:
    made = example.history()

    line = scanners.software_time_line(made, example.UPTO)
    grid = scanners.missing_grid(made)

    assert [lane.name for lane in line.lanes] == ["X1", "Y1", "Y2 </script>"]
    assert [m.day for m in line.lanes[0].marks] == [example.FIRST]
    assert len(grid.columns) == 1 + scanners.WEEKS_SHOWN
    assert {row[0] for row in grid.rows} == {"Noise", "kVp", "View"}
