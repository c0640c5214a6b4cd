"""Charts over sites and sub-groups as SVG: heat map, funnel, forest."""

from __future__ import annotations

from functools import partial

from dashboards.charts.drawing import (
    Canvas,
    Scale,
    decimals,
    left_axis,
    left_margin,
    text_width,
    tick_labels,
    value_ticks,
)
from dashboards.charts.palette import (
    CURRENT,
    INK,
    LINE,
    MUTED,
    SHADE,
    SIGNAL_TEXT,
    WHITE,
)
from dashboards.charts.spec import (
    GLYPHS,
    Cell,
    Forest,
    Funnel,
    FunnelPoint,
    Group,
    HeatMap,
    State,
)

CELL = (36.0, 26.0)  # a pointer target of at least 24 x 24 (WCAG 2.2, 2.5.8)
RIGHT, SPARE = 546.0, 1.04  # where a funnel ends, and how far beyond its largest n
MOST_LINKED = 150  # sites of a funnel; of more, only those outside are links (the table has all)
GLYPH_COLOURS = {
    State.IN_CONTROL: MUTED,
    State.SIGNAL: WHITE,
    State.NOT_ASSESSABLE: INK,
    State.SILENT: INK,
}


def heat_map(chart: HeatMap) -> str:
    """Fill and glyph per state; each cell is a link that says what it is."""
    left = 12 + max((text_width(row) for row in chart.rows), default=0.0)
    widest = max((text_width(c) for c in chart.columns), default=0.0)
    cell_width = max(CELL[0], min(widest + 8, 90.0))
    width = max(left + cell_width * len(chart.columns) + 4, 240.0)
    canvas = Canvas(width, 24 + CELL[1] * len(chart.rows) + 4)
    for j, name in enumerate(chart.columns):
        canvas.text((left + cell_width * (j + 0.5), 16), name, anchor="middle")
    for i, (name, cells) in enumerate(zip(chart.rows, chart.cells, strict=True)):
        top = 22 + CELL[1] * i
        canvas.text((left - 8, top + 17), name, anchor="end")
        for j, cell in enumerate(cells):
            corner = (left + cell_width * j + 1, top + 1)
            draw = partial(_cell, canvas, cell, corner, (cell_width - 2, CELL[1] - 2))
            canvas.link(cell.href, cell.text, draw)
    return canvas.render(chart, role="group")


def funnel(chart: Funnel) -> str:
    """Rate against n between its limits; outside is a triangle with the site's name."""
    height = 260.0
    largest = largest_n(chart)
    low, high = rate_range(chart)
    ticks = value_ticks(low, high)
    labels = [f"{100 * t:.{_percent_places(ticks)}f} %" for t in ticks]
    left = left_margin(labels)
    canvas = Canvas(560, height)
    x = Scale(0, largest * SPARE, left, RIGHT)
    y = Scale(low, high, height - 44, 12)
    left_axis(canvas, y, left, chart.unit, list(zip(ticks, labels, strict=True)))
    for tick, label in _count_ticks(largest):
        canvas.text((x(tick), height - 28), label, anchor="middle")
    canvas.text(((left + RIGHT) / 2, height - 10), chart.count, fill=MUTED, anchor="middle")
    canvas.line((left, y(chart.centre)), (RIGHT, y(chart.centre)), MUTED)
    _funnel_limits(canvas, chart, x, y)
    each = sum(1 for p in chart.points if p.n) <= MOST_LINKED
    for point in chart.points:
        if point.n:
            draw = partial(_funnel_point, canvas, point, x(point.n), y(point.events / point.n))
            if each or point.outside:
                canvas.link(point.href, _funnel_text(point), draw)
            else:
                draw()
    return canvas.render(chart, role="group")


def largest_n(chart: Funnel) -> int:
    """The largest number of cases that a funnel shows."""
    return max([p.n for p in chart.points] + [limit.n for limit in chart.limits], default=1)


def rate_range(chart: Funnel) -> tuple[float, float]:
    """Rates that are shown: every site, and the limits but for the smallest n."""
    rates = [p.events / p.n for p in chart.points if p.n]
    least = min((p.n for p in chart.points if p.n), default=1) / 2
    outer = [v for limit in chart.limits if limit.n >= least for v in limit.outer]
    shown = [chart.centre, *rates, *outer]
    return max(0.0, min(shown) * 0.9), min(1.0, max(shown) * 1.06)


def forest(chart: Forest) -> str:
    """Point and interval per sub-group, n at the right, the overall value as a line."""
    left = 12 + max((text_width(g.name) for g in chart.groups), default=0.0)
    height = 30 + 20.0 * len(chart.groups) + 36
    bounds = [v for g in chart.groups if g.estimate is not None for v in (g.low, g.high)]
    bounds += [chart.overall, *(chart.acceptance or ())]
    low, high = min(bounds), max(bounds)
    pad = 0.08 * (high - low) or 0.1
    canvas = Canvas(700, height)
    x = Scale(low - pad, high + pad, left + 8, 520)
    if chart.acceptance:
        start, end = (x(v) for v in chart.acceptance)
        canvas.rect((start, 16), (end - start, height - 52), SHADE)
        canvas.text((start + 3, 12), "acceptance band", fill=MUTED, size=9)
    canvas.line((x(chart.overall), 16), (x(chart.overall), height - 36), MUTED)
    for i, group in enumerate(chart.groups):
        _forest_row(canvas, group, 30 + 20.0 * i, left, x, decimals(low, high))
    ticks = value_ticks(low - pad, high + pad)
    for tick, label in zip(ticks, tick_labels(ticks), strict=True):
        canvas.text((x(tick), height - 22), label, anchor="middle")
    canvas.text(((left + 520) / 2, height - 6), chart.unit, fill=MUTED, anchor="middle")
    return canvas.render(chart)


def _cell(
    canvas: Canvas, cell: Cell, corner: tuple[float, float], size: tuple[float, float]
) -> None:
    if cell.state is State.SIGNAL:
        canvas.rect(corner, size, SIGNAL_TEXT)
    elif cell.state is State.IN_CONTROL:
        canvas.rect(corner, size, SHADE)
    else:
        canvas.rect(corner, size, WHITE, LINE, "2 2")
    if cell.state is not State.IN_CONTROL:
        middle = (corner[0] + size[0] / 2, corner[1] + size[1] / 2 + 4)
        canvas.text(middle, GLYPHS[cell.state], GLYPH_COLOURS[cell.state], "middle", 11)


def _percent_places(ticks: list[float]) -> int:
    return 0 if all(abs(100 * t - round(100 * t)) < 1e-9 for t in ticks) else 1


def _count_ticks(largest: int) -> list[tuple[float, str]]:
    ticks = value_ticks(0, largest)[1:]
    return list(zip(ticks, tick_labels(ticks), strict=True))


def _funnel_limits(canvas: Canvas, chart: Funnel, x: Scale, y: Scale) -> None:
    for side in (0, 1):
        for dash, pick in (("2 3", "inner"), ("5 3", "outer")):
            points = [
                (x(limit.n), y(value))
                for limit in chart.limits
                if y.low <= (value := getattr(limit, pick)[side]) <= y.high
            ]
            canvas.polyline(points, LINE, 1.2, dash)


def _funnel_point(canvas: Canvas, point: FunnelPoint, x: float, y: float) -> None:
    if not point.outside:
        canvas.circle((x, y), 4.0)
        return
    canvas.triangle((x, y), size=6)
    fits = fits_right(x, point.name)
    canvas.text((x + (10 if fits else -10), y + 4), point.name, SIGNAL_TEXT, "" if fits else "end")


def fits_right(x: float, name: str) -> bool:
    """Whether a site's name ends within the funnel if it begins beside its mark."""
    return x + 10 + text_width(name) < RIGHT


def _funnel_text(point: FunnelPoint) -> str:
    where = "outside the limits" if point.outside else "inside the limits"
    return f"{point.name}, {point.events} of {point.n}, {where}"


def _forest_row(canvas: Canvas, group: Group, y: float, left: float, x: Scale, places: int) -> None:
    canvas.text((left, y + 3.5), group.name, anchor="end")
    if group.estimate is None:
        canvas.text((left + 12, y + 3.5), group.note or "not assessable", fill=MUTED)
    else:
        canvas.line((x(group.low), y), (x(group.high), y), CURRENT, 1.5)
        canvas.circle((x(group.estimate), y), 3.2)
        shown = f"{group.estimate:.{places}f} ({group.low:.{places}f}–{group.high:.{places}f})"
        canvas.text((690, y + 3.5), shown, anchor="end", size=8.5)
    canvas.text((530, y + 3.5), f"n={group.n}", fill=MUTED, size=8.5)
