"""Verify an exported audit trail without lockwatch: Python's standard library and this file.

    python verifier.py TRAIL.jsonl [--key KEY] [--held FILE]... [--head HASH]

Every entry is hashed again from its content; roots alone prove nothing. The checkpoint at the end
is signed: `--key` is the centre's public key, as `lockwatch central init` printed it and edges pin
it; without it the key that the trail itself names is used, and a forger would name his own.

A chain cannot show that its end was cut off, nor that all of it was written anew. What was carried
away before can: `--held` takes a receipt of a hospital (`lockwatch edge receipt`), the evidence of
an issued report, or an older export. Each must be signed by the same key, and the entry that it
names must be in the trail at its place. Exit code 0: whole and unaltered; 1: the first bad line.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

DOMAIN = "lockwatch/audit/v1"
RECEIPT_TYPE = "application/vnd.lockwatch.receipt.v1+json"
NOTHING = "0" * 64


class Held(NamedTuple):
    """A signed word about the trail that was carried away. `entries`: None where it says none."""

    name: str
    head: str
    entries: int | None


def verify(
    lines: Iterable[bytes],
    head: str | None = None,
    *,
    key: str | None = None,
    held: Sequence[tuple[str, bytes]] = (),
) -> str:
    """A sentence about an intact trail; raises ValueError naming the first bad line.

    head : a hash that must be in it. key : the centre's public key, hex. held : name and content
    of receipts, reports' evidence and older exports.
    """
    wanted = {head} if head is not None else set()
    wanted |= {found.head for found in (_held(*one, None) for one in held)}
    sequence, previous, last = 0, NOTHING, b""
    places = {NOTHING: 0}
    for number, line in enumerate(lines, start=1):
        entry = _parse(line, number)
        if last:
            raise ValueError(f"line {number}: something follows the checkpoint")
        if "checkpoint" in entry:
            last = line
            continue
        sequence += 1
        previous = _check(entry, number, sequence, previous)
        if previous in wanted:
            places[previous] = sequence
    if not last:
        raise ValueError("the checkpoint at the end is missing: the trail was cut off")
    signer = _check_end(json.loads(last), sequence, previous, key)
    if head is not None and head not in places:
        raise ValueError(f"no entry has the hash {head}: the trail is not the one that was seen")
    for name, content in held:
        _compare(_held(name, content, signer), places)
    said = f"{sequence} entries, unaltered, head {previous}"
    return f"{said}, {len(held)} held checkpoints found" if held else said


def _check_end(last: dict[str, Any], sequence: int, previous: str, key: str | None) -> str:
    """The public key that signed the checkpoint, hex."""
    checkpoint, signer = _checkpoint(last, "checkpoint", key)
    if (checkpoint["entries"], checkpoint["head"]) != (sequence, previous):
        raise ValueError(
            f"checkpoint: {checkpoint['entries']} entries expected, got {sequence} or another head"
        )
    return signer


def _checkpoint(found: dict[str, Any], name: str, key: str | None) -> tuple[dict[str, Any], str]:
    """What a signed checkpoint says, and the public key that signed it."""
    try:
        body = found["checkpoint"].encode()
        signer, signature = bytes.fromhex(found["public_key"]), bytes.fromhex(found["signature"])
        said = json.loads(body)
        said["entries"], said["head"]
    except (KeyError, TypeError, ValueError, AttributeError):
        raise ValueError(f"{name}: not a signed checkpoint") from None
    if key is not None and signer.hex() != key.lower():
        raise ValueError(f"{name}: signed by another key than {key}")
    domain = DOMAIN.encode()
    if not is_signed(signer, len(domain).to_bytes(2, "big") + domain + body, signature):
        raise ValueError(f"{name}: its signature does not verify")
    return said, signer.hex()


def _held(name: str, content: bytes, key: str | None) -> Held:
    """What was carried away; with a `key` its signature is checked."""
    try:
        rows = content.splitlines()
        found = json.loads(rows[-1]) if len(rows) > 1 else json.loads(content)
        is_receipt = "payloadType" in found
        found = json.loads(found["audit_checkpoint"]) if "audit_checkpoint" in found else found
    except (IndexError, TypeError, ValueError):
        raise ValueError(f"{name}: a receipt, a report's evidence or an export expected") from None
    if is_receipt:
        return _receipt(name, found, key)
    said, _ = _checkpoint(found, name, key)
    return Held(name, said["head"], said["entries"])


def _receipt(name: str, envelope: dict[str, Any], key: str | None) -> Held:
    """A receipt in its DSSE envelope: the centre's signature is over all of it."""
    try:
        body = base64.b64decode(envelope["payload"], validate=True)
        signatures = [base64.b64decode(s["sig"], validate=True) for s in envelope["signatures"]]
        head = str(json.loads(body)["audit_head"])
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"{name}: not a receipt") from None
    kind = RECEIPT_TYPE.encode()
    message = b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(body), body)
    if key is not None and not any(is_signed(bytes.fromhex(key), message, s) for s in signatures):
        raise ValueError(f"{name}: not a receipt signed by the key {key}")
    return Held(name, head, None)


def _compare(held: Held, places: dict[str, int]) -> None:
    if held.head not in places:
        raise ValueError(
            f"{held.name}: no entry has the hash {held.head} that it names: "
            "the trail was cut off or written anew"
        )
    if held.entries not in (None, places[held.head]):
        raise ValueError(
            f"{held.name}: entry {held.entries} expected at {held.head}, got {places[held.head]}"
        )


def _parse(line: bytes, number: int) -> dict[str, Any]:
    try:
        entry = json.loads(line)
        if not isinstance(entry, dict):
            raise TypeError
    except (ValueError, TypeError):
        raise ValueError(f"line {number}: not a JSON object") from None
    return entry


def _check(entry: dict[str, Any], number: int, sequence: int, previous: str) -> str:
    try:
        body = entry["body"].encode()
        named = json.loads(body)["sequence"]
        found = hashlib.sha256(f"{DOMAIN}\n{entry['previous']}\n".encode() + body).hexdigest()
        said = entry["hash"], entry["previous"], entry["sequence"]
    except (KeyError, TypeError, ValueError, AttributeError):
        raise ValueError(f"line {number}: not an audit entry") from None
    if found != said[0]:
        raise ValueError(f"line {number}: entry {named} was altered")
    if said[1] != previous:
        raise ValueError(f"line {number}: entry {named} does not follow the one before it")
    if (named, said[2]) != (sequence, sequence):
        raise ValueError(f"line {number}: entry {sequence} expected, got {named}")
    return found


# Ed25519 (RFC 8032, 5.1.7 and 6), for verifying only: nothing secret passes through here.
P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT = pow(2, (P - 1) // 4, P)  # of -1
Point = tuple[int, int, int, int]  # extended coordinates X, Y, Z, T


def is_signed(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether `signature` is that of the public key over the message."""
    if len(public) != 32 or len(signature) != 64:
        return False
    key, r = _decoded(public), _decoded(signature[:32])
    s = int.from_bytes(signature[32:], "little")
    if key is None or r is None or s >= ORDER:
        return False
    digest = hashlib.sha512(signature[:32] + public + message).digest()
    challenge = int.from_bytes(digest, "little") % ORDER
    left, right = _times(s, _base()), _sum(r, _times(challenge, key))
    return (left[0] * right[2] - right[0] * left[2]) % P == 0 and (
        left[1] * right[2] - right[1] * left[2]
    ) % P == 0


def _base() -> Point:
    y = 4 * pow(5, P - 2, P) % P
    found = _decoded(y.to_bytes(32, "little"))
    assert found is not None
    return found


def _decoded(encoded: bytes) -> Point | None:
    y = int.from_bytes(encoded, "little")
    sign, y = y >> 255, y & ((1 << 255) - 1)
    if y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT % P
    if (x * x - square) % P or (x == 0 and sign):
        return None
    x = P - x if x & 1 != sign else x
    return x, y, 1, x * y % P


def _sum(p: Point, q: Point) -> Point:
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % P, (p[1] + p[0]) * (q[1] + q[0]) % P
    c, d = 2 * p[3] * q[3] * D % P, 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def _times(factor: int, point: Point) -> Point:
    total: Point = (0, 1, 1, 0)
    while factor:
        if factor & 1:
            total = _sum(total, point)
        point, factor = _sum(point, point), factor >> 1
    return total


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description="Verify an exported lockwatch audit trail.")
    parser.add_argument("trail")
    parser.add_argument("--key", help="the centre's public key, hex")
    parser.add_argument("--held", action="append", default=[], help="a file that was carried away")
    parser.add_argument("--head", help="a hash that the trail must contain")
    given = parser.parse_args()
    try:
        held = [(name, _bytes(name)) for name in given.held]
        with open(given.trail, "rb") as file:  # noqa: PTH123 - stands alone
            said = verify(file, given.head, key=given.key, held=held)
        sys.stdout.write(said + "\n")
    except ValueError as error:
        sys.stdout.write(f"NOT INTACT: {error}\n")
        return 1
    return 0


def _bytes(name: str) -> bytes:
    with open(name, "rb") as file:  # noqa: PTH123 - stands alone
        return file.read()


if __name__ == "__main__":
    sys.exit(main())
