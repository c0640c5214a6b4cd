"""Who is calling now: the signed headers of an edge's request. All of them are mandatory."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from app.central.errors import NotAuthenticated
from app.central.fleet import repository
from app.central.fleet.models import Edge, EdgeState, RequestNonce
from app.contracts.exchange import HEADERS, REQUEST_DOMAIN, request_message
from app.contracts.signing import verify
from app.errors import SignatureRefused

TOLERANCE = timedelta(minutes=5)
KNOWN = (EdgeState.PENDING, EdgeState.ACTIVE, EdgeState.SUSPENDED, EdgeState.RETIRED)


def authenticate(
    session: Session,
    headers: Mapping[str, str],
    *,
    method: str,
    path: str,
    audience: str,
    content: bytes,
    now: datetime,
) -> Edge:
    """The edge that signed this request, within five minutes of `now`, for us, once."""
    edge_id, time, nonce, signature = (_header(headers, part) for part in HEADERS)
    edge = repository.find_edge(session, edge_id, lock=True)  # its key does not change meanwhile
    if edge is None or edge.state not in KNOWN:
        raise NotAuthenticated("edge", "this edge is not known or was revoked")
    digest = hashlib.sha256(content).hexdigest()
    message = request_message(method, path, audience, time, nonce, digest)
    try:
        verify(bytes.fromhex(edge.public_key), REQUEST_DOMAIN, message, bytes.fromhex(signature))
    except (SignatureRefused, ValueError):
        raise NotAuthenticated("signature", "the request's signature does not verify") from None
    if abs(_instant(time) - now) > TOLERANCE:
        raise NotAuthenticated("time", f"request time within {TOLERANCE} of {now:%FT%TZ} expected")
    if not repository.use_nonce(session, RequestNonce(edge_id=edge.id, nonce=nonce, seen_at=now)):
        raise NotAuthenticated("replay", "this request was seen before")
    edge.last_seen_at = now
    return edge


def _header(headers: Mapping[str, str], part: str) -> str:
    value = headers.get(HEADERS[part], "")
    if not value or len(value) > 256:
        raise NotAuthenticated(part, f"header {HEADERS[part]} expected")
    if part == "nonce" and not re.fullmatch(r"[0-9a-f]{16,64}", value):
        raise NotAuthenticated("nonce", "nonce: 16 to 64 hex digits expected")
    return value


def _instant(text: str) -> datetime:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise NotAuthenticated("time", "request time: ISO 8601 expected") from None
    if instant.tzinfo is None:
        raise NotAuthenticated("time", "request time: a time zone expected")
    return instant
