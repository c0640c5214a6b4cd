"""Signing in with the identity provider: begun in one browser, ended once, in the same one.

Who comes back must hold the cookie of the browser that left. The identity is issuer and
subject; an administrator has linked it to a person before, and nobody gets an account by
signing in. Every refusal is in the audit trail, whatever becomes of the request.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from hmac import compare_digest

from sqlalchemy.orm import Session, sessionmaker

from app.central.accounts import repository
from app.central.accounts.identity_provider import IdentityProvider
from app.central.accounts.models import Account, ProviderRequest
from app.central.audit import service as audit
from app.central.errors import SignInRefused
from app.contracts.signing import sha256

LIFE = timedelta(minutes=10)
ERROR_CODE = re.compile(r"[a-z_]{1,40}")  # RFC 6749 4.1.2.1; nothing else is shown
NOT_BEGUN = (
    "This sign-in was not begun in this browser, has been used already, or took longer than "
    "10 minutes. Begin it again."
)


@dataclass(frozen=True, slots=True)
class Begun:
    """A sign-in that leaves for the provider."""

    address: str
    browser: str  # goes into a cookie; stored as its hash


def begin(
    sessions: sessionmaker[Session], provider: IdentityProvider, then: str, now: datetime
) -> Begun:
    """Remember a sign-in under way, and where it goes."""
    state, browser, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(4))
    with _audited(sessions, provider, now):
        address = provider.address(state=state, nonce=nonce, verifier=verifier)
    with sessions.begin() as session:
        session.add(
            ProviderRequest(
                state_hash=sha256(state.encode()),
                browser_hash=sha256(browser.encode()),
                nonce=nonce,
                verifier=verifier,
                then=then,
                expires_at=now + LIFE,
            )
        )
    return Begun(address, browser)


def finish(
    sessions: sessionmaker[Session],
    provider: IdentityProvider,
    answer: Mapping[str, str],
    browser: str,
    now: datetime,
) -> tuple[Account, str]:
    """Who came back with `answer`, the query of the return, and where the person was going."""
    with _audited(sessions, provider, now):
        under_way = _take(sessions, answer.get("state", ""), browser, now)
        code = _code(provider, answer)
        subject = provider.subject(
            code, verifier=under_way.verifier, nonce=under_way.nonce, now=now
        )
        return _account(sessions, provider, subject), under_way.then


def _take(
    sessions: sessionmaker[Session], state: str, browser: str, now: datetime
) -> ProviderRequest:
    # Committed at once: whatever comes of this return, no second one has the same state.
    with sessions.begin() as session:
        found = repository.take_request(session, sha256(state.encode()))
    mine = found is not None and compare_digest(found.browser_hash, sha256(browser.encode()))
    if found is None or not mine or now >= found.expires_at:
        raise SignInRefused("state", NOT_BEGUN)
    return found


def _code(provider: IdentityProvider, answer: Mapping[str, str]) -> str:
    """The code in the answer, which must be this provider's (RFC 9207)."""
    said = provider.document().said
    issuer = answer.get("iss")
    must_say = said.get("authorization_response_iss_parameter_supported") is True
    if issuer != provider.issuer and (issuer is not None or must_say):
        raise SignInRefused("issuer", "The answer is not from the provider that was asked.")
    code = answer.get("code", "")
    if "error" in answer or not code:
        why = answer.get("error", "")
        why = why if ERROR_CODE.fullmatch(why) else "no code"
        raise SignInRefused("cancelled", f"{provider.name} did not sign you in ({why}).")
    return code


def _account(sessions: sessionmaker[Session], provider: IdentityProvider, subject: str) -> Account:
    with sessions.begin() as session:
        linked = repository.find_identity(session, provider.issuer, subject)
        account = repository.find_account(session, linked.account) if linked else None
    if account is None:
        raise SignInRefused(
            "unlinked",
            "No account is linked to this identity, and none is made by signing in. Tell an "
            f"administrator, on a way by which they know you: {subject}",
            who=subject,
        )
    if account.disabled_at is not None:
        raise SignInRefused(
            "disabled", "Your account is disabled. Ask an administrator.", who=account.name
        )
    return account


@contextmanager
def _audited(
    sessions: sessionmaker[Session], provider: IdentityProvider, now: datetime
) -> Iterator[None]:
    """A refusal goes into the trail in a transaction of its own, before it goes on."""
    try:
        yield
    except SignInRefused as refused:
        with sessions.begin() as session:
            audit.record(
                session,
                actor="identity provider",
                action="accounts:session:refused",
                subject=refused.who or "not known",
                at=now,
                reason=refused.reason,
                detail={"issuer": provider.issuer},
            )
        raise
