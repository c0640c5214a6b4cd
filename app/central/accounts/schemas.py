"""What the account routes take and give."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from app.central.accounts.models import OpenedWith, Role


class LogIn(BaseModel):
    """Name and password, and the one-time code of those who have set codes up."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(max_length=64)
    password: SecretStr = Field(max_length=1024)
    code: SecretStr = Field(default=SecretStr(""), max_length=16)


class NewAccount(BaseModel):
    """A person to add."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(max_length=64)
    full_name: str = Field(min_length=1, max_length=200)
    role: Role
    password: SecretStr = Field(max_length=1024)
    site_id: str | None = None


class PersonOut(BaseModel):
    """Somebody who is or may be logged in."""

    model_config = ConfigDict(from_attributes=True)

    name: str
    full_name: str
    role: Role
    site_id: str | None


class AccountOut(PersonOut):
    """An account as an administrator sees it."""

    created_at: datetime
    disabled_at: datetime | None
    locked_until: datetime | None
    password_until: datetime | None = Field(description="of a one-time password; null: their own")


class NewRole(BaseModel):
    """What a person is here for from now on, and at which site; null: every site."""

    model_config = ConfigDict(extra="forbid")

    role: Role
    site_id: str | None = None


class NewIdentity(BaseModel):
    """Who a person is at the identity provider of the settings."""

    model_config = ConfigDict(extra="forbid")

    subject: str = Field(max_length=255, description="`sub`, as the refused sign-in shows it")


class IdentityOut(BaseModel):
    """An identity at the provider, linked to a person."""

    model_config = ConfigDict(from_attributes=True)

    issuer: str
    subject: str
    account: str
    linked_at: datetime
    linked_by: str


class OneTimePassword(BaseModel):
    """Opens nothing but the choice of one's own password; shown once."""

    password: str


class NewPassword(BaseModel):
    """The present password, and the one to come."""

    model_config = ConfigDict(extra="forbid")

    password: SecretStr = Field(max_length=1024)
    new_password: SecretStr = Field(max_length=1024)


class PasswordAgain(BaseModel):
    """The password, given again before something that matters."""

    model_config = ConfigDict(extra="forbid")

    password: SecretStr = Field(max_length=1024)


class CodesBegun(BaseModel):
    """What an authenticator takes, as a QR code or by hand; shown once."""

    address: str = Field(description="otpauth: address with the secret")


class Code(BaseModel):
    """A one-time code."""

    model_config = ConfigDict(extra="forbid")

    code: SecretStr = Field(max_length=16)


class SessionOut(BaseModel):
    """One of one's own sessions that run now."""

    id: str = Field(description="names the session and opens nothing")
    created_at: datetime
    last_used_at: datetime
    ends_at: datetime
    opened_with: OpenedWith
    client: str = Field(description="User-Agent, as the browser called itself at log-in")
    is_this: bool = Field(description="the session that asks")


class NewToken(PasswordAgain):
    """An API token to make."""

    purpose: str = Field(min_length=1, max_length=100)
    days: int = Field(ge=1, le=366)


class TokenOut(BaseModel):
    """An API token as a list shows it."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    purpose: str
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None


class TokenMade(BaseModel):
    """A new token; `token` is shown this once."""

    token: str
    made: TokenOut
