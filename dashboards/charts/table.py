"""A chart as a table of values: what WCAG 1.1.1 asks for, and what the PDF's text keeps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dashboards.charts import spec

NOT_ASSESSABLE = "not assessable"


@dataclass(frozen=True, slots=True)
class Table:
    """Column names and rows of text, all of the same length."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def table(chart: spec.Chart) -> Table:
    """The values of `chart`, in its own order."""
    return TABLES[type(chart)](chart)


def value(number: float | None) -> str:
    """Four significant digits; a missing value says what it is."""
    return NOT_ASSESSABLE if number is None else f"{number:.4g}"


def _control_chart(chart: spec.ControlChart) -> Table:
    columns = ("Date", chart.unit, "Cases", "Lower limit", "Centre", "Upper limit", "Finding")
    return Table(
        columns,
        tuple(
            (
                r.day.isoformat(),
                value(r.value),
                str(r.n),
                value(r.lower),
                value(r.centre),
                value(r.upper),
                r.mark,
            )
            for r in chart.readings
        ),
    )


def _path(chart: spec.PathChart) -> Table:
    lower = any(p.lower is not None for p in chart.points)
    columns = ("Date", chart.unit, *(("Lower sum",) if lower else ()), "Limit", "Finding")
    return Table(
        columns,
        tuple(
            (
                p.day.isoformat(),
                value(p.upper),
                *((value(p.lower),) if lower else ()),
                value(chart.limit),
                "signal" if p.day == chart.signal else "",
            )
            for p in chart.points
        ),
    )


def _comparison(chart: spec.Comparison) -> Table:
    return Table(
        ("Panel", chart.unit, "Reference", "Current"),
        tuple(
            (panel.title, name, str(before), str(after) if sum(panel.current) else panel.note)
            for panel in chart.panels
            for name, before, after in zip(
                chart.bins,
                panel.reference,
                panel.current or (0,) * len(chart.bins),
                strict=True,
            )
        ),
    )


def _funnel(chart: spec.Funnel) -> Table:
    return Table(
        ("Site", "Events", "Cases", chart.unit, "Finding"),
        tuple(
            (
                p.name,
                str(p.events),
                str(p.n),
                value(p.events / p.n if p.n else None),
                "outside the limits" if p.outside else "",
            )
            for p in chart.points
        ),
    )


def _heat_map(chart: spec.HeatMap) -> Table:
    return Table(
        ("Characteristic", *chart.columns),
        tuple(
            (name, *(str(cell.state) for cell in cells))
            for name, cells in zip(chart.rows, chart.cells, strict=True)
        ),
    )


def _time_line(chart: spec.TimeLine) -> Table:
    rows = (
        (mark.day.isoformat(), lane.name, mark.kind, mark.text)
        for lane in chart.lanes
        for mark in lane.marks
    )
    return Table(("Date", "Lane", "Kind", "What"), tuple(sorted(rows)))


def _forest(chart: spec.Forest) -> Table:
    return Table(
        ("Group", "Cases", chart.unit, "95 % interval"),
        tuple(
            (
                g.name,
                str(g.n),
                value(g.estimate),
                g.note if g.estimate is None else f"{value(g.low)} to {value(g.high)}",
            )
            for g in chart.groups
        ),
    )


def _calibration(chart: spec.Calibration) -> Table:
    return Table(
        ("Mean score", "Observed share", "95 % interval", "Cases"),
        tuple(
            (value(b.predicted), value(b.observed), f"{value(b.low)} to {value(b.high)}", str(b.n))
            for b in chart.bins
        ),
    )


def _mix(chart: spec.Mix) -> Table:
    return Table(
        ("Date", *chart.levels, "Cases"),
        tuple((d.day.isoformat(), *map(str, d.counts), str(sum(d.counts))) for d in chart.days),
    )


TABLES: dict[type[spec.Chart], Callable[[Any], Table]] = {
    spec.ControlChart: _control_chart,
    spec.PathChart: _path,
    spec.Comparison: _comparison,
    spec.Funnel: _funnel,
    spec.HeatMap: _heat_map,
    spec.TimeLine: _time_line,
    spec.Forest: _forest,
    spec.Calibration: _calibration,
    spec.Mix: _mix,
}
