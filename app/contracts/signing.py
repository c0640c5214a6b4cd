"""Ed25519 signatures: keys, DSSE envelopes for JSON artefacts, and signed bytes with a domain.

Envelope: Dead Simple Signing Envelope v1 (github.com/secure-systems-lab/dsse). A threshold
counts unique trusted keys; `keyid` is an unauthenticated hint and is not relied upon.
Canonical JSON: RFC 8785.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import rfc8785
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from app.errors import ContractError, SignatureRefused

ENVELOPE_LIMIT = 8 << 20  # bytes of an envelope that we are willing to parse


def canonical(value: Any) -> bytes:
    """RFC 8785 bytes of a JSON value; NaN and infinities are refused."""
    try:
        return bytes(rfc8785.dumps(value))
    except (rfc8785.CanonicalizationError, ValueError, TypeError) as error:
        raise ContractError("not_canonical", f"not canonical JSON: {error}") from error


def sha256(data: bytes) -> str:
    """Hex SHA-256."""
    return hashlib.sha256(data).hexdigest()


class SigningKey:
    """An Ed25519 private key and its public half."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.public = private.public_key().public_bytes_raw()

    @classmethod
    def generate(cls) -> SigningKey:
        """A new random key."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_seed(cls, seed: bytes) -> SigningKey:
        """The key of a 32-byte seed."""
        return cls(Ed25519PrivateKey.from_private_bytes(seed))

    @classmethod
    def load_or_create(cls, path: Path) -> SigningKey:
        """The key kept at `path` (mode 0600), made there on first use."""
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(cls.generate()._private.private_bytes_raw())
                file.flush()
                os.fsync(file.fileno())
        return cls.from_seed(path.read_bytes())

    @property
    def key_id(self) -> str:
        """SHA-256 of the public key: its fingerprint."""
        return sha256(self.public)

    def sign(self, domain: str, message: bytes) -> bytes:
        """64-byte signature over the domain and the message."""
        return self._private.sign(_with_domain(domain, message))


def verify(public: bytes, domain: str, message: bytes, signature: bytes) -> None:
    """Raise `SignatureRefused` unless `signature` is `public`'s over domain and message."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, _with_domain(domain, message))
    except (InvalidSignature, ValueError) as error:
        raise SignatureRefused(f"signature over {domain} does not verify") from error


def seal(payload_type: str, payload: Any, keys: Sequence[SigningKey]) -> bytes:
    """A DSSE envelope around the canonical JSON of `payload`, signed by every key."""
    body = canonical(payload)
    message = _pae(payload_type, body)
    envelope = {
        "payload": base64.b64encode(body).decode(),
        "payloadType": payload_type,
        "signatures": [
            {"keyid": key.key_id, "sig": base64.b64encode(key._private.sign(message)).decode()}
            for key in keys
        ],
    }
    # Texts of printable ASCII under names in order: canonical as it stands, at the speed of C.
    return json.dumps(envelope, separators=(",", ":")).encode()


def open_sealed(
    payload_type: str, envelope: bytes, trusted: Sequence[bytes], threshold: int = 1
) -> bytes:
    """The payload bytes of an envelope that `threshold` unique trusted keys have signed.

    Nothing of the payload is parsed before the signatures are verified.
    """
    if threshold < 1:
        raise ValueError(f"threshold must be at least 1, got {threshold}")
    found, body, signatures = _read_envelope(envelope)
    if found != payload_type:
        raise ContractError("payload_type", f"payload type {payload_type} expected, got {found!r}")
    message = _pae(payload_type, body)
    signers = {key for key in set(trusted) if _signed_by(key, message, signatures)}
    if len(signers) < threshold:
        raise SignatureRefused(
            f"{payload_type}: {threshold} trusted signatures expected, got {len(signers)}"
        )
    return body


def _read_envelope(envelope: bytes) -> tuple[str, bytes, list[bytes]]:
    if len(envelope) > ENVELOPE_LIMIT:
        raise ContractError(
            "too_large", f"envelope of {len(envelope)} bytes, limit {ENVELOPE_LIMIT}"
        )
    try:
        outer: Mapping[str, Any] = json.loads(envelope)
        body = base64.b64decode(outer["payload"], validate=True)
        signatures = [base64.b64decode(s["sig"], validate=True) for s in outer["signatures"]]
        return str(outer["payloadType"]), body, signatures
    except (KeyError, TypeError, ValueError, binascii.Error, RecursionError) as error:
        raise ContractError("envelope", f"not a DSSE envelope: {type(error).__name__}") from error


def _signed_by(public: bytes, message: bytes, signatures: Sequence[bytes]) -> bool:
    key = Ed25519PublicKey.from_public_bytes(public)
    for signature in signatures:
        try:
            key.verify(signature, message)
        except InvalidSignature:
            continue
        return True
    return False


def _pae(payload_type: str, body: bytes) -> bytes:
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(body), body)


def _with_domain(domain: str, message: bytes) -> bytes:
    name = domain.encode()
    return len(name).to_bytes(2, "big") + name + message
