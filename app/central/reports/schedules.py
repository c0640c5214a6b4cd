"""Reports that come by themselves: daily, weekly, monthly or quarterly, per device and group.

A day is closed and sent up to two days after its end, so a period is due three days after its
last day, half an hour after the evaluation.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, time, timedelta

from sqlalchemy.orm import Session

from app.central.alerts.service import check_address
from app.central.audit import service as audit
from app.central.errors import NotAllowed, NotFound, Unusable
from app.central.fleet import repository as fleet_repository
from app.central.jobs.schedule import Daily
from app.central.numbering import next_number
from app.central.reports import drafting, repository
from app.central.reports.models import Frequency, ReportSchedule

DUE_AT = time(6, 30)
CLOSING_DAYS = 2
QUARTERS = frozenset({1, 4, 7, 10})
FIRST = frozenset({1 + CLOSING_DAYS})
DUE = {
    Frequency.DAILY: Daily(DUE_AT),
    Frequency.WEEKLY: Daily(DUE_AT, weekdays=frozenset({CLOSING_DAYS})),
    Frequency.MONTHLY: Daily(DUE_AT, month_days=FIRST),
    Frequency.QUARTERLY: Daily(DUE_AT, month_days=FIRST, months=QUARTERS),
}


def period_of(frequency: Frequency, due_at: datetime) -> tuple[date, date]:
    """The period [start, end) that is reported on at `due_at`."""
    end = due_at.date() - timedelta(CLOSING_DAYS)
    match frequency:
        case Frequency.DAILY:
            return end - timedelta(1), end
        case Frequency.WEEKLY:
            return end - timedelta(7), end
        case Frequency.MONTHLY:
            return _months_before(end, 1), end
    return _months_before(end, 3), end


def _months_before(first: date, months: int) -> date:
    """The first day of the month so many months before; `first` is the first of a month."""
    whole = first.year * 12 + first.month - 1 - months
    return date(whole // 12, whole % 12 + 1, 1)


def add(
    session: Session,
    device: str,
    frequency: Frequency,
    *,
    recipients: str,
    addresses: Sequence[str],
    with_evidently: bool,
    by: str,
    now: datetime,
) -> ReportSchedule:
    """Reports on every version of `device` in the field, from the next due time on."""
    if device not in {v.device for v in fleet_repository.device_versions(session)}:
        raise Unusable(f"device: one of those registered expected, got {device[:64]!r}")
    if not recipients.isprintable() or not 0 < len(recipients) <= 100:
        raise Unusable("recipients: a name of 1 to 100 printable characters expected")
    if not addresses:
        raise Unusable("addresses: at least one mail address expected")
    for address in addresses:
        check_address(address)
    made = ReportSchedule(
        id=next_number(session, ReportSchedule.id, "RS"),
        device=device,
        frequency=frequency,
        recipients=recipients,
        addresses=sorted(set(addresses)),
        with_evidently=with_evidently,
        added_by=by,
        added_at=now,
    )
    session.add(made)
    session.flush()
    detail = {"device": device, "frequency": frequency.value, "recipients": recipients}
    action = "reports:schedule:add"
    audit.record(session, actor=by, action=action, subject=made.id, at=now, detail=detail)
    return made


def end(session: Session, schedule_id: str, *, by: str, now: datetime) -> None:
    """It asks for nothing more; what it asked for stays."""
    found = repository.find_schedule(session, schedule_id)
    if found is None:
        raise NotFound(f"no schedule {schedule_id[:32]}")
    if found.ended_at is not None:
        raise NotAllowed(f"{found.id} has ended already")
    found.ended_by, found.ended_at = by, now
    audit.record(session, actor=by, action="reports:schedule:end", subject=found.id, at=now)


def ask(session: Session, schedule_id: str, due_at: datetime, now: datetime) -> int:
    """Ask for the report of every version in the field; returns how many were asked for."""
    schedule = repository.find_schedule(session, schedule_id)
    if schedule is None or schedule.ended_at is not None:
        return 0
    start, stop = period_of(schedule.frequency, due_at)
    asked = 0
    for version in fleet_repository.device_versions(session):
        digest = version.lock_digest
        in_field = bool(fleet_repository.edges(session, lock_digest=digest))
        known = repository.of_schedule(session, schedule_id, digest, start)
        if version.device == schedule.device and in_field and not known:
            drafting.request(
                session, digest, start, stop, by=schedule_id, now=now, schedule_id=schedule_id
            )
            asked += 1
    return asked
