"""Distributions as SVG: reference against current in small multiples, calibration."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dashboards.charts.drawing import Canvas, Point, Scale, left_axis, text_width, tick_labels
from dashboards.charts.drawing import value_ticks as ticks_between
from dashboards.charts.palette import CURRENT, LINE, MUTED, REFERENCE, WHITE
from dashboards.charts.spec import Calibration, Comparison, Panel

PANELS_A_ROW = 4
PANEL = (158.0, 96.0)
GAP = (22.0, 44.0)


def comparison(chart: Comparison) -> str:
    """Grey steps for the reference, a blue outline for now; panels share both axes."""
    across = max(1, min(PANELS_A_ROW, len(chart.panels)))
    down = math.ceil(len(chart.panels) / across)
    panel = (PANEL[0] if across > 2 else 330.0, PANEL[1])
    canvas = Canvas(
        max(panel[0] * across + GAP[0] * (across + 1), 360.0), (panel[1] + GAP[1]) * down + 20
    )
    peak = max(
        (v for p in chart.panels for c in (p.reference, p.current) for v in heights(chart, c)),
        default=1.0,
    )
    for i, one in enumerate(chart.panels):
        corner = (
            GAP[0] + (panel[0] + GAP[0]) * (i % across),
            20 + (panel[1] + GAP[1]) * (i // across),
        )
        _panel(canvas, chart, one, corner, panel, peak)
    canvas.text((canvas.width / 2, canvas.height - 4), chart.unit, fill=MUTED, anchor="middle")
    return canvas.render(chart)


def heights(chart: Comparison, counts: Sequence[int]) -> list[float]:
    """Densities of `counts` over the chart's edges, or shares where bins are categories."""
    total = sum(counts)
    if not total:
        return [0.0] * len(counts)
    shares = [c / total for c in counts]
    if not chart.edges:
        return shares
    widths = [b - a for a, b in zip(chart.edges, chart.edges[1:], strict=False)]
    return [s / w for s, w in zip(shares, widths, strict=True)]


def calibration(chart: Calibration) -> str:
    """Observed with interval against predicted, and the score histogram on the same x."""
    height = 340.0
    canvas = Canvas(420, height)
    x = Scale(0, 1, 58, 406)
    y = Scale(0, 1, 226, 12)
    labels = [(t / 5, f"{t / 5:.1f}") for t in range(6)]
    left_axis(canvas, y, 58, "observed share", labels)
    canvas.line((x(0), y(0)), (x(1), y(1)), LINE)
    for one in chart.bins:
        canvas.line((x(one.predicted), y(one.low)), (x(one.predicted), y(one.high)), CURRENT, 1.5)
        canvas.circle((x(one.predicted), y(one.observed)), 3.2)
    top = max(chart.counts, default=1) or 1
    bars = Scale(0, top, 308, 246)
    for count, start, end in zip(chart.counts, chart.edges, chart.edges[1:], strict=False):
        canvas.rect(
            (x(start), bars(count)), (x(end) - x(start), 308 - bars(count)), REFERENCE, WHITE
        )
    canvas.text((52, 254), str(top), anchor="end", fill=MUTED, size=9)
    for value, label in labels:
        canvas.text((x(value), 322), label, anchor="middle")
    canvas.text((232, 336), "score", fill=MUTED, anchor="middle")
    return canvas.render(chart)


def _panel(
    canvas: Canvas, chart: Comparison, panel: Panel, corner: Point, size: Point, peak: float
) -> None:
    left, top = corner
    base = top + size[1]
    x = _bin_scale(chart, left, left + size[0])
    y = Scale(0, peak or 1.0, base, top + 10)
    _panel_title(canvas, panel, (left, top), size[0])
    edges = chart.edges or tuple(float(i) for i in range(len(chart.bins) + 1))
    gap = 0.0 if chart.edges else 2.0  # categories stand apart
    for value, start, end in zip(heights(chart, panel.reference), edges, edges[1:], strict=False):
        canvas.rect((x(start), y(value)), (x(end) - x(start) - gap, base - y(value)), REFERENCE)
    if sum(panel.current):
        canvas.polyline(_outline(heights(chart, panel.current), edges, x, y), CURRENT, 1.6)
    canvas.line((left, base), (left + size[0], base))
    if panel.note:
        canvas.text((left + size[0] / 2, (top + base) / 2 + 8), panel.note, anchor="middle", size=9)
    _bin_labels(canvas, chart, x, base, size[0])


def _panel_title(canvas: Canvas, panel: Panel, at: Point, width: float) -> None:
    counts = f"n={sum(panel.current)}, reference {sum(panel.reference)}"
    room = int(width / (0.62 * 9))
    title = panel.title if len(panel.title) <= room else panel.title[: room - 1] + "…"
    canvas.text((at[0], at[1] - 8), title, size=9, weight="bold")
    canvas.text((at[0], at[1] + 3), counts, MUTED, size=8.5)


def _bin_scale(chart: Comparison, start: float, end: float) -> Scale:
    if chart.edges:
        return Scale(chart.edges[0], chart.edges[-1], start, end)
    return Scale(0, len(chart.bins), start, end)


def _outline(values: Sequence[float], edges: Sequence[float], x: Scale, y: Scale) -> list[Point]:
    points = [(x(edges[0]), y(0))]
    for value, start, end in zip(values, edges, edges[1:], strict=False):
        points += [(x(start), y(value)), (x(end), y(value))]
    return [*points, (x(edges[-1]), y(0))]


def _bin_labels(canvas: Canvas, chart: Comparison, x: Scale, base: float, width: float) -> None:
    if chart.edges:
        ticks = ticks_between(chart.edges[0], chart.edges[-1], 3)
        for tick, label in zip(ticks, tick_labels(ticks), strict=True):
            canvas.text((x(tick), base + 12), label, anchor="middle", size=8.5)
        return
    room = width / max(len(chart.bins), 1)
    for i, name in enumerate(chart.bins):
        if text_width(name, 8) <= room + 2:
            canvas.text((x(i + 0.5), base + 12), name, anchor="middle", size=8)
