"""Write the golden SVG files anew: `python -m tests.dashboards.redraw`, then read the diff."""

from pathlib import Path

from dashboards.charts.svg import svg
from tests.dashboards.charts_examples import EXAMPLES

if __name__ == "__main__":
    for name, chart in EXAMPLES.items():
        (Path(__file__).parent / "golden" / f"{name}.svg").write_text(svg(chart))
