"""One TOML file says everything about an edge. Messages name the field that does not fit."""

from __future__ import annotations

import re
import tomllib
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, available_timezones

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from app.contracts.disclosure import DEFAULT, Limits
from app.contracts.noise import LEAST_EPSILON, MOST_EPSILON
from app.errors import AppError

Key = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
AeTitle = Annotated[str, Field(pattern=r"^[\x21-\x7e]([\x20-\x7e]{0,14}[\x21-\x7e])?$")]
Word = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,31}$")]
Label = Annotated[str, Field(pattern=r"^[^\\\x00-\x1f\x7f]{0,64}$")]  # PS3.5, LO
Port = Annotated[int, Field(ge=0, le=65535)]
Network = IPv4Network | IPv6Network
LOOPBACK = {"127.0.0.1", "::1", "localhost"}


class SettingsRefused(AppError):
    """The settings file does not fit."""

    title = "Settings refused"


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Peer(_Closed):
    """A DICOM destination for results."""

    host: str
    port: Port
    ae: AeTitle


class Listener(_Closed):
    """An HL7 listener for priority messages (MLLP)."""

    host: str
    port: Port


class Camera(_Closed):
    """A camera without DICOM, whose pictures are uploaded as JPEG."""

    kind: Literal["fundus", "skin"]
    manufacturer: Label
    model: Label
    software: Label = ""
    serial: Label = ""


class EdgeSettings(_Closed):
    """Everything an edge can be told. Paths may be relative to the file they stand in."""

    data_dir: Path
    bundle: Path
    trusted_keys: Annotated[tuple[Key, ...], Field(min_length=1)]
    signature_threshold: int = Field(default=1, ge=1)
    minimum_release: int = Field(default=0, ge=0)

    site_timezone: str
    ae_title: AeTitle
    host: str = "127.0.0.1"
    port: Port = 11112
    allowed_ae_titles: Annotated[tuple[AeTitle, ...], Field(min_length=1)]
    allowed_addresses: tuple[Network, ...] = ()  # () = any address; the titles still count
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_ca: Path | None = None  # who must have signed a scanner's certificate
    commitment_peers: tuple[Peer, ...] = ()  # where storage commitment is reported to
    maximum_associations: int = Field(default=20, ge=1, le=500)
    largest_object_mb: int = Field(default=512, ge=1)
    free_disk_mb: int = Field(default=200, ge=0)

    storescp_port: Port | None = None  # of dcmtk's storescp as a second receiver; None = none
    storescp_program: Path = Path("/usr/bin/storescp")
    study_quiet_seconds: float = Field(default=0.0, ge=0, le=3600)
    study_objects: int = Field(default=0, ge=0)
    watched_folder: Path | None = None
    query_peer: Peer | None = None
    query_retrieve: Literal["get", "move"] = "get"
    query_url: str | None = None  # a DICOMweb service
    query_ca: Path | None = None  # who signed its certificate, where the system does not know
    query_authorization_file: Path | None = None  # value of its Authorization header
    query_minutes: float = Field(default=15.0, gt=0)
    query_lookback_days: int = Field(default=3, ge=0, le=60)
    query_modalities: Annotated[tuple[str, ...], Field(min_length=1)] = ("DX", "CR")
    query_sop_classes: Annotated[tuple[str, ...], Field(min_length=1, max_length=16)] = (
        "1.2.840.10008.5.1.4.1.1.1.1",
        "1.2.840.10008.5.1.4.1.1.1",
    )
    upload_host: str = "127.0.0.1"
    upload_port: Port | None = None  # of the page that takes pictures; None = no page
    upload_certificate: Path | None = None
    upload_key: Path | None = None
    upload_password_file: Path | None = None
    upload_cameras: dict[Word, Camera] = {}
    status_host: str = "127.0.0.1"
    status_port: Port | None = None  # of the page for people on this machine; None = no page

    central_url: str
    audience: str = ""
    central_keys: tuple[Key, ...] = ()
    enrolment_code_file: Path | None = None

    results_folder: Path | None = None
    results_peer: Peer | None = None
    results_hl7: Listener | None = None
    results_ups: Peer | None = None  # who keeps work items (UPS Push)
    label_inbox: Path | None = None
    label_policies: tuple[Word, ...] = ()  # what may leave as it is; others leave as a pseudonym
    reader_groups: dict[str, Word] = {}  # reader as in the label files: its group, which leaves

    watermark_hours: int = Field(default=24, ge=1, le=24 * 14)
    k: int = Field(default=DEFAULT.k, ge=DEFAULT.k)
    minimum_n: int = Field(default=DEFAULT.minimum_n, ge=DEFAULT.minimum_n)
    noise_epsilon: float | None = Field(default=None, ge=LEAST_EPSILON, le=MOST_EPSILON)
    retention_days: int = Field(default=30, ge=1)

    workers: int = Field(default=1, ge=1, le=64)
    case_seconds: float = Field(default=60.0, gt=0)
    memory_mb: int = Field(default=6144, ge=1024)

    @field_validator("query_url")
    @classmethod
    def _plain_url(cls, value: str | None) -> str | None:
        parts = urlsplit(value or "")
        plain = parts.scheme in ("http", "https") and parts.hostname
        if value is not None and (not plain or parts.query or parts.fragment or parts.username):
            raise ValueError("an address such as https://pacs.example/dicom-web expected")
        return value.rstrip("/") if value else None

    @field_validator("site_timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        if value not in available_timezones():
            raise ValueError("an IANA time zone such as Europe/Berlin expected")
        return value

    @field_validator("central_url")
    @classmethod
    def _safe_url(cls, value: str) -> str:
        parts = urlsplit(value)
        if not parts.hostname or parts.query or parts.username:
            raise ValueError("an address such as https://lockwatch.example expected")
        if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOOPBACK):
            raise ValueError("https expected; http only to this machine")
        return value.rstrip("/")

    @model_validator(mode="after")
    def _enough_keys(self) -> Self:
        if self.signature_threshold > len(set(self.trusted_keys)):
            raise ValueError("signature_threshold: no more than the trusted keys expected")
        return self

    @model_validator(mode="after")
    def _whole_tls(self) -> Self:
        if self.tls_certificate is not None and self.tls_key is None:
            raise ValueError("tls_certificate: expected together with tls_key")
        if self.tls_key is not None and self.tls_certificate is None:
            raise ValueError("tls_key: expected together with tls_certificate")
        if self.tls_ca is not None and self.tls_certificate is None:
            raise ValueError("tls_ca: expected only with tls_certificate and tls_key")
        return self

    @model_validator(mode="after")
    def _storescp_unguarded(self) -> Self:
        guards = {"allowed_addresses": self.allowed_addresses, "tls_certificate": self.tls_key}
        set_here = [name for name, value in guards.items() if value]
        if self.storescp_port is not None and set_here:
            raise ValueError(f"storescp_port: expected without {set_here[0]}, which it ignores")
        if self.storescp_port is not None and self.storescp_port in (0, self.port):
            raise ValueError("storescp_port: a number other than 0 and that of port expected")
        return self

    @model_validator(mode="after")
    def _studies_end(self) -> Self:
        if self.study_objects and not self.study_quiet_seconds:
            raise ValueError(
                "study_objects: expected together with study_quiet_seconds, "
                "or a study that stays smaller would wait for ever"
            )
        return self

    @model_validator(mode="after")
    def _upload_guarded(self) -> Self:
        if self.upload_certificate is not None and self.upload_key is None:
            raise ValueError("upload_certificate: expected together with upload_key")
        guards = self.upload_certificate, self.upload_password_file
        if self.upload_host not in LOOPBACK and None in guards:
            raise ValueError(
                "upload_host: another address than this machine's own is expected only with "
                "upload_certificate, upload_key and upload_password_file"
            )
        return self

    @model_validator(mode="after")
    def _secret_kept(self) -> Self:
        if self.query_authorization_file is None:
            return self
        parts = urlsplit(self.query_url or "")
        if parts.scheme != "https" and parts.hostname not in LOOPBACK:
            raise ValueError("query_authorization_file: expected only with an https query_url")
        return self

    @property
    def zone(self) -> ZoneInfo:
        """The site's time zone."""
        return ZoneInfo(self.site_timezone)

    @property
    def limits(self) -> Limits:
        """The disclosure limits: the house's, or stricter ones."""
        return Limits(minimum_n=self.minimum_n, k=self.k)

    @property
    def addressed_to(self) -> str:
        """What a request names as its audience."""
        return self.audience or self.central_url


def load(path: Path) -> EdgeSettings:
    """The settings in the TOML file at `path`, or `SettingsRefused` naming line and field."""
    try:
        text = path.read_text()
        raw = tomllib.loads(text)
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsRefused(f"{path.name}: cannot be read: {type(error).__name__}") from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsRefused(f"{path.name}: {error}") from error
    try:
        settings = EdgeSettings.model_validate(raw)
    except ValidationError as error:
        raise SettingsRefused(f"{path.name}: {_describe(error, text)}") from error
    return _anchored(settings, path.resolve().parent)


def _describe(error: ValidationError, text: str) -> str:
    return "; ".join(
        _one(tuple(map(str, one["loc"])), str(one["msg"]), text)
        for one in error.errors(include_input=False, include_url=False)
    )


def _one(where: tuple[str, ...], message: str, text: str) -> str:
    # What speaks of several fields begins with the name of the one to look at.
    named = re.match(r"Value error, (\w+):", message)
    line = _line(where or ((named[1],) if named else ()), text)
    return f"{f'line {line}: ' if line else ''}{'.'.join(where) or 'settings'}: {message}"


def _line(where: tuple[str, ...], text: str) -> int | None:
    """The line in which a field, or else what it stands in, is set."""
    found, wanted = None, list(where)
    for number, line in enumerate(text.splitlines(), start=1):
        if wanted and re.match(rf"\s*(\[+\s*)?[\"']?{re.escape(wanted[0])}[\"']?\s*[\]=]", line):
            found, wanted = number, wanted[1:]
    return found


def _anchored(settings: EdgeSettings, folder: Path) -> EdgeSettings:
    found: dict[str, Any] = dict(settings)
    paths = {name: folder / value for name, value in found.items() if isinstance(value, Path)}
    return settings.model_copy(update=paths)
