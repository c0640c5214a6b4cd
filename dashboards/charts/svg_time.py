"""Charts over time as SVG: control chart, path, time line, mix."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from itertools import groupby, pairwise

from dashboards.charts.drawing import (
    Canvas,
    Point,
    Scale,
    date_ticks,
    decimals,
    left_axis,
    left_margin,
    spread,
    text_width,
    tick_labels,
    value_ticks,
)
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
)
from dashboards.charts.spec import ControlChart, Mark, Mix, PathChart, PathPoint, Reading, TimeLine

WIDTH = 700.0
TOP = 16.0
DASH, DOTS = "5 3", "2 3"


def control_chart(chart: ControlChart) -> str:
    """Circles and triangles, limits labelled with values at the right, gaps left open."""
    if not chart.readings:
        return _empty(chart, "no readings")
    low, high = _value_range(chart)
    ticks = value_ticks(low, high)
    labels = tick_labels(ticks)
    ends = limit_labels(chart)
    left = left_margin(labels)
    height = 250.0
    canvas = Canvas(WIDTH, height)
    x = _days(
        [r.day for r in chart.readings],
        left,
        WIDTH - 14 - max((text_width(t) for _, t in ends), default=0.0),
    )
    y = Scale(low, high, height - 34, TOP)
    if chart.reference:
        _shade(
            canvas,
            x(chart.reference.start),
            x(chart.reference.end),
            TOP,
            height - 34,
            "reference period",
        )
    left_axis(canvas, y, left, chart.unit, list(zip(ticks, labels, strict=True)))
    _date_axis(canvas, chart.readings[0].day, chart.readings[-1].day, x, height - 12)
    _limits(canvas, chart, x, y, ends)
    for i, stage in enumerate(chart.stages):
        canvas.line((x(stage.day), TOP), (x(stage.day), height - 34), MUTED, dash="1 2")
        # Left of its rule near the right end; stages close to each other on rows of their own.
        near_end = x(stage.day) + text_width(stage.label) > WIDTH - 14
        at, anchor = (x(stage.day) - 3, "end") if near_end else (x(stage.day) + 3, "")
        canvas.text((at, TOP + 20 + 11 * i), stage.label, fill=MUTED, anchor=anchor, size=9)
    _readings(canvas, chart.readings, x, y)
    return canvas.render(chart)


def path_chart(chart: PathChart) -> str:
    """The path with its limit, the onset band, and a triangle where it crossed."""
    if not chart.points:
        return _empty(chart, "no readings")
    height = 210.0
    scaled = _log if chart.log else _same
    rows = _path_levels(chart, scaled)
    low, high = min(0.0, *(v for v, _ in rows)), max(v for v, _ in rows)
    peak = max(scaled(p.upper) for p in chart.points)
    high = max(high, peak) + 0.06 * (max(high, peak) - low or 1)
    low = min([low, *(-p.lower for p in chart.points if p.lower is not None)])
    low -= 0.06 * (high - low)
    ticks = _path_ticks(low, high, chart.log)
    left = left_margin([label for _, label in ticks])
    canvas = Canvas(WIDTH, height)
    right = WIDTH - 14 - max(text_width(label) for _, label in rows)
    x = _days([p.day for p in chart.points], left, right)
    y = Scale(low, high, height - 30, TOP)
    _onset(canvas, chart, x, height)
    left_axis(canvas, y, left, chart.unit, ticks)
    _date_axis(canvas, chart.points[0].day, chart.points[-1].day, x, height - 10)
    for (level, label), at in zip(rows, spread([y(v) for v, _ in rows]), strict=True):
        canvas.line((left, y(level)), (right, y(level)), dash=DASH if level else "")
        canvas.text((right + 6, at + 3.5), label, fill=MUTED)
    canvas.polyline([(x(p.day), y(scaled(p.upper))) for p in chart.points], CURRENT, 1.5)
    lower = [(x(p.day), y(-p.lower)) for p in chart.points if p.lower is not None]
    canvas.polyline(lower, THIRD, 1.3, "4 2")
    _crossing(canvas, chart, x, y, scaled)
    return canvas.render(chart)


def time_line(chart: TimeLine) -> str:
    """One lane per site or scanner; a glyph and a text per mark."""
    lane_heights = [16.0 * max(1, len(_rows_of(lane.marks))) + 10 for lane in chart.lanes]
    left = 14 + max((text_width(lane.name) for lane in chart.lanes), default=0.0)
    height = TOP + 4 + sum(lane_heights) + 26
    canvas = Canvas(WIDTH, height)
    x = _days([chart.period.start, chart.period.end], left, WIDTH - 14)
    bottom = height - 24
    if chart.shaded:
        _shade(canvas, x(chart.shaded.start), x(chart.shaded.end), 4, bottom, "reference period")
    top = TOP + 4
    for lane, lane_height in zip(chart.lanes, lane_heights, strict=True):
        canvas.text((left - 8, top + 15), lane.name, anchor="end")
        canvas.line((left, top), (WIDTH - 14, top), REFERENCE)
        for row, marks in enumerate(_rows_of(lane.marks)):
            for mark in marks:
                _mark(canvas, mark, (x(mark.day), top + 12 + 16 * row), WIDTH - 14)
        top += lane_height
    canvas.line((left, top), (WIDTH - 14, top), REFERENCE)
    _date_axis(canvas, chart.period.start, chart.period.end, x, height - 8)
    return canvas.render(chart)


def mix(chart: Mix) -> str:
    """Stacked shares with labels at the right end, and the total under them."""
    days = [d for d in chart.days if sum(d.counts)]
    if not days:
        return _empty(chart, "no cases")
    height, left = 220.0, 44.0
    right = WIDTH - 16 - max(text_width(level) for level in chart.levels)
    canvas = Canvas(WIDTH, height)
    x = _days([d.day for d in days], left, right)
    y = Scale(0, 1, height - 62, TOP)
    left_axis(canvas, y, left, "share", [(t / 4, f"{25 * t} %") for t in range(5)])
    total = Scale(0, max(sum(d.counts) for d in days), height - 30, height - 52)
    below = [0.0] * len(days)
    middles = []
    for level in range(len(chart.levels)):
        above = [b + d.counts[level] / sum(d.counts) for b, d in zip(below, days, strict=True)]
        upper = [(x(d.day), y(v)) for d, v in zip(days, above, strict=True)]
        lower = [(x(d.day), y(v)) for d, v in zip(days, below, strict=True)]
        canvas.area([*upper, *reversed(lower)], _level_colour(chart, level))
        canvas.polyline(upper, "#FFFFFF", 1.0)
        middles.append((y(above[-1]) + y(below[-1])) / 2)
        below = above
    for name, at in zip(chart.levels, spread(middles), strict=True):
        canvas.text((right + 8, at + 3.5), name)
    strip = [(x(d.day), total(sum(d.counts))) for d in days]
    canvas.polyline(strip, INK, 1.0)
    canvas.text((right + 8, height - 38), "n", fill=MUTED)
    _date_axis(canvas, days[0].day, days[-1].day, x, height - 10)
    return canvas.render(chart)


# ------------------------------------------------------------------ shared by the above


def _empty(chart: ControlChart | PathChart | Mix, why: str) -> str:
    canvas = Canvas(WIDTH, 60)
    canvas.text((14, 34), f"not assessable: {why}", fill=MUTED)
    return canvas.render(chart)


def _days(days: Sequence[date], start: float, end: float) -> Callable[[date], float]:
    scale = Scale(days[0].toordinal(), days[-1].toordinal(), start, end)
    return lambda day: min(max(scale(day.toordinal()), start), end)


def _date_axis(
    canvas: Canvas, start: date, end: date, x: Callable[[date], float], baseline: float
) -> None:
    for day, label in date_ticks(start, end):
        at = min(x(day), WIDTH - text_width(label) / 2)  # the last one is not cut
        canvas.text((at, baseline), label, anchor="middle")


def _shade(
    canvas: Canvas, left: float, right: float, top: float, bottom: float, label: str
) -> None:
    canvas.rect((left, top), (right - left, bottom - top), SHADE)
    canvas.text((left + 4, top + 11), label, fill=MUTED)


def _value_range(chart: ControlChart) -> tuple[float, float]:
    values = [r.value for r in chart.readings if r.value is not None]
    values += [v for r in chart.readings for v in (r.lower, r.upper) if v is not None]
    values += chart.acceptance
    low, high = min(values), max(values)
    pad = 0.08 * (high - low) or 1.0
    return low - pad, high + pad


def limit_labels(chart: ControlChart) -> list[tuple[float, str]]:
    """The limits that hold at the last reading, if any do, with what is written beside them."""
    last, places = chart.readings[-1], decimals(*_value_range(chart))
    named = (("UCL", last.upper), ("centre", last.centre), ("LCL", last.lower))
    return [(at, f"{name} {at:.{places}f}") for name, at in named if at is not None]


def _limits(
    canvas: Canvas,
    chart: ControlChart,
    x: Callable[[date], float],
    y: Scale,
    ends: list[tuple[float, str]],
) -> None:
    right = x(chart.readings[-1].day)
    for pick, dash in ((_upper, DASH), (_centre, ""), (_lower, DASH)):
        for hold, run in groupby(chart.readings, key=_has_limits):
            if hold:
                canvas.polyline(_steps(list(run), pick, x, y), LINE, 1.2, dash)
    for (_, label), at in zip(ends, spread([y(v) for v, _ in ends]), strict=True):
        canvas.text((right + 8, at + 3.5), label, fill=MUTED)
    for limit in chart.acceptance:
        canvas.line((x(chart.readings[0].day), y(limit)), (right, y(limit)), INK, dash=DOTS)
        canvas.text((right - 4, y(limit) - 4), "acceptance limit", fill=MUTED, anchor="end")


def _has_limits(reading: Reading) -> bool:
    return reading.centre is not None


def _upper(reading: Reading) -> float:
    assert reading.upper is not None
    return reading.upper


def _centre(reading: Reading) -> float:
    assert reading.centre is not None
    return reading.centre


def _lower(reading: Reading) -> float:
    assert reading.lower is not None
    return reading.lower


def _steps(
    readings: Sequence[Reading],
    pick: Callable[[Reading], float],
    x: Callable[[date], float],
    y: Scale,
) -> list[Point]:
    """A step line: limits hold for a reading, they do not slope between two."""
    points: list[Point] = []
    for before, after in pairwise(readings):
        middle = (x(before.day) + x(after.day)) / 2
        if not points:
            points.append((x(before.day), y(pick(before))))
        if pick(before) != pick(after):
            points += [(middle, y(pick(before))), (middle, y(pick(after)))]
    return [*points, (x(readings[-1].day), y(pick(readings[-1])))]


def _readings(
    canvas: Canvas, readings: Sequence[Reading], x: Callable[[date], float], y: Scale
) -> None:
    for present, run in groupby(readings, key=lambda r: r.value is not None):
        if present:
            points = [(x(r.day), y(r.value)) for r in run if r.value is not None]
            canvas.polyline(points, CURRENT, 1.2)
    for reading in readings:
        if reading.value is None:
            continue
        at = (x(reading.day), y(reading.value))
        if not reading.mark:
            canvas.circle(at)
            continue
        canvas.triangle(at)
        if reading.mark != "outside":
            canvas.text((at[0], at[1] - 8), reading.mark, SIGNAL_TEXT, "middle", 8)


def _log(value: float) -> float:
    return max(0.0, math.log10(max(value, 1.0)))


def _same(value: float) -> float:
    return value


def _path_levels(chart: PathChart, scaled: Callable[[float], float]) -> list[tuple[float, str]]:
    rows = [(scaled(chart.limit), f"limit {chart.limit:g}")]
    if any(p.lower is not None for p in chart.points):
        rows += [(0.0, "0"), (-chart.limit, f"−{chart.limit:g}")]
    return rows if chart.log or len(rows) > 1 else [*rows, (0.0, "0")]


def _path_ticks(low: float, high: float, log: bool) -> list[tuple[float, str]]:
    if not log:
        ticks = value_ticks(low, high)
        return list(zip(ticks, tick_labels(ticks), strict=True))
    step = max(1, math.ceil(high / 6))
    return [(float(p), _power(p)) for p in range(0, math.floor(high) + 1, step)]


def _power(exponent: int) -> str:
    return f"{10**exponent:,}".replace(",", "\u202f") if exponent < 6 else f"1e{exponent}"


def _onset(canvas: Canvas, chart: PathChart, x: Callable[[date], float], height: float) -> None:
    if chart.onset is None:
        return
    left, right = x(chart.onset.start), x(chart.onset.end)
    canvas.rect((left, TOP), (max(right - left, 2.0), height - 30 - TOP), ONSET)
    label = f"change began {chart.onset.start.isoformat()} to {chart.onset.end.isoformat()}"
    fits = left - text_width(label) > 60
    canvas.text((left - 4 if fits else right + 4, TOP + 11), label, anchor="end" if fits else "")


def _crossing(
    canvas: Canvas,
    chart: PathChart,
    x: Callable[[date], float],
    y: Scale,
    scaled: Callable[[float], float],
) -> None:
    at = next((p for p in chart.points if p.day == chart.signal), None)
    if at is None:
        return
    where = (x(at.day), y(_higher(at, scaled)))
    canvas.triangle(where, SIGNAL, 6)
    label = f"signal {at.day.isoformat()}"
    fits = where[0] + 10 + text_width(label) < x(chart.points[-1].day)
    canvas.text(
        (where[0] + (10 if fits else -10), where[1] + 14 if fits else where[1] - 6),
        label,
        anchor="" if fits else "end",
    )


def _higher(point: PathPoint, scaled: Callable[[float], float]) -> float:
    if point.lower is not None and point.lower > point.upper:
        return -point.lower
    return scaled(point.upper)


def _rows_of(marks: Iterable[Mark]) -> list[list[Mark]]:
    """Marks in as many rows as their texts need: a row takes marks far enough apart."""
    rows: list[list[Mark]] = []
    for mark in sorted(marks, key=lambda m: m.day):
        for row in rows:
            if (mark.day - row[-1].day).days > 1.6 * len(row[-1].text):
                row.append(mark)
                break
        else:
            rows.append([mark])
    return rows


def _mark(canvas: Canvas, mark: Mark, at: Point, right: float) -> None:
    if mark.kind == "signal":
        canvas.triangle(at)
    elif mark.kind == "decision":
        canvas.rect((at[0] - 3.5, at[1] - 3.5), (7, 7), INK)
    elif mark.kind == "outage":
        canvas.circle(at, 3.5, "#FFFFFF", MUTED)
    else:
        canvas.line((at[0], at[1] - 6), (at[0], at[1] + 6), CURRENT, 2)
    fits = at[0] + 8 + text_width(mark.text, 9) < right
    canvas.text(
        (at[0] + (8 if fits else -8), at[1] + 3.5),
        mark.text,
        SIGNAL_TEXT if mark.kind == "signal" else INK,
        "" if fits else "end",
        9,
    )


def _level_colour(chart: Mix, level: int) -> str:
    is_other = chart.levels[level] == "other"
    return REFERENCE if is_other else LEVELS[level % len(LEVELS)]
