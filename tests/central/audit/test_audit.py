"""The trail: whole, ordered, and verifiable without us."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from app import clock
from app.central.accounts.models import Role
from app.central.audit import service
from app.central.audit.models import AuditEntry
from app.central.audit.verifier import verify
from app.central.database import session_factory
from app.contracts.signing import SigningKey
from app.contracts.signing import verify as verify_signature
from tests.conftest import Clock
from tests.support.fleet import World

KEY = SigningKey.from_seed(bytes(range(32)))


def entries(session: Session, n: int) -> None:
    for i in range(n):
        service.record(
            session,
            actor="ann",
            action="test:thing:do",
            subject=f"thing-{i}",
            at=clock.now(),
            reason="because — ünïcode",
            detail={"before": i, "after": i + 1},
        )


def exported(session: Session) -> list[bytes]:
    return list(service.export(session, KEY, clock.now()))


def test_an_untouched_trail_verifies(session: Session, simulated_clock: Clock) -> None:
    entries(session, 5)

    said = verify(exported(session))

    assert said == f"5 entries, unaltered, head {service.head(session)}"


def test_an_empty_trail_verifies(session: Session, simulated_clock: Clock) -> None:
    assert verify(exported(session)).startswith("0 entries")


def test_the_checkpoint_is_signed_by_the_centre(session: Session, simulated_clock: Clock) -> None:
    entries(session, 2)

    last = json.loads(exported(session)[-1])

    signature = bytes.fromhex(last["signature"])
    verify_signature(KEY.public, service.DOMAIN, last["checkpoint"].encode(), signature)
    assert json.loads(last["checkpoint"])["head"] == service.head(session)


def test_an_altered_entry_is_named(session: Session, simulated_clock: Clock) -> None:
    entries(session, 5)
    trail = exported(session)
    trail[2] = trail[2].replace(b"thing-2", b"thing-9")

    with pytest.raises(ValueError, match="line 3: entry 3 was altered"):
        verify(trail)


def test_an_entry_altered_with_its_hash_breaks_the_next(
    session: Session, simulated_clock: Clock
) -> None:
    entries(session, 5)
    trail = exported(session)
    entry = json.loads(trail[2])
    entry["body"] = entry["body"].replace("thing-2", "thing-9")
    entry["hash"] = service.entry_hash(entry["previous"], entry["body"].encode())
    trail[2] = json.dumps(entry).encode()

    with pytest.raises(ValueError, match="line 4: entry 4 does not follow"):
        verify(trail)


def test_a_removed_entry_is_missed(session: Session, simulated_clock: Clock) -> None:
    entries(session, 5)
    trail = exported(session)
    del trail[2]

    with pytest.raises(ValueError, match="line 3: entry 4 does not follow"):
        verify(trail)


def test_entries_in_another_order_are_noticed(session: Session, simulated_clock: Clock) -> None:
    entries(session, 3)
    trail = exported(session)
    trail[0], trail[1] = trail[1], trail[0]

    with pytest.raises(ValueError, match="line 1: entry 2 does not follow"):
        verify(trail)


def test_a_trail_cut_off_at_its_end_is_noticed(session: Session, simulated_clock: Clock) -> None:
    entries(session, 5)
    trail = exported(session)

    with pytest.raises(ValueError, match="checkpoint at the end is missing"):
        verify(trail[:-1])
    with pytest.raises(ValueError, match="5 entries expected, got 3"):
        verify([*trail[:3], trail[-1]])


def test_a_trail_rewritten_from_the_start_lacks_the_hash_a_hospital_holds(
    session: Session, simulated_clock: Clock
) -> None:
    entries(session, 3)
    held = service.head(session)
    entries(session, 2)
    trail = exported(session)

    assert verify(trail, held).startswith("5 entries")
    with pytest.raises(ValueError, match="no entry has the hash"):
        verify(trail, "ab" * 32)


@pytest.mark.parametrize("line", [b"", b"[]", b"{}", b"\xff", b'{"body": 1}', b'{"body": "x"}'])
def test_what_is_no_entry_is_named(session: Session, simulated_clock: Clock, line: bytes) -> None:
    entries(session, 2)
    trail = exported(session)
    trail[1] = line

    with pytest.raises(ValueError, match="line 2"):
        verify(trail)


def test_the_verifier_runs_without_us(
    session: Session, simulated_clock: Clock, tmp_path: Path
) -> None:
    entries(session, 3)
    trail = tmp_path / "trail.jsonl"
    trail.write_bytes(b"".join(exported(session)))
    alone = tmp_path / "verifier.py"
    alone.write_bytes(service.VERIFIER.read_bytes())

    def run() -> subprocess.CompletedProcess[str]:
        # -I -S: no site-packages, no current directory, nothing of ours.
        command = [sys.executable, "-I", "-S", alone, trail]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    intact = run()
    trail.write_bytes(trail.read_bytes().replace(b"thing-1", b"thing-7"))
    altered = run()

    assert (intact.returncode, intact.stdout[:9]) == (0, "3 entries")
    assert altered.returncode == 1
    assert "NOT INTACT: line 2: entry 2 was altered" in altered.stdout


def test_many_writers_make_one_chain(fresh_database: Engine, simulated_clock: Clock) -> None:
    factory = session_factory(fresh_database)

    def write(_: int) -> None:
        for _ in range(10):
            with factory.begin() as session:
                entries(session, 1)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))

    with factory() as session:
        assert session.scalar(select(func.count()).select_from(AuditEntry)) == 80
        assert verify(exported(session)).startswith("80 entries")


def test_an_auditor_reads_and_exports_and_that_is_recorded(world: World) -> None:
    browser = world.browser("aud", Role.AUDITOR)

    trail = browser.get("/api/v1/audit/export").content

    assert verify(trail.splitlines(keepends=True))
    newest = browser.get("/api/v1/audit", params={"limit": 1}).json()
    assert (newest[0]["action"], newest[0]["actor"]) == ("audit:trail:export", "aud")
