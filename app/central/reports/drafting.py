"""Ask for a report, and draft it: in the request, or later by a worker with its progress shown."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta

import structlog
import zstandard
from sqlalchemy.orm import Session, sessionmaker

from app.central.audit import service as audit
from app.central.database import see_one_moment
from app.central.errors import NotAllowed, NotFound, Unusable
from app.central.fleet import service as fleet
from app.central.jobs.service import FencedOut
from app.central.numbering import next_number
from app.central.reports import repository
from app.central.reports.assembling import against_reference, assemble, read, written
from app.central.reports.models import Meaning, Report, ReportState
from app.central.reports.ports import DriftReport, Remark, ReportRenderer, SignatureView
from app.contracts.signing import sha256

log = structlog.get_logger()
LEASE = timedelta(minutes=10)
WAITING = "has not begun yet"
GATHERING = "gathers the evidence"
DRAWING = "draws and writes the document"
COMPARING = "runs Evidently on the same windows"


def request(
    session: Session,
    lock_digest: str,
    start: date,
    end: date,
    *,
    by: str,
    now: datetime,
    schedule_id: str | None = None,
    supersedes: str | None = None,
    reason: str = "",
) -> Report:
    """Ask for a draft on [start, end). Whoever drafts it, `by` is its author."""
    if not start < end <= now.date():
        raise Unusable(f"period: start before end, end by {now.date()} expected")
    fleet.get_device_version(session, lock_digest)
    if schedule_id is not None and repository.find_schedule(session, schedule_id) is None:
        raise NotFound(f"no schedule {schedule_id[:32]}")
    _check_superseded(session, supersedes, lock_digest, reason)
    made = Report(
        number=next_number(session, Report.number, "DR"),
        lock_digest=lock_digest,
        start=start,
        end=end,
        state=ReportState.REQUESTED,
        progress=WAITING,
        requested_by=by,
        requested_at=now,
        schedule_id=schedule_id,
        supersedes=supersedes,
        supersedes_reason=reason,
        evidence=b"",
        input_digest="",
        html=b"",
        pdf=b"",
        pdf_digest="",
    )
    session.add(made)
    session.flush()
    detail = {"device_version": lock_digest, "supersedes": supersedes or ""}
    record(session, made, "request", by, now, detail, reason)
    return made


def _check_superseded(session: Session, number: str | None, lock_digest: str, reason: str) -> None:
    if number is None:
        return
    before = repository.find_report(session, number)
    if before is None or before.lock_digest != lock_digest:
        raise NotFound(f"no report {number[:32]} of this device version")
    if before.state is not ReportState.ISSUED:
        raise NotAllowed(f"only an issued report is superseded; {number} is {before.state.value}")
    if not reason.strip():
        raise Unusable("reason: why the report is superseded is expected")


def draft(session: Session, report: Report, *, renderer: ReportRenderer, now: datetime) -> None:
    """Freeze the evidence and write the document, in the caller's transaction."""
    _gather(session, report, now)
    render(report, read(report.evidence), renderer)
    _finish(session, report, now)


def _gather(session: Session, report: Report, now: datetime) -> None:
    found = assemble(
        session,
        report.lock_digest,
        report.start,
        report.end,
        number=report.number,
        by=report.requested_by,
        now=now,
    )
    before = report.supersedes or ""
    content = replace(found, supersedes=before, supersedes_reason=report.supersedes_reason)
    report.evidence = written(content)
    report.progress = DRAWING


def _finish(session: Session, report: Report, now: datetime) -> None:
    report.state, report.progress, report.lease_until = ReportState.DRAFT, "", None
    session.flush()
    detail = {"input": report.input_digest, "pdf": report.pdf_digest}
    record(session, report, "draft", report.requested_by, now, detail)


def again(session: Session, number: str, *, by: str, now: datetime) -> None:
    """Ask once more for a report whose drafting failed."""
    report = repository.find_report(session, number, lock=True)
    if report is None:
        raise NotFound(f"no report {number[:32]}")
    if report.state is not ReportState.FAILED:
        raise NotAllowed(f"{number} is {report.state.value}: only a failed one is drafted again")
    report.state, report.progress = ReportState.REQUESTED, WAITING
    record(session, report, "request", by, now, {"again": "yes"})


def render(report: Report, content: DriftReport, renderer: ReportRenderer) -> None:
    """Write the document of `content` and keep both."""
    report.evidence = written(content)
    report.input_digest = sha256(report.evidence)
    rendered = renderer.drift_report(content, report.evidence, report.input_digest)
    report.html, report.pdf = rendered.html, rendered.pdf
    report.pdf_digest = sha256(rendered.pdf)


def current_content(session: Session, report: Report) -> DriftReport:
    """The drafted content with every remark and signature made since."""
    return replace(
        read(report.evidence),
        remarks=tuple(
            Remark(
                section=r.section,
                text=r.text,
                printed_name=r.printed_name,
                written_at=r.written_at,
            )
            for r in repository.remarks(session, report.number)
        ),
        signatures=signatures(session, report.number),
    )


def signatures(session: Session, number: str) -> tuple[SignatureView, ...]:
    """Every signature on a report, in the order of signing."""
    order = list(Meaning)
    found = repository.signatures(session, number)
    return tuple(
        SignatureView(
            meaning=s.meaning.value,
            printed_name=s.printed_name,
            signed_by=s.signed_by,
            signed_at=s.signed_at,
            content_digest=s.content_digest,
            reason=s.reason,
        )
        for s in sorted(found, key=lambda s: (s.signed_at, order.index(s.meaning)))
    )


def draft_waiting(factory: sessionmaker[Session], renderer: ReportRenderer, now: datetime) -> int:
    """Draft everything that waits, one after the other; returns how many were drafted."""
    done = 0
    while (number := _claim(factory)) is not None:
        done += _attempt(factory, number, renderer, now)
    return done


def _claim(factory: sessionmaker[Session]) -> str | None:
    with factory.begin() as session:
        found = repository.claim(session, LEASE)
        if found is None:
            return None
        found.progress = GATHERING
        return found.number


def _attempt(
    factory: sessionmaker[Session], number: str, renderer: ReportRenderer, now: datetime
) -> bool:
    """Each step in a transaction of its own, so that its progress is seen from outside."""
    try:
        with factory.begin() as session:
            see_one_moment(session)  # windows go on arriving while the evidence is gathered
            _gather(session, _waiting(session, number), now)
        with factory.begin() as session:
            report = _waiting(session, number)
            render(report, read(report.evidence), renderer)
            report.progress = COMPARING
        with factory.begin() as session:
            report = _waiting(session, number)
            _add_evidently(session, report, renderer, now)
            _finish(session, report, now)
    except FencedOut:
        log.warning("report.fenced_out", number=number)
        return False
    except Exception as error:
        log.error("report.failed", number=number, kind=type(error).__name__, exc_info=error)
        with factory.begin() as session:
            _fail(_waiting(session, number), error)
        return False
    return True


def _waiting(session: Session, number: str) -> Report:
    report = repository.find_report(session, number, lock=True)
    if report is None or report.state is not ReportState.REQUESTED:
        raise FencedOut(number)
    return report


def _add_evidently(
    session: Session, report: Report, renderer: ReportRenderer, now: datetime
) -> None:
    schedule = repository.find_schedule(session, report.schedule_id or "")
    if schedule is None or not schedule.with_evidently:
        return
    compared = against_reference(session, report.lock_digest, report.start, report.end, now)
    if any(sum(c.reference) and sum(c.current) for c in compared):
        html = renderer.evidently_report(compared)
        report.evidently = zstandard.ZstdCompressor(level=6).compress(html)


def _fail(report: Report, error: Exception) -> None:
    report.state, report.lease_until = ReportState.FAILED, None
    report.progress = f"drafting failed: {type(error).__name__}"


def record(
    session: Session,
    report: Report,
    verb: str,
    by: str,
    now: datetime,
    detail: dict[str, str],
    reason: str = "",
) -> None:
    """What was done to a report, in the audit trail."""
    audit.record(
        session,
        actor=by,
        action=f"reports:report:{verb}",
        subject=report.number,
        at=now,
        reason=reason,
        detail=detail,
    )
