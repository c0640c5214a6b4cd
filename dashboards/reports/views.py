"""What the report's template receives. Sections follow MDCG 2022-21's habits (screens.md 6.2)."""

from __future__ import annotations

from dataclasses import dataclass

from app.central.reports.ports import Remark, SignatureView
from dashboards.charts.spec import Chart
from dashboards.pages.views import DecisionView, EffectRow, Fact, Grid, Shares


@dataclass(frozen=True, slots=True)
class Finding:
    """One signal of the period: claim, charts, decisions quoted as they were written."""

    id: str
    title: str
    state: str
    where: str
    claim: tuple[str, ...]
    charts: tuple[Chart, ...]
    effects: tuple[EffectRow, ...]
    candidates: tuple[Shares, ...]
    decisions: tuple[DecisionView, ...]


@dataclass(frozen=True, slots=True)
class Section:
    """A numbered section: sentences, facts, charts, tables, in this order."""

    title: str
    sentences: tuple[str, ...] = ()
    facts: tuple[Fact, ...] = ()
    charts: tuple[Chart, ...] = ()
    grids: tuple[Grid, ...] = ()
    remarks: tuple[Remark, ...] = ()
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class ReportView:
    """A whole report. `digest` is that of the evidence it was made from; `about_signals`: it
    carries the caution on signals, and the table of values of its charts."""

    number: str
    title: str
    status: str
    digest: str
    cover: tuple[Fact, ...]
    sections: tuple[Section, ...]
    about_signals: bool = True
    is_signed_when_issued: bool = False
    signatures: tuple[SignatureView, ...] = ()

    @property
    def is_issued(self) -> bool:
        """A report that people sign says on every page that it is not issued, until it is."""
        return self.status == "issued" or not self.is_signed_when_issued

    @property
    def charts(self) -> tuple[Chart, ...]:
        """Every chart, in order: the annex gives the table of values of each."""
        return tuple(
            chart
            for section in self.sections
            for group in (section.charts, *(f.charts for f in section.findings))
            for chart in group
        )
