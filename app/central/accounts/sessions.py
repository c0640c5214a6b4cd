"""Sessions of people: begun at log-in, ended by time, by the person, or by what ends them all."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy.orm import Session, sessionmaker

from app.central.accounts import repository
from app.central.accounts.models import Account, LoginSession, OpenedWith
from app.central.accounts.service import Person
from app.central.audit import service as audit
from app.central.errors import NotFound
from app.contracts.signing import sha256

IDLE = timedelta(minutes=30)
LONGEST = timedelta(hours=12)
LONGEST_CLIENT = 200


def log_in(
    session: Session,
    account: Account,
    now: datetime,
    *,
    client: str = "",
    opened_with: OpenedWith = OpenedWith.PASSWORD,
) -> str:
    """A new session; what is returned goes into the cookie and is stored nowhere."""
    token = secrets.token_urlsafe(32)
    session.add(
        LoginSession(
            id_hash=session_id(token),
            account=account.name,
            created_at=now,
            last_used_at=now,
            ends_at=now + LONGEST,
            client="".join(c for c in client if c.isprintable())[:LONGEST_CLIENT],
            opened_with=opened_with,
        )
    )
    audit.record(
        session,
        actor=account.name,
        action="accounts:session:begin",
        subject=account.name,
        at=now,
        detail={"with": opened_with.value},
    )
    return token


def session_id(token: str) -> str:
    """What names a session without opening it: the hash of its cookie."""
    return sha256(token.encode())


def person_of(session: Session, token: str, now: datetime) -> Person | None:
    """Whose session a cookie names, if it still runs; keeps it from idling out."""
    found = repository.find_session(session, session_id(token))
    if found is None or not found.created_at <= now < found.ends_at:
        return None
    account = repository.find_account(session, found.account)
    if account is None or account.disabled_at is not None or now - found.last_used_at > IDLE:
        session.delete(found)
        return None
    found.last_used_at = now
    has_none = account.password_until is not None
    return Person(
        account.name,
        account.full_name,
        account.role,
        account.site_id,
        must_choose_password=has_none and found.opened_with is OpenedWith.PASSWORD,
        has_no_password=has_none,
        opened_with=found.opened_with,
        session_id=found.id_hash,
    )


def note_foreign(factory: sessionmaker[Session], token: str, asked: str, now: datetime) -> None:
    """Write into the trail that another site's page asked for a change in a person's browser.

    Only where it came with a session's cookie: else nobody could have been made to act.
    """
    with factory.begin() as session:
        found = repository.find_session(session, session_id(token))
        if found is None or now >= found.ends_at:
            return
        audit.record(
            session,
            actor="another site's page",
            action="accounts:request:refused",
            subject=found.account,
            at=now,
            detail={"asked": asked[:LONGEST_CLIENT]},
        )


def log_out(session: Session, token: str) -> None:
    """End a session; its cookie means nothing from then on."""
    found = repository.find_session(session, session_id(token))
    if found is not None:
        session.delete(found)


def sessions_of(session: Session, name: str, now: datetime) -> Sequence[LoginSession]:
    """A person's sessions that run now, the one used last first."""
    found = repository.sessions(session, name)
    return [s for s in found if now < s.ends_at and now - s.last_used_at <= IDLE]


def end(session: Session, name: str, identifier: str, now: datetime) -> None:
    """One session of the person's own ends, on whatever machine it was begun."""
    found = repository.find_session(session, identifier)
    if found is None or found.account != name:
        raise NotFound("no such session of yours: it may have ended")
    session.delete(found)
    _record(session, name, 1, now)


def end_others(session: Session, person: Person, now: datetime) -> None:
    """Every session of the person ends but the one that asks."""
    ended = repository.end_sessions(session, person.name, but=person.session_id)
    if ended:
        _record(session, person.name, ended, now)


def _record(session: Session, name: str, ended: int, now: datetime) -> None:
    audit.record(
        session,
        actor=name,
        action="accounts:session:end",
        subject=name,
        at=now,
        detail={"sessions": ended},
    )
