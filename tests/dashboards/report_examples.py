"""A small report with every kind of section."""

from __future__ import annotations

from dashboards import wording
from dashboards.pages.views import EffectRow, Fact, Grid, Shares
from dashboards.reports.views import Finding, ReportView, Section
from tests.dashboards import charts_examples as charts
from tests.dashboards.page_examples import DECISION, DIGEST, HOSTILE

REPORT = ReportView(
    number="DR-0001",
    title="Drift report",
    status="issued",
    digest=DIGEST,
    cover=(
        Fact("Device", "LungCAD 2.3.1"),
        Fact("Period", "2026-07-01 to 2026-09-30"),
        Fact("Evidence", f"sha256 {DIGEST}", True),
    ),
    sections=(
        Section("Summary", ("3 signals were raised.", wording.LIMITS)),
        Section(
            "Validity of the data",
            grids=(
                Grid(
                    "Received by site",
                    ("Site", "Days received", "Cases"),
                    tuple((f"Site {i:02d} {HOSTILE}", "92", str(1000 + i)) for i in range(50)),
                    frozenset({1, 2}),
                ),
            ),
        ),
        Section(
            "Findings",
            charts=(charts.heat_map(), charts.funnel(), charts.time_line()),
            findings=(
                Finding(
                    "S-0147",
                    "Mean score has shifted upward",
                    "confirmed",
                    f"Site 04 · {HOSTILE}",
                    ("Mean score rose by 0.016.",),
                    (charts.control_chart(), charts.path(), charts.comparison()),
                    (EffectRow("Mean score", 0.9, (0.7, 1.1), "reference SD"),),
                    (Shares("scanner or image processing", 0.97),),
                    (DECISION,),
                ),
            ),
        ),
        Section("Performance", (wording.NO_REFERENCE_READS,), charts=(charts.forest(),)),
    ),
)
