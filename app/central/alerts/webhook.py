"""A program that is told: one POST of signed JSON, through the same outbox as mail.

    POST (the address)
    Content-Type: application/json
    Idempotency-Key: the message's id
    Lockwatch-Signature: hex Ed25519 over the domain "lockwatch/webhook/v1" and the exact body
    {"id": …, "at": …, "subject": …, "text": …}

The body is frozen when it is caused: every repeat is byte for byte the same. Redirects are not
followed. Any 2xx is an acceptance.
"""

from __future__ import annotations

import http.client
import json
import ssl
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

from app.central.alerts.ports import RenderedMail
from app.central.alerts.transport import (
    TIMEOUT_S,
    DeliveryFailed,
    DeliveryUncertain,
    Transport,
)
from app.central.errors import Unusable
from app.contracts.signing import SigningKey, canonical

DOMAIN = "lockwatch/webhook/v1"
LOOPBACK = ("127.0.0.1", "::1", "localhost")
LATER = (408, 425, 429)  # refusals that say: not now


def is_webhook(recipient: str) -> bool:
    """An address of a program, not of a person."""
    return recipient.startswith(("https://", "http://"))


def check(address: str) -> None:
    """Refuse what is not a plain https address; http only to this machine."""
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise Unusable("webhook: https://host/path expected") from None
    plain = address.isascii() and address.isprintable() and not any(c in address for c in ' <>"')
    if not host or not plain or parts.username or parts.password or parts.fragment:
        raise Unusable("webhook: https://host/path expected, without a password in it")
    if parts.scheme != "https" and host not in LOOPBACK:
        raise Unusable("webhook: https expected; http only to this machine")


def compose(mail: RenderedMail, message_id: str, now: datetime) -> bytes:
    """The exact bytes of a message: what the mail says, without its layout."""
    return canonical(
        {"id": message_id, "at": now.isoformat(), "subject": mail.subject, "text": mail.text}
    )


@dataclass(frozen=True, slots=True)
class Ways:
    """Programs by webhook, people by mail."""

    mail: Transport
    key: SigningKey

    def send(self, sender: str, recipient: str, message: bytes) -> None:
        """Hand the message over, whichever way its recipient takes."""
        if is_webhook(recipient):
            _post(recipient, message, self.key.sign(DOMAIN, message).hex())
        else:
            self.mail.send(sender, recipient, message)


def _post(address: str, message: bytes, signature: str) -> None:
    parts = urlsplit(address)
    connection = _open(parts.scheme, parts.hostname or "", parts.port)
    headers = {
        "Content-Type": "application/json",
        "Idempotency-Key": str(json.loads(message)["id"]),
        "Lockwatch-Signature": signature,
    }
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection.request("POST", target, message, headers)
    except (OSError, http.client.HTTPException) as error:
        connection.close()
        raise DeliveryFailed(type(error).__name__) from error
    try:
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        raise DeliveryUncertain(type(error).__name__) from error
    finally:
        connection.close()
    if not 200 <= status < 300:
        permanent = 300 <= status < 500 and status not in LATER
        raise DeliveryFailed(f"HTTP {status}", is_permanent=permanent)


def _open(scheme: str, host: str, port: int | None) -> http.client.HTTPConnection:
    if scheme == "https":
        context = ssl.create_default_context()
        return http.client.HTTPSConnection(host, port, timeout=TIMEOUT_S, context=context)
    return http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
