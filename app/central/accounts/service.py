"""Who somebody is: accounts, passwords, and signing with the password in hand."""

from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy.orm import Session, sessionmaker

from app.central.accounts import codes, repository
from app.central.accounts.models import Account, OpenedWith, Role
from app.central.audit import service as audit
from app.central.database import unless_taken
from app.central.errors import NotAllowed, NotAuthenticated, Unusable
from app.central.fleet import repository as fleet
from app.central.settings import CentralSettings

# OWASP's floor for argon2id, 19 MiB a hash.
HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
# Two threads hash for everybody. A semaphore would not bound the memory: each thread of the service
# that has hashed once keeps what it took, in an arena of its own.
HASHING = ThreadPoolExecutor(2, thread_name_prefix="hashing")
NOBODY = HASHER.hash(secrets.token_hex(16))  # verified for unknown names, to take the same time
LONGEST_LOCK = timedelta(hours=1)
FREE_ATTEMPTS = 5
NOTHING_TO_SIGN_WITH = (
    "you have no password to sign with yet, and the identity provider's word signs nothing: choose "
    "one on the page Account, with the one-time password that an administrator gives you"
)
SHORTEST_PASSWORD = 12
LOCKED = "accounts:session:locked"  # the action of an entry in the trail


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody logged in."""

    name: str
    full_name: str
    role: Role
    site_id: str | None
    reads_only: bool = False  # comes with an API token
    must_choose_password: bool = False  # came with a one-time password
    has_no_password: bool = False  # of the own choice, so signs nothing
    opened_with: OpenedWith = OpenedWith.PASSWORD
    session_id: str = ""  # names the session, opens nothing; empty for an API token


@dataclass(frozen=True, slots=True)
class Signer:
    """A person who has just given the password again: 21 CFR 11.200(a)(1)."""

    name: str
    full_name: str
    at: datetime


def create_account(
    session: Session,
    *,
    name: str,
    full_name: str,
    role: Role,
    password: str,
    site_id: str | None,
    by: str,
    now: datetime,
) -> Account:
    """Add a person."""
    if not name.isprintable() or not 0 < len(name) <= 64:
        raise Unusable("account name: 1 to 64 printable characters expected")
    if not full_name.isprintable() or not 0 < len(full_name) <= 200:
        raise Unusable("full name: 1 to 200 printable characters expected")
    check_site(session, role, site_id)
    if len(password) < SHORTEST_PASSWORD:
        raise Unusable(f"password: at least {SHORTEST_PASSWORD} characters, got {len(password)}")
    if repository.find_account(session, name) is not None:
        raise NotAllowed(f"account {name} exists")
    account = Account(
        name=name,
        full_name=full_name,
        role=role,
        site_id=site_id,
        password_hash=hash_password(password),
        failed_attempts=0,
        created_at=now,
    )
    with unless_taken(session, f"account {name} exists"):
        session.add(account)
    audit.record(
        session,
        actor=by,
        action="accounts:account:create",
        subject=name,
        at=now,
        detail={"role": role.value, "site": site_id},
    )
    return account


def check_site(session: Session, role: Role, site_id: str | None) -> None:
    """A person is bound to a site that exists, an administrator to none."""
    if site_id is None:
        return
    if fleet.find_site(session, site_id) is None:
        raise Unusable(f"site: no site {site_id[:32]}")
    if role is Role.ADMINISTRATOR:
        raise Unusable("site: none expected, an administrator acts for every site")


def check_password(
    sessions: sessionmaker[Session],
    name: str,
    password: str,
    now: datetime,
    *,
    code: str | None = "",
) -> Account:
    """The account, if the password is its own, and the one-time code where it has them.

    None as a code asks for none: somebody signs. Counts failures in a transaction of its own: the
    refusal that follows must not undo them. Every refusal is the same, whatever the reason.
    """
    refused = NotAuthenticated(
        "credentials", "name or password (or one-time code) is not right, or wait a while"
    )
    with sessions.begin() as session:
        account = repository.find_account(session, name, lock=True)
        matches = _matches(account.password_hash if account else NOBODY, password)
        if account is None or _must_wait(account, now):
            raise refused
        matches = matches and not _is_shut(account, now) and _has_code(account, code, now)
        _count(session, account, matches, now, signing=code is None)
    if not matches:
        raise refused
    return account


def sign(sessions: sessionmaker[Session], person: Person, password: str, now: datetime) -> Signer:
    """A person at the moment of signing, in a session that code or identity provider has opened.

    A one-time password, which an administrator has seen, signs nothing.
    """
    if person.has_no_password:
        raise NotAllowed(NOTHING_TO_SIGN_WITH)
    return confirm(sessions, person, password, now)


def confirm(
    sessions: sessionmaker[Session], person: Person, password: str, now: datetime
) -> Signer:
    """A person with the password of the moment, be it a one-time one: for its own end."""
    account = check_password(sessions, person.name, password, now, code=None)
    return Signer(account.name, account.full_name, now)


def check_door(settings: CentralSettings, name: str) -> None:
    """Whether this person may begin a session by password; asked before the password is."""
    if settings.break_glass and name != settings.break_glass:
        raise NotAuthenticated(
            "provider", f"sign in with {settings.oidc_name}: passwords only sign here"
        )


def _has_code(account: Account, code: str | None, now: datetime) -> bool:
    return code is None or account.codes_since is None or codes.spend(account, code, now)


def _must_wait(account: Account, now: datetime) -> bool:
    return account.locked_until is not None and now < account.locked_until


def _is_shut(account: Account, now: datetime) -> bool:
    lapsed = account.password_until is not None and now >= account.password_until
    return account.disabled_at is not None or lapsed


def _count(
    session: Session, account: Account, matches: bool, now: datetime, *, signing: bool
) -> None:
    """Each failure is an entry in the trail: 21 CFR 11.300(d). What comes while the account waits
    is none, so nobody writes entries faster than the growing wait lets them."""
    if matches:
        account.failed_attempts, account.locked_until = 0, None
        return
    account.failed_attempts += 1
    extra = account.failed_attempts - FREE_ATTEMPTS
    if extra >= 0:  # 30 s, then twice as long each time, up to an hour
        account.locked_until = now + min(timedelta(seconds=30 * 2 ** min(extra, 7)), LONGEST_LOCK)
    audit.record(
        session,
        actor=account.name if signing else "not authenticated",
        action=LOCKED if extra >= 0 else "accounts:session:failed",
        subject=account.name,
        at=now,
        detail={
            "failed_attempts": account.failed_attempts,
            "to": "sign" if signing else "log in",
            "disabled": account.disabled_at is not None,
        },
    )


def is_password_of(account: Account, password: str) -> bool:
    """Whether this is the present password of the account."""
    return _matches(account.password_hash, password)


def _matches(password_hash: str, password: str) -> bool:
    try:
        return HASHING.submit(HASHER.verify, password_hash, password).result()
    except (VerificationError, InvalidHashError):
        return False


def hash_password(password: str) -> str:
    """What is stored of a password."""
    return HASHING.submit(HASHER.hash, password).result()
