"""Queries on accounts and sessions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from app.central.accounts.models import (
    Account,
    ApiToken,
    Identity,
    LoginSession,
    ProviderRequest,
    Role,
)


def find_account(session: Session, name: str, *, lock: bool = False) -> Account | None:
    """The account of that name."""
    return session.get(Account, name, with_for_update=lock)


def accounts(session: Session, *, limit: int = 500) -> Sequence[Account]:
    """Everybody, by name."""
    return session.scalars(select(Account).order_by(Account.name).limit(limit)).all()


def lock_administrators(session: Session) -> set[str]:
    """Who can administer now: active, for every site, with a password of their own.

    Locked in one order, so that of two who leave at once one waits and sees the other gone.
    """
    query = select(Account.name).where(
        Account.role == Role.ADMINISTRATOR,
        Account.disabled_at.is_(None),
        Account.site_id.is_(None),
        Account.password_until.is_(None),
    )
    return set(session.scalars(query.order_by(Account.name).with_for_update()))


def find_session(session: Session, id_hash: str) -> LoginSession | None:
    """The session whose cookie hashes to `id_hash`."""
    return session.get(LoginSession, id_hash)


def sessions(session: Session, account: str) -> Sequence[LoginSession]:
    """A person's sessions, the one used last first."""
    order = LoginSession.last_used_at.desc(), LoginSession.id_hash
    query = select(LoginSession).where(LoginSession.account == account).order_by(*order)
    return session.scalars(query).all()


def end_sessions(session: Session, account: str, *, but: str = "") -> int:
    """Log a person out everywhere but in the session `but`; how many sessions ended."""
    ended = delete(LoginSession).where(LoginSession.account == account, LoginSession.id_hash != but)
    return len(session.scalars(ended.returning(LoginSession.id_hash)).all())


def forget_sessions(session: Session, before: datetime) -> None:
    """Those that have ended by themselves, and sign-ins that nobody has ended."""
    session.execute(delete(LoginSession).where(LoginSession.ends_at < before))
    session.execute(delete(ProviderRequest).where(ProviderRequest.expires_at < before))


def find_token(session: Session, token_hash: str) -> ApiToken | None:
    """The token that hashes to `token_hash`."""
    return session.scalar(select(ApiToken).where(ApiToken.token_hash == token_hash))


def tokens(session: Session, account: str) -> Sequence[ApiToken]:
    """A person's tokens, newest first."""
    order = ApiToken.created_at.desc(), ApiToken.id
    return session.scalars(
        select(ApiToken).where(ApiToken.account == account).order_by(*order)
    ).all()


def identity_of(session: Session, account: str) -> Identity | None:
    """The identity at a provider that is linked to a person."""
    return session.scalar(select(Identity).where(Identity.account == account))


def find_identity(session: Session, issuer: str, subject: str) -> Identity | None:
    """The identity of that issuer and subject."""
    return session.get(Identity, (issuer, subject))


def take_request(session: Session, state_hash: str) -> ProviderRequest | None:
    """The sign-in of that state; it is gone from the table whatever comes of it."""
    taken = delete(ProviderRequest).where(ProviderRequest.state_hash == state_hash)
    return session.scalar(taken.returning(ProviderRequest))
