"""A report as HTML and as PDF/A-3a: one template, and the same bytes for the same evidence.

WeasyPrint dates attachments with the present and identifies files at random; both are fixed here
from the evidence, so that "rebuild and compare" is an honest check. Conformance to PDF/A is
declared by WeasyPrint, not validated.
"""

from __future__ import annotations

import csv
import io
from datetime import datetime

from markupsafe import Markup
from weasyprint import HTML, Attachment

from dashboards.charts.table import table
from dashboards.reports.views import ReportView
from dashboards.templating import render

VARIANT = "pdf/a-3a"


def report_style(view: ReportView) -> str:
    """The style sheet of one report: its running footer names the report."""
    return render("report/report.css", view=view)


def report_html(view: ReportView) -> str:
    """The report as one self-contained file: inline SVG, no script, nothing from elsewhere."""
    style = report_style(view)
    if "</" in style:  # nothing of the evidence may end the style element
        raise ValueError("report number, status and digest must not contain markup")
    return render("report/report.html", view=view, style=Markup(style))  # noqa: S704


def tables_csv(view: ReportView) -> str:
    """The values of every chart, long form: chart, then the columns of its table."""
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    for chart in view.charts:
        values = table(chart)
        writer.writerow([chart.title])
        writer.writerow(values.columns)
        writer.writerows([_harmless(cell) for cell in row] for row in values.rows)
        writer.writerow([])
    return out.getvalue()


def report_pdf(view: ReportView, html: str, evidence: bytes, made_at: datetime) -> bytes:
    """`html` as PDF/A-3a with `evidence.json` and `tables.csv` embedded."""
    attachments = [
        _attachment("evidence.json", evidence, "Evidence of this report", made_at),
        _attachment("tables.csv", tables_csv(view).encode(), "Values of every chart", made_at),
    ]
    document = HTML(string=html, url_fetcher=_refuse)
    pdf = document.write_pdf(
        pdf_variant=VARIANT,
        pdf_identifier=f"{view.number} {view.digest}".encode(),
        attachments=attachments,
    )
    assert isinstance(pdf, bytes)
    return pdf


def _attachment(name: str, content: bytes, description: str, at: datetime) -> Attachment:
    return Attachment(
        string=content,
        name=name,
        description=description,
        relationship="Data",
        created=at,
        modified=at,
    )


def _refuse(url: str) -> dict[str, object]:
    raise ValueError(f"a report fetches nothing, got {url!r}")


def _harmless(cell: str) -> str:
    # A spreadsheet runs a cell that starts like a formula; names come from outside (CWE-1236).
    return f"'{cell}" if cell[:1] in {"=", "+", "@", "\t"} else cell
