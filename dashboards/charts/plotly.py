"""A chart as a Plotly figure: plain JSON data for the screen, drawn by `static/charts.js`.

Plotly's Python package is not needed to write a figure, only to serve its plotly.js. Defaults
that we override once, in `_layout`: no template (6.5 kB a figure), automargin on (week labels
were cut without it), dates as dates.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import date
from typing import Any

from dashboards.charts import spec
from dashboards.charts.drawing import date_ticks
from dashboards.charts.palette import (
    CURRENT,
    INK,
    LEVELS,
    LINE,
    MUTED,
    ONSET,
    REFERENCE,
    SHADE,
    SIGNAL,
    SIGNAL_TEXT,
    THIRD,
    WHITE,
)
from dashboards.charts.svg_distributions import heights
from dashboards.charts.svg_sites import RIGHT, SPARE, fits_right, largest_n, rate_range
from dashboards.charts.svg_time import limit_labels

Json = dict[str, Any]
THINNEST_NAMED = 5.0  # per cent of a mix; below it names would overlap, the table has them
FONT = "DejaVu Sans, Verdana, sans-serif"


# The forms that gain by hovering. The others hold links or texts that the SVG places better.
LIVE = (spec.ControlChart, spec.PathChart, spec.Funnel, spec.Mix)


def is_live(chart: spec.Chart) -> bool:
    """Whether the screen replaces the static figure by a live one."""
    return isinstance(chart, LIVE)


def figure(chart: spec.Chart) -> Json:
    """`data` and `layout` for `Plotly.newPlot`."""
    return FIGURES[type(chart)](chart)


def _layout(chart: spec.Chart, **more: Any) -> Json:
    base: Json = {
        "font": {"family": FONT, "size": 12, "color": INK},
        "paper_bgcolor": WHITE,
        "plot_bgcolor": WHITE,
        "showlegend": False,
        "hovermode": "x unified",
        "height": 300,
        "margin": {"l": 10, "r": 100, "t": 24, "b": 10},
        "xaxis": _axis(""),
        "yaxis": _axis(getattr(chart, "unit", "")),
    }
    return base | more


def _axis(title: str, **more: Any) -> Json:
    axis: Json = {
        "title": {"text": title, "font": {"color": MUTED}},
        "automargin": True,
        "zeroline": False,
        "showgrid": False,
        "ticks": "",
    }
    return axis | more


def _categories(names: Sequence[str]) -> Json:
    """An axis of names, the first on top, in the order given."""
    return _axis(
        "",
        type="category",
        categoryorder="array",
        categoryarray=list(names),
        autorange="reversed",
    )


def _line(
    x: Sequence[Any], y: Sequence[Any], colour: str, name: str, dash: str = "solid", **more: Any
) -> Json:
    trace: Json = {
        "type": "scatter",
        "mode": "lines",
        "x": list(x),
        "y": list(y),
        "name": name,
        "line": {"color": colour, "width": 1.5, "dash": dash},
        "connectgaps": False,
    }
    return trace | more


def _marks(x: Sequence[Any], y: Sequence[Any], name: str, signal: bool, **more: Any) -> Json:
    marker = {
        "symbol": "triangle-up" if signal else "circle",
        "color": SIGNAL if signal else CURRENT,
        "size": 11 if signal else 5,
    }
    trace: Json = {
        "type": "scatter",
        "mode": "markers",
        "x": list(x),
        "y": list(y),
        "name": name,
        "marker": marker,
    }
    return trace | more


def _band(span: spec.Span, fill: str, label: str) -> tuple[Json, Json]:
    """A shaded band over `span` and the text at its upper left corner."""
    shape: Json = {
        "type": "rect",
        "xref": "x",
        "yref": "paper",
        "x0": span.start.isoformat(),
        "x1": span.end.isoformat(),
        "y0": 0,
        "y1": 1,
        "fillcolor": fill,
        "line": {"width": 0},
        "layer": "below",
    }
    note: Json = {
        "x": span.start.isoformat(),
        "y": 1,
        "yref": "paper",
        "text": label,
        "showarrow": False,
        "xanchor": "left",
        "yanchor": "bottom",
        "font": {"color": MUTED},
    }
    return shape, note


def _end_label(y: float, text: str) -> Json:
    return {
        "x": 1,
        "xref": "paper",
        "y": y,
        "text": text,
        "showarrow": False,
        "xanchor": "left",
        "font": {"color": MUTED},
    }


def _time_axis(days: Sequence[date]) -> Json:
    """The same ticks as the SVG: ISO weeks, or dates where a period is short."""
    if not days:
        return _axis("", type="date")
    ticks = date_ticks(days[0], days[-1])
    return _axis(
        "",
        type="date",
        tickmode="array",
        tickvals=[day.isoformat() for day, _ in ticks],
        ticktext=[label for _, label in ticks],
        hoverformat="%Y-%m-%d",
    )


def _days(days: Sequence[date]) -> list[str]:
    return [day.isoformat() for day in days]


def _control_chart(chart: spec.ControlChart) -> Json:
    days = _days([r.day for r in chart.readings])
    step: Json = {"line": {"color": LINE, "width": 1.2, "dash": "dash", "shape": "hvh"}}
    outside = [r for r in chart.readings if r.mark and r.value is not None]
    data = [
        _line(days, [r.upper for r in chart.readings], LINE, "upper limit", **step),
        _line(days, [r.lower for r in chart.readings], LINE, "lower limit", **step),
        _line(days, [r.centre for r in chart.readings], LINE, "centre"),
        _line(
            days,
            [r.value for r in chart.readings],
            CURRENT,
            chart.unit,
            mode="lines+markers",
            marker={"size": 5, "color": CURRENT},
            text=[f"{r.n} cases" for r in chart.readings],
        ),
        _marks(
            _days([r.day for r in outside]),
            [r.value for r in outside],
            "outside the limits",
            True,
            text=[r.mark for r in outside],
        ),
    ]
    shapes, notes = _bands(chart.reference, SHADE, "reference period")
    for limit in chart.acceptance:
        data.append(_line(days, [limit] * len(days), INK, "acceptance limit", "dot"))
    for i, stage in enumerate(chart.stages):
        shape, note = _band(spec.Span(stage.day, stage.day), MUTED, stage.label)
        shapes.append(shape | {"line": {"width": 1, "color": MUTED, "dash": "dot"}})
        notes.append(note | {"yshift": -12 * i})  # stages close to each other on rows of their own
    if chart.readings:
        notes += [_end_label(at, text) for at, text in limit_labels(chart)]
    axis = _time_axis([r.day for r in chart.readings])
    return {"data": data, "layout": _layout(chart, shapes=shapes, annotations=notes, xaxis=axis)}


def _bands(span: spec.Span | None, fill: str, label: str) -> tuple[list[Json], list[Json]]:
    if span is None:
        return [], []
    shape, note = _band(span, fill, label)
    return [shape], [note]


def _path(chart: spec.PathChart) -> Json:
    days = _days([p.day for p in chart.points])
    floor = 1.0 if chart.log else float("-inf")
    data = [
        _line(days, [max(p.upper, floor) for p in chart.points], CURRENT, "upward"),
        _line(days, [chart.limit] * len(days), LINE, f"limit {chart.limit:g}", "dash"),
    ]
    if any(p.lower is not None for p in chart.points):
        lower = [None if p.lower is None else -p.lower for p in chart.points]
        data.append(_line(days, lower, THIRD, "downward", "dash"))
        data.append(_line(days, [-chart.limit] * len(days), LINE, "lower limit", "dash"))
    at = [p for p in chart.points if p.day == chart.signal]
    data.append(_marks(_days([p.day for p in at]), [p.upper for p in at], "signal", True))
    shapes, notes = _bands(chart.onset, ONSET, "change began")
    axes = {
        "xaxis": _time_axis([p.day for p in chart.points]),
        "yaxis": _axis(chart.unit, type="log" if chart.log else "linear")
        | ({"tickformat": ".0e", "nticks": 6} if chart.log else {}),
    }
    # An annotation on a logarithmic axis is placed by its power of ten.
    height = math.log10(max(chart.limit, 1.0)) if chart.log else chart.limit
    notes.append(_end_label(height, f"limit {chart.limit:,.0f}"))
    return {
        "data": data,
        "layout": _layout(chart, shapes=shapes, annotations=notes, **axes),
    }


def _comparison(chart: spec.Comparison) -> Json:
    data: list[Json] = []
    layout = _layout(chart, hovermode="closest", barmode="overlay", bargap=0)
    layout["grid"] = {"rows": 1, "columns": max(len(chart.panels), 1), "pattern": "independent"}
    layout["annotations"] = []
    top = max(
        (v for p in chart.panels for c in (p.reference, p.current) for v in heights(chart, c)),
        default=1.0,
    )
    middles: list[Any] = list(chart.bins)
    widths: list[float] | None = None
    if chart.edges:
        pairs = list(zip(chart.edges, chart.edges[1:], strict=False))
        middles, widths = [(a + b) / 2 for a, b in pairs], [b - a for a, b in pairs]
    for i, panel in enumerate(chart.panels):
        axes = {"xaxis": f"x{i + 1 if i else ''}", "yaxis": f"y{i + 1 if i else ''}"}
        layout[axes["xaxis"].replace("x", "xaxis")] = _axis(chart.unit if not i else "")
        layout[axes["yaxis"].replace("y", "yaxis")] = _axis("", range=[0, top * 1.1], visible=not i)
        data.append(
            {
                "type": "bar",
                "x": middles,
                "y": heights(chart, panel.reference),
                "width": widths,
                "name": f"reference, n={sum(panel.reference)}",
                "marker": {"color": REFERENCE},
            }
            | axes
        )
        if sum(panel.current):
            name = f"current, n={sum(panel.current)}"
            shape: Json = {"line": {"color": CURRENT, "width": 2, "shape": "hvh"}}
            data.append(
                _line(middles, heights(chart, panel.current), CURRENT, name, **shape) | axes
            )
        layout["annotations"].append(_panel_title(panel, i))
    return {"data": data, "layout": layout}


def _panel_title(panel: spec.Panel, index: int) -> Json:
    suffix = f"{index + 1 if index else ''}"
    return {
        "text": f"{panel.title} {panel.note}".strip(),
        "x": 0,
        "xref": f"x{suffix} domain",
        "y": 1.05,
        "yref": f"y{suffix} domain",
        "showarrow": False,
        "xanchor": "left",
        "yanchor": "bottom",
    }


def _funnel(chart: spec.Funnel) -> Json:
    n = [limit.n for limit in chart.limits]
    data = [
        _line(n, [getattr(limit, pick)[side] for limit in chart.limits], LINE, name, dash)
        for pick, name, dash in (("inner", "95 %", "dot"), ("outer", "99.8 %", "dash"))
        for side in (0, 1)
    ]
    for outside in (False, True):
        points = [p for p in chart.points if p.outside is outside and p.n]
        data.append(
            _marks(
                [p.n for p in points],
                [p.events / p.n for p in points],
                "outside" if outside else "inside",
                outside,
                text=[p.name for p in points],
            )
            | {
                "mode": "markers+text" if outside else "markers",
                "textposition": [_side(chart, p) for p in points if outside],
            }
        )
        data[-1]["marker"]["size"] = 12 if outside else 9
    layout = _layout(chart, hovermode="closest", xaxis=_axis(chart.count))
    layout["xaxis"] |= {"range": [0, largest_n(chart) * SPARE]}
    layout["yaxis"] |= {"tickformat": ".0%", "range": list(rate_range(chart))}
    layout["shapes"] = [_level(chart.centre)]
    return {"data": data, "layout": layout}


def _side(chart: spec.Funnel, point: spec.FunnelPoint) -> str:
    """Left of a mark near the right edge: as in the SVG, which is never the wider of the two."""
    x = RIGHT * point.n / (largest_n(chart) * SPARE)
    return "middle right" if fits_right(x, point.name) else "middle left"


def _level(y: float) -> Json:
    line = {"color": MUTED, "width": 1}
    return {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": y, "y1": y, "line": line}


def _heat_map(chart: spec.HeatMap) -> Json:
    order = list(spec.State)
    fills = {
        spec.State.IN_CONTROL: SHADE,
        spec.State.SIGNAL: SIGNAL_TEXT,
        spec.State.NOT_ASSESSABLE: WHITE,
        spec.State.SILENT: WHITE,
    }
    last = len(order) - 1
    data = [
        {
            "type": "heatmap",
            "x": list(chart.columns),
            "y": list(chart.rows),
            "z": [[order.index(c.state) for c in row] for row in chart.cells],
            "text": [[spec.GLYPHS[c.state] for c in row] for row in chart.cells],
            "texttemplate": "%{text}",
            "hovertext": [[c.text for c in row] for row in chart.cells],
            "hoverinfo": "text",
            "colorscale": [[i / last, fills[s]] for i, s in enumerate(order)],
            "zmin": 0,
            "zmax": last,
            "showscale": False,
            "xgap": 2,
            "ygap": 2,
        }
    ]
    axes = {"xaxis": _axis("", type="category"), "yaxis": _axis("", autorange="reversed")}
    return {"data": data, "layout": _layout(chart, hovermode="closest", **axes)}


def _time_line(chart: spec.TimeLine) -> Json:
    data = [
        _marks(
            _days([m.day for m in lane.marks if (m.kind == "signal") is signal]),
            [lane.name for m in lane.marks if (m.kind == "signal") is signal],
            lane.name,
            signal,
            text=[m.text for m in lane.marks if (m.kind == "signal") is signal],
            mode="markers+text",
            textposition="middle right",
        )
        for lane in chart.lanes
        for signal in (False, True)
    ]
    shapes, notes = _bands(chart.shaded, SHADE, "reference period")
    lanes = [lane.name for lane in chart.lanes]
    axes = {
        "xaxis": _time_axis([chart.period.start, chart.period.end]),
        "yaxis": _categories(lanes),
    }
    layout = _layout(chart, hovermode="closest", shapes=shapes, annotations=notes, **axes)
    return {"data": data, "layout": layout}


def _forest(chart: spec.Forest) -> Json:
    known = [g for g in chart.groups if g.estimate is not None]
    data = [
        _marks(
            [g.estimate for g in known],
            [g.name for g in known],
            chart.unit,
            False,
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [g.high - (g.estimate or 0.0) for g in known],
                "arrayminus": [(g.estimate or 0.0) - g.low for g in known],
                "color": CURRENT,
            },
            text=[f"n={g.n}" for g in known],
        )
    ]
    overall = {"type": "line", "x0": chart.overall, "x1": chart.overall, "y0": 0, "y1": 1}
    names = [g.name for g in chart.groups]
    axes = {"xaxis": _axis(chart.unit), "yaxis": _categories(names)}
    layout = _layout(chart, hovermode="closest", **axes)
    layout["shapes"] = [overall | {"yref": "paper", "line": {"color": MUTED, "width": 1}}]
    return {"data": data, "layout": layout}


def _calibration(chart: spec.Calibration) -> Json:
    data = [
        _line([0, 1], [0, 1], LINE, "ideal"),
        _marks(
            [b.predicted for b in chart.bins],
            [b.observed for b in chart.bins],
            "observed",
            False,
            error_y={
                "type": "data",
                "symmetric": False,
                "array": [b.high - b.observed for b in chart.bins],
                "arrayminus": [b.observed - b.low for b in chart.bins],
                "color": CURRENT,
            },
            text=[f"n={b.n}" for b in chart.bins],
        ),
    ]
    layout = _layout(
        chart, hovermode="closest", xaxis=_axis("score"), yaxis=_axis("observed share")
    )
    return {"data": data, "layout": layout}


def _mix(chart: spec.Mix) -> Json:
    days = _days([d.day for d in chart.days])
    data = [
        _line(
            days,
            [d.counts[i] for d in chart.days],
            WHITE,
            level,
            stackgroup="all",
            groupnorm="percent",
            fillcolor=REFERENCE if level == "other" else LEVELS[i % len(LEVELS)],
        )
        for i, level in enumerate(chart.levels)
    ]
    total = [sum(d.counts) for d in chart.days]
    data.append(_line(days, total, INK, "cases", yaxis="y2"))
    axes = {
        "xaxis": _time_axis([d.day for d in chart.days]) | {"anchor": "y2"},
        "yaxis": _axis("share, %", domain=[0.24, 1]),
        "yaxis2": _axis("cases", domain=[0, 0.16], nticks=2, rangemode="tozero"),
    }
    return {"data": data, "layout": _layout(chart, annotations=_level_names(chart), **axes)}


def _level_names(chart: spec.Mix) -> list[Json]:
    """Each level's name beside the middle of its band on the last day; thin bands go unnamed."""
    last = chart.days[-1].counts if chart.days else ()
    total, below, notes = sum(last) or 1, 0.0, []
    for level, n in zip(chart.levels, last, strict=False):
        share = 100 * n / total
        if share >= THINNEST_NAMED:
            notes.append(_end_label(below + share / 2, level))
        below += share
    return notes


FIGURES: dict[type[spec.Chart], Callable[[Any], Json]] = {
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
