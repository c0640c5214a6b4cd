"""Planned events: register one, and decide as a second person whether it opens a new stage."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy.orm import Session

from app.central.accounts.service import Signer
from app.central.audit import service as audit
from app.central.errors import NotAllowed, NotFound, Unusable
from app.central.events import repository
from app.central.events.models import EventDecision, EventKind, EventVerdict, PlannedEvent
from app.central.fleet import repository as fleet_repository
from app.central.fleet import service as fleet
from app.central.numbering import next_number
from app.central.texts import LONGEST_REASON, check_text
from app.contracts.signing import SigningKey, canonical, sha256
from monitors.observations import Event, OpenedStage

DOMAIN = "lockwatch/event-decision/v1"
MEANING = {
    EventVerdict.NEW_STAGE: "approval: the event opens a new stage",
    EventVerdict.ANNOTATION_ONLY: "review: the event opens no new stage",
}
LONGEST_DESCRIPTION = 500
LONGEST_EVENT = 366  # days; what goes on for longer is no event
IDENTIFIER = re.compile(r"\d{6,}|\d+(?:\.\d+){4,}|\^|@")  # long numbers, UIDs, DICOM names, mail


@dataclass(frozen=True, slots=True)
class DecisionView:
    """What the quality role decided of an event, with all that 21 CFR 11.50 wants shown."""

    verdict: EventVerdict
    reason: str
    decided_by: str
    printed_name: str
    meaning: str
    decided_at: datetime
    artefact_digest: str
    signature: str


@dataclass(frozen=True, slots=True)
class EventView:
    """A planned event. `digest` names what is on the screen; `scanner` "" is every one there."""

    id: str
    lock_digest: str
    site_id: str
    scanner: str
    kind: EventKind
    first_day: date
    last_day: date
    description: str
    registered_by: str
    registered_at: datetime
    digest: str
    decision: DecisionView | None

    @property
    def opens_stage(self) -> bool:
        """Whether charts of its scanner begin a new stage on the day after it."""
        return self.decision is not None and self.decision.verdict is EventVerdict.NEW_STAGE


def register(
    session: Session,
    lock_digest: str,
    site_id: str,
    *,
    scanner: str,
    kind: EventKind,
    first_day: date,
    last_day: date,
    description: str,
    by: str,
    scope: str | None = None,
    now: datetime,
) -> EventView:
    """Put an event on record; from then on it is drawn, and changes no limit."""
    fleet.get_device_version(session, lock_digest)
    if scope not in (None, site_id) or fleet_repository.find_site(session, site_id) is None:
        raise NotFound(f"no site {site_id[:32]}")
    if not 0 <= (last_day - first_day).days < LONGEST_EVENT:
        raise Unusable(f"last day: the first day or up to {LONGEST_EVENT - 1} days later expected")
    event = PlannedEvent(
        id=next_number(session, PlannedEvent.id, "E"),
        lock_digest=lock_digest,
        site_id=site_id,
        scanner=_scanner(scanner),
        kind=kind,
        first_day=first_day,
        last_day=last_day,
        description=_description(description),
        registered_by=by,
        registered_at=now,
    )
    session.add(event)
    session.flush()
    _record(session, event, "register", by, now)
    return _view(event, None)


def _scanner(text: str) -> str:
    if len(text) > 128 or not text.isprintable():
        raise Unusable("scanner: a pseudonym of at most 128 printable characters expected")
    return text.strip()


def _description(text: str) -> str:
    found = " ".join(text.split())
    if not 0 < len(found) <= LONGEST_DESCRIPTION or not found.isprintable():
        raise Unusable(f"description: 1 to {LONGEST_DESCRIPTION} printable characters expected")
    if IDENTIFIER.search(found):  # what was typed is not repeated: it may be a patient's
        raise Unusable("description: plain words expected, got what looks like an identifier")
    return found


def decide(
    session: Session,
    event_id: str,
    verdict: EventVerdict,
    *,
    reason: str,
    seen_digest: str,
    signer: Signer,
    key: SigningKey,
    scope: str | None = None,
) -> EventView:
    """Whether the event opens a new stage: once, after it, by another person than registered it."""
    event = repository.find(session, event_id, lock=True)
    if event is None or scope not in (None, event.site_id):
        raise NotFound(f"no event {event_id[:32]}")
    if get(session, event_id).decision is not None:
        raise NotAllowed(f"event {event.id} is decided already")
    if event.registered_by == signer.name:
        raise NotAllowed("an event is decided on by another person than registered it")
    if signer.at.date() <= event.last_day:
        raise NotAllowed(f"event {event.id} is decided on after its last day, {event.last_day}")
    if seen_digest != digest_of(event):
        raise NotAllowed("that is not the event that was shown: look at it again")
    check_text("reason", reason, LONGEST_REASON)
    made = _signed(event, verdict, reason, signer, key)
    session.add(made)
    session.flush()
    _record(session, event, verdict.value, signer.name, signer.at, reason)
    return _view(event, made)


def _signed(
    event: PlannedEvent, verdict: EventVerdict, reason: str, signer: Signer, key: SigningKey
) -> EventDecision:
    content = {
        "event_id": event.id,
        "verdict": verdict.value,
        "reason": reason,
        "decided_by": signer.name,
        "printed_name": signer.full_name,
        "meaning": MEANING[verdict],
        "decided_at": signer.at.isoformat(),
        "artefact_digest": digest_of(event),
    }
    signature = key.sign(DOMAIN, canonical(content)).hex()
    return EventDecision(
        **content | {"verdict": verdict, "decided_at": signer.at}, signature=signature
    )


def digest_of(event: PlannedEvent) -> str:
    """SHA-256 of the event as registered: what a signature is bound to."""
    return sha256(
        canonical(
            {
                "id": event.id,
                "lock_digest": event.lock_digest,
                "site_id": event.site_id,
                "scanner": event.scanner,
                "kind": event.kind.value,
                "first_day": event.first_day.isoformat(),
                "last_day": event.last_day.isoformat(),
                "description": event.description,
                "registered_by": event.registered_by,
                "registered_at": event.registered_at.isoformat(),
            }
        )
    )


def get(session: Session, event_id: str, *, scope: str | None = None) -> EventView:
    """One event, or `NotFound`."""
    found = repository.with_decisions(session, event_id=event_id)
    if not found or scope not in (None, found[0][0].site_id):
        raise NotFound(f"no event {event_id[:32]}")
    return _view(*found[0])


def events(
    session: Session, *, lock_digest: str | None = None, site_id: str | None = None
) -> tuple[EventView, ...]:
    """Planned events, newest first."""
    found = repository.with_decisions(session, lock_digest=lock_digest, site_id=site_id)
    return tuple(_view(*one) for one in found)


def for_engine(
    session: Session, lock_digest: str, *, by: datetime, first_seen: Callable[[datetime], int]
) -> tuple[tuple[Event, ...], tuple[OpenedStage, ...]]:
    """What was registered, and which stages were opened, before `by`, as the engine takes it.

    `first_seen` is the ordinal of the first evaluation day that knows what was said at an instant.
    """
    known = [e for e in events(session, lock_digest=lock_digest) if e.registered_at < by]
    planned = tuple(
        Event(
            e.first_day.toordinal(),
            "planned",
            e.site_id,
            e.scanner,
            e.id,
            last=e.last_day.toordinal(),
            known=first_seen(e.registered_at),
        )
        for e in sorted(known, key=lambda e: e.id)
    )
    stages = tuple(
        OpenedStage(
            e.id,
            e.last_day.toordinal() + 1,
            e.site_id,
            e.scanner,
            known=first_seen(e.decision.decided_at),
        )
        for e in sorted(known, key=lambda e: e.id)
        if e.decision is not None and e.opens_stage and e.decision.decided_at < by
    )
    return planned, stages


def _view(event: PlannedEvent, decision: EventDecision | None) -> EventView:
    return EventView(
        event.id,
        event.lock_digest,
        event.site_id,
        event.scanner,
        event.kind,
        event.first_day,
        event.last_day,
        event.description,
        event.registered_by,
        event.registered_at,
        digest_of(event),
        None if decision is None else _decision_view(decision),
    )


def _decision_view(d: EventDecision) -> DecisionView:
    return DecisionView(
        d.verdict,
        d.reason,
        d.decided_by,
        d.printed_name,
        d.meaning,
        d.decided_at,
        d.artefact_digest,
        d.signature,
    )


def _record(
    session: Session, event: PlannedEvent, verb: str, by: str, at: datetime, reason: str = ""
) -> None:
    audit.record(
        session,
        actor=by,
        action=f"events:event:{verb}",
        subject=event.id,
        at=at,
        reason=reason,
        detail={
            "digest": digest_of(event),
            "site": event.site_id,
            "scanner": event.scanner,
            "days": [event.first_day.isoformat(), event.last_day.isoformat()],
        },
    )
