"""Signed outbound requests with the standard library: no proxies, redirects or cookies."""

from __future__ import annotations

import http.client
import secrets
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from app import clock
from app.contracts.exchange import HEADERS, REQUEST_DOMAIN, request_message
from app.contracts.signing import SigningKey, sha256

TIMEOUT_S = 15.0
ANSWER_LIMIT = 1 << 20


class Unreachable(Exception):
    """No answer: refused, timed out, reset, or not HTTP."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. `retry_after` in seconds, 0 when not given."""

    status: int
    body: bytes
    retry_after: float = 0.0


@dataclass(frozen=True, slots=True)
class Centre:
    """The address of the central service, and who speaks to it."""

    url: str
    audience: str
    key: SigningKey

    def ask(
        self,
        method: str,
        path: str,
        content: bytes = b"",
        kind: str = "application/octet-stream",
        edge_id: str = "",
    ) -> Answer:
        """One request, signed when `edge_id` is given; `Unreachable` when nothing comes back."""
        parts = urlsplit(self.url)
        full = parts.path.rstrip("/") + path
        headers = {"content-type": kind, "accept": "application/json", "connection": "close"}
        if edge_id:
            headers |= self._signature(method, full, content, edge_id)
        connection = _open(parts.scheme, parts.hostname or "", parts.port)
        try:
            connection.request(method, full, body=content or None, headers=headers)
            response = connection.getresponse()
            body = response.read(ANSWER_LIMIT)
            return Answer(response.status, body, _seconds(response.getheader("retry-after")))
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(type(error).__name__) from error
        finally:
            connection.close()

    def _signature(self, method: str, path: str, content: bytes, edge_id: str) -> dict[str, str]:
        time, nonce = clock.now().isoformat(), secrets.token_hex(16)
        message = request_message(method, path, self.audience, time, nonce, sha256(content))
        return {
            HEADERS["edge"]: edge_id,
            HEADERS["time"]: time,
            HEADERS["nonce"]: nonce,
            HEADERS["signature"]: self.key.sign(REQUEST_DOMAIN, message).hex(),
        }


def _open(scheme: str, host: str, port: int | None) -> http.client.HTTPConnection:
    if scheme == "https":
        context = ssl.create_default_context()
        return http.client.HTTPSConnection(host, port, timeout=TIMEOUT_S, context=context)
    return http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)


def _seconds(value: str | None) -> float:
    return float(value) if value and value.isdigit() else 0.0


@dataclass(slots=True)
class BackOff:
    """Full jitter: after each failure, a random wait below a bound that doubles."""

    first_s: float = 1.0
    longest_s: float = 300.0
    failures: int = 0
    until: float = 0.0

    def failed(self, at_least_s: float = 0.0, draw: Callable[[], float] | None = None) -> None:
        """Wait longer from now on."""
        bound = min(self.longest_s, self.first_s * 2.0**self.failures)
        share = (draw or secrets.SystemRandom().random)()
        self.failures = min(self.failures + 1, 30)
        self.until = clock.elapsed() + max(at_least_s, bound * share)

    def succeeded(self) -> None:
        """Start over."""
        self.failures, self.until = 0, 0.0

    @property
    def is_over(self) -> bool:
        """Whether it is time to try again."""
        return clock.elapsed() >= self.until
