"""A chart as static SVG: seen at once, printed, put into the PDF, and needing no script."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dashboards.charts import spec, svg_distributions, svg_sites, svg_time

RENDERERS: dict[type[spec.Chart], Callable[[Any], str]] = {
    spec.ControlChart: svg_time.control_chart,
    spec.PathChart: svg_time.path_chart,
    spec.Comparison: svg_distributions.comparison,
    spec.Funnel: svg_sites.funnel,
    spec.HeatMap: svg_sites.heat_map,
    spec.TimeLine: svg_time.time_line,
    spec.Forest: svg_sites.forest,
    spec.Calibration: svg_distributions.calibration,
    spec.Mix: svg_time.mix,
}


def svg(chart: spec.Chart) -> str:
    """`chart` as one SVG document; the same chart gives the same bytes."""
    return RENDERERS[type(chart)](chart)
