"""Stored windows that somebody alters behind the service's back are found within a week."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from app import clock
from app.central.audit.service import AuditLine, lines
from app.central.fleet.repository import find_edge
from app.central.surveillance import service, verification
from app.central.surveillance.service import SignalView
from app.central.worker import Worker
from app.contracts.signing import SigningKey, sha256
from app.contracts.window import Window
from tests.conftest import Clock
from tests.support.fleet import FakeEdge, World
from tests.support.rendering import RENDERERS

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
FLIPPED = "set_byte(raw, length(raw) / 2, get_byte(raw, length(raw) / 2) # 1)"
ALTERATIONS = {
    "bytes": f"UPDATE stored_window SET raw = {FLIPPED} WHERE sequence = 2",
    "bytes and their digest": f"WITH w AS (UPDATE stored_window SET raw = {FLIPPED} WHERE "
    "sequence = 2 RETURNING raw) UPDATE arrival SET content_digest = encode(sha256(w.raw), 'hex') "
    "FROM w WHERE sequence = 2",
    "gone": "DELETE FROM stored_window WHERE sequence = 2",
    "never arrived": "DELETE FROM arrival WHERE sequence = 2",
    "another time": "UPDATE stored_window SET closed_at = closed_at + interval '1 s' "
    "WHERE sequence = 2",
    "another name": "UPDATE stored_window SET digest = repeat('ab', 32) WHERE sequence = 2",
    "another version": "UPDATE stored_window SET lock_digest = repeat('ab', 32) WHERE sequence = 2",
    "another arrival": "UPDATE stored_window SET received_at = received_at - interval '1 day' "
    "WHERE sequence = 2",
}


def three_windows(world: World) -> FakeEdge:
    edge = world.an_edge()
    for day in (6, 7, 8):
        edge.send(edge.window(date(2026, 3, day)))
    return edge


def signals(world: World) -> list[SignalView]:
    with world.sessions() as session:
        return list(service.signals(session))


def entries(world: World, edge: FakeEdge) -> list[AuditLine]:
    with world.sessions() as session:
        found = lines(session, subject=edge.edge_id)
    return [line for line in found if _is_of(line)]


def a_week(world: World) -> list[SignalView]:
    """Every due time of a week; what was told."""
    told: list[SignalView] = []
    with world.sessions.begin() as session:
        for n in range(verification.SHARES):
            verification.verify_share(
                session,
                MONDAY + n * verification.PERIOD,
                lambda _, view: told.append(view),
                clock.now(),
            )
    return told


@pytest.mark.parametrize("how", ALTERATIONS)
def test_an_altered_window_is_told_once_by_name(world: World, how: str) -> None:
    edge = three_windows(world)
    assert a_week(world) == []

    assert_told_once(world, edge, ALTERATIONS[how])


def test_a_window_under_another_signature_is_told(world: World) -> None:
    """The same header and the same counts, and every digest in the database fits."""
    edge = three_windows(world)
    forged = second_again(edge, key=SigningKey.generate())

    assert_told_once(
        world,
        edge,
        "UPDATE stored_window SET raw = :raw WHERE sequence = 2",
        "UPDATE arrival SET content_digest = :content WHERE sequence = 2",
        raw=forged.raw,
        content=sha256(forged.raw),
    )


def test_another_window_of_the_same_edge_is_told(world: World) -> None:
    """The edge has signed it, under a number that another window has."""
    edge = three_windows(world)
    other = second_again(edge, agent_version="0.2.0")

    assert_told_once(
        world,
        edge,
        "UPDATE stored_window SET raw = :raw, digest = :digest WHERE sequence = 2",
        "UPDATE arrival SET digest = :digest WHERE sequence = 2",
        raw=other.raw,
        digest=other.digest,
    )


def second_again(edge: FakeEdge, **changed: Any) -> Window:
    with edge.world.sessions() as session:
        first = session.scalar(text("SELECT digest FROM arrival WHERE sequence = 1"))
    edge.sequence, edge.previous = 1, str(first)
    made = edge.window(date(2026, 3, 7), **changed)
    edge.sequence = 3
    return made


def assert_told_once(world: World, edge: FakeEdge, *statements: str, **values: object) -> None:
    """Alter, verify twice, and take it all back."""
    told: list[SignalView] = []
    with world.sessions() as session:
        for statement in statements:
            session.execute(text(statement), values)
        found = find_edge(session, edge.edge_id)
        assert found is not None
        for _ in range(2):
            verification.verify_edge(session, found, lambda _, view: told.append(view), clock.now())
        written = [line.detail for line in lines(session, subject=edge.edge_id) if _is_of(line)]
        session.rollback()  # the alteration, and what was said of it

    assert [(v.signal.event, v.severity.value, v.signal.sites) for v in told] == [
        ("stored_windows", "urgent", ("H01",))
    ]
    assert written == [{"count": 1, "windows": ["1.2"]}]


def _is_of(line: AuditLine) -> bool:
    return line.action == "surveillance:window:altered"


def test_another_alteration_is_told_anew(world: World) -> None:
    edge = three_windows(world)
    with world.sessions.begin() as session:
        kept = session.execute(text("SELECT sequence, raw FROM stored_window")).all()
        session.execute(text(ALTERATIONS["bytes"]))
    first = a_week(world)
    with world.sessions.begin() as session:
        session.execute(text(ALTERATIONS["bytes"].replace("= 2", "= 3")))

    second, third = a_week(world), a_week(world)

    with world.sessions.begin() as session:  # brought back, say from a copy
        for sequence, raw in kept:
            session.execute(
                text("UPDATE stored_window SET raw = :raw WHERE sequence = :n"),
                {"raw": raw, "n": sequence},
            )
    assert (len(first), len(second), third, a_week(world)) == (1, 1, [], [])
    assert [line.detail["windows"] for line in entries(world, edge)] == [["1.2", "1.3"], ["1.2"]]


def test_every_edge_has_its_turn_once_a_week() -> None:
    turns = [verification.share_at(MONDAY + n * verification.PERIOD) for n in range(28)]
    edges = [verification.share_of(f"edge-{n}") for n in range(1000)]

    assert sorted(turns) == list(range(verification.SHARES))
    assert set(edges) <= set(turns)
    assert max(edges.count(n) for n in turns) < 70  # of 36 on average


def test_the_worker_goes_through_all_of_them_and_health_says_since_when(
    world: World, simulated_clock: Clock
) -> None:
    edge = three_windows(world)
    worker = Worker(world.settings, world.sessions, RENDERERS)
    worker.round()
    assert health(world) is None
    with world.sessions.begin() as session:
        raw = session.execute(text("SELECT raw FROM stored_window WHERE sequence = 2")).scalar()
        session.execute(text(ALTERATIONS["bytes"]))

    simulated_clock.advance(days=7)
    worker.round()
    with world.sessions.begin() as session:
        session.execute(
            text("UPDATE stored_window SET raw = :raw WHERE sequence = 2"), {"raw": raw}
        )

    assert "stored_windows" in {v.signal.event for v in signals(world)}
    assert len(entries(world, edge)) == 1
    since = health(world)
    assert since is not None
    assert timedelta(0) <= clock.now() - since <= timedelta(days=7)


def health(world: World) -> datetime | None:
    said = world.client.get("/health").json()["windows_verified_since"]
    return None if said is None else datetime.fromisoformat(said)
