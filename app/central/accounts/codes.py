"""One-time codes (TOTP, RFC 6238) beside the password: set up, confirmed, each used once.

Codes open a session. A signature inside it needs name and password again: the two components
of 21 CFR 11.200(a)(1), whose first signing has had the code too.
"""

from __future__ import annotations

from datetime import datetime

import pyotp
from sqlalchemy.orm import Session

from app.central.accounts import repository
from app.central.accounts.models import Account
from app.central.audit import service as audit
from app.central.errors import NotAllowed, NotAuthenticated, NotFound

STEP_S = 30
LEEWAY = 1  # steps that a telephone's clock may be early or late
ISSUER = "lockwatch"


def begin(session: Session, name: str) -> str:
    """A new secret as the `otpauth:` address that an authenticator takes; not yet asked for."""
    account = _locked(session, name)
    if account.codes_since is not None:
        raise NotAllowed("one-time codes are set up already")
    account.code_secret = pyotp.random_base32()
    return pyotp.TOTP(account.code_secret, name=name, issuer=ISSUER).provisioning_uri()


def confirm(session: Session, name: str, code: str, now: datetime) -> None:
    """The first code shows that the authenticator works: every log-in asks from now on."""
    account = _locked(session, name)
    if account.code_secret is None or account.codes_since is not None:
        raise NotAllowed("no set-up of one-time codes is under way")
    if not spend(account, code, now):
        raise NotAuthenticated("code", "this is not the code of the moment")
    account.codes_since = now
    audit.record(session, actor=name, action="accounts:codes:begin", subject=name, at=now)


def end(session: Session, name: str, *, by: str, now: datetime) -> None:
    """No more codes, say for a lost telephone; the person is logged out everywhere."""
    account = _locked(session, name)
    account.code_secret, account.codes_since, account.last_code_step = None, None, None
    repository.end_sessions(session, name)
    audit.record(session, actor=by, action="accounts:codes:end", subject=name, at=now)


def spend(account: Account, code: str, now: datetime) -> bool:
    """Whether this is a code of about now that was not used before. It is used up from now on."""
    if account.code_secret is None:
        return False
    generator = pyotp.TOTP(account.code_secret)
    newest = int(now.timestamp()) // STEP_S + LEEWAY
    used = account.last_code_step or 0
    for step in range(max(newest - 2 * LEEWAY, used + 1), newest + 1):
        if pyotp.utils.strings_equal(generator.generate_otp(step), code):
            account.last_code_step = step
            return True
    return False


def _locked(session: Session, name: str) -> Account:
    account = repository.find_account(session, name, lock=True)
    if account is None:
        raise NotFound(f"no account {name[:64]}")
    return account
