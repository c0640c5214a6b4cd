"""Which identity at the provider is which person: an administrator says so."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session

from app.central.accounts import people, repository
from app.central.accounts.identity_provider import LONGEST_SUBJECT, is_subject
from app.central.accounts.models import Identity
from app.central.audit import service as audit
from app.central.database import unless_taken
from app.central.errors import NotAllowed, NotFound, Unusable
from app.central.settings import CentralSettings


def issuer_of(settings: CentralSettings) -> str:
    """The provider's issuer, or `NotFound` where none is configured."""
    if not settings.oidc_issuer:
        raise NotFound("no identity provider is configured (setting oidc_issuer)")
    return settings.oidc_issuer


def identity_of(session: Session, name: str) -> Identity:
    """The identity that is linked to a person, or `NotFound`."""
    people.get(session, name)
    found = repository.identity_of(session, name)
    if found is None:
        raise NotFound(f"no identity is linked to {name}")
    return found


def link(
    session: Session, name: str, issuer: str, subject: str, *, by: str, now: datetime
) -> Identity:
    """From now on this subject signs in as this person."""
    people.get(session, name, lock=True)
    if not is_subject(subject):
        raise Unusable(
            f"subject: 1 to {LONGEST_SUBJECT} printable ASCII characters expected, as the refused "
            "sign-in shows them"
        )
    if repository.identity_of(session, name) is not None:
        raise NotAllowed(f"{name} has an identity: unlink it first")
    taken = repository.find_identity(session, issuer, subject)
    if taken is not None:
        raise NotAllowed(f"this identity is linked to {taken.account}")
    made = Identity(issuer=issuer, subject=subject, account=name, linked_at=now, linked_by=by)
    with unless_taken(session, "this identity was linked to somebody at the same moment"):
        session.add(made)
    _record(session, "link", made, by, now)
    return made


def unlink(session: Session, name: str, *, by: str, now: datetime) -> None:
    """The subject signs in as nobody from now on; the person's sessions end."""
    found = identity_of(session, name)
    session.delete(found)
    repository.end_sessions(session, name)
    _record(session, "unlink", found, by, now)


def _record(session: Session, verb: str, identity: Identity, by: str, now: datetime) -> None:
    audit.record(
        session,
        actor=by,
        action=f"accounts:identity:{verb}",
        subject=identity.account,
        at=now,
        detail={"issuer": identity.issuer, "subject": identity.subject},
    )
