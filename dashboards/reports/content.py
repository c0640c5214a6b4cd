"""A drift report's sections from the stored evidence that it is made of. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from importlib.metadata import version

import numpy as np

from app.central.intake.arrival import EVALUATION_TIME
from app.central.reports.ports import DriftReport, ReportedSignal
from app.central.surveillance import evidence as stored
from app.central.surveillance.evidence import SignalEvidence, SiteStanding, WeeklySeries
from app.central.surveillance.performance import PerformanceView
from dashboards import evidence, filters, performance, wording
from dashboards import wording_performance as phrases
from dashboards.charts.spec import Chart, Comparison, Lane, Panel, Span, Stage, State, TimeLine
from dashboards.evidence import Period, Scope, Series, SiteRate
from dashboards.pages.fleet import SiteState, heat_map
from dashboards.pages.registers import balance_sentences
from dashboards.pages.signal import candidates, decisions, effect_rows
from dashboards.pages.subjects import marks_of, reference_words, stages_of
from dashboards.pages.views import Fact, Grid
from dashboards.reports.dossier import release_grid
from dashboards.reports.views import Finding, ReportView, Section
from dashboards.wording import Standing, count, sentence_case
from monitors.schema import FloatArray

SECTIONS = (
    *("Summary", "Validity of the data", "Method", "Findings", "Performance and sub-groups"),
    *("Changes in the period", "Open points", "Earlier periods", "Limits of this report"),
)
SILENT_AFTER_DAYS = 4  # without a day received; a day is closed up to two days later
SOFTWARE = ("lockwatch", "numpy", "scipy", "weasyprint", "pydyf", "fonttools", "jinja2")


def report_view(report: DriftReport, input_digest: str) -> ReportView:
    """All sections of a report (screens.md 6.2), in order."""
    states = tuple(_state(site, report) for site in report.standing.sites)
    sections = (
        _summary(report, states),
        _validity(report, states),
        _method(report),
        _findings(report, states),
        _performance(report),
        _changes(report),
        _open_points(report),
        _compared(report),
        _limits(report),
    )
    return ReportView(
        number=report.number,
        title="Drift report",
        status=report.status,
        digest=input_digest,
        cover=_cover(report, input_digest),
        is_signed_when_issued=True,
        signatures=report.signatures,
        sections=tuple(_remarked(section, report) for section in sections),
    )


def _remarked(section: Section, report: DriftReport) -> Section:
    found = tuple(r for r in report.remarks if r.section == section.title)
    return replace(section, remarks=found)


def _cover(report: DriftReport, digest: str) -> tuple[Fact, ...]:
    device, last = report.device, report.end - timedelta(1)
    made = "Issued" if report.status == "issued" else "Drafted"
    before = f"{report.supersedes}: {report.supersedes_reason}" if report.supersedes else ""
    return (
        Fact("Status", wording.REPORT_STATES[report.status]),
        Fact("Device", f"{device.device} {device.version}"),
        Fact("UDI-DI", device.udi_di),
        Fact("Intended use", device.intended_use),
        Fact("Lock digest", device.lock_digest, True),
        Fact("Period", f"{report.start} to {last}"),
        Fact("Plan", f"sha256 {report.plan_digest}" if report.plan_digest else "–", True),
        Fact(made, f"{wording.instant(report.issued_at)} by {report.issued_by}"),
        *((Fact("Supersedes", before),) if before else ()),
        Fact("Evidence", f"sha256 {digest}", True),
        Fact("Audit trail up to", report.audit_head, True),
        *_checkpoint(report.audit_checkpoint),
    )


def _checkpoint(signed: str) -> tuple[Fact, ...]:
    """The audit trail as it was when the report was issued; whoever holds it can check that."""
    if not signed:
        return ()
    found = json.loads(signed)
    said = json.loads(found["checkpoint"])
    words = f"{said['entries']} entries, head {said['head']}, signed by {found['public_key']}"
    return (Fact("Audit checkpoint", words, True),)


def _state(site: SiteStanding, report: DriftReport) -> SiteState:
    """The one state of a site at the end of the report, from what had been received."""
    last = max(site.days_received, default=None)
    heard = None if last is None else datetime.combine(last, time(0), tzinfo=UTC)
    is_silent = last is None or (report.end - last).days > SILENT_AFTER_DAYS
    if site.open_signals:
        word = Standing(site.name, State.SIGNAL, heard)
    elif is_silent:
        word = Standing(site.name, State.SILENT, heard)
    elif report.evaluated_upto is None:
        word = Standing(site.name, State.NOT_ASSESSABLE, reason=wording.NOT_EVALUATED)
    elif all(block == "not_assessable" for block in site.blocks.values()):
        word = Standing(site.name, State.NOT_ASSESSABLE, reason=wording.TOO_LITTLE)
    else:
        word = Standing(site.name, State.IN_CONTROL)
    mine = (s.signal for s in report.signals if s.signal.id in site.open_signals)
    return SiteState(site, (), word, tuple(mine))


def _summary(report: DriftReport, states: Sequence[SiteState]) -> Section:
    raised = len(report.signals)
    waiting = len({i for s in states for i in s.site.open_signals})
    statistical = [s.signal for s in report.signals if s.signal.signal.kind == "statistical"]
    events = raised - len(statistical)
    claims = [f"{s.id}: {wording.title(s.signal)}, {wording.place(s.signal)}." for s in statistical]
    return Section(
        "Summary",
        (
            f"{sentence_case(count(raised, 'signal'))} "
            f"{'was' if raised == 1 else 'were'} raised in this period: "
            f"{len(statistical)} by statistics, {events} by events.",
            *claims[: wording.SUMMARY_CLAIMS],
            *wording.fleet_sentences(waiting, [s.standing for s in states]),
        ),
    )


def _validity(report: DriftReport, states: Sequence[SiteState]) -> Section:
    days = (report.standing.upto - report.standing.since).days + 1
    rows = [
        (
            s.site.site_id,
            s.site.name,
            f"{len(s.site.days_received)} of {days}",
            filters.whole(s.site.analysed),
            filters.whole(s.site.flagged),
            str(s.standing.state),
        )
        for s in states
    ]
    received = Grid(
        f"Received, {report.standing.since} to {report.standing.upto}",
        ("Site", "Name", "Days received", "Analysed", "Flagged", "State"),
        tuple(rows),
        numeric=frozenset({2, 3, 4}),
    )
    assessed = Grid(
        "What could be assessed",
        ("What", "Finding"),
        tuple(sorted(report.standing.assessability.items())),
        empty=wording.NOTHING_LIMITED,
    )
    return Section(
        "Validity of the data",
        balance_sentences(report.balances),
        grids=(received, _balance(report), assessed),
    )


def _balance(report: DriftReport) -> Grid:
    return Grid(
        "Balance by edge: produced = stored + quarantined + still on the edge",
        ("Site", "Produced", "Stored", "Quarantined", "On the edge", "Held back cases", "Closes"),
        tuple(
            (
                b.site_id,
                *map(filters.whole, (b.produced, b.stored, b.quarantined, b.on_edge)),
                filters.whole(b.cases.get("cases_held_back", 0)),
                "yes" if b.closes and b.cases_close else "no",
            )
            for b in report.balances
        ),
        numeric=frozenset({1, 2, 3, 4, 5}),
    )


def _method(report: DriftReport) -> Section:
    promised = report.standing.promised
    return Section(
        "Method",
        (
            wording.METHOD,
            wording.budget(promised) if promised is not None else wording.NOT_EVALUATED_SENTENCE,
        ),
        facts=(
            Fact("Reference period", reference_words(report.reference)),
            Fact("Evaluated up to", filters.day(report.evaluated_upto)),
            Fact("Result", f"sha256 {report.result_digest}" if report.result_digest else "–", True),
        ),
    )


def _findings(report: DriftReport, states: Sequence[SiteState]) -> Section:
    charts: list[Chart | None] = []
    if report.evaluated_upto is not None and states:
        charts.append(heat_map(states, linked=False))
    charts.append(_funnel(report))
    for site in states:
        charts += [_weekly(s, site.site.site_id, report) for s in _main_series(report, site)]
    return Section(
        "Findings",
        () if report.signals else (wording.NO_SIGNAL_IN_PERIOD,),
        charts=tuple(chart for chart in charts if chart is not None),
        findings=tuple(_finding(s) for s in report.signals),
    )


def _main_series(report: DriftReport, site: SiteState) -> Sequence[WeeklySeries]:
    return [s for s in report.series.get(site.site.site_id, ()) if s.name == "flag_rate"]


def _funnel(report: DriftReport) -> Chart | None:
    rates = [SiteRate(s.name, s.flagged, s.analysed) for s in report.standing.sites]
    analysed = sum(r.analysed for r in rates)
    if not analysed:
        return None
    rate = sum(r.flagged for r in rates) / analysed
    span = Span(report.standing.since, report.standing.upto)
    return evidence.funnel_of(rates, rate, span, "the fleet's own rate in this time")


def _finding(reported: ReportedSignal) -> Finding:
    one, proof = reported.signal, reported.evidence
    return Finding(
        id=one.id,
        title=wording.title(one.signal),
        state=wording.STATES[one.state.value],
        where=wording.place(one.signal),
        claim=wording.claim(one.signal),
        charts=_signal_charts(reported, proof) if proof else (),
        effects=effect_rows(one.signal),
        candidates=candidates(one.signal),
        decisions=decisions(one),
    )


def _signal_charts(reported: ReportedSignal, proof: SignalEvidence) -> tuple[Chart, ...]:
    signal = reported.signal.signal
    if signal.kind == "deterministic":
        return ()
    lead = wording.leading(signal)
    period = Period(proof.reference_until + timedelta(1), proof.evaluated_upto)
    scope = Scope(signal.sites, signal.scanners)
    series = next((s for s in proof.series if lead and s.name == lead.name), None)
    trace = next((t for t in proof.traces if t.stream == signal.stream), None)
    charts: list[Chart | None] = []
    if series is not None:
        charts.append(weekly_chart(series, scope, period))
    if trace is not None:
        days = [day.toordinal() for day in trace.days]
        charts.append(
            evidence.path_chart(
                trace.stream,
                days,
                trace.statistic,
                trace.limit,
                signal.change_interval,
                signal.date,
            )
        )
    wanted = {lead.name} if lead else set()
    charts += [
        _distribution(c, proof, scope)
        for c in proof.comparisons
        if c.name in wanted or c.kind == "score"
    ]
    return tuple(chart for chart in charts if chart is not None)


def _distribution(compared: stored.Comparison, proof: SignalEvidence, scope: Scope) -> Chart | None:
    if not sum(compared.reference) or not sum(compared.current):
        return None
    signal = proof.signal.signal
    since = signal.change_date or signal.date
    words = wording.characteristic(compared.name)
    bins = compared.levels or tuple(
        f"{a:.4g} to {b:.4g}" for a, b in zip(compared.edges, compared.edges[1:], strict=False)
    )
    return Comparison(
        title=f"{sentence_case(words)}, reference period and since {since}",
        caption=f"Grey: reference period. Blue: since {since}. {scope.words}.",
        unit=f"{words}, {compared.unit}" if compared.unit not in {"", "1"} else words,
        bins=bins,
        edges=compared.edges,
        panels=(Panel(scope.words, compared.reference, compared.current),),
    )


def _weekly(series: WeeklySeries, site_id: str, report: DriftReport) -> Chart | None:
    if report.reference is None:
        return None
    period = Period(report.reference.until + timedelta(1), report.end)
    is_flags = series.name == "flag_rate"
    stages = stages_of(report.stages.get(site_id, ())) if is_flags else ()
    return weekly_chart(series, Scope((site_id,)), period, stages)


def _noise(series: WeeklySeries) -> FloatArray | None:
    """Variance by edges' noise of weekly flagged rates: what their errors have over a binomial's.

    Nothing else in weekly means ever has noise.
    """
    if series.name != "flag_rate":
        return None
    n, mean, se = np.array([(p.n, p.mean, p.se) for p in series.points]).reshape(-1, 3).T
    excess = se**2 - mean * (1 - mean) / n
    return np.where(excess > 1e-9, excess, 0.0)


def weekly_chart(
    series: WeeklySeries, scope: Scope, period: Period, stages: Sequence[Stage] = ()
) -> Chart | None:
    """Weekly means against the reference weeks; sigma at least that of the cases within."""
    name = "flagged rate" if series.name == "flag_rate" else series.name
    readings = Series(
        name,
        "" if series.unit == "1" else series.unit,
        np.array([p.week.toordinal() for p in series.points], dtype=np.int64),
        np.array([p.n for p in series.points], dtype=np.int64),
        np.array([p.mean for p in series.points], dtype=np.float64),
        _noise(series),
    )
    return evidence.control_chart(
        readings, scope, period, stages, least=evidence.LEAST_WEEKS, least_sigma=series.sd
    )


def _performance(report: DriftReport) -> Section:
    title, view = "Performance and sub-groups", report.performance
    if view is None:  # issued before these figures were part of a report
        has_reads = any(s.blocks.get("labels") != "not_assessable" for s in report.standing.sites)
        said = wording.READS_COMPARED if has_reads else wording.NO_REFERENCE_READS
        return Section(title, (said, wording.NO_SUBGROUPS))
    names = {s.site_id: s.name for s in report.standing.sites}
    days = f"{report.start} to {report.end - timedelta(1)}"
    return Section(
        title,
        (
            *performance.sentences(view, days),
            phrases.prevalence_cohort(view.cleared_prevalence),
            *performance.subgroup_sentences(view),
        ),
        facts=_operating_point(report, view),
        charts=(*performance.site_forests(view, names), *performance.subgroup_forests(view)),
        grids=(
            *performance.compared_grids(view),
            *performance.sites_grids(view, names),
            performance.subgroup_grid(view),
            performance.cleared_subgroups_grid(view.cleared_subgroups),
        ),
    )


def _operating_point(report: DriftReport, view: PerformanceView) -> tuple[Fact, ...]:
    if performance.is_unmeasured(view):
        return ()
    reads = sum(at.overall.reads for at in view.points if at.overall)
    return (
        *performance.point_facts(view, report.device.operating_point),
        Fact("Audited reads", filters.whole(reads)),
    )


def _changes(report: DriftReport) -> Section:
    events = [s.signal for s in report.signals if s.signal.signal.kind == "deterministic"]
    sites = [s.site_id for s in report.standing.sites]
    lanes = tuple(
        Lane(
            one,
            marks_of(
                tuple(s.signal for s in report.signals if one in s.signal.signal.sites),
                (r for r in report.releases if r.site_id == one),
            ),
        )
        for one in sites
    )
    grid = Grid(
        "Registered and seen changes",
        ("Date", "Site", "Scanner", "What", "Signal"),
        tuple(
            (
                s.signal.date.isoformat(),
                wording.listed(s.signal.sites),
                wording.listed(s.signal.scanners),
                wording.title(s.signal),
                s.id,
            )
            for s in events
        ),
        empty="No change was registered or seen.",
    )
    charts: tuple[Chart, ...] = ()
    if any(lane.marks for lane in lanes):
        charts = (
            TimeLine(
                title="What happened, by site",
                caption="Triangles: signals. Squares: decisions. Bars: operating points.",
                lanes=lanes,
                period=Span(report.start, report.end - timedelta(1)),
            ),
        )
    released = release_grid(report.releases, "Operating points that took effect")
    return Section("Changes in the period", charts=charts, grids=(grid, released))


def _open_points(report: DriftReport) -> Section:
    rows = [
        (
            s.signal.id,
            wording.title(s.signal.signal),
            wording.place(s.signal.signal),
            wording.STATES[s.signal.state.value],
            s.signal.owner or "nobody",
        )
        for s in report.signals
        if s.signal.is_open
    ]
    grid = Grid(
        "Signals that wait for a decision",
        ("Signal", "Claim", "Where", "State", "Owner"),
        tuple(rows),
        empty="Every signal of this period is decided.",
    )
    return Section("Open points", grids=(grid,))


def _compared(report: DriftReport) -> Section:
    """This period beside the one before it and the same days of the year before."""
    rows = tuple(
        (
            name,
            f"{t.start} to {t.end - timedelta(1)}",
            *map(filters.whole, (t.sites, t.analysed, t.flagged)),
            filters.rate(t.flagged / t.analysed if t.analysed else None),
            filters.whole(t.signals),
        )
        for name, t in zip(wording.COMPARED_PERIODS, report.totals, strict=False)
    )
    grid = Grid(
        "Periods side by side",
        ("Period", "Days", "Sites", "Analysed", "Flagged", "Flagged rate", "Signals"),
        rows,
        numeric=frozenset({2, 3, 4, 5, 6}),
        empty=wording.NO_EARLIER,
    )
    return Section("Earlier periods", (wording.EARLIER,) if rows else (), grids=(grid,))


def _limits(report: DriftReport) -> Section:
    return Section(
        "Limits of this report",
        (wording.LIMITS, wording.CAUTION, wording.PRIVACY),
        facts=(
            *(Fact(name, version(name)) for name in SOFTWARE),
            Fact("Evaluation time", f"{EVALUATION_TIME:%H:%M} UTC, daily"),
            Fact("To rebuild", f"report {report.number} from its embedded evidence.json"),
        ),
        grids=(Grid("Glossary", ("Word", "Meaning"), wording.GLOSSARY),),
    )
