"""What a drift report says, from stored evidence; and the content that people sign."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta

import numpy as np
from pydantic import TypeAdapter
from sqlalchemy.orm import Session

from app.central.audit import service as audit
from app.central.fleet import repository as fleet_repository
from app.central.fleet import service as fleet
from app.central.intake import service as intake
from app.central.plain import plain
from app.central.recalibration import releases, watch
from app.central.recalibration.in_force import in_force
from app.central.references import repository as references_repository
from app.central.references import service as references
from app.central.reports.ports import DriftReport, PeriodTotals, ReportedSignal
from app.central.surveillance import evidence, service
from app.central.surveillance.evidence import Comparison
from app.central.surveillance.history import arrived_windows, history_of
from app.central.surveillance.history import assemble as assemble_history
from app.central.surveillance.measured import Days
from app.central.surveillance.performance import performance
from app.central.surveillance.pool import Pool
from app.central.surveillance.service import SignalView
from app.contracts.signing import canonical, sha256
from monitors.observations import History
from monitors.summaries import tallies

_DRIFT_REPORT = TypeAdapter(DriftReport)
Period = tuple[date, date]


def assemble(
    session: Session,
    lock_digest: str,
    start: date,
    end: date,
    *,
    number: str,
    by: str,
    now: datetime,
) -> DriftReport:
    """A draft on [start, end), from what is stored now."""
    reference = references_repository.in_force(session, lock_digest)
    evaluated = service.last_evaluation(session, lock_digest, upto=end)
    standing = evidence.fleet_standing(session, lock_digest, end)
    signals = service.signals(session, lock_digest=lock_digest, limit=1000)
    edges = fleet_repository.edges(session, lock_digest=lock_digest)
    windows = arrived_windows(session, lock_digest, upto=now.date() + timedelta(1))
    history = history_of(fleet.layout_of(session, lock_digest), windows)
    device = fleet.device_version(session, lock_digest)
    manifest = fleet.manifest_of(fleet.get_device_version(session, lock_digest))
    days = Days(start.toordinal(), end.toordinal())
    return DriftReport(
        number=number,
        device=device,
        start=start,
        end=end,
        issued_at=now,
        issued_by=by,
        reference=references.view(session, reference) if reference else None,
        plan_digest=evaluated.plan_digest if evaluated else "",
        evaluated_upto=evaluated.upto if evaluated else None,
        result_digest=evaluated.result_digest if evaluated else "",
        standing=standing,
        signals=tuple(
            ReportedSignal(signal=s, evidence=evidence.signal_evidence(session, s.id))
            for s in signals
            if start <= s.signal.date < end
        ),
        series={
            s.site_id: evidence.site_series(session, lock_digest, s.site_id, end)
            for s in standing.sites
        },
        balances=tuple(intake.balance(session, edge) for edge in edges),
        audit_head=audit.head(session),
        status="draft",
        drafted_by=by,
        drafted_at=now,
        totals=tuple(_totals(history, signals, p) for p in compared_periods(start, end)),
        releases=releases.effective_between(session, lock_digest, start, end),
        stages={s.site_id: watch.stages(session, lock_digest, s.site_id) for s in standing.sites},
        performance=performance(
            Pool.of(history.schema, windows),
            days,
            manifest=manifest,
            threshold=device.threshold,
            uses=in_force(session, manifest, days),
            sites=[s.site_id for s in standing.sites],
            signals=signals,
        ),
    )


def compared_periods(start: date, end: date) -> tuple[Period, Period, Period]:
    """The period itself, one of the same length before it, and the same days a year before."""
    return (start, end), (start - (end - start), start), (_year_before(start), _year_before(end))


def _year_before(day: date) -> date:
    is_leap_day = (day.month, day.day) == (2, 29)
    return day.replace(year=day.year - 1, day=28 if is_leap_day else day.day)


def _totals(history: History, signals: tuple[SignalView, ...], period: Period) -> PeriodTotals:
    start, end = period
    cases = history.cases
    inside = (cases.start >= start.toordinal()) & (cases.end <= end.toordinal())
    tally = tallies(history.schema, cases.rows[inside])
    return PeriodTotals(
        start=start,
        end=end,
        sites=len({history.strata[i].site for i in np.unique(cases.stratum[inside])}),
        analysed=int(tally["analysed"].sum()),
        flagged=max(int(tally["flagged"].sum()), 0),  # an edge's noise may leave it below
        signals=sum(start <= s.signal.date < end for s in signals),
    )


def against_reference(
    session: Session, lock_digest: str, start: date, end: date, now: datetime
) -> tuple[Comparison, ...]:
    """Counts of the reference period and of [start, end); empty without a reference."""
    reference = references_repository.in_force(session, lock_digest)
    if reference is None:
        return ()
    history = assemble_history(session, lock_digest, upto=now.date() + timedelta(1)).history
    cases = history.cases
    before = cases.end <= reference.until.toordinal() + 1
    after = (cases.start >= start.toordinal()) & (cases.end <= end.toordinal()) & ~before
    return evidence.comparisons(history, before, after)


def written(report: DriftReport) -> bytes:
    """The report as canonical JSON: its evidence."""
    return canonical(plain(report))


def read(content: bytes) -> DriftReport:
    """A report from its stored evidence."""
    report: DriftReport = _DRIFT_REPORT.validate_json(content)
    return report


def content_digest(report: DriftReport) -> str:
    """SHA-256 of what people sign: the draft with its remarks, without status and signatures."""
    signed = replace(
        report,
        status="draft",
        signatures=(),
        issued_at=report.drafted_at or report.issued_at,
        issued_by=report.drafted_by,
        audit_checkpoint="",
    )
    return sha256(written(signed))
