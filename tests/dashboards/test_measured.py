"""Numbers on the topic pages against the statistics they come from, and their refusals."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from dashboards import measured, wording
from dashboards.measured import Days, Level
from dashboards.pages import scanners
from monitors.errors import NotAssessable
from monitors.observations import History, LabelRows
from monitors.performance import Audit, post_stratified
from monitors.prevalence import Classes, mlls
from monitors.proportions import wilson
from tests.dashboards import history_example as example

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
    counts = measured.scores_of(history, ALL)

    assert measured.merged(history.schema, counts).sum() == counts.sum() > 0


def test_a_threshold_off_the_bins_of_labels_is_refused(history: History) -> None:
    with pytest.raises(NotAssessable, match="does not lie on an edge of the bins of labels"):
        measured.threshold_bins(history.schema, float(history.schema.scores[0].edges[1]))


def test_measured_performance_is_the_post_stratified_one(history: History) -> None:
    found = measured.measured(history, ALL, THRESHOLD)

    cases = measured.merged(history.schema, measured.scores_of(history, ALL))
    labelled, positive = measured.reads_of(history, ALL)
    _, at = measured.threshold_bins(history.schema, THRESHOLD)
    expected = post_stratified(Audit(*(x.astype(float) for x in (cases, labelled, positive))), at)
    assert found.performance is not None
    assert found.performance.sensitivity.value == expected.sensitivity.value
    assert found.reads == int(labelled.sum())


def test_a_bin_with_cases_but_no_read_gives_bounds_and_no_estimate(history: History) -> None:
    rows = history.labels.rows.copy()
    rows[:, [0, history.schema.merged_label_bins]] = 0
    labels = replace(history.labels, rows=rows * 4)

    found = measured.measured(replace(history, labels=labels), ALL, THRESHOLD)

    assert found.performance is None
    assert found.bounds is not None or found.reason
    assert "Sensitivity 0" not in wording.measured_sentence(found)


def test_more_reads_than_cases_are_refused_in_words(history: History) -> None:
    labels = replace(history.labels, rows=history.labels.rows * 1000)

    found = measured.measured(replace(history, labels=labels), ALL, THRESHOLD)

    assert found.performance is None and "labelled <= cases expected" in found.reason


def test_the_calibration_leaves_out_bins_with_few_reads(history: History) -> None:
    columns = history.schema.merged_label_bins
    rows = history.labels.rows.copy()
    rows[:, columns - 1] = measured.LEAST_IN_BIN  # the last bin as well as it can be
    rows[:, 0], rows[:, columns] = measured.LEAST_IN_BIN - 1, 0
    found = measured.calibration(replace(history, labels=replace(history.labels, rows=rows)), ALL)

    assert found is not None
    assert len(found.chart.bins) == columns - 1
    assert "1 bin with fewer than 20 reads is left out" in found.chart.caption
    first = found.chart.bins[0]
    assert first.low <= first.observed <= first.high
    assert found.fit is not None and found.fit.slope > 0


def test_prevalence_is_the_maximum_likelihood_one_and_refused_for_few(history: History) -> None:
    counts = measured.scores_of(history, ALL)
    classes = Classes(counts[::1] + 1.0, counts[::-1] + 1.0)

    row = measured.prevalence(history, classes, ALL, "all", ())
    few = measured.prevalence(history, classes, Days(ALL.start, ALL.start + 1), "one", ("H01",))

    assert row.estimate is not None and row.estimate.value == mlls(classes, counts).value
    assert few.estimate is None and few.reason == wording.needs_cases(few.cases, 100)


def test_a_forest_of_subgroups_keeps_the_plans_order_and_the_place_of_what_is_missing() -> None:
    rows = [
        Level("sex", "M", np.array([200, 60, *[0] * 8])),
        Level("sex", "F", np.array([400, 40, *[0] * 8])),
        Level("sex", "O", np.array([29, 3, *[0] * 8])),
    ]

    forest = measured.flagged_forest("sex", ("F", "M", "U", "O"), rows, 4)

    assert forest is not None
    assert [g.name for g in forest.groups] == ["F", "M", "U", "O"]
    limits = wilson(40, 400, 1 - 0.05 / 4)
    assert (forest.groups[0].low, forest.groups[0].high) == (limits.low, limits.high)
    assert forest.groups[2].estimate is None and forest.groups[2].note == wording.SUPPRESSED
    assert forest.groups[3].note == wording.needs_cases(29, 30)
    assert forest.overall == pytest.approx(103 / 629)


def test_readers_without_a_reference_are_not_compared(history: History) -> None:
    row = measured.readers(history, "A", Days(0, 1), ALL)

    assert row.ratio is None and row.reference == (0, 0)
    assert wording.readers_finding(row) == wording.NO_COMPARISON
    assert measured.readers_forest([row]).groups[0].estimate is None


def test_each_scanner_has_a_lane_with_its_versions_and_missing_shares_by_week() -> None:
    made = example.history()

    line = scanners.software_time_line(made, example.UPTO)
    grid = scanners.missing_grid(made)

    assert [lane.name for lane in line.lanes] == ["X1", "Y1", "Y2 </script>"]
    assert [m.day for m in line.lanes[0].marks] == [example.FIRST]
    assert len(grid.columns) == 1 + scanners.WEEKS_SHOWN
    assert {row[0] for row in grid.rows} == {"Noise", "kVp", "View"}
