"""People, and their sessions."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import BigInteger, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from app.central.database import Base


class Role(StrEnum):
    """What a person is here for."""

    VIEWER = "viewer"
    ANALYST = "analyst"
    QUALITY_APPROVER = "quality_approver"
    REGULATORY = "regulatory"
    SITE_ADMIN = "site_admin"
    ADMINISTRATOR = "administrator"
    AUDITOR = "auditor"


class OpenedWith(StrEnum):
    """What opened a session."""

    PASSWORD = "password"  # noqa: S105 - the word, not one
    PROVIDER = "provider"


class Account(Base):
    """A person. Accounts are disabled, never deleted: their decisions stay."""

    __tablename__ = "account"

    name: Mapped[str] = mapped_column(primary_key=True, comment="Name to log in with")
    full_name: Mapped[str] = mapped_column(comment="Name as printed beside a signature")
    role: Mapped[Role] = mapped_column(comment="What the person may do")
    site_id: Mapped[str | None] = mapped_column(
        ForeignKey("site.id"), comment="Only this site; null: every site"
    )
    password_hash: Mapped[str] = mapped_column(comment="argon2id")
    password_until: Mapped[datetime | None] = mapped_column(
        comment="One-time password: replaced at log-in, opens nothing from then on; null: own"
    )
    failed_attempts: Mapped[int] = mapped_column(BigInteger, comment="Since the last success")
    locked_until: Mapped[datetime | None] = mapped_column(comment="No log-in before")
    code_secret: Mapped[str | None] = mapped_column(
        comment="Base32 secret of the one-time codes; null: none are set up"
    )
    codes_since: Mapped[datetime | None] = mapped_column(
        comment="Log-in asks for a code from then on; null: not confirmed"
    )
    last_code_step: Mapped[int | None] = mapped_column(
        BigInteger, comment="Time step of the last code; none up to it is taken again"
    )
    created_at: Mapped[datetime] = mapped_column(comment="When")
    disabled_at: Mapped[datetime | None] = mapped_column(comment="No log-in from then on")


class LoginSession(Base):
    """A person logged in; the cookie holds a random id, this row its hash."""

    __tablename__ = "login_session"

    id_hash: Mapped[str] = mapped_column(primary_key=True, comment="SHA-256 of the cookie's id")
    account: Mapped[str] = mapped_column(
        ForeignKey("account.name"), index=True, comment="Whose session"
    )
    created_at: Mapped[datetime] = mapped_column(comment="When")
    last_used_at: Mapped[datetime] = mapped_column(comment="For the idle limit")
    ends_at: Mapped[datetime] = mapped_column(comment="Absolute limit")
    client: Mapped[str] = mapped_column(
        server_default="", comment="User-Agent of the browser, as it called itself at log-in"
    )
    opened_with: Mapped[OpenedWith] = mapped_column(
        server_default=OpenedWith.PASSWORD.value, comment="password or provider"
    )


class Identity(Base):
    """Who somebody is at an identity provider: issuer and subject, never an e-mail address."""

    __tablename__ = "account_identity"

    issuer: Mapped[str] = mapped_column(primary_key=True, comment="Issuer identifier, as compared")
    subject: Mapped[str] = mapped_column(primary_key=True, comment="`sub`, unique at the issuer")
    account: Mapped[str] = mapped_column(
        ForeignKey("account.name"), unique=True, comment="Whose identity"
    )
    linked_at: Mapped[datetime] = mapped_column(comment="When")
    linked_by: Mapped[str] = mapped_column(comment="Account name of the administrator")


class ProviderRequest(Base):
    """A sign-in that is under way at the identity provider; taken once, by the browser it is of."""

    __tablename__ = "provider_request"

    state_hash: Mapped[str] = mapped_column(primary_key=True, comment="SHA-256 of `state`")
    browser_hash: Mapped[str] = mapped_column(comment="SHA-256 of the cookie of the browser")
    nonce: Mapped[str] = mapped_column(comment="What the token must repeat")
    verifier: Mapped[str] = mapped_column(comment="PKCE code verifier")
    then: Mapped[str] = mapped_column(comment="Path where the person was going")
    expires_at: Mapped[datetime] = mapped_column(comment="Means nothing from then on")


class ApiToken(Base):
    """For scripts: reads what its owner may read. Shown once; this row holds its hash."""

    __tablename__ = "api_token"

    id: Mapped[str] = mapped_column(primary_key=True, comment="UUID")
    token_hash: Mapped[str] = mapped_column(unique=True, comment="SHA-256 of the token")
    account: Mapped[str] = mapped_column(
        ForeignKey("account.name"), index=True, comment="Whose token"
    )
    purpose: Mapped[str] = mapped_column(comment="What for, in the person's words")
    created_at: Mapped[datetime] = mapped_column(comment="When")
    expires_at: Mapped[datetime] = mapped_column(comment="Means nothing from then on")
    last_used_at: Mapped[datetime | None] = mapped_column(comment="To the minute")
    revoked_at: Mapped[datetime | None] = mapped_column(comment="Means nothing since")
