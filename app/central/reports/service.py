"""Read reports back: lists, one report with its signatures, and rebuild and compare."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

import zstandard
from sqlalchemy.orm import Session

from app.central.errors import NotFound
from app.central.fleet import service as fleet
from app.central.reports import repository
from app.central.reports.assembling import content_digest, read
from app.central.reports.drafting import current_content, signatures
from app.central.reports.models import Report, ReportSchedule, ReportState
from app.central.reports.ports import DriftReport, ReportRenderer, SignatureView
from app.contracts.signing import sha256

WAITING = (ReportState.DRAFT, ReportState.REVIEWED)
DRAFTED = (*WAITING, ReportState.ISSUED, ReportState.SUPERSEDED, ReportState.WITHDRAWN)
FINAL = (ReportState.ISSUED, ReportState.SUPERSEDED)


@dataclass(frozen=True, slots=True)
class ReportView:
    """A report in a list."""

    number: str
    lock_digest: str
    device: str
    version: str
    start: date
    end: date
    state: ReportState
    progress: str
    requested_by: str
    requested_at: datetime
    schedule_id: str | None
    supersedes: str | None
    input_digest: str
    pdf_digest: str
    issued_by: str | None
    issued_at: datetime | None


@dataclass(frozen=True, slots=True)
class ReportDetail:
    """A report with what people wrote and signed. `content_digest` is "" before it is drafted."""

    report: ReportView
    content: DriftReport | None
    content_digest: str
    signatures: tuple[SignatureView, ...]
    supersedes_reason: str
    superseded_by: str | None
    has_evidently: bool


def reports(session: Session) -> tuple[ReportView, ...]:
    """Reports, newest first."""
    return tuple(_view(session, report) for report in repository.reports(session))


def waiting(session: Session) -> int:
    """How many wait for a signature."""
    return repository.count_in(session, WAITING)


def detail(session: Session, number: str) -> ReportDetail:
    """One report with its remarks and signatures, or `NotFound`."""
    found = _found(session, number)
    content = None
    if found.state in WAITING:
        content = current_content(session, found)
    elif found.state in DRAFTED:
        content = read(found.evidence)
    return ReportDetail(
        _view(session, found),
        content,
        content_digest(content) if content else "",
        signatures(session, number),
        found.supersedes_reason,
        repository.successor(session, number),
        found.evidently is not None,
    )


def issued(session: Session, number: str) -> Report:
    """A report whose document has been written, with its bytes, or `NotFound`."""
    found = _found(session, number)
    if found.state not in DRAFTED:
        raise NotFound(f"{found.number} has not been drafted yet")
    return found


def evidently(session: Session, number: str) -> bytes:
    """Evidently's report that was kept beside ours, or `NotFound`."""
    found = _found(session, number)
    if found.evidently is None:
        raise NotFound(f"no report by Evidently is kept with {found.number}")
    return zstandard.ZstdDecompressor().decompress(found.evidently)


def schedules(session: Session) -> tuple[ReportSchedule, ...]:
    """Schedules that run."""
    return tuple(repository.schedules(session))


def _found(session: Session, number: str) -> Report:
    found = repository.find_report(session, number)
    if found is None:
        raise NotFound(f"no report {number[:32]}")
    return found


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


def rebuild(session: Session, number: str, *, renderer: ReportRenderer) -> Rebuilt:
    """Make the report again from nothing but its stored evidence, and compare."""
    stored = issued(session, number)
    again = renderer.drift_report(read(stored.evidence), stored.evidence, stored.input_digest)
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
        report.state,
        report.progress,
        report.requested_by,
        report.requested_at,
        report.schedule_id,
        report.supersedes,
        report.input_digest,
        report.pdf_digest,
        report.issued_by,
        report.issued_at,
    )
