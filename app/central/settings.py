"""Settings of the central service: one TOML file, then `LOCKWATCH_*` from the environment."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit
from zoneinfo import available_timezones

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from app.contracts.signing import SigningKey
from app.errors import ContractError

PREFIX = "LOCKWATCH_"
LOOPBACK = ("127.0.0.1", "::1", "localhost")


class CentralSettings(BaseModel):
    """What may differ between installations. Relative paths start at the settings file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    data_dir: Path = Path("central")
    """Keys, the embedded database, local mail."""
    database_url: str = ""
    """SQLAlchemy URL of a PostgreSQL 15 or newer; empty: the embedded one in `data_dir`."""
    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=1, le=65535)
    base_url: str = "http://127.0.0.1:8080"
    """How people and edges reach the service: links in mail, and the audience of requests."""
    trusted_keys: tuple[str, ...] = ()
    """Hex public keys of the manufacturer, whose signatures a manifest needs."""
    signature_threshold: int = Field(default=1, ge=1)
    mail: str = ""
    """`smtp://host:port`, `smtps://…` or `maildir:/folder`; empty: a maildir in `data_dir`."""
    mail_user: str = ""
    mail_password_file: Path | None = None
    mail_from: str = "lockwatch@localhost"
    timezone: str = "UTC"
    """IANA zone of the manufacturer: in which regulatory clocks count days, and of the digest."""
    secure_cookies: bool = True
    """Cookies only over https; false only for a service on the loopback."""
    oidc_issuer: str = ""
    """Issuer identifier of the manufacturer's identity provider; empty: passwords alone."""
    oidc_client_id: str = ""
    oidc_client_secret_file: Path | None = None
    """None: a public client, which PKCE alone protects."""
    oidc_name: str = "the identity provider"
    """What people call the provider, on the button of the sign-in page."""
    break_glass: str = ""
    """The one account that may still sign in by password beside the provider; empty: everybody."""
    requests_per_minute: int = Field(default=600, ge=1)
    """Of one edge, after authentication; enrolment attempts of one address are a tenth."""

    @field_validator("timezone")
    @classmethod
    def _is_known(cls, zone: str) -> str:
        if zone not in available_timezones():
            raise ValueError(f"an IANA time zone expected, got {zone!r}")
        return zone

    @model_validator(mode="after")
    def _names_a_provider_whole(self) -> Self:
        if self.oidc_issuer:
            check_address(self.oidc_issuer, "oidc_issuer")
            if not self.oidc_client_id:
                raise ValueError("oidc_client_id: expected with oidc_issuer, got none")
        elif self.oidc_client_id or self.oidc_client_secret_file or self.break_glass:
            raise ValueError("oidc_issuer: expected with any other oidc setting and break_glass")
        return self

    @property
    def database_dir(self) -> Path:
        """Home of the embedded database."""
        return self.data_dir / "postgres"

    @property
    def transport(self) -> str:
        """The mail transport in force."""
        return self.mail or f"maildir:{self.data_dir / 'mail'}"

    @property
    def manufacturer_keys(self) -> tuple[bytes, ...]:
        """`trusted_keys` as bytes."""
        return tuple(bytes.fromhex(key) for key in self.trusted_keys)

    def receipt_key(self) -> SigningKey:
        """The centre's key: receipts, decisions, plans."""
        return SigningKey.load_or_create(self.data_dir / "keys" / "receipt.key")


def check_address(url: str, what: str) -> None:
    """An address that tokens and secrets may travel to: https, or this machine itself."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError as error:
        raise ValueError(f"{what}: an address expected, got {url[:200]!r}") from error
    is_safe = parts.scheme == "https" or (parts.scheme == "http" and host in LOOPBACK)
    if not is_safe or not host or parts.query or parts.fragment or parts.username:
        raise ValueError(
            f"{what}: an https:// address without query, fragment and user expected "
            f"(http:// only of this machine itself), got {url[:200]!r}"
        )


def read_settings(
    path: Path | None = None, environment: Mapping[str, str] | None = None, **given: Any
) -> CentralSettings:
    """Settings from `path`, overridden by the environment, overridden by `given`."""
    environment = os.environ if environment is None else environment
    values: dict[str, Any] = {}
    try:
        if path is not None:
            values = _absolute(tomllib.loads(path.read_text()), path.parent)
        values |= _from_environment(environment) | given
        return CentralSettings.model_validate(values)
    except (ValidationError, tomllib.TOMLDecodeError, FileNotFoundError) as error:
        raise ContractError(
            "settings", f"settings {path or 'from the environment'}: {error}"
        ) from error


def _absolute(values: dict[str, Any], start: Path) -> dict[str, Any]:
    for name in ("data_dir", "mail_password_file", "oidc_client_secret_file"):
        if name in values:
            values[name] = start / values[name]
    return values


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    found = {name: environment.get(PREFIX + name.upper()) for name in CentralSettings.model_fields}
    values: dict[str, Any] = {name: value for name, value in found.items() if value is not None}
    if "trusted_keys" in values:
        values["trusted_keys"] = tuple(values["trusted_keys"].split())
    return values
