"""Queries on reports and their schedules."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import date, timedelta

from sqlalchemy import func, or_, select, update
from sqlalchemy.orm import Session, defer

from app.central.reports.models import (
    Report,
    ReportRemark,
    ReportSchedule,
    ReportSignature,
    ReportState,
)

DATABASE_NOW = func.clock_timestamp()
_HEAVY = (
    defer(Report.html),
    defer(Report.pdf),
    defer(Report.evidence),
    defer(Report.evidently),
)


def find_report(session: Session, number: str, *, lock: bool = False) -> Report | None:
    """The report of that number."""
    return session.get(Report, number, with_for_update=lock)


def reports(session: Session, *, limit: int = 200) -> Sequence[Report]:
    """Reports, newest first, without their bytes."""
    query = select(Report).order_by(Report.requested_at.desc(), Report.number.desc())
    return session.scalars(query.limit(limit).options(*_HEAVY)).all()


def count_in(session: Session, states: Collection[ReportState]) -> int:
    """How many reports are in one of these states."""
    query = select(func.count()).select_from(Report).where(Report.state.in_(states))
    return session.scalar(query) or 0


def claim(session: Session, lease: timedelta) -> Report | None:
    """The report that has waited longest to be drafted, ours until the lease ends."""
    is_free = or_(Report.lease_until.is_(None), Report.lease_until < DATABASE_NOW)
    oldest = (
        select(Report.number)
        .where(Report.state == ReportState.REQUESTED, is_free)
        .order_by(Report.requested_at, Report.number)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    return session.scalars(
        update(Report)
        .where(Report.number == oldest.scalar_subquery())
        .values(lease_until=DATABASE_NOW + lease)
        .returning(Report),
        execution_options={"populate_existing": True},
    ).one_or_none()


def say(session: Session, number: str, progress: str) -> None:
    """How far drafting has come."""
    session.execute(update(Report).where(Report.number == number).values(progress=progress))


def successor(session: Session, number: str) -> str | None:
    """The issued report that took the place of this one."""
    states = (ReportState.ISSUED, ReportState.SUPERSEDED)
    query = select(Report.number).where(Report.supersedes == number, Report.state.in_(states))
    return session.scalar(query)


def of_schedule(session: Session, schedule_id: str, lock_digest: str, start: date) -> bool:
    """Whether the schedule has asked for this period already."""
    query = select(Report.number).where(
        Report.schedule_id == schedule_id,
        Report.lock_digest == lock_digest,
        Report.start == start,
        Report.requested_by == schedule_id,
    )
    return session.scalar(query) is not None


def remarks(session: Session, number: str) -> Sequence[ReportRemark]:
    """Remarks on a report in the order of writing."""
    query = select(ReportRemark).where(ReportRemark.number == number)
    return session.scalars(query.order_by(ReportRemark.written_at, ReportRemark.id)).all()


def signatures(session: Session, number: str) -> Sequence[ReportSignature]:
    """Signatures on a report in the order of signing."""
    query = select(ReportSignature).where(ReportSignature.number == number)
    return session.scalars(query.order_by(ReportSignature.signed_at, ReportSignature.id)).all()


def find_schedule(session: Session, schedule_id: str) -> ReportSchedule | None:
    """The schedule of that number."""
    return session.get(ReportSchedule, schedule_id)


def schedules(session: Session, *, only_running: bool = True) -> Sequence[ReportSchedule]:
    """Schedules by number."""
    query = select(ReportSchedule).order_by(ReportSchedule.id)
    if only_running:
        query = query.where(ReportSchedule.ended_at.is_(None))
    return session.scalars(query).all()
