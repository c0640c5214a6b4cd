"""The one place that imports Evidently: a program that reads counts and writes its HTML.

It runs as a child process (see `evidently_report`): Evidently takes seconds to import and some
330 MB, and its telemetry is switched off by the environment it is started with. Evidently
compares rows; ours are counts per bin, so representative rows are laid evenly into each bin
(64 bins reproduce PSI and Wasserstein distance of raw rows to about 0.003).
"""

from __future__ import annotations

import json
import sys
import warnings
from itertools import pairwise
from typing import Any, cast

MOST_ROWS = 5000  # a column; more would only be slower


def rows_of(column: dict[str, Any], counts: list[int]) -> list[float] | list[str]:
    """Representative values of one characteristic: numbers inside bins, or category names."""
    scale = min(1.0, MOST_ROWS / max(sum(counts), 1))
    scaled = [round(c * scale) for c in counts]
    if not column["edges"]:
        return [str(name) for name, n in zip(column["bins"], scaled, strict=True) for _ in range(n)]
    return [
        low + (high - low) * (i + 0.5) / n
        for (low, high), n in zip(pairwise(column["edges"]), scaled, strict=True)
        for i in range(n)
    ]


def report(columns: list[dict[str, Any]], note: str) -> str:
    """Evidently's drift report over all columns as one HTML file, with `note` above it."""
    import pandas as pd
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    definition = DataDefinition(
        numerical_columns=[c["name"] for c in columns if c["edges"]],
        categorical_columns=[c["name"] for c in columns if not c["edges"]],
    )
    reference, current = (
        Dataset.from_pandas(
            pd.DataFrame({c["name"]: pd.Series(rows_of(c, c[side])) for c in columns}),
            data_definition=definition,
        )
        for side in ("reference", "current")
    )
    snapshot = Report([DataDriftPreset()]).run(current, reference)
    html = cast(str, snapshot.get_html_str(as_iframe=False))
    return html.replace("<body>", f"<body><p role='note'><strong>{note}</strong></p>", 1)


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # of Evidently's own dependencies
    asked = json.load(sys.stdin)
    sys.stdout.write(report(asked["columns"], asked["note"]))
