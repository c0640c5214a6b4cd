"""Planned events of a site: what is on record, and the forms to register and to decide."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import TypeVar

from fastapi import Request
from sqlalchemy.orm import Session

from app.central.accounts.permissions import GRANTS, Permission
from app.central.accounts.service import Person, Signer
from app.central.errors import Unusable
from app.central.events import service
from app.central.events.models import EventKind, EventVerdict
from app.central.events.service import EventView
from app.central.fleet.service import SiteView
from dashboards import filters, wording
from dashboards.pages.requests import signed
from dashboards.pages.views import Choice, EventRow, EventsView

Word = TypeVar("Word", EventKind, EventVerdict)


def events_view(
    site: SiteView,
    planned: Sequence[EventView],
    scanners: tuple[str, ...],
    person: Person,
    now: datetime,
    typed: dict[str, str] | None,
    errors: tuple[str, ...],
) -> EventsView:
    """What the scanners page shows of planned events; nobody is offered what would be refused."""
    active = {e.expected_lock: f"{e.device} {e.version}" for e in site.edges}
    granted = GRANTS[person.role]
    return EventsView(
        action=f"/sites/{site.id}/events",
        rows=tuple(_row(e, person, now) for e in planned),
        may_register=Permission.REGISTER in granted and bool(active),
        devices=tuple(Choice(lock, name) for lock, name in active.items()),
        scanners=scanners,
        kinds=tuple(Choice(k.value, wording.PLANNED[k.value]) for k in EventKind),
        typed={k: v for k, v in (typed or {}).items() if k != "password"},
        errors=errors,
    )


def _row(event: EventView, person: Person, now: datetime) -> EventRow:
    one_day = event.first_day == event.last_day
    waits = event.decision is None and now.date() > event.last_day
    may = Permission.APPROVE in GRANTS[person.role] and person.name != event.registered_by
    return EventRow(
        id=event.id,
        what=wording.PLANNED[event.kind.value],
        where=event.scanner or "every scanner",
        days=f"{event.first_day}" if one_day else f"{event.first_day} to {event.last_day}",
        description=event.description,
        registered=f"{event.registered_by}, {filters.instant(event.registered_at)}",
        decided=_decided(event),
        digest=event.digest,
        may_decide=waits and may,
    )


def _decided(event: EventView) -> str:
    if event.decision is None:
        return wording.EVENT_VERDICTS[""]
    d = event.decision
    when = filters.instant(d.decided_at)
    verdict = wording.EVENT_VERDICTS[d.verdict.value]
    return f"{verdict}: {d.reason} Signed by {d.printed_name}, {when}, meaning “{d.meaning}”."


def register_from(
    fields: dict[str, str], session: Session, site_id: str, person: Person, now: datetime
) -> EventView:
    """The form as an event, or a refusal that says what is missing."""
    first = _day(fields, "first_day", "first day")
    return service.register(
        session,
        fields.get("lock_digest", ""),
        site_id,
        scanner=fields.get("scanner", ""),
        kind=_word(EventKind, fields.get("kind", ""), "kind"),
        first_day=first,
        last_day=_day(fields, "last_day", "last day") if fields.get("last_day") else first,
        description=fields.get("description", ""),
        by=person.name,
        scope=person.site_id,
        now=now,
    )


def decide_from(
    fields: dict[str, str],
    request: Request,
    session: Session,
    event_id: str,
    person: Person,
    now: datetime,
) -> tuple[str, ...]:
    """Sign and store the decision of the form; what stood in the way, in words."""

    def run(signer: Signer) -> None:
        service.decide(
            session,
            event_id,
            _word(EventVerdict, fields.get("verdict", ""), "verdict"),
            reason=fields.get("reason", ""),
            seen_digest=fields.get("digest", ""),
            signer=signer,
            key=request.app.state.key,
            scope=person.site_id,
        )

    return signed(request, session, person, fields, now, run)


def _day(fields: dict[str, str], name: str, what: str) -> date:
    try:
        return date.fromisoformat(fields.get(name, ""))
    except ValueError:
        raise Unusable(f"{what}: a date expected") from None


def _word(kind: type[Word], text: str, what: str) -> Word:
    try:
        return kind(text)
    except ValueError:
        raise Unusable(f"{what}: one of {', '.join(kind)} expected") from None
