"""What an administrator does to accounts, and what a person does to the own password.

Changing a role, a site or a password, and disabling, end every session of the person; a reset
and disabling revoke the API tokens too. One active administrator is always left.
"""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from app.central.accounts import repository, tokens
from app.central.accounts.models import Account, Role
from app.central.accounts.service import (
    SHORTEST_PASSWORD,
    check_site,
    create_account,
    hash_password,
    is_password_of,
)
from app.central.audit import service as audit
from app.central.errors import NotAllowed, NotFound, Unusable

ONE_TIME_LIFE = timedelta(days=3)  # over a weekend
LONGEST_PASSWORD = 1024


def get(session: Session, name: str, *, lock: bool = False) -> Account:
    """The account, or `NotFound`."""
    account = repository.find_account(session, name, lock=lock)
    if account is None:
        raise NotFound(f"no account {name[:64]}")
    return account


def invite(
    session: Session,
    name: str,
    full_name: str,
    role: Role,
    site_id: str | None,
    *,
    by: str,
    now: datetime,
) -> str:
    """Add a person with a one-time password, which is returned and stored nowhere."""
    password = secrets.token_urlsafe(SHORTEST_PASSWORD)
    account = create_account(
        session,
        name=name,
        full_name=full_name,
        role=role,
        password=password,
        site_id=site_id,
        by=by,
        now=now,
    )
    account.password_until = now + ONE_TIME_LIFE
    return password


def change(
    session: Session, name: str, role: Role, site_id: str | None, *, by: str, now: datetime
) -> Account:
    """Give a person another role or site; who has them already stays logged in."""
    administrators = repository.lock_administrators(session)
    account = get(session, name, lock=True)
    if (account.role, account.site_id) == (role, site_id):
        return account
    check_site(session, role, site_id)
    if role is not Role.ADMINISTRATOR:
        _leave_an_administrator(account, administrators)
    detail = {
        "from": {"role": account.role.value, "site": account.site_id},
        "to": {"role": role.value, "site": site_id},
    }
    account.role, account.site_id = role, site_id
    repository.end_sessions(session, name)
    audit.record(
        session,
        actor=by,
        action="accounts:account:change",
        subject=name,
        at=now,
        detail=detail,
    )
    return account


def disable(session: Session, name: str, *, by: str, now: datetime) -> None:
    """No more log-ins; every session of the person ends, and every API token is revoked."""
    administrators = repository.lock_administrators(session)
    account = get(session, name, lock=True)
    if account.disabled_at is not None:
        return
    _leave_an_administrator(account, administrators)
    account.disabled_at = now
    _shut_out(session, name, by=by, now=now)
    audit.record(session, actor=by, action="accounts:account:disable", subject=name, at=now)


def enable(session: Session, name: str, *, by: str, now: datetime) -> None:
    """The person may log in again, with the password of before."""
    account = get(session, name, lock=True)
    if account.disabled_at is None:
        return
    account.disabled_at = None
    audit.record(session, actor=by, action="accounts:account:enable", subject=name, at=now)


def unlock(session: Session, name: str, *, by: str, now: datetime) -> None:
    """Guesses are forgotten; the person need not wait."""
    account = get(session, name, lock=True)
    if not account.failed_attempts and account.locked_until is None:
        return
    detail = {"failed_attempts": account.failed_attempts}
    account.failed_attempts, account.locked_until = 0, None
    audit.record(
        session, actor=by, action="accounts:account:unlock", subject=name, at=now, detail=detail
    )


def reset_password(session: Session, name: str, *, by: str, now: datetime) -> str:
    """A one-time password in place of a forgotten one; returned and stored nowhere.

    Sessions end and API tokens are revoked: a reset may mean that somebody else had the old one.
    """
    if name == by:
        raise NotAllowed("your own password is changed with the present one, on the page Account")
    account = get(session, name, lock=True)
    if account.disabled_at is not None:
        raise NotAllowed(f"account {name} is disabled: enable it first")
    password = secrets.token_urlsafe(SHORTEST_PASSWORD)
    account.password_hash = hash_password(password)
    account.password_until = now + ONE_TIME_LIFE
    account.failed_attempts, account.locked_until = 0, None
    _shut_out(session, name, by=by, now=now)
    audit.record(session, actor=by, action="accounts:password:reset", subject=name, at=now)
    return password


def set_password(session: Session, name: str, password: str, *, now: datetime) -> Account:
    """A password of the person's own choice; the caller has just checked the present one."""
    account = get(session, name, lock=True)
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise Unusable(
            f"new password: {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters expected, "
            f"got {len(password)}"
        )
    if is_password_of(account, password):
        raise Unusable("new password: another than the present one expected")
    account.password_hash, account.password_until = hash_password(password), None
    repository.end_sessions(session, name)
    audit.record(session, actor=name, action="accounts:password:change", subject=name, at=now)
    return account


def _shut_out(session: Session, name: str, *, by: str, now: datetime) -> None:
    repository.end_sessions(session, name)
    tokens.revoke_all(session, name, by=by, now=now)


def _leave_an_administrator(leaving: Account, administrators: set[str]) -> None:
    is_one = leaving.role is Role.ADMINISTRATOR and leaving.disabled_at is None
    if is_one and not administrators - {leaving.name}:
        raise NotAllowed(
            f"{leaving.name} is the last active administrator: make another person one first"
        )
