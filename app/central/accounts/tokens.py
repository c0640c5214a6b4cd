"""API tokens: for scripts and notebooks. A token reads what its owner may read, and no more."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from app.central.accounts import repository
from app.central.accounts.models import ApiToken
from app.central.accounts.service import Person
from app.central.audit import service as audit
from app.central.errors import NotFound, Unusable
from app.contracts.signing import sha256

PREFIX = "lwt_"  # lets a scanner for leaked secrets know one
LONGEST_DAYS = 366
NOTED_EVERY = timedelta(minutes=1)


def create(
    session: Session, person: Person, purpose: str, days: int, now: datetime
) -> tuple[str, ApiToken]:
    """A new token of this person. It is shown once; what is stored is its hash."""
    if not purpose.isprintable() or not 0 < len(purpose) <= 100:
        raise Unusable("purpose: 1 to 100 printable characters expected")
    if not 1 <= days <= LONGEST_DAYS:
        raise Unusable(f"days: 1 to {LONGEST_DAYS} expected, got {days}")
    token = PREFIX + secrets.token_urlsafe(32)
    made = ApiToken(
        id=str(uuid.uuid4()),
        token_hash=sha256(token.encode()),
        account=person.name,
        purpose=purpose,
        created_at=now,
        expires_at=now + timedelta(days=days),
    )
    session.add(made)
    session.flush()
    _record(session, "create", made, person.name, now)
    return token, made


def person_of(session: Session, token: str, now: datetime) -> Person | None:
    """Whose token this is, if it still holds."""
    found = repository.find_token(session, sha256(token.encode()))
    if found is None or found.revoked_at is not None or not found.created_at <= now:
        return None
    account = repository.find_account(session, found.account)
    if now >= found.expires_at or account is None or account.disabled_at is not None:
        return None
    if found.last_used_at is None or now - found.last_used_at >= NOTED_EVERY:
        found.last_used_at = now
    return Person(account.name, account.full_name, account.role, account.site_id, reads_only=True)


def tokens_of(session: Session, person: Person) -> Sequence[ApiToken]:
    """A person's tokens, newest first."""
    return repository.tokens(session, person.name)


def revoke(session: Session, token_id: str, person: Person, now: datetime) -> None:
    """One of the person's own tokens means nothing from now on."""
    found = next((t for t in tokens_of(session, person) if t.id == token_id), None)
    if found is None:
        raise NotFound("no such token")
    if found.revoked_at is None:
        found.revoked_at = now
        _record(session, "revoke", found, person.name, now)


def revoke_all(session: Session, name: str, *, by: str, now: datetime) -> None:
    """No token of this person means anything from now on: the account may be in other hands."""
    for found in repository.tokens(session, name):
        if found.revoked_at is None and now < found.expires_at:
            found.revoked_at = now
            _record(session, "revoke", found, by, now)


def _record(session: Session, verb: str, token: ApiToken, by: str, now: datetime) -> None:
    audit.record(
        session,
        actor=by,
        action=f"accounts:token:{verb}",
        subject=token.account,
        at=now,
        detail={"id": token.id, "purpose": token.purpose, "until": token.expires_at.isoformat()},
    )
