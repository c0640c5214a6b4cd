"""An edge changes its key, and every window stays verifiable by the key that signed it."""

from __future__ import annotations

import secrets
from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from app import clock
from app.central.accounts.models import Role
from app.central.audit.models import AuditEntry
from app.central.exports import tables
from app.central.fleet.models import Edge, EdgeAction
from app.central.intake.counting import Recount, recount
from app.central.surveillance.history import DecodedWindows, arrived_windows
from app.contracts.exchange import KEY_RECEIPT_TYPE, KeyReceipt, parse
from app.contracts.signing import SigningKey, open_sealed
from tests.support.fleet import FakeEdge, World, assert_balance

DAY = date(2026, 3, 1)


@pytest.fixture
def edge(world: World) -> FakeEdge:
    return world.an_edge()


@pytest.fixture
def new() -> SigningKey:
    return SigningKey.generate()


def decide(world: World, edge: FakeEdge, new: SigningKey, *, approve: bool = True) -> Any:
    browser = world.browser(f"approver {secrets.token_hex(4)}", Role.ADMINISTRATOR)
    content = {"approve": approve, "fingerprint": new.key_id, "reason": "compared by telephone"}
    return browser.post(f"/api/v1/edges/{edge.edge_id}/key-decisions", json=content)


def approved(world: World, edge: FakeEdge, new: SigningKey) -> None:
    assert edge.ask_for_key(new).json()["state"] == "pending"
    assert decide(world, edge, new).status_code == 200


def switched(world: World, edge: FakeEdge, new: SigningKey) -> KeyReceipt:
    answer = edge.switch_key(new)
    assert answer.status_code == 200, answer.text
    edge.key = new
    payload = open_sealed(KEY_RECEIPT_TYPE, answer.content, [world.key.public])
    return parse(KeyReceipt, payload)


def outcome(edge: FakeEdge, answer: Any) -> str:
    return edge.receipt(answer).windows[0].outcome


def test_the_switch_is_receipted_and_both_keys_windows_are_stored_and_read(
    world: World, edge: FakeEdge, new: SigningKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.central.surveillance.history.DECODED", DecodedWindows())
    first, late = edge.window(DAY), edge.window(DAY + timedelta(days=1))
    assert outcome(edge, edge.send(first)) == "stored"
    approved(world, edge, new)

    said = switched(world, edge, new)

    assert (said.public_key, said.epoch, said.last_sequence) == (new.public.hex(), 1, 2)
    after = edge.window(DAY + timedelta(days=2))
    assert outcome(edge, edge.send(late)) == "stored"  # under the old key, and not yet arrived
    assert outcome(edge, edge.send(after)) == "stored"
    assert outcome(edge, edge.send(first)) == "duplicate"
    assert_balance(world, edge)
    with world.sessions() as session:
        row = session.get_one(Edge, edge.edge_id)
        assert recount(session, row, by="test", now=clock.now()) == Recount(3, agrees=True)
        read = arrived_windows(session, world.lock_digest, upto=date(2026, 3, 31))
        wanted = tables.Wanted(world.lock_digest, None, DAY, DAY + timedelta(days=3))
        counts = tables.table(session, "counts", wanted)
    assert [a.window.header.sequence for a in read] == [1, 2, 3]
    assert {row[2] for row in counts.rows} == {1, 2, 3}


def test_above_the_switch_the_old_key_signs_nothing(
    world: World, edge: FakeEdge, new: SigningKey
) -> None:
    old = edge.key
    approved(world, edge, new)
    switched(world, edge, new)

    answer = edge.send(edge.window(DAY, key=old))

    assert (answer.status_code, answer.json()["reason"]) == (401, "retired_key")
    assert "that key ended with window 0 of epoch 1" in answer.json()["detail"]
    assert edge.get("/edge/v1/state", key=old).status_code == 401
    assert edge.get("/edge/v1/state").status_code == 200


def test_up_to_the_switch_the_new_key_signs_nothing(
    world: World, edge: FakeEdge, new: SigningKey
) -> None:
    forged = edge.window(DAY, key=new)
    approved(world, edge, new)
    switched(world, edge, new)

    assert edge.send(forged).json()["reason"] == "window_signature"


def test_an_answer_that_was_lost_is_given_again(
    world: World, edge: FakeEdge, new: SigningKey
) -> None:
    edge.send(edge.window(DAY))
    approved(world, edge, new)
    assert edge.ask_for_key(new).json()["state"] == "approved"
    first = edge.switch_key(new)

    again = edge.switch_key(new, key=new)

    assert first.content == again.content
    assert edge.switch_key(new).status_code == 401  # the old key asks for nothing any more
    assert edge.switch_key(new, 7, key=new).status_code == 409


def test_nothing_is_switched_before_a_person_has_compared_the_fingerprint(
    world: World, edge: FakeEdge, new: SigningKey
) -> None:
    assert edge.switch_key(new).status_code == 409
    edge.ask_for_key(new)
    assert edge.switch_key(new).status_code == 409

    wrong = decide(world, edge, SigningKey.generate())

    assert wrong.status_code == 409
    assert "not that of the new key" in wrong.json()["detail"]
    assert edge.switch_key(new).status_code == 409


def test_what_was_approved_may_be_refused_until_the_switch(
    world: World, edge: FakeEdge, new: SigningKey
) -> None:
    approved(world, edge, new)

    assert decide(world, edge, new, approve=False).status_code == 200

    assert edge.ask_for_key(new).json()["state"] == "refused"
    assert edge.switch_key(new).status_code == 409
    assert decide(world, edge, new).status_code == 409


def test_a_key_that_the_edge_does_not_hold_is_refused(edge: FakeEdge, new: SigningKey) -> None:
    answer = edge.ask_for_key(new, proof=SigningKey.generate())

    assert (answer.status_code, answer.json()["reason"]) == (401, "new_key")


def test_a_proof_made_for_another_edge_is_refused(
    world: World, edge: FakeEdge, new: SigningKey
) -> None:
    other = world.an_edge()
    other.edge_id, own = edge.edge_id, other.edge_id
    content = other.ask_for_key(new).request.content  # names the first edge
    other.edge_id = own

    assert other.post("/edge/v1/key", content).json()["reason"] == "new_key"


def test_one_key_is_of_one_edge_and_used_once(
    world: World, edge: FakeEdge, new: SigningKey
) -> None:
    old, other = edge.key, world.an_edge()
    assert edge.ask_for_key(other.key).status_code == 409
    approved(world, edge, new)
    switched(world, edge, new)

    assert edge.ask_for_key(old).status_code == 409
    assert other.ask_for_key(old).status_code == 409
    assert other.ask_for_key(new).status_code == 409
    assert FakeEdge(world).enrol(world.code(), old).status_code == 409


def test_windows_that_have_arrived_stay_below_the_switch(
    world: World, edge: FakeEdge, new: SigningKey
) -> None:
    edge.send(edge.window(DAY))
    edge.send(edge.window(DAY + timedelta(days=1)))
    approved(world, edge, new)

    answer = edge.switch_key(new, 1)

    assert answer.status_code == 409
    assert "after window 2 of epoch 1 or later expected, got 1 of 1" in answer.json()["detail"]


def test_a_newer_wish_takes_the_place_of_an_open_one(
    world: World, edge: FakeEdge, new: SigningKey
) -> None:
    newer = SigningKey.generate()
    approved(world, edge, new)
    edge.ask_for_key(newer)

    assert edge.switch_key(new).status_code == 409
    assert decide(world, edge, newer).json()["new_key"] == newer.key_id


def test_two_switches_and_an_epoch_keep_every_key_in_its_place(
    world: World, edge: FakeEdge, new: SigningKey
) -> None:
    keys = [edge.key, new, SigningKey.generate()]
    edge.send(edge.window(DAY))
    approved(world, edge, keys[1])
    switched(world, edge, keys[1])
    edge.send(edge.window(DAY + timedelta(days=1)))
    declared = edge.post("/edge/v1/epoch", b'{"epoch": 2, "reason": "journal_rolled_back"}')
    assert declared.status_code == 200
    edge.epoch, edge.sequence, edge.previous = 2, 0, "0" * 64
    approved(world, edge, keys[2])
    switched(world, edge, keys[2])
    edge.send(edge.window(DAY + timedelta(days=2)))

    with world.sessions() as session:
        ring = session.get_one(Edge, edge.edge_id).ring
    places = [(1, 1), (1, 2), (1, 9), (2, 1)]
    assert [ring.at(*place) for place in places] == [keys[i].public for i in (0, 1, 1, 2)]


def test_a_suspended_edge_may_change_its_key_and_a_retired_one_not(
    world: World, edge: FakeEdge, new: SigningKey
) -> None:
    world.act(edge, EdgeAction.SUSPEND)
    assert edge.ask_for_key(new).status_code == 200
    world.act(edge, EdgeAction.RETIRE)

    assert edge.ask_for_key(SigningKey.generate()).status_code == 409
    assert decide(world, edge, new).status_code == 200  # a word, but nothing comes of it
    assert edge.switch_key(new).status_code == 409


def test_only_those_who_enrol_at_the_site_decide(
    world: World, edge: FakeEdge, new: SigningKey
) -> None:
    edge.ask_for_key(new)
    content = {"approve": True, "fingerprint": new.key_id}
    world.add_site("H02")
    path = f"/api/v1/edges/{edge.edge_id}/key-decisions"

    viewer = world.browser("viewer", Role.VIEWER).post(path, json=content)
    elsewhere = world.browser("elsewhere", Role.SITE_ADMIN, "H02").post(path, json=content)

    assert (viewer.status_code, elsewhere.status_code) == (403, 404)


def test_every_step_is_in_the_audit_trail(world: World, edge: FakeEdge, new: SigningKey) -> None:
    approved(world, edge, new)
    switched(world, edge, new)

    with world.sessions() as session:
        found = session.scalars(
            select(AuditEntry.action)
            .where(AuditEntry.action.endswith("_key"), AuditEntry.subject == edge.edge_id)
            .order_by(AuditEntry.sequence)
        ).all()
    assert found == [f"fleet:edge:{step}_key" for step in ("request", "approve", "switch")]
