"""Charts from windows: the change is where it was planted, and nowhere else."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pytest

from dashboards import evidence
from dashboards.charts.spec import Reading, Span, Stage
from dashboards.charts.svg import svg
from dashboards.evidence import Period, Scope
from tests.dashboards.history_example import CHANGE, FIRST, UNTIL, UPTO, history

PERIOD = Period(UNTIL, UPTO)
AT_H02 = Scope(("H02",), ("Y1",))


@pytest.fixture(scope="module", name="past")
def _past() -> evidence.History:
    return history()


def test_a_planted_change_lies_outside_the_limits_and_only_from_its_day_on(
    past: evidence.History,
) -> None:
    series = evidence.series_of(past, "noise", AT_H02, UPTO)
    assert series is not None

    chart = evidence.control_chart(series, AT_H02, PERIOD)

    assert chart is not None and len(chart.readings) == 78  # two days late
    assert {r.day for r in chart.readings if r.mark} == {CHANGE + timedelta(i) for i in range(18)}
    assert chart.unit == "noise, HU"
    assert chart.readings[0].centre == pytest.approx(5.0, abs=0.1)


def test_the_mean_of_a_characteristic_comes_back_in_its_unit(past: evidence.History) -> None:
    series = evidence.series_of(past, "kvp", Scope(("H01",)), UPTO)

    assert series is not None and series.unit == "kV"
    assert float(np.average(series.value, weights=series.n)) == pytest.approx(85, abs=0.2)


def test_what_had_not_arrived_is_not_drawn(past: evidence.History) -> None:
    series = evidence.series_of(past, "noise", AT_H02, CHANGE)

    assert series is not None
    assert date.fromordinal(int(series.day[-1])) == CHANGE - timedelta(2)  # arrives two days late


def test_a_name_outside_the_schema_has_no_series(past: evidence.History) -> None:
    assert evidence.series_of(past, "sentinel_score", AT_H02, UPTO) is None


def test_too_short_a_reference_gives_no_limits(past: evidence.History) -> None:
    series = evidence.flagged_series(past, AT_H02, UPTO)
    short = Period(FIRST + timedelta(9), UPTO)

    assert evidence.control_chart(series, AT_H02, short) is None
    assert evidence.control_chart(series, AT_H02, PERIOD, [Stage(CHANGE, "visit")]) is not None


def test_a_stage_with_a_centre_of_its_own_moves_the_limits_from_its_day_on(
    past: evidence.History,
) -> None:
    series = evidence.flagged_series(past, AT_H02, UPTO)
    plain = evidence.control_chart(series, AT_H02, PERIOD, [Stage(CHANGE, "visit")])
    assert plain is not None
    p = plain.readings[0].centre
    lower = p / 2

    staged = evidence.control_chart(series, AT_H02, PERIOD, [Stage(CHANGE, "release", lower)])

    assert staged is not None
    before = [r for r in staged.readings if r.day < CHANGE]
    assert before == [r for r in plain.readings if r.day < CHANGE]
    for old, new in zip(plain.readings[len(before) :], staged.readings[len(before) :], strict=True):
        assert new.centre == lower
        ratio = (new.upper - new.centre) / (old.upper - old.centre)
        assert ratio == pytest.approx(np.sqrt(lower * (1 - lower) / (p * (1 - p))))


def test_the_limits_of_one_stage_hold_until_the_next(past: evidence.History) -> None:
    series = evidence.flagged_series(past, AT_H02, UPTO)
    stages = [Stage(CHANGE + timedelta(9), "back", 0.3), Stage(CHANGE, "release", 0.2)]

    chart = evidence.control_chart(series, AT_H02, PERIOD, stages)

    assert chart is not None
    by_day = {r.day: r.centre for r in chart.readings}
    assert [by_day[CHANGE + timedelta(i)] for i in (0, 8, 9)] == [0.2, 0.2, 0.3]
    later = evidence.control_chart(series, AT_H02, PERIOD, [Stage(UPTO + timedelta(1), "back")])
    assert later is not None and later.stages == ()  # nothing was read there yet


def test_a_stretch_without_data_is_a_gap() -> None:
    with_gap = history(skip=range(50, 58))
    series = evidence.series_of(with_gap, "noise", Scope(("H01",)), UPTO)
    assert series is not None

    chart = evidence.control_chart(series, Scope(("H01",)), PERIOD)

    assert chart is not None
    [gap] = [r for r in chart.readings if r.value is None]
    assert gap == Reading(gap.day, None, 0, gap.lower, gap.centre, gap.upper)
    assert FIRST + timedelta(49) < gap.day < FIRST + timedelta(58)


def test_the_rate_of_flagged_cases_is_a_share_of_the_analysed(past: evidence.History) -> None:
    series = evidence.flagged_series(past, Scope(), UPTO)

    assert (series.n == 90).all()
    assert ((series.value > 0) & (series.value < 1)).all()


def test_labels_of_the_random_audit_alone_make_the_read_rate(past: evidence.History) -> None:
    series = evidence.label_series(past, Scope(("H01",)), UPTO)

    assert series.n.tolist() == [80] * 10
    assert series.value[0] == pytest.approx(25 / 80)
    assert evidence.label_series(past, Scope(("H02",)), UPTO).day.size == 0


def test_panels_show_which_scanner_moved(past: evidence.History) -> None:
    chart = evidence.comparison(past, "noise", ("H02",), PERIOD, CHANGE)

    assert chart is not None
    assert [p.title for p in chart.panels] == ["H02 · Y1", "H02 · Y2 </script>", "all other sites"]
    middle = [np.average(np.arange(10), weights=p.current) for p in chart.panels]
    before = [np.average(np.arange(10), weights=p.reference) for p in chart.panels]
    assert middle[0] - before[0] > 2
    assert abs(middle[1] - before[1]) < 0.3 and abs(middle[2] - before[2]) < 0.3
    assert "</script>" not in svg(chart)


def test_a_panel_with_too_few_cases_keeps_its_place_and_says_why(past: evidence.History) -> None:
    chart = evidence.comparison(past, "score_probability", ("H01",), PERIOD, UPTO + timedelta(1))

    assert chart is not None and len(chart.panels) == 2
    assert {p.note for p in chart.panels} == {"not assessable: 0 cases"}
    assert all(p.current == () for p in chart.panels)


def test_no_distribution_is_drawn_of_what_windows_hold_only_as_means(
    past: evidence.History,
) -> None:
    assert evidence.comparison(past, "embedding_0", ("H01",), PERIOD, CHANGE) is None


def test_the_funnel_marks_the_site_that_flags_more() -> None:
    rates = [evidence.SiteRate("H01", 40, 400), evidence.SiteRate("Second hospital", 90, 400)]

    chart = evidence.funnel_of(rates, 0.1, Span(FIRST, UPTO), "the fleet's reference rate")

    assert chart is not None
    assert [(p.name, p.outside) for p in chart.points] == [
        ("H01", False),
        ("Second hospital", True),
    ]


def test_a_funnel_needs_cases() -> None:
    rates = [evidence.SiteRate("H01", 0, 0)]

    assert evidence.funnel_of(rates, 0.1, Span(FIRST, UPTO), "the fleet's") is None


def test_the_path_is_drawn_with_its_crossing() -> None:
    days = [FIRST.toordinal() + i for i in range(5)]
    onset = (FIRST, FIRST + timedelta(1))

    chart = evidence.path_chart(
        "acquisition:H02:Y1", days, [1, 5, 50, 500, 5000], 365.0, onset, None
    )

    assert chart is not None
    assert chart.signal == FIRST + timedelta(3)
    assert "image physics, H02, Y1" in chart.title
    assert evidence.path_chart("x", [], [], 1.0, None, None) is None


def test_shares_of_a_mix_count_every_case(past: evidence.History) -> None:
    chart = evidence.mix(past, 0, Scope(("H01",)), UPTO)

    assert chart is not None
    assert set(chart.levels) == {"PA", "AP", "LL"}
    assert sum(sum(d.counts) for d in chart.days) == 78 * 30  # two days have not arrived
