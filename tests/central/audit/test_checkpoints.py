"""What was carried away shows that a trail was cut off or written anew."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from app import clock
from app.central.audit import service
from app.central.audit.models import AuditEntry
from app.central.audit.verifier import is_signed, verify
from app.central.reports import service as reports
from app.contracts.exchange import RECEIPT_TYPE
from app.contracts.signing import SigningKey, canonical, open_sealed, seal
from tests.central.reports.test_report_signing import issued
from tests.support.fleet import World

OTHER = SigningKey.from_seed(bytes([9]) * 32)
ORDER = 2**252 + 27742317777372353535851937790883648493


def recorded(world: World, n: int) -> None:
    with world.sessions.begin() as session:
        for i in range(n):
            service.record(
                session, actor="ann", action="test:thing:do", subject=f"t{i}", at=clock.now()
            )


def exported(world: World, key: SigningKey | None = None) -> list[bytes]:
    with world.sessions() as session:
        return list(service.export(session, key or world.key, clock.now()))


def a_receipt(world: World) -> bytes:
    edge = world.an_edge()
    content: bytes = edge.send(edge.window()).content
    return content


def cut(trail: list[bytes], kept: int, key: SigningKey) -> list[bytes]:
    """What somebody with the centre's own key would show: a shorter trail, signed again."""
    head = json.loads(trail[kept - 1])["hash"]
    body = canonical({"entries": kept, "head": head, "at": "2026-03-10T12:00:00+00:00"})
    end = {
        "checkpoint": body.decode(),
        "signature": key.sign(service.DOMAIN, body).hex(),
        "public_key": key.public.hex(),
    }
    return [*trail[:kept], json.dumps(end).encode()]


def written_anew(trail: list[bytes], key: SigningKey) -> list[bytes]:
    """The same number of entries, one of them with another actor, every hash made again."""
    made, previous = [], service.NOTHING
    for line in trail[:-1]:
        entry = json.loads(line)
        body = entry["body"].replace('"actor":"test"', '"actor":"nobody"').encode()
        digest = service.entry_hash(previous, body)
        made.append({**entry, "body": body.decode(), "previous": previous, "hash": digest})
        previous = digest
    return cut([json.dumps(e).encode() for e in made] + [b""], len(made), key)


def test_a_receipt_of_a_hospital_is_found_in_the_trail(world: World) -> None:
    receipt = a_receipt(world)
    recorded(world, 3)
    trail = exported(world)

    said = verify(trail, key=world.key.public.hex(), held=[("receipt", receipt)])

    assert said.endswith("1 held checkpoints found")


@pytest.mark.parametrize("forged", ["cut", "written anew"])
def test_with_a_receipt_in_hand_a_forged_trail_is_found(world: World, forged: str) -> None:
    recorded(world, 3)
    receipt = a_receipt(world)
    whole = exported(world)
    trail = cut(whole, 3, world.key) if forged == "cut" else written_anew(whole, world.key)
    key = world.key.public.hex()

    assert verify(trail, key=key)  # by itself it looks whole
    with pytest.raises(ValueError, match=r"receipt: no entry has the hash .* cut off or written"):
        verify(trail, key=key, held=[("receipt", receipt)])


def test_an_issued_report_carries_a_checkpoint_that_is_found(world: World) -> None:
    number = issued(world)
    with world.sessions() as session:
        evidence = reports.issued(session, number).evidence
    recorded(world, 2)
    trail = exported(world)
    named = json.loads(json.loads(json.loads(evidence)["audit_checkpoint"])["checkpoint"])
    held = [("report", evidence)]

    assert verify(trail, key=world.key.public.hex(), held=held)
    with pytest.raises(ValueError, match="report: no entry has the hash"):
        verify(cut(trail, named["entries"] - 1, world.key), held=held)


def test_an_older_export_is_a_checkpoint_too(world: World) -> None:
    recorded(world, 3)
    older = b"".join(exported(world))
    recorded(world, 2)
    trail = exported(world)

    assert verify(trail, held=[("older", older)])
    with pytest.raises(ValueError, match="older: no entry has the hash"):
        verify(cut(trail, 2, world.key), held=[("older", older)])


def test_a_checkpoint_at_another_place_is_refused(world: World) -> None:
    recorded(world, 4)
    trail = exported(world)
    shifted = json.loads(trail[-1])
    body = canonical({**json.loads(shifted["checkpoint"]), "entries": 1})
    shifted |= {
        "checkpoint": body.decode(),
        "signature": world.key.sign(service.DOMAIN, body).hex(),
    }

    with pytest.raises(ValueError, match="held: entry 1 expected"):
        verify(trail, held=[("held", json.dumps(shifted).encode())])


def test_only_the_centre_s_own_word_counts(world: World) -> None:
    receipt = a_receipt(world)
    payload = json.loads(open_sealed(RECEIPT_TYPE, receipt, [world.key.public]))
    foreign = seal(RECEIPT_TYPE, payload, [OTHER])
    trail = exported(world)

    with pytest.raises(ValueError, match="not a receipt signed by the key"):
        verify(trail, held=[("receipt", foreign)])
    with pytest.raises(ValueError, match="signed by another key"):
        verify(exported(world, OTHER), key=world.key.public.hex())
    with pytest.raises(ValueError, match="signed by another key"):
        verify(trail, held=[("older", b"".join(exported(world, OTHER)))])
    altered = json.loads(trail[-1])
    altered["checkpoint"] = altered["checkpoint"].replace("2026-", "2027-")
    with pytest.raises(ValueError, match="signature does not verify"):
        verify([*trail[:-1], json.dumps(altered).encode()])


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"[]", b"1", b"{}", b"\xff", b'{"payloadType": 1}', b'{"audit_checkpoint": ""}'),
        b'{"payloadType": "x", "payload": "e30=", "signatures": []}',
        b'{"checkpoint": "{}"}',
    ],
)
def test_what_is_no_checkpoint_is_named(world: World, content: bytes) -> None:
    with pytest.raises(ValueError, match="strange"):
        verify(exported(world), held=[("strange", content)])


def test_the_verifier_takes_a_receipt_without_us(world: World, tmp_path: Path) -> None:
    recorded(world, 2)
    (tmp_path / "receipt.json").write_bytes(a_receipt(world))
    whole = exported(world)
    (tmp_path / "trail.jsonl").write_bytes(b"".join(whole))
    (tmp_path / "short.jsonl").write_bytes(b"".join(cut(whole, 2, world.key)))
    (tmp_path / "verifier.py").write_bytes(service.VERIFIER.read_bytes())

    def run(trail: str) -> subprocess.CompletedProcess[str]:
        more = ("--key", world.key.public.hex(), "--held", "receipt.json")
        command = [sys.executable, "-I", "-S", "verifier.py", trail, *more]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert (run("trail.jsonl").returncode, run("short.jsonl").returncode) == (0, 1)
    assert "receipt.json: no entry has the hash" in run("short.jsonl").stdout


def test_the_head_of_a_receipt_is_an_entry_of_that_moment(world: World) -> None:
    receipt = json.loads(open_sealed(RECEIPT_TYPE, a_receipt(world), [world.key.public]))

    with world.sessions() as session:
        hashes: list[Any] = [e.hash for e in session.query(AuditEntry)]
    assert receipt["audit_head"] in hashes


def test_signatures_are_those_of_rfc_8032() -> None:
    # RFC 8032, 7.1, TEST 2.
    public = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
    signature = (
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )

    assert is_signed(bytes.fromhex(public), b"\x72", bytes.fromhex(signature))


@pytest.mark.parametrize("seed", range(8))
def test_ed25519_agrees_with_the_library_that_signs(seed: int) -> None:
    key = SigningKey.from_seed(hashlib.sha256(bytes([seed])).digest())
    message = hashlib.sha512(bytes([seed])).digest() * seed
    domain = b"d"
    whole = len(domain).to_bytes(2, "big") + domain + message
    signature = key.sign("d", message)

    assert is_signed(key.public, whole, signature)
    assert not is_signed(key.public, whole + b"!", signature)
    assert not is_signed(OTHER.public, whole, signature)
    for at in (0, 40):
        flipped = bytearray(signature)
        flipped[at] ^= 1
        assert not is_signed(key.public, whole, bytes(flipped))
    # The same signature with its scalar one order higher is another text, and refused.
    s = int.from_bytes(signature[32:], "little") + ORDER
    assert not is_signed(key.public, whole, signature[:32] + s.to_bytes(32, "little"))
    assert not is_signed(b"", whole, signature)
