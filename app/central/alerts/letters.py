"""Letters to a site about a signal of its own: written down, signed, mailed to its contacts."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.central.accounts.service import Person, Signer
from app.central.alerts import repository, webhook
from app.central.alerts.models import SiteLetter
from app.central.alerts.ports import RenderedMail
from app.central.alerts.service import enqueue
from app.central.audit import service as audit
from app.central.errors import Forbidden, NotAllowed, NotFound
from app.central.fleet import service as fleet
from app.central.numbering import next_number
from app.central.surveillance import service as surveillance
from app.central.surveillance.scoped import part_of
from app.central.surveillance.service import SignalView
from app.central.texts import check_text
from app.contracts.signals import Signal
from app.contracts.signing import SigningKey, canonical, sha256

DOMAIN = "lockwatch/site-letter/v1"
MEANING = "responsibility for the letter to the site"
LONGEST_ADDITION = 4000


@dataclass(frozen=True, slots=True)
class About:
    """What a letter is about: the signal, and as much of it as that site may read."""

    one: SignalView
    part: Signal
    site_id: str
    site: str
    contacts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LetterView:
    """A letter that was sent. `document`: its words, see `dashboards.letters`."""

    id: str
    signal_id: str
    site_id: str
    document: Mapping[str, Any]
    digest: str
    addresses: tuple[str, ...]
    printed_name: str
    sent_at: datetime


def about(session: Session, signal_id: str, site_id: str, person: Person) -> About:
    """What may be written to a site; by somebody who sees every site, to one that it concerns."""
    if person.site_id is not None:
        raise Forbidden("a letter to a site is written by somebody who sees every site")
    one = surveillance.signal(session, signal_id)
    if site_id not in one.signal.sites:
        raise NotFound(f"signal {one.id} does not concern a site {site_id[:32]}")
    part = part_of(session, one.signal, one.lock_digest, site_id)
    known = fleet.site(session, site_id)
    return About(one, part, site_id, known.name, contacts(session, site_id))


def contacts(session: Session, site_id: str) -> tuple[str, ...]:
    """Mail addresses of people who are told of this site alone."""
    return tuple(
        r.address
        for r in repository.recipients(session)
        if r.site_id == site_id and not webhook.is_webhook(r.address)
    )


def send(
    session: Session,
    subject: About,
    words: Mapping[str, Any],
    *,
    seen_digest: str,
    signer: Signer,
    key: SigningKey,
    write: Callable[[LetterView], RenderedMail],
    mail_from: str,
) -> LetterView:
    """Keep the signed letter and queue a mail to each contact of the site.

    Refused where the signal has changed since the draft was on the screen.
    """
    signal = surveillance.lock(session, subject.one.id)
    if seen_digest != surveillance.document_digest(signal):
        raise NotAllowed("the signal has changed since the letter was drafted: read it again")
    document = canonical(dict(words) | {"signal_digest": seen_digest})
    made = SiteLetter(
        id=next_number(session, SiteLetter.id, "L"),
        signal_id=signal.id,
        site_id=subject.site_id,
        document=document,
        digest=sha256(document),
        addresses=list(subject.contacts),
        sent_by=signer.name,
        printed_name=signer.full_name,
        sent_at=signer.at,
        signature="",
    )
    made.signature = key.sign(DOMAIN, _signed_content(made)).hex()
    session.add(made)
    session.flush()
    _record(session, made)
    view = _view(made)
    mail = write(view)
    for address in subject.contacts:
        enqueue(session, f"letter:{made.id}", address, mail, mail_from, signer.at)
    return view


def check_addition(text: str) -> str:
    """What a person adds to the drafted words: plain text of a bounded length."""
    check_text("addition", text, LONGEST_ADDITION, least=0)
    return text.strip()


def letter(session: Session, number: str, *, scope: str | None) -> LetterView:
    """One letter; `NotFound` also where a person is bound to another site than its own."""
    found = session.get(SiteLetter, number)
    if found is None or scope not in (None, found.site_id):
        raise NotFound(f"no letter {number[:32]}")
    return _view(found)


def of_signal(session: Session, signal_id: str, *, scope: str | None) -> tuple[LetterView, ...]:
    """Letters about a signal, oldest first; to `scope` only where a person is bound to it."""
    wanted = select(SiteLetter).where(SiteLetter.signal_id == signal_id)
    if scope is not None:
        wanted = wanted.where(SiteLetter.site_id == scope)
    return tuple(_view(found) for found in session.scalars(wanted.order_by(SiteLetter.sent_at)))


def _view(stored: SiteLetter) -> LetterView:
    return LetterView(
        stored.id,
        stored.signal_id,
        stored.site_id,
        json.loads(stored.document),
        stored.digest,
        tuple(stored.addresses),
        stored.printed_name,
        stored.sent_at,
    )


def _signed_content(made: SiteLetter) -> bytes:
    return canonical(
        {
            "id": made.id,
            "signal": made.signal_id,
            "site": made.site_id,
            "digest": made.digest,
            "addresses": made.addresses,
            "sent_by": made.sent_by,
            "printed_name": made.printed_name,
            "meaning": MEANING,
            "sent_at": made.sent_at.isoformat(),
        }
    )


def _record(session: Session, made: SiteLetter) -> None:
    audit.record(
        session,
        actor=made.sent_by,
        action="alerts:site_letter:send",
        subject=made.signal_id,
        at=made.sent_at,
        detail={
            "letter": made.id,
            "site": made.site_id,
            "digest": made.digest,
            "addresses": len(made.addresses),
        },
    )
