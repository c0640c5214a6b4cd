"""One specification, three renderings: SVG held by golden files, Plotly by its own validator,
tables by their shape."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from scipy.stats import binom

from dashboards.charts import limits, palette, spec
from dashboards.charts.drawing import date_ticks, spread, text_width, tick_labels, value_ticks
from dashboards.charts.plotly import FIGURES, figure
from dashboards.charts.spec import (
    Chart,
    ControlChart,
    FunnelPoint,
    Lane,
    Mix,
    PathChart,
    Reading,
    Span,
    TimeLine,
)
from dashboards.charts.svg import RENDERERS, svg
from dashboards.charts.svg_time import WIDTH
from dashboards.charts.table import NOT_ASSESSABLE, TABLES, table
from tests.dashboards.charts_examples import (
    EXAMPLES,
    START,
    comparison,
    control_chart,
    funnel,
    heat_map,
    path,
)

GOLDEN = Path(__file__).parent / "golden"
SVG = "{http://www.w3.org/2000/svg}"
pytestmark = pytest.mark.filterwarnings("default::DeprecationWarning:plotly")


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_chart_draws_the_bytes_of_its_golden_file(
    name: str, request: pytest.FixtureRequest
) -> None:
    drawn = svg(EXAMPLES[name])

    assert drawn == (GOLDEN / f"{name}.svg").read_text()


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_chart_is_well_formed_and_has_its_alternative_text(name: str) -> None:
    chart = EXAMPLES[name]

    root = ElementTree.fromstring(svg(chart))

    assert root.findtext(f"{SVG}title") == chart.title
    assert root.findtext(f"{SVG}desc") == (chart.description or chart.caption)
    assert root.get("role") in {"img", "group"}


@pytest.mark.parametrize("name", EXAMPLES)
def test_no_mark_lies_outside_the_canvas(name: str) -> None:
    root = ElementTree.fromstring(svg(EXAMPLES[name]))

    width, height = (float(v) for v in root.get("viewBox", "").split()[2:])
    for element in root.iter(f"{SVG}text"):
        x, y = float(element.get("x", "nan")), float(element.get("y", "nan"))
        assert -1 <= x <= width + 1 and 0 <= y <= height + 1, element.text
    for element in root.iter(f"{SVG}circle"):
        assert 0 <= float(element.get("cx", "nan")) <= width
        assert 0 <= float(element.get("cy", "nan")) <= height


@pytest.mark.parametrize("name", EXAMPLES)
def test_plotly_accepts_every_figure(name: str) -> None:
    from plotly.graph_objects import Figure

    drawn = figure(EXAMPLES[name])

    assert len(Figure(drawn).data) == len(drawn["data"]) > 0


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_chart_has_a_table_whose_rows_fit_its_columns(name: str) -> None:
    values = table(EXAMPLES[name])

    assert values.rows
    assert {len(row) for row in values.rows} == {len(values.columns)}
    assert all(isinstance(cell, str) for row in values.rows for cell in row)


def test_every_form_has_all_three_renderings() -> None:
    forms = {
        form
        for form in vars(spec).values()
        if isinstance(form, type) and issubclass(form, Chart) and form is not Chart
    }

    assert set(RENDERERS) == set(FIGURES) == set(TABLES) == forms
    assert {type(c) for c in EXAMPLES.values()} == forms


def test_a_scanner_name_from_outside_stays_text() -> None:
    drawn = svg(comparison())

    assert "</script>" not in drawn
    assert "Scanner B &lt;/script&gt;" in drawn


def test_a_line_is_not_joined_over_missing_data() -> None:
    chart = control_chart()
    missing = {r.day for r in chart.readings if r.value is None}

    lines = [
        e
        for e in ElementTree.fromstring(svg(chart)).iter(f"{SVG}polyline")
        if e.get("stroke") == palette.CURRENT
    ]

    assert missing and len(lines) == 2
    assert sum(len(e.get("points", "").split()) for e in lines) == len(chart.readings) - len(
        missing
    )


def test_a_missing_reading_is_written_as_not_assessable_never_as_zero() -> None:
    values = table(control_chart())

    rows = [row for row in values.rows if row[1] == NOT_ASSESSABLE]
    assert [row[2] for row in rows] == ["9", "9"]


def test_a_signal_is_a_triangle_not_only_a_colour() -> None:
    chart = control_chart()

    drawn = svg(chart)

    marks = sum(1 for r in chart.readings if r.mark and r.value is not None)
    assert marks > 0
    assert len(re.findall(rf'<path d="M[^"]*z" fill="{palette.SIGNAL}"/>', drawn)) == marks


def test_the_path_keeps_climbing_after_the_signal() -> None:
    chart = path()

    line = next(
        e
        for e in ElementTree.fromstring(svg(chart)).iter(f"{SVG}polyline")
        if e.get("stroke") == palette.CURRENT
    )

    heights = [float(p.split(",")[1]) for p in line.get("points", "").split()]
    assert len(heights) == len(chart.points)
    assert heights[-1] == min(heights)


def test_each_heat_map_cell_is_a_link_that_says_what_it_is() -> None:
    chart = heat_map()

    links = list(ElementTree.fromstring(svg(chart)).iter(f"{SVG}a"))

    assert [a.get("aria-label") for a in links] == [c.text for row in chart.cells for c in row]
    assert "Site 04, Score mean, signal" in {a.get("aria-label") for a in links}


def test_heat_map_cells_are_large_enough_to_hit() -> None:
    root = ElementTree.fromstring(svg(heat_map()))

    sizes = {(r.get("width"), r.get("height")) for r in root.iter(f"{SVG}rect")}

    assert all(float(w or 0) >= 24 and float(h or 0) >= 24 for w, h in sizes)


def test_an_empty_chart_says_why() -> None:
    empty = (
        ControlChart(title="t", caption="c", unit="u", readings=()),
        PathChart(title="t", caption="c", unit="u", points=(), limit=1.0),
        Mix(title="t", caption="c", levels=("a",), days=()),
    )

    assert all("not assessable" in svg(chart) for chart in empty)


def test_no_date_is_cut_at_the_edge_of_a_time_line() -> None:
    line = TimeLine(
        title="t",
        caption="c",
        lanes=(Lane("H01", ()),),
        period=Span(START, START + timedelta(16)),
    )

    texts = [t for t in ElementTree.fromstring(svg(line)).iter(f"{SVG}text") if t.text]
    dates = [t for t in texts if (t.text or "").startswith("20")]

    assert len(dates) > 5
    for text in dates:
        assert float(text.get("x") or 0) + text_width(text.text or "") / 2 <= WIDTH


def test_a_live_mix_shows_how_many_cases_its_shares_are_of() -> None:
    chart = EXAMPLES["mix"]
    assert isinstance(chart, Mix)

    [cases] = [t for t in figure(chart)["data"] if t.get("yaxis") == "y2"]

    assert cases["y"] == [sum(day.counts) for day in chart.days]


def test_one_constant_reading_can_be_drawn() -> None:
    one = Reading(START, 1.0, 30, 1.0, 1.0, 1.0)

    drawn = svg(ControlChart(title="t", caption="c", unit="u", readings=(one,)))

    assert "nan" not in drawn and "inf" not in drawn


def test_a_silent_site_has_no_point_in_the_funnel_but_a_row_in_the_table() -> None:
    chart = funnel()

    assert "Site 07" not in svg(chart)
    assert ("Site 07", "0", "0", NOT_ASSESSABLE, "") in table(chart).rows


def test_marks_too_close_for_their_texts_take_rows_of_their_own() -> None:
    chart = EXAMPLES["time_line"]
    assert isinstance(chart, TimeLine)

    texts = list(ElementTree.fromstring(svg(chart)).iter(f"{SVG}text"))

    heights = {e.get("y") for e in texts if e.text and "S-0147" in e.text}
    assert len(heights) == 2


def test_text_and_graphics_keep_their_contrast_on_white() -> None:
    assert all(palette.contrast(colour) >= 4.5 for colour in palette.TEXT)
    assert all(palette.contrast(colour) >= 3.0 for colour in palette.GRAPHICS)
    assert palette.contrast("#000000") == pytest.approx(21.0)
    assert palette.contrast(palette.MUTED, palette.SHADE) >= 4.5
    assert palette.contrast(palette.WHITE, palette.SIGNAL_TEXT) >= 4.5


def test_funnel_limits_are_the_binomials_own() -> None:
    [one] = limits.binomial_limits(0.118, np.array([60]))

    low, high = one.outer
    assert (
        binom.cdf(np.floor(low * 60), 60, 0.118) <= 0.001 <= binom.cdf(np.ceil(low * 60), 60, 0.118)
    )
    assert (
        binom.sf(np.ceil(high * 60), 60, 0.118) <= 0.001 <= binom.sf(np.floor(high * 60), 60, 0.118)
    )
    assert low <= one.inner[0] < 0.118 < one.inner[1] <= high


def test_funnel_limits_become_the_normal_ones_at_large_n() -> None:
    [one] = limits.binomial_limits(0.118, np.array([50_000]))

    se = float(np.sqrt(0.118 * 0.882 / 50_000))
    assert one.inner[1] - 0.118 == pytest.approx(1.96 * se, rel=0.02)
    assert one.outer[1] - 0.118 == pytest.approx(3.09 * se, rel=0.02)


@pytest.mark.parametrize(("rate", "largest"), [(0.0, 100), (1.0, 100), (0.1, 0)])
def test_a_rate_without_variation_has_no_funnel(rate: float, largest: int) -> None:
    assert limits.funnel_limits(rate, largest) == ()
    assert not limits.are_outside(rate, np.array([1]), np.array([largest])).any()


def test_a_site_far_off_is_outside_and_one_at_the_rate_is_not() -> None:
    found = limits.are_outside(0.1, np.array([40, 10, 0]), np.array([100, 100, 0]))

    assert found.tolist() == [True, False, False]


def test_labels_at_the_right_end_never_overlap() -> None:
    moved = spread([100.0, 101.0, 99.0])

    ordered = sorted(moved)
    assert all(b - a >= 11.0 for a, b in itertools.pairwise(ordered))
    assert moved[2] < moved[0] < moved[1]


def test_ticks_are_round_and_inside() -> None:
    ticks = value_ticks(0.283, 0.351)

    assert tick_labels(ticks) == ["0.30", "0.32", "0.34"]
    assert tick_labels([0.0, 2.5]) == ["0", "2.5"]


@pytest.mark.parametrize("days", [3, 20, 120, 400, 4000])
def test_dates_on_the_axis_are_few_and_not_cut(days: int) -> None:
    ticks = date_ticks(date(2026, 1, 7), date(2026, 1, 7) + timedelta(days))

    assert 2 <= len(ticks) <= 9
    assert all(re.fullmatch(r"\d{4}-(W\d\d|\d\d-\d\d)", label) for _, label in ticks)


def test_limits_stay_apart_from_readings_when_a_chart_is_copied_with_other_stages() -> None:
    chart = control_chart()

    without = svg(replace(chart, stages=()))

    assert "service visit" in svg(chart) and "service visit" not in without


def test_a_name_that_would_leave_the_funnel_stands_left_of_its_mark() -> None:
    points = tuple(
        FunnelPoint("Northgate General", n * 9 // 10, n, outside=True) for n in (500, 2300)
    )
    chart = replace(funnel(), points=points)

    live = next(t for t in figure(chart)["data"] if t.get("text"))

    assert live["textposition"] == ["middle right", "middle left"]
    assert len(re.findall(r'text-anchor="end"[^>]*>Northgate', svg(chart))) == 1
