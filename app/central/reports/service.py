"""Issue drift reports: assemble stored evidence, freeze it, render it, keep what was issued."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from pydantic import TypeAdapter
from sqlalchemy.orm import Session

from app.central.audit import service as audit
from app.central.errors import NotFound, Unusable
from app.central.fleet import repository as fleet_repository
from app.central.fleet import service as fleet
from app.central.intake import service as intake
from app.central.numbering import next_number
from app.central.plain import plain
from app.central.references import repository as references_repository
from app.central.references import service as references
from app.central.reports import repository
from app.central.reports.models import Report
from app.central.reports.ports import DriftReport, ReportedSignal, ReportRenderer
from app.central.surveillance import evidence, service
from app.contracts.signing import canonical, sha256


@dataclass(frozen=True, slots=True)
class ReportView:
    """An issued report in a list."""

    number: str
    lock_digest: str
    device: str
    version: str
    start: date
    end: date
    input_digest: str
    pdf_digest: str
    issued_by: str
    issued_at: datetime


def issue(
    session: Session,
    lock_digest: str,
    start: date,
    end: date,
    *,
    renderer: ReportRenderer,
    by: str,
    now: datetime,
) -> ReportView:
    """Issue a report on [start, end) and keep its exact bytes."""
    if not start < end <= now.date():
        raise Unusable(f"period: start before end, end by {now.date()} expected")
    number = next_number(session, Report.number, "DR")
    report = assemble(session, lock_digest, start, end, number=number, by=by, now=now)
    content = canonical(plain(report))
    digest = sha256(content)
    rendered = renderer.drift_report(report, content, digest)
    stored = Report(
        number=number,
        lock_digest=lock_digest,
        start=start,
        end=end,
        evidence=content,
        input_digest=digest,
        html=rendered.html,
        pdf=rendered.pdf,
        pdf_digest=sha256(rendered.pdf),
        issued_by=by,
        issued_at=now,
    )
    session.add(stored)
    session.flush()
    audit.record(
        session,
        actor=by,
        action="reports:report:issue",
        subject=number,
        at=now,
        detail={"input": digest, "pdf": stored.pdf_digest},
    )
    return _view(session, stored)


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
    """What a report on [start, end) says, from stored evidence."""
    reference = references_repository.in_force(session, lock_digest)
    evaluated = service.last_evaluation(session, lock_digest, upto=end)
    standing = evidence.fleet_standing(session, lock_digest, end)
    raised = [
        s
        for s in service.signals(session, lock_digest=lock_digest, limit=1000)
        if start <= s.signal.date < end
    ]
    edges = fleet_repository.edges(session, lock_digest=lock_digest)
    return DriftReport(
        number=number,
        device=fleet.device_version(session, lock_digest),
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
            for s in raised
        ),
        series={
            s.site_id: evidence.site_series(session, lock_digest, s.site_id, end)
            for s in standing.sites
        },
        balances=tuple(intake.balance(session, edge) for edge in edges),
        audit_head=audit.head(session),
    )


def reports(session: Session) -> tuple[ReportView, ...]:
    """Issued reports, newest first."""
    return tuple(_view(session, report) for report in repository.reports(session))


def issued(session: Session, number: str) -> Report:
    """An issued report with its bytes, or `NotFound`."""
    report = repository.find_report(session, number)
    if report is None:
        raise NotFound(f"no report {number[:32]}")
    return report


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A report made again from its stored evidence, beside what was issued."""

    number: str
    issued_digest: str
    pdf_digest: str
    evidence_holds: bool
    html_is_equal: bool

    @property
    def is_equal(self) -> bool:
        """Every byte is as issued, and the evidence is the one that the report names."""
        return self.evidence_holds and self.html_is_equal and self.issued_digest == self.pdf_digest


_DRIFT_REPORT = TypeAdapter(DriftReport)


def rebuild(session: Session, number: str, *, renderer: ReportRenderer) -> Rebuilt:
    """Make the report again from nothing but its stored evidence, and compare."""
    stored = issued(session, number)
    report = _DRIFT_REPORT.validate_json(stored.evidence)
    again = renderer.drift_report(report, stored.evidence, stored.input_digest)
    return Rebuilt(
        number=stored.number,
        issued_digest=sha256(stored.pdf),
        pdf_digest=sha256(again.pdf),
        evidence_holds=sha256(stored.evidence) == stored.input_digest,
        html_is_equal=again.html == stored.html,
    )


def _view(session: Session, report: Report) -> ReportView:
    version = fleet.get_device_version(session, report.lock_digest)
    return ReportView(
        report.number,
        report.lock_digest,
        version.device,
        version.version,
        report.start,
        report.end,
        report.input_digest,
        report.pdf_digest,
        report.issued_by,
        report.issued_at,
    )
