"""Ways out for mail: SMTP with TLS and authentication, or a maildir on this machine."""

from __future__ import annotations

import mailbox
import smtplib
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from app.central.errors import Unusable

TIMEOUT_S = 30.0


class DeliveryFailed(Exception):
    """The message was not accepted. Permanent refusals are not tried again."""

    def __init__(self, message: str, *, is_permanent: bool = False) -> None:
        super().__init__(message)
        self.is_permanent = is_permanent


class DeliveryUncertain(Exception):
    """The connection ended after the text had gone: it may or may not have been accepted."""


class Transport(Protocol):
    """Hands one message to one recipient's mail system."""

    def send(self, sender: str, recipient: str, message: bytes) -> None:
        """Return when it was accepted; otherwise `DeliveryFailed` or `DeliveryUncertain`."""
        ...


@dataclass(frozen=True, slots=True)
class Maildir:
    """Mail into a folder that any mail reader opens."""

    folder: Path

    def send(self, sender: str, recipient: str, message: bytes) -> None:  # noqa: ARG002
        """Add the message; the envelope is in its own headers."""
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            mailbox.Maildir(self.folder, create=True).add(message)
        except OSError as error:
            raise DeliveryFailed(f"maildir: {type(error).__name__}") from error


@dataclass(frozen=True, slots=True)
class Smtp:
    """An SMTP server: STARTTLS whenever it is offered, always before a password is given."""

    host: str
    port: int
    implicit_tls: bool = False
    user: str = ""
    password: str = ""

    def send(self, sender: str, recipient: str, message: bytes) -> None:
        """One connection a message: a broken one concerns nobody else."""
        try:
            with self._open() as server:
                self._introduce(server)
                _accepted(server.mail(sender))
                _accepted(server.rcpt(recipient))
                _transmit(server, message)
        except smtplib.SMTPResponseException as error:
            permanent = 500 <= error.smtp_code < 600
            raise DeliveryFailed(f"SMTP {error.smtp_code}", is_permanent=permanent) from error
        except (OSError, smtplib.SMTPException) as error:
            raise DeliveryFailed(type(error).__name__) from error

    def _open(self) -> smtplib.SMTP:
        if self.implicit_tls:
            context = ssl.create_default_context()
            return smtplib.SMTP_SSL(self.host, self.port, timeout=TIMEOUT_S, context=context)
        return smtplib.SMTP(self.host, self.port, timeout=TIMEOUT_S)

    def _introduce(self, server: smtplib.SMTP) -> None:
        server.ehlo_or_helo_if_needed()
        if not self.implicit_tls and server.has_extn("starttls"):
            server.starttls(context=ssl.create_default_context())
            server.ehlo()
        elif not self.implicit_tls and self.user:
            raise DeliveryFailed("no TLS offered: the password is not given", is_permanent=True)
        if self.user:
            server.login(self.user, self.password)


def open_transport(address: str, *, user: str = "", password: str = "") -> Transport:
    """The transport that `smtp://host:port`, `smtps://host:port` or `maildir:/folder` names."""
    parts = urlsplit(address)
    match parts.scheme:
        case "maildir" if parts.path:
            return Maildir(Path(parts.path))
        case "smtp" if parts.hostname:
            return Smtp(parts.hostname, parts.port or 25, False, user, password)
        case "smtps" if parts.hostname:
            return Smtp(parts.hostname, parts.port or 465, True, user, password)
    raise Unusable(f"mail: smtp://, smtps:// or maildir:/ expected, got {parts.scheme!r}")


def _accepted(answer: tuple[int, bytes]) -> None:
    code, said = answer
    if code not in {250, 251}:
        raise smtplib.SMTPResponseException(code, said)


def _transmit(server: smtplib.SMTP, message: bytes) -> None:
    try:
        _accepted(server.data(message))
    except (smtplib.SMTPServerDisconnected, OSError) as error:
        raise DeliveryUncertain(type(error).__name__) from error
