"""An edge changes its key: it asks, a person compares the fingerprint, it switches.

The old key signs the request and the switch, the new one proves that the edge holds it. The
switch names the last window under the old key; nothing above it may bear the old signature.
Each step may be asked again: a lost answer is given again, byte for byte.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session

from app.central.audit import service as audit
from app.central.errors import NotAllowed, NotAuthenticated
from app.central.fleet import repository
from app.central.fleet.models import OPEN_KEYS, Edge, EdgeState, KeyChange, KeyState
from app.central.fleet.service import get_edge, key_fingerprint
from app.contracts.exchange import (
    KEY_DOMAIN,
    KEY_RECEIPT_TYPE,
    KeyAnswer,
    KeyReceipt,
    KeyRequest,
    KeySwitch,
    key_message,
)
from app.contracts.signing import SigningKey, seal, verify
from app.errors import SignatureRefused

MAY_CHANGE = (EdgeState.ACTIVE, EdgeState.SUSPENDED)


def ask(session: Session, edge: Edge, request: KeyRequest, *, now: datetime) -> KeyAnswer:
    """Note the wish for a key, or say how it stands. A newer one replaces an open one."""
    _check_proof(edge, request)
    known = repository.find_key_change(session, edge.id, request.public_key)
    if known is None:
        known = _begin(session, edge, request.public_key, now)
    return KeyAnswer(public_key=known.public_key, state=known.state.value)


def _check_proof(edge: Edge, request: KeyRequest) -> None:
    message = key_message(edge.id, request.public_key)
    try:
        signature = bytes.fromhex(request.signature)
        verify(bytes.fromhex(request.public_key), KEY_DOMAIN, message, signature)
    except (SignatureRefused, ValueError):
        raise NotAuthenticated("new_key", "the new key's own signature does not verify") from None


def _begin(session: Session, edge: Edge, public_key: str, now: datetime) -> KeyChange:
    _check_state(edge)
    if repository.is_key_known(session, public_key):
        raise NotAllowed("this key is or was in use already: one key, one edge, once")
    for older in repository.key_changes(session, edge.id, OPEN_KEYS):
        older.state, older.decided_at, older.decided_by = KeyState.REFUSED, now, edge.id
    change = KeyChange(
        edge_id=edge.id, public_key=public_key, state=KeyState.PENDING, requested_at=now
    )
    session.add(change)
    session.flush()
    _record(session, edge, "request", edge.id, now, change)
    return change


def decide(
    session: Session,
    edge_id: str,
    *,
    approve: bool,
    seen_fingerprint: str,
    by: str,
    now: datetime,
    reason: str = "",
) -> Edge:
    """Approve or refuse the key that an edge asks for, named by its fingerprint.

    What was approved may be refused until the edge has switched.
    """
    edge = get_edge(session, edge_id, lock=True)
    allowed = (KeyState.PENDING,) if approve else OPEN_KEYS
    waiting = repository.key_changes(session, edge.id, allowed)
    if not waiting:
        raise NotAllowed(f"no new key of {edge_id} waits for this decision")
    change = waiting[0]
    if seen_fingerprint != key_fingerprint(change.public_key):
        raise NotAllowed("the fingerprint given is not that of the new key that was presented")
    change.state = KeyState.APPROVED if approve else KeyState.REFUSED
    change.decided_at, change.decided_by = now, by
    _record(session, edge, "approve" if approve else "refuse", by, now, change, reason)
    return edge


def switch(
    session: Session, edge: Edge, asked: KeySwitch, key: SigningKey, *, now: datetime
) -> bytes:
    """Begin to use an approved key; the signed receipt. The same again gets the same bytes."""
    change = repository.find_key_change(session, edge.id, asked.public_key)
    last = asked.epoch, asked.last_sequence
    if change is None or change.state in (KeyState.PENDING, KeyState.REFUSED):
        raise NotAllowed("this key is not approved for this edge")
    if change.state is KeyState.IN_USE:
        if edge.public_key != asked.public_key or (change.epoch, change.last_sequence) != last:
            raise NotAllowed("this key came into use after another window, or is retired")
    else:
        _check_state(edge)
        _check_place(session, edge, last)
        _take_effect(session, edge, change, last, now)
    return _receipt(change, key)


def _take_effect(
    session: Session, edge: Edge, change: KeyChange, last: tuple[int, int], now: datetime
) -> None:
    retired = {"public_key": edge.public_key, "epoch": last[0], "sequence": last[1]}
    edge.retired_keys = [*edge.retired_keys, retired]
    edge.public_key = change.public_key
    change.state, change.switched_at = KeyState.IN_USE, now
    change.epoch, change.last_sequence = last
    _record(session, edge, "switch", edge.id, now, change)


def _check_state(edge: Edge) -> None:
    if edge.state not in MAY_CHANGE:
        raise NotAllowed(f"an active edge expected, {edge.id} is {edge.state.value}")


def _check_place(session: Session, edge: Edge, last: tuple[int, int]) -> None:
    """What has arrived was signed by the present key, and must stay verifiable."""
    newest = max(edge.ring.switched_after, repository.newest_arrived(session, edge.id))
    if last < newest:
        raise NotAllowed(
            f"a switch after window {newest[1]} of epoch {newest[0]} or later expected, "
            f"got {last[1]} of {last[0]}"
        )
    if last[0] > edge.epoch:
        raise NotAllowed(f"epoch {edge.epoch} at most expected, got {last[0]}")


def _receipt(change: KeyChange, key: SigningKey) -> bytes:
    content = KeyReceipt.model_validate(
        {
            "edge_id": change.edge_id,
            "public_key": change.public_key,
            "epoch": change.epoch,
            "last_sequence": change.last_sequence,
            "at": change.switched_at,
        }
    )
    return seal(KEY_RECEIPT_TYPE, content.model_dump(mode="json"), [key])


def _record(
    session: Session,
    edge: Edge,
    step: str,
    by: str,
    now: datetime,
    change: KeyChange,
    reason: str = "",
) -> None:
    detail: dict[str, str | int] = {"fingerprint": key_fingerprint(change.public_key)}
    if change.epoch is not None and change.last_sequence is not None:
        detail |= {"epoch": change.epoch, "last_sequence": change.last_sequence}
    audit.record(
        session,
        actor=by,
        action=f"fleet:edge:{step}_key",
        subject=edge.id,
        at=now,
        reason=reason,
        detail=detail,
    )
