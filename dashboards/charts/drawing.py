"""What every SVG chart needs: a canvas that collects elements, scales, ticks, label spacing.

Coordinates are user units of the viewBox. Output bytes depend on the input alone.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from html import escape

from dashboards.charts.palette import CURRENT, INK, LINE, MUTED, SIGNAL
from dashboards.charts.spec import Chart

Point = tuple[float, float]
FONT_SIZE = 10.0
SHOWN = 1.1  # CSS pixels per user unit at natural size
CHARACTER = 0.62  # mean width of a DejaVu Sans character, in font sizes
DAYS_BETWEEN_TICKS = (1, 2, 7, 14, 28, 56, 91, 182, 364, 728)


def number(value: float) -> str:
    """A coordinate with two decimals at most and no negative zero."""
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def text_width(text: str, size: float = FONT_SIZE) -> float:
    """Approximate width of `text` in user units."""
    return len(text) * CHARACTER * size


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps [low, high] linearly onto [start, end]."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        share = (value - self.low) / ((self.high - self.low) or 1.0)
        return self.start + share * (self.end - self.start)


class Canvas:
    """Collects SVG elements; `render` gives the document."""

    def __init__(self, width: float, height: float) -> None:
        self.width, self.height = width, height
        self._out: list[str] = []

    def _add(self, tag: str, content: str | None = None, **attributes: float | str) -> None:
        pairs = "".join(
            f' {name.rstrip("_").replace("_", "-")}="'
            f'{number(v) if isinstance(v, float | int) else escape(v)}"'
            for name, v in attributes.items()
            if v != ""
        )
        end = "/>" if content is None else f">{content}</{tag}>"
        self._out.append(f"<{tag}{pairs}{end}")

    def line(
        self, a: Point, b: Point, stroke: str = LINE, width: float = 1.0, dash: str = ""
    ) -> None:
        """A straight line."""
        self._add(
            "line",
            x1=a[0],
            y1=a[1],
            x2=b[0],
            y2=b[1],
            stroke=stroke,
            stroke_width=width,
            stroke_dasharray=dash,
        )

    def polyline(
        self, points: Sequence[Point], stroke: str, width: float = 1.3, dash: str = ""
    ) -> None:
        """A line through `points`; fewer than two draw nothing."""
        if len(points) > 1:
            joined = " ".join(f"{number(x)},{number(y)}" for x, y in points)
            self._add(
                "polyline",
                points=joined,
                fill="none",
                stroke=stroke,
                stroke_width=width,
                stroke_dasharray=dash,
            )

    def area(self, points: Sequence[Point], fill: str) -> None:
        """A filled polygon."""
        joined = " ".join(f"{number(x)},{number(y)}" for x, y in points)
        self._add("polygon", points=joined, fill=fill)

    def rect(
        self,
        corner: Point,
        size: Point,
        fill: str,
        stroke: str = "",
        dash: str = "",
    ) -> None:
        """A rectangle from its upper left corner."""
        self._add(
            "rect",
            x=corner[0],
            y=corner[1],
            width=max(size[0], 0.0),
            height=max(size[1], 0.0),
            fill=fill,
            stroke=stroke,
            stroke_dasharray=dash,
        )

    def circle(self, at: Point, radius: float = 2.1, fill: str = CURRENT, stroke: str = "") -> None:
        """A reading."""
        self._add("circle", cx=at[0], cy=at[1], r=radius, fill=fill, stroke=stroke)

    def triangle(self, at: Point, fill: str = SIGNAL, size: float = 5.0) -> None:
        """A signal mark: a triangle, so that it survives greyscale."""
        x, y = number(at[0]), number(at[1] - size)
        self._add(
            "path",
            d=f"M{x} {y}l{number(size)} {number(1.8 * size)}h{number(-2 * size)}z",
            fill=fill,
        )

    def text(
        self,
        at: Point,
        content: str,
        fill: str = INK,
        anchor: str = "",
        size: float = FONT_SIZE,
        weight: str = "",
        rotate: bool = False,
    ) -> None:
        """Text on its base line; `rotate` turns it upwards."""
        turn = f"rotate(-90 {number(at[0])} {number(at[1])})" if rotate else ""
        self._add(
            "text",
            escape(content),
            x=at[0],
            y=at[1],
            fill=fill,
            text_anchor=anchor,
            font_size=size if size != FONT_SIZE else "",
            font_weight=weight,
            transform=turn,
        )

    def link(self, href: str, label: str, draw: Callable[[], None]) -> None:
        """Whatever `draw` adds, as a link called `label`; only labelled when `href` is empty."""
        tag = f'a href="{escape(href)}"' if href else "g"
        self._out.append(f'<{tag} aria-label="{escape(label)}"><title>{escape(label)}</title>')
        draw()
        self._out.append("</a>" if href else "</g>")

    def render(self, chart: Chart, role: str = "img") -> str:
        """The SVG document with its alternative text."""
        return (
            '<svg xmlns="http://www.w3.org/2000/svg" '
            f'viewBox="0 0 {number(self.width)} {number(self.height)}" '
            f'width="{number(SHOWN * self.width)}" height="{number(SHOWN * self.height)}" '
            f'role="{role}" '
            f'aria-label="{escape(chart.title)}" '
            f'font-family="DejaVu Sans, Verdana, sans-serif" font-size="{number(FONT_SIZE)}">'
            f"<title>{escape(chart.title)}</title>"
            f"<desc>{escape(chart.description or chart.caption)}</desc>"
            f"{''.join(self._out)}</svg>\n"
        )


def value_ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """Round values inside [low, high], about `wanted` of them."""
    if not high > low:
        return [low]
    raw = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [i * step for i in range(first, last + 1)]


def decimals(low: float, high: float) -> int:
    """Decimals that tell apart values a hundredth of the range from each other."""
    span = abs(high - low)
    return max(0, min(6, 2 - math.floor(math.log10(span)))) if span > 0 else 2


def tick_labels(ticks: Sequence[float]) -> list[str]:
    """Ticks as text with the fewest decimals that write each of them exactly."""
    for places in range(7):
        if all(abs(round(t, places) - t) <= 1e-9 * max(abs(t), 1e-3) for t in ticks):
            break
    return [f"{t:.{places}f}" if t or not places else "0" for t in ticks]


def date_ticks(start: date, end: date, wanted: int = 8) -> list[tuple[date, str]]:
    """Days and labels: ISO weeks on their Mondays, or dates where a period is short."""
    days = (end - start).days
    step = next((s for s in DAYS_BETWEEN_TICKS if days / s <= wanted), 728)
    if step < 7:
        return [
            (day, day.isoformat())
            for day in (start + timedelta(i) for i in range(0, days + 1, step))
        ]
    first = start + timedelta(-start.weekday() % 7)
    mondays = (first + timedelta(i) for i in range(0, max(days, 0) + 1, step))
    return [(day, iso_week(day)) for day in mondays if day <= end]


def iso_week(day: date) -> str:
    """`2026-W35`."""
    year, week, _ = day.isocalendar()
    return f"{year}-W{week:02d}"


def spread(positions: Sequence[float], gap: float = 11.0) -> list[float]:
    """The positions moved apart, as little as possible, until `gap` lies between neighbours."""
    order = sorted(range(len(positions)), key=lambda i: positions[i])
    moved = list(positions)
    for before, after in itertools.pairwise(order):
        moved[after] = max(moved[after], moved[before] + gap)
    return moved


def left_axis(
    canvas: Canvas, scale: Scale, left: float, unit: str, labels: Sequence[tuple[float, str]]
) -> None:
    """Tick labels right-aligned at `left`, and the unit written upwards at the edge."""
    for value, label in labels:
        canvas.text((left - 6, scale(value) + 3.5), label, anchor="end")
    middle = (scale.start + scale.end) / 2
    canvas.text((11, middle), unit, fill=MUTED, anchor="middle", rotate=True)


def left_margin(labels: Sequence[str]) -> float:
    """Room for the widest tick label and the unit beside it."""
    return 24 + max((text_width(label) for label in labels), default=0.0)
