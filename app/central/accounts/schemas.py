"""What the account routes take and give."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from app.central.accounts.models import Role


class LogIn(BaseModel):
    """Name and password."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(max_length=64)
    password: SecretStr = Field(max_length=1024)


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
