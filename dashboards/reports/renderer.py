"""The drift report that the reports port asks for."""

from __future__ import annotations

from collections.abc import Sequence

from app.central.reports.ports import DriftReport, RenderedReport
from app.central.surveillance.evidence import Comparison
from dashboards.reports.content import report_view
from dashboards.reports.document import report_html, report_pdf
from dashboards.reports.evidently_report import binned, evidently_html


class DriftReportRenderer:
    """Implements `app.central.reports.ports.ReportRenderer`."""

    def drift_report(
        self, report: DriftReport, evidence: bytes, input_digest: str
    ) -> RenderedReport:
        """The report as HTML and as PDF/A-3a with the evidence embedded."""
        view = report_view(report, input_digest)
        html = report_html(view)
        pdf = report_pdf(view, html, evidence, report.issued_at)
        return RenderedReport(html.encode(), pdf)

    def evidently_report(self, comparisons: Sequence[Comparison]) -> bytes:
        """Evidently's report on the same counts, labelled for what it does not control."""
        return evidently_html(binned(c) for c in comparisons)
