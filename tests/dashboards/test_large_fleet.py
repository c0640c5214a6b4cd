"""A fleet too large for one picture: what is left out is counted, and lists come in pages."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from app.central.fleet.models import EdgeState
from app.central.fleet.service import EdgeView
from app.central.surveillance.evidence import SiteStanding
from dashboards.charts.plotly import figure
from dashboards.charts.spec import Funnel, FunnelPoint, Lane, Mark, Span, State, TimeLine
from dashboards.charts.svg import svg
from dashboards.charts.svg_sites import MOST_LINKED
from dashboards.charts.table import table
from dashboards.pages import device
from dashboards.pages.fleet import HEAT_MAP_SITES, SiteState, of_note
from dashboards.pages.paging import page_of
from dashboards.wording import Standing

SPAN = Span(date(2026, 1, 1), date(2026, 12, 31))


def site(i: int, state: State) -> SiteState:
    name = f"H{i:04d}"
    blocks = {"acquisition": "quiet", "labels": "not_assessable"}
    standing = SiteStanding(name, f"Hospital {i}", blocks, 0, 0, frozenset(), ())
    return SiteState(standing, (), Standing(f"Hospital {i}", state), ())


@pytest.mark.parametrize(("silent", "fleet"), [(0, 61), (3, 200), (60, 200), (75, 200), (200, 200)])
def test_every_site_is_shown_or_counted_as_left_out(silent: int, fleet: int) -> None:
    states = [site(i, State.SILENT if i < silent else State.IN_CONTROL) for i in range(fleet)]

    chart = of_note(states)

    told = re.findall(r"(\d+) (?:more|site)", chart.caption.partition("Not shown")[2])
    assert len(chart.columns) + sum(map(int, told)) == fleet
    assert 0 < len(chart.columns) <= HEAT_MAP_SITES
    assert set(chart.columns) >= {f"H{i:04d}" for i in range(min(silent, HEAT_MAP_SITES))}


def test_a_small_fleet_is_shown_whole() -> None:
    chart = of_note([site(i, State.IN_CONTROL) for i in range(HEAT_MAP_SITES)])

    assert len(chart.columns) == HEAT_MAP_SITES
    assert "Not shown" not in chart.caption


def lane(i: int, noted: int) -> Lane:
    marks = (Mark(date(2026, 3, 1) + timedelta(i), "signal", f"S-{i}"),) if i < noted else ()
    return Lane(f"H{i:04d}", marks)


@pytest.mark.parametrize(("noted", "sites"), [(0, 31), (5, 200), (30, 200), (45, 200), (9, 30)])
def test_a_time_line_shows_where_something_happened_last_and_counts_the_others(
    noted: int, sites: int
) -> None:
    line = TimeLine(
        title="What happened",
        caption="Marks.",
        lanes=tuple(lane(i, noted) for i in range(sites)),
        period=SPAN,
    )

    shown = device.of_note(line)

    told = re.findall(r"(\d+) (?:more|site)", shown.caption.partition("Not shown")[2])
    assert len(shown.lanes) + sum(map(int, told)) == sites
    assert svg(shown).count("<svg") == 1 and table(shown).columns and figure(shown)
    if sites > device.LANES_SHOWN:
        first = max(noted - device.LANES_SHOWN, 0)
        assert [one.name for one in shown.lanes] == [f"H{i:04d}" for i in range(first, noted)]


def edge(i: int, reported: str) -> EdgeView:
    at = datetime(2026, 3, 1, tzinfo=UTC)
    words = f"edge-{i}", f"H{i:04d}", "Hospital", EdgeState.ACTIVE, "f" * 64, "1", "Device", "1.0"
    return EdgeView(*words, "a" * 64, reported, "holds", 1, at, at, "somebody", at)


@pytest.mark.parametrize(("unequal", "sites"), [(0, 101), (7, 400), (130, 400), (3, 100)])
def test_installations_that_are_not_the_release_are_listed_and_all_are_counted(
    unequal: int, sites: int
) -> None:
    states = tuple(
        replace(site(i, State.IN_CONTROL), edges=(edge(i, "b" * 64 if i < unequal else "a" * 64),))
        for i in range(sites)
    )

    grid = device.locks(states)

    told = sum(map(int, re.findall(r"(\d+) (?:installation|that)", grid.caption)))
    assert len(grid.rows) + told == sites and len(grid.links) == len(grid.rows)
    if sites > device.LOCKS_LISTED:
        assert {row[2] for row in grid.rows} <= {"not equal to the release"}
        assert len(grid.rows) == min(unequal, device.LOCKS_LISTED)


def test_a_funnel_of_many_sites_links_those_outside_and_its_table_has_all() -> None:
    points = tuple(
        FunnelPoint(f"H{i:04d}", 40 if i else 90, 400, i == 0, f"/sites/H{i:04d}")
        for i in range(MOST_LINKED + 1)
    )
    chart = Funnel(
        title="Flagged rate by site",
        caption="",
        unit="flagged",
        count="cases",
        centre=0.1,
        points=points,
        limits=(),
    )

    drawn = svg(chart)

    assert re.findall(r'href="([^"]+)"', drawn) == ["/sites/H0000"]
    assert drawn.count("<circle") == MOST_LINKED
    assert len(table(chart).rows) == MOST_LINKED + 1


def test_pages_hold_every_row_once_and_name_their_neighbours() -> None:
    rows = list(range(250))
    pages = [page_of(rows, number, 100) for number in (1, 2, 3)]

    assert [row for page in pages for row in page.shown] == rows
    links = [page.links("site", "/sites") for page in pages]
    assert [(link.before, link.after) for link in links if link] == [
        ("", "/sites?page=2"),
        ("/sites?page=1", "/sites?page=3"),
        ("/sites?page=2", ""),
    ]
    assert links[2] is not None and links[2].words == "Sites 201 to 250 of 250."


def test_a_page_beyond_the_end_is_the_last_and_one_page_names_none() -> None:
    assert list(page_of([1, 2, 3], 9, 2).shown) == [3]
    assert page_of([1, 2], 1, 2).links("site", "/sites") is None
