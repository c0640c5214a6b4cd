"""From the draft to the issued report: remarks, review, approval, withdrawal.

Three people at least: the author, whoever reviews, and whoever approves the review. All sign the
same content digest. Approval writes the signatures into the document, issues it, puts the one it
supersedes aside, and tells the group of its schedule.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy.orm import Session

from app.central.accounts.service import Person, Signer
from app.central.alerts import service as alerts
from app.central.alerts.ports import Delivery, Renderer
from app.central.audit import service as audit
from app.central.errors import NotAllowed, NotFound, Unusable
from app.central.renderers import Renderers
from app.central.reports import repository
from app.central.reports.assembling import content_digest
from app.central.reports.drafting import current_content, record, render
from app.central.reports.models import (
    Meaning,
    Report,
    ReportRemark,
    ReportSignature,
    ReportState,
)
from app.central.reports.ports import DriftReport, ReportRenderer
from app.central.settings import CentralSettings
from app.contracts.signing import SigningKey, canonical

REPORT_DOMAIN = "lockwatch/report/v1"
LONGEST_REMARK = 4000
LEAST_REASON = 20
ALLOWED = {
    Meaning.REVIEW: (ReportState.DRAFT,),
    Meaning.APPROVAL: (ReportState.REVIEWED,),
    Meaning.WITHDRAWAL: (ReportState.DRAFT, ReportState.REVIEWED),
}
THEN = {
    Meaning.REVIEW: ReportState.REVIEWED,
    Meaning.APPROVAL: ReportState.ISSUED,
    Meaning.WITHDRAWAL: ReportState.WITHDRAWN,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Press:
    """What issuing needs: who writes the document and the mail, from whom, where links lead."""

    report: ReportRenderer
    mail: Renderer
    mail_from: str
    base_url: str

    @classmethod
    def of(cls, renderers: Renderers | None, settings: CentralSettings) -> Press:
        """That of a running service; refused where it was started without renderers."""
        if renderers is None:
            raise NotAllowed("this service was started without a report renderer")
        return cls(
            report=renderers.report,
            mail=renderers.mail,
            mail_from=settings.mail_from,
            base_url=settings.base_url,
        )


def remark(
    session: Session,
    number: str,
    section: str,
    text: str,
    *,
    by: Person,
    press: Press,
    now: datetime,
) -> None:
    """Write to a section of a draft; it is printed there, with the name."""
    report = _open(session, number, (ReportState.DRAFT,), "remarked on")
    if not 0 < len(text.strip()) <= LONGEST_REMARK:
        raise Unusable(f"remark: 1 to {LONGEST_REMARK} characters expected")
    session.add(
        ReportRemark(
            id=str(uuid.uuid4()),
            number=number,
            section=section,
            text=text.strip(),
            written_by=by.name,
            printed_name=by.full_name,
            written_at=now,
        )
    )
    session.flush()
    render(report, current_content(session, report), press.report)
    record(session, report, "remark", by.name, now, {"section": section})


def sign(
    session: Session,
    number: str,
    meaning: Meaning,
    *,
    seen_digest: str,
    signer: Signer,
    key: SigningKey,
    press: Press,
    reason: str = "",
) -> Report:
    """Sign what was on the screen; refused where it has changed, or by the wrong person."""
    report = _open(session, number, ALLOWED[meaning], f"signed for {meaning.value}")
    content = current_content(session, report)
    digest = content_digest(content)
    if digest != seen_digest:
        raise NotAllowed("the report has changed since it was shown: look at it again")
    _check_person(session, report, meaning, signer)
    if meaning is Meaning.WITHDRAWAL and len(reason.strip()) < LEAST_REASON:
        raise Unusable(f"reason: at least {LEAST_REASON} characters expected")
    session.add(_signature(number, meaning, digest, signer, key, reason.strip()))
    report.state = THEN[meaning]
    session.flush()
    record(
        session, report, meaning.value, signer.name, signer.at, {"content": digest}, reason.strip()
    )
    _write(session, report, current_content(session, report), signer, press, key)
    return report


def _open(session: Session, number: str, states: tuple[ReportState, ...], what: str) -> Report:
    report = repository.find_report(session, number, lock=True)
    if report is None:
        raise NotFound(f"no report {number[:32]}")
    if report.state not in states:
        wanted = " or ".join(s.value for s in states)
        raise NotAllowed(f"{number} is {report.state.value}: only a {wanted} report is {what}")
    return report


def _check_person(session: Session, report: Report, meaning: Meaning, signer: Signer) -> None:
    """The author neither reviews nor approves; whoever reviewed does not approve."""
    if meaning is not Meaning.WITHDRAWAL and signer.name == report.requested_by:
        raise NotAllowed("a report is reviewed and approved by another person than its author")
    reviewers = {
        s.signed_by
        for s in repository.signatures(session, report.number)
        if s.meaning is Meaning.REVIEW
    }
    if meaning is Meaning.APPROVAL and signer.name in reviewers:
        raise NotAllowed("a report is approved by another person than reviewed it")


def _signature(
    number: str, meaning: Meaning, digest: str, signer: Signer, key: SigningKey, reason: str
) -> ReportSignature:
    content = canonical(
        {
            "report": number,
            "meaning": meaning.value,
            "reason": reason,
            "content_digest": digest,
            "signed_by": signer.name,
            "printed_name": signer.full_name,
            "signed_at": signer.at.isoformat(),
        }
    )
    return ReportSignature(
        id=str(uuid.uuid4()),
        number=number,
        meaning=meaning,
        reason=reason,
        content_digest=digest,
        signed_by=signer.name,
        printed_name=signer.full_name,
        signed_at=signer.at,
        signature=key.sign(REPORT_DOMAIN, content).hex(),
    )


def _write(
    session: Session,
    report: Report,
    content: DriftReport,
    signer: Signer,
    press: Press,
    key: SigningKey,
) -> None:
    """The document with the signature in it; an approval makes it the issued one."""
    is_issued = report.state is ReportState.ISSUED
    content = replace(content, status=report.state.value)
    if is_issued:
        content = replace(
            content,
            issued_at=signer.at,
            issued_by=signer.name,
            audit_checkpoint=audit.checkpoint(session, key, signer.at),
        )
        report.issued_at, report.issued_by = signer.at, signer.name
    render(report, content, press.report)
    if is_issued:
        detail = {"input": report.input_digest, "pdf": report.pdf_digest}
        record(session, report, "issue", signer.name, signer.at, detail)
        _supersede(session, report, signer)
        _deliver(session, report, content, press, signer.at)


def _supersede(session: Session, report: Report, signer: Signer) -> None:
    if report.supersedes is None:
        return
    before = _open(session, report.supersedes, (ReportState.ISSUED,), "superseded")
    before.state = ReportState.SUPERSEDED
    detail = {"by": report.number}
    reason = report.supersedes_reason
    record(session, before, "supersede", signer.name, signer.at, detail, reason)


def _deliver(
    session: Session, report: Report, content: DriftReport, press: Press, now: datetime
) -> None:
    schedule = repository.find_schedule(session, report.schedule_id or "")
    if schedule is None:
        return
    delivery = Delivery(
        number=report.number,
        device=f"{content.device.device} {content.device.version}",
        start=report.start,
        end=report.end,
        signals=len(content.signals),
        group=schedule.recipients,
        frequency=schedule.frequency.value,
        supersedes=content.supersedes,
        pdf_digest=report.pdf_digest,
        base_url=press.base_url,
    )
    mail = press.mail.report_mail(delivery)
    for address in schedule.addresses:
        alerts.enqueue(session, f"report:{report.number}", address, mail, press.mail_from, now)
