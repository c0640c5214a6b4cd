"""The drift report that the reports port asks for."""

from __future__ import annotations

from app.central.reports.ports import DriftReport, RenderedReport
from dashboards.reports.content import report_view
from dashboards.reports.document import report_html, report_pdf


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
