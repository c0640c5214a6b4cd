"""What the pages of reports receive."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

from sqlalchemy.orm import Session

from app.central.accounts.permissions import GRANTS, Permission
from app.central.accounts.service import Person
from app.central.fleet import service as fleet
from app.central.reports import service
from app.central.reports.models import Frequency, Meaning, ReportSchedule, ReportState
from app.central.reports.ports import Remark, SignatureView
from app.central.reports.service import FINAL, WAITING, ReportDetail, ReportView
from dashboards import filters, wording
from dashboards.pages.views import Choice, Fact, Grid, Link
from dashboards.reports.content import SECTIONS


@dataclass(frozen=True, slots=True)
class ReportsView:
    """Every report, the schedules, and the forms that ask for either."""

    title: str
    sentences: tuple[str, ...]
    grid: Grid
    schedules: Grid
    running: tuple[str, ...]
    devices: tuple[Choice, ...]
    device_names: tuple[str, ...]
    frequencies: tuple[str, ...]
    groups: tuple[Choice, ...]
    others: tuple[Link, ...]
    start: str
    end: str
    may_draft: bool
    may_schedule: bool
    error: str = ""
    schedule_error: str = ""


@dataclass(frozen=True, slots=True)
class ReportPage:
    """One report: how it stands, what was written and signed, and what the person may add."""

    title: str
    number: str
    state: str
    sentence: str
    is_being_drafted: bool
    is_failed: bool
    facts: tuple[Fact, ...]
    files: tuple[Link, ...]
    remarks: tuple[Remark, ...]
    signatures: tuple[SignatureView, ...]
    sections: tuple[str, ...]
    digest: str
    meanings: tuple[Choice, ...]
    may_remark: bool
    may_draft: bool
    may_rebuild: bool
    supersedable: Choice | None
    start: str
    end: str
    typed: dict[str, str]
    errors: tuple[str, ...] = ()
    notice: str = ""


def list_view(session: Session, person: Person, today: date, days: int) -> ReportsView:
    """The list with its forms."""
    found, last = service.reports(session), today - timedelta(1)
    running = service.schedules(session)
    versions = fleet.device_versions(session)
    granted = GRANTS[person.role]
    return ReportsView(
        title="Reports",
        sentences=(_standing(found),),
        grid=Grid(
            "Drift reports",
            ("Number", "Device", "Period", "State", "Asked for", "Issued", "PDF digest"),
            tuple(_row(r) for r in found),
            links=tuple(f"/reports/{r.number}" for r in found),
            empty=wording.NO_REPORT,
        ),
        schedules=Grid(
            "Schedules",
            ("Schedule", "Device", "How often", "Group", "Mail addresses", "Evidently"),
            tuple(_schedule_row(s) for s in running),
            empty=wording.NO_SCHEDULE,
        ),
        running=tuple(s.id for s in running),
        devices=tuple(Choice(v.lock_digest, f"{v.device} {v.version}") for v in versions),
        device_names=tuple(sorted({v.device for v in versions})),
        frequencies=tuple(Frequency),
        groups=tuple(
            Choice(s.id, f"{s.recipients} ({s.device}, {s.frequency.value})") for s in running
        ),
        others=tuple(
            Link(f"{v.device} {v.version}", f"/devices/{v.lock_digest}/evidently") for v in versions
        ),
        start=(last - timedelta(days - 1)).isoformat(),
        end=last.isoformat(),
        may_draft=Permission.ASSESS in granted,
        may_schedule=Permission.ADMINISTER in granted,
    )


def _standing(found: tuple[ReportView, ...]) -> str:
    """Counts that add up to the list."""
    counts = [
        (wording.count(sum(r.state in states for r in found), "report"), words)
        for words, states in (
            ("being drafted", (ReportState.REQUESTED,)),
            ("failed", (ReportState.FAILED,)),
            ("waiting for a signature", WAITING),
            ("issued", FINAL),
            ("withdrawn", (ReportState.WITHDRAWN,)),
        )
        if any(r.state in states for r in found)
    ]
    parts = [f"{n} {words}" for n, words in counts]
    return f"{wording.sentence_case(wording.listed(parts))}." if parts else wording.NO_REPORT


def _row(r: ReportView) -> tuple[str, ...]:
    issued = f"{filters.instant(r.issued_at)} by {r.issued_by}" if r.issued_at else "–"
    return (
        r.number,
        f"{r.device} {r.version}",
        f"{r.start} to {r.end - timedelta(1)}",
        wording.REPORT_STATES[r.state.value],
        f"{filters.instant(r.requested_at)} by {r.requested_by}",
        issued,
        filters.short(r.pdf_digest) or "–",
    )


def _schedule_row(s: ReportSchedule) -> tuple[str, ...]:
    beside = "yes" if s.with_evidently else "no"
    return s.id, s.device, s.frequency.value, s.recipients, ", ".join(s.addresses), beside


def report_page(
    found: ReportDetail,
    person: Person,
    errors: tuple[str, ...],
    typed: dict[str, str],
    notice: str,
) -> ReportPage:
    """One report; a form that the person may not use is absent."""
    r, content = found.report, found.content
    assesses = Permission.ASSESS in GRANTS[person.role]
    name = f"{r.device} {r.version}"
    return ReportPage(
        title=f"{r.number} {name}, {r.start} to {r.end - timedelta(1)}",
        number=r.number,
        state=wording.REPORT_STATES[r.state.value],
        sentence=_sentence(found),
        is_being_drafted=r.state is ReportState.REQUESTED,
        is_failed=r.state is ReportState.FAILED,
        facts=_facts(found),
        files=_files(found),
        remarks=content.remarks if content else (),
        signatures=found.signatures,
        sections=SECTIONS,
        digest=found.content_digest,
        meanings=tuple(
            Choice(m.value, wording.REPORT_MEANINGS[m.value]) for m in _meanings(found, person)
        ),
        may_remark=assesses and r.state is ReportState.DRAFT,
        may_draft=assesses,
        may_rebuild=assesses and content is not None,
        supersedable=Choice(r.lock_digest, name) if r.state is ReportState.ISSUED else None,
        start=r.start.isoformat(),
        end=(r.end - timedelta(1)).isoformat(),
        typed={k: v for k, v in typed.items() if k != "password"},
        errors=errors,
        notice=notice,
    )


def _sentence(found: ReportDetail) -> str:
    r = found.report
    if r.state is ReportState.REQUESTED:
        return wording.BEING_DRAFTED.format(progress=r.progress)
    if r.state is ReportState.FAILED:
        return f"{wording.sentence_case(r.progress)}."
    if found.superseded_by is not None:
        return f"Superseded by {found.superseded_by}; kept as it was issued."
    return f"{wording.sentence_case(wording.REPORT_STATES[r.state.value])}."


def _facts(found: ReportDetail) -> tuple[Fact, ...]:
    r = found.report
    facts = [
        Fact("Device version", f"{r.device} {r.version}", href=f"/devices/{r.lock_digest}"),
        Fact("Period", f"{r.start} to {r.end - timedelta(1)}"),
        Fact("Asked for", f"{filters.instant(r.requested_at)} by {r.requested_by}"),
    ]
    if r.issued_at is not None:
        facts.append(Fact("Issued", f"{filters.instant(r.issued_at)} by {r.issued_by}"))
    if r.supersedes:
        why = f"{r.supersedes}: {found.supersedes_reason}"
        facts.append(Fact("Supersedes", why, href=f"/reports/{r.supersedes}"))
    if found.superseded_by:
        href = f"/reports/{found.superseded_by}"
        facts.append(Fact("Superseded by", found.superseded_by, href=href))
    if found.content_digest:
        facts += [
            Fact("Content that is signed", f"sha256 {found.content_digest}", True),
            Fact("Evidence", f"sha256 {r.input_digest}", True),
            Fact("PDF", f"sha256 {r.pdf_digest}", True),
        ]
    return tuple(facts)


def _files(found: ReportDetail) -> tuple[Link, ...]:
    if found.content is None:
        return ()
    at = f"/reports/{found.report.number}"
    files = [
        Link("PDF", f"{at}.pdf"),
        Link("HTML", f"{at}.html"),
        Link("Evidence (JSON)", f"{at}.json"),
    ]
    if found.has_evidently:
        files.append(Link("Evidently's report, for comparison", f"{at}/evidently"))
    return tuple(files)


def _meanings(found: ReportDetail, person: Person) -> tuple[Meaning, ...]:
    """What this person may sign: the author reviews nothing, the reviewer approves nothing."""
    r, granted = found.report, GRANTS[person.role]
    if Permission.ASSESS not in granted or r.state not in WAITING:
        return ()
    reviewers = {s.signed_by for s in found.signatures if s.meaning == Meaning.REVIEW.value}
    if r.state is ReportState.DRAFT:
        mine = (Meaning.REVIEW,) if person.name != r.requested_by else ()
    else:
        may = Permission.APPROVE in granted and person.name not in reviewers
        mine = (Meaning.APPROVAL,) if may else ()
    return (*mine, Meaning.WITHDRAWAL)
