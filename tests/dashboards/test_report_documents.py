"""The report: the same bytes for the same evidence, what is embedded, and what it says."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from pypdf import PdfReader

from dashboards.charts.spec import State
from dashboards.charts.table import table
from dashboards.pages.views import Grid
from dashboards.reports.document import VARIANT, _refuse, report_html, report_pdf, tables_csv
from dashboards.reports.evidently_child import rows_of
from dashboards.reports.evidently_report import BinnedColumn, EvidentlyFailed, evidently_html
from dashboards.reports.views import Section
from dashboards.wording import EVIDENTLY_NOTE
from tests.dashboards.report_examples import REPORT

# WeasyPrint leaves its colour profile for the garbage collector to close.
pytestmark = pytest.mark.filterwarnings("ignore:.*sRGB2014.icc:ResourceWarning")
AT = datetime(2026, 10, 1, 6, tzinfo=UTC)
EVIDENCE = b'{"signals":[]}'
SMALL = replace(REPORT, sections=(REPORT.sections[0], REPORT.sections[3]))
NUMERIC = BinnedColumn(
    "noise", tuple("abcd"), (0.0, 1.0, 2.0, 3.0, 4.0), (10, 200, 200, 10), (5, 100, 300, 100)
)


@pytest.fixture(scope="module", name="pdf")
def _pdf() -> bytes:
    return report_pdf(REPORT, report_html(REPORT), EVIDENCE, AT)


def test_a_report_is_the_same_bytes_when_made_again() -> None:
    html = report_html(SMALL)

    first = report_pdf(SMALL, html, EVIDENCE, AT)

    assert report_html(SMALL) == html
    assert report_pdf(SMALL, html, EVIDENCE, AT) == first


def test_other_evidence_makes_other_bytes() -> None:
    html = report_html(SMALL)

    assert report_pdf(SMALL, html, EVIDENCE, AT) != report_pdf(SMALL, html, b"{}", AT)


def test_the_evidence_and_the_tables_are_embedded(pdf: bytes) -> None:
    attachments = PdfReader(io.BytesIO(pdf)).attachments

    assert attachments["evidence.json"] == [EVIDENCE]
    assert attachments["tables.csv"] == [tables_csv(REPORT).encode()]


def test_the_pdf_declares_its_archival_form_and_is_tagged(pdf: bytes) -> None:
    reader = PdfReader(io.BytesIO(pdf))
    metadata = reader.trailer["/Root"]["/Metadata"].get_data().decode()

    part, level = VARIANT[-2], VARIANT[-1].upper()
    assert re.search(rf"part(>|=\"){part}", metadata)
    assert re.search(rf"conformance(>|=\"){level}", metadata)
    assert reader.trailer["/Root"]["/MarkInfo"]["/Marked"]
    assert reader.trailer["/Root"]["/Lang"] == "en"


def test_a_caption_stays_with_its_head_and_two_rows_and_no_row_ends_a_table_alone() -> None:
    sizes = [2 + (5 * i) % 11 for i in range(60)]  # so that pages break everywhere in a table
    tables = tuple(
        Grid(
            f"Caption {i:02d}.",
            (f"Head {i:02d}.", "Value"),
            tuple((f"Row {i:02d}-{j:02d}.", "1") for j in range(n)),
        )
        for i, n in enumerate(sizes)
    )
    many = replace(SMALL, sections=(Section("Tables", grids=tables),), about_signals=False)

    pdf = report_pdf(many, report_html(many), EVIDENCE, AT)

    pages = [page.extract_text() for page in PdfReader(io.BytesIO(pdf)).pages]
    where = {m: i for i, text in enumerate(pages) for m in re.findall(r"Row \d\d-\d\d\.", text)}
    captions = {m: i for i, text in enumerate(pages) for m in re.findall(r"Caption \d\d\.", text)}
    assert len(pages) > 5 and len(captions) == len(sizes)
    assert any(
        where[f"Row {i:02d}-00."] != where[f"Row {i:02d}-{n - 1:02d}."] for i, n in enumerate(sizes)
    )
    for i, n in enumerate(sizes):
        first, second = where[f"Row {i:02d}-00."], where[f"Row {i:02d}-01."]
        assert captions[f"Caption {i:02d}."] == first == second
        assert where[f"Row {i:02d}-{n - 1:02d}."] == where[f"Row {i:02d}-{n - 2:02d}."]


def test_every_page_names_the_report_and_its_place(pdf: bytes) -> None:
    pages = PdfReader(io.BytesIO(pdf)).pages

    for number, page in enumerate(pages, 1):
        text = page.extract_text()
        assert "DR-0001 · issued" in text
        assert f"page {number} of {len(pages)}" in text


def test_a_decision_is_quoted_word_by_word_with_its_signature(pdf: bytes) -> None:
    text = " ".join(page.extract_text() for page in PdfReader(io.BytesIO(pdf)).pages)
    text = " ".join(text.split())

    assert "images were compared <side by side>." in text
    assert "Signed by A. Reviewer, 2026-10-19 06:00 UTC, meaning “assessment”" in text


def test_the_values_of_every_chart_stand_in_the_annex() -> None:
    html = report_html(REPORT)
    annex = html[html.index("Annex:") :]

    assert len(REPORT.charts) == 7
    assert annex.count("<caption>") == len(REPORT.charts)
    assert annex.count("<tr>") == sum(len(table(c).rows) + 1 for c in REPORT.charts)
    assert State.NOT_ASSESSABLE in annex


def test_the_html_report_is_one_file_without_script_or_address() -> None:
    html = report_html(REPORT)

    assert "<script" not in html.replace("&lt;script", "")
    assert re.findall(r"(?:src|url\()[=\"']*https?:", html) == []
    assert "<link" not in html


def test_a_report_fetches_nothing() -> None:
    with pytest.raises(ValueError, match="fetches nothing, got 'http:"):
        _refuse("http://example.org/x")


def test_evidence_cannot_end_the_style_sheet() -> None:
    with pytest.raises(ValueError, match="must not contain markup"):
        report_html(replace(SMALL, number="</style><script>"))


def test_a_name_that_looks_like_a_formula_stays_text_in_a_spreadsheet() -> None:
    chart = replace(REPORT.charts[5], panels=(replace(REPORT.charts[5].panels[0], title="=1+1"),))  # type: ignore[attr-defined,type-var]
    section = replace(REPORT.sections[0], charts=(chart,))

    rows = list(csv.reader(io.StringIO(tables_csv(replace(SMALL, sections=(section,))))))

    assert rows[2][0] == "'=1+1"


def test_evidently_compares_the_same_counts_and_is_labelled() -> None:
    views = BinnedColumn("view <b>", ("PA", "AP"), (), (300, 100), (200, 200))
    silent = BinnedColumn("never seen", ("a", "b"), (), (0, 0), (5, 5))

    html = evidently_html([NUMERIC, views, silent]).decode()

    assert f"<body><p role='note'><strong>{EVIDENTLY_NOTE}" in html
    assert "noise" in html and "never seen" not in html
    assert re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=[\"']https?:", html) == []


def test_rows_lie_inside_their_bins_and_count_what_the_bins_count() -> None:
    column = {"edges": [0.0, 1.0, 3.0], "bins": ["a", "b"]}

    rows = rows_of(column, [4, 2])

    assert rows == [0.125, 0.375, 0.625, 0.875, 1.5, 2.5]
    assert rows_of({"edges": [], "bins": ["PA", "AP"]}, [2, 1]) == ["PA", "PA", "AP"]


def test_a_large_column_is_thinned_in_proportion() -> None:
    rows = rows_of({"edges": [], "bins": ["PA", "AP"]}, [90_000, 10_000])

    assert (rows.count("PA"), rows.count("AP")) == (4500, 500)  # type: ignore[arg-type]


def test_nothing_to_compare_is_refused_in_words() -> None:
    with pytest.raises(EvidentlyFailed, match="at least one characteristic with cases expected"):
        evidently_html([])


def test_a_failure_of_evidently_is_told_with_its_last_words() -> None:
    wrong = BinnedColumn("noise", ("a",), (0.0, 1.0, 2.0), (1,), (1,))

    with pytest.raises(EvidentlyFailed, match=r"Evidently ended with 1: ValueError: zip"):
        evidently_html([wrong])
