"""The only places where a number becomes text in a template."""

from __future__ import annotations

from datetime import date, datetime

from markupsafe import Markup

from dashboards import wording
from dashboards.charts import plotly, spec, svg, table

MISSING = "not assessable"


def rate(value: float | None) -> str:
    """A share as per cent with one decimal."""
    return MISSING if value is None else f"{100 * value:.1f} %"


def score(value: float | None) -> str:
    """A score with three decimals."""
    return MISSING if value is None else f"{value:.3f}"


def effect(value: float) -> str:
    """Two significant digits."""
    return wording.beside(value, value)


def interval(bounds: tuple[float, float] | None, value: float) -> str:
    """`0.12 to 0.31`, with the decimals of the effect `value` that it belongs to."""
    if bounds is None:
        return MISSING
    return " to ".join(wording.beside(bound, value) for bound in bounds)


def significant(value: float | None) -> str:
    """Three significant digits."""
    return MISSING if value is None else f"{value:.3g}"


def whole(value: int) -> str:
    """Thousands kept apart by a thin space that does not break."""
    return f"{value:,}".replace(",", "\u202f")


def day(value: date | None) -> str:
    """`2026-10-19`; a dash for what never was."""
    return "–" if value is None else value.isoformat()


def instant(value: datetime | None) -> str:
    """`2026-10-19 06:00 UTC`; a dash for what never was."""
    return "–" if value is None else wording.instant(value)


def short(digest: str) -> str:
    """The first and last characters of a digest."""
    return digest if len(digest) <= 16 else f"{digest[:10]}…{digest[-4:]}"


def drawn(chart: spec.Chart) -> Markup:
    """The chart as SVG; every text in it is escaped by the canvas."""
    return Markup(svg.svg(chart))  # noqa: S704 - built from escaped parts alone


FILTERS = {
    "rate": rate,
    "score": score,
    "effect": effect,
    "interval": interval,
    "significant": significant,
    "whole": whole,
    "day": day,
    "instant": instant,
    "short": short,
    "svg": drawn,
    "plotly": plotly.figure,
    "table": table.table,
}
