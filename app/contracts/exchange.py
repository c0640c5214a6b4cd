"""What goes back to an edge, and how an edge speaks.

Receipts and operating points are DSSE envelopes. Only a receipt signed by the centre is an
acknowledgement. An operating point never leaves the envelope inside the edge's own bundle.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.contracts.manifest import Threshold
from app.errors import ContractError

RECEIPT_TYPE = "application/vnd.lockwatch.receipt.v1+json"
OPERATING_POINT_TYPE = "application/vnd.lockwatch.operating-point.v1+json"
REQUEST_DOMAIN = "lockwatch/request/v1"
ENROLMENT_DOMAIN = "lockwatch/enrolment/v1"
KEY_DOMAIN = "lockwatch/edge-key/v1"
KEY_RECEIPT_TYPE = "application/vnd.lockwatch.edge-key-receipt.v1+json"
Digest = Field(pattern=r"^[0-9a-f]{64}$")
HEADERS = {
    "edge": "lockwatch-edge",
    "time": "lockwatch-time",
    "nonce": "lockwatch-nonce",
    "signature": "lockwatch-signature",
}


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class WindowReceipt(_Closed):
    """What happened to one window. Same digest again: `duplicate`, one row."""

    sequence: int
    digest: str = Digest
    outcome: Literal["stored", "duplicate", "quarantined"]
    reason: str = ""


class Receipt(_Closed):
    """The centre's word about one edge: its cursor, its gaps, the head of the audit chain."""

    contract: Literal["lockwatch/receipt/v1"] = "lockwatch/receipt/v1"
    edge_id: str
    epoch: int
    acked_through: int  # every sequence up to and including this one is stored or quarantined
    gaps: tuple[tuple[int, int], ...] = ()  # missing above acked_through, inclusive pairs
    windows: tuple[WindowReceipt, ...]
    release_counter: int  # highest release known for the edge's device: guards against rollback
    operating_point: str | None = None  # id of one waiting to be pulled
    audit_head: str
    at: datetime


class OperatingPoint(_Closed):
    """A signed change of thresholds, inside the cleared envelope."""

    contract: Literal["lockwatch/operating-point/v1"] = "lockwatch/operating-point/v1"
    id: str = Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")
    lock_digest: str = Digest
    sites: tuple[str, ...]
    thresholds: tuple[Threshold, ...]
    effective_from: datetime
    counter: int = Field(ge=1)  # monotonic per lock digest and site: no replay, no downgrade
    previous: str
    rollback_to: str
    reason: str
    proposal_digest: str = Digest


class EnrolmentRequest(_Closed):
    """An edge presents its key with a one-time code; idempotent for the same key."""

    code: str
    public_key: str = Digest
    agent_version: str
    lock_digest: str = Digest
    signature: str  # hex, by the key over ENROLMENT_DOMAIN and code, key, lock digest joined by \n


class EnrolmentAnswer(_Closed):
    """What the centre tells a pending or active edge."""

    edge_id: str
    epoch: int
    site: str
    state: Literal["pending", "active", "suspended", "revoked", "retired"]
    receipt_keys: tuple[str, ...]  # hex public keys, current first


class DeclareEpoch(_Closed):
    """An edge that lost or rolled back its journal starts a new epoch."""

    epoch: int
    reason: Literal["journal_lost", "journal_rolled_back", "re_enrolled"]


class KeyRequest(_Closed):
    """An edge asks for another key, in a request that its present key signs; idempotent."""

    public_key: str = Digest
    signature: str  # hex, by the new key over KEY_DOMAIN and edge id, new key joined by \n


class KeyAnswer(_Closed):
    """What a person has said to that key so far."""

    public_key: str = Digest
    state: Literal["pending", "approved", "refused", "in_use"]


class KeySwitch(_Closed):
    """An edge begins to use an approved key: after this window, no signature of the old one."""

    public_key: str = Digest
    epoch: int = Field(ge=1, lt=1 << 62)
    last_sequence: int = Field(ge=0, lt=1 << 62)  # the last window under the old key


class KeyReceipt(_Closed):
    """The centre's signed word that the new key is in use; the old one may go."""

    contract: Literal["lockwatch/edge-key-receipt/v1"] = "lockwatch/edge-key-receipt/v1"
    edge_id: str
    public_key: str = Digest
    epoch: int
    last_sequence: int
    at: datetime


M = TypeVar("M", bound=BaseModel)


def parse(model: type[M], payload: bytes) -> M:
    """`payload` as `model`, or `ContractError` naming the first field that does not fit."""
    try:
        return model.model_validate(json.loads(payload))
    except (ValidationError, ValueError, RecursionError) as error:
        detail = type(error).__name__
        if isinstance(error, ValidationError):
            first = error.errors(include_input=False)[0]
            detail = f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
        raise ContractError("shape", f"not a {model.__name__}: {detail}") from error


def request_message(
    method: str, path: str, audience: str, time: str, nonce: str, content_digest: str
) -> bytes:
    """The bytes an edge signs (domain `REQUEST_DOMAIN`) to show who is calling now.

    The time is that of the request (within 5 minutes), never of the window inside it.
    """
    return "\n".join((method, path, audience, time, nonce, content_digest)).encode()


def enrolment_message(code: str, public_key: str, lock_digest: str) -> bytes:
    """The bytes an edge signs (domain `ENROLMENT_DOMAIN`) to prove it holds its key."""
    return "\n".join((code, public_key, lock_digest)).encode()


def key_message(edge_id: str, public_key: str) -> bytes:
    """The bytes an edge signs with its new key (domain `KEY_DOMAIN`) to prove it holds it."""
    return "\n".join((edge_id, public_key)).encode()
