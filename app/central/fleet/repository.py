"""Queries on the fleet."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.central.fleet.models import (
    DeviceVersion,
    Edge,
    EdgeCursor,
    EnrolmentCode,
    KeyChange,
    KeyState,
    RequestNonce,
    Site,
)
from app.contracts.keyring import KeyRing


def find_device_version(session: Session, lock_digest: str) -> DeviceVersion | None:
    """The device version of that lock digest."""
    return session.get(DeviceVersion, lock_digest)


def device_versions(session: Session, *, limit: int = 200) -> Sequence[DeviceVersion]:
    """Every registered version, by device and release."""
    order = DeviceVersion.device, DeviceVersion.release_counter
    return session.scalars(select(DeviceVersion).order_by(*order).limit(limit)).all()


def find_site(session: Session, site_id: str) -> Site | None:
    """The site of that short name."""
    return session.get(Site, site_id)


def sites(session: Session, *, limit: int = 2000) -> Sequence[Site]:
    """Every site, by short name."""
    return session.scalars(select(Site).order_by(Site.id).limit(limit)).all()


def find_edge(session: Session, edge_id: str, *, lock: bool = False) -> Edge | None:
    """The edge of that id."""
    return session.get(Edge, edge_id, with_for_update=lock)


def is_key_known(session: Session, public_key: str) -> bool:
    """Whether an edge has this key, had it, or has asked for it."""
    had = Edge.retired_keys.contains([{"public_key": public_key}])
    edge = select(Edge.id).where((Edge.public_key == public_key) | had)
    wish = select(KeyChange.edge_id).where(KeyChange.public_key == public_key)
    return session.scalar(edge.union_all(wish).limit(1)) is not None


def find_key_change(session: Session, edge_id: str, public_key: str) -> KeyChange | None:
    """An edge's wish for this key."""
    return session.get(KeyChange, (edge_id, public_key))


def key_changes(
    session: Session, edge_id: str | None, states: Sequence[KeyState]
) -> Sequence[KeyChange]:
    """Wishes of an edge, or of all, in these states; newest first."""
    query = select(KeyChange).where(KeyChange.state.in_(states))
    if edge_id is not None:
        query = query.where(KeyChange.edge_id == edge_id)
    return session.scalars(query.order_by(KeyChange.requested_at.desc())).all()


def edges(
    session: Session, *, site_id: str | None = None, lock_digest: str | None = None
) -> Sequence[Edge]:
    """Edges in order of site and enrolment."""
    query = select(Edge).order_by(Edge.site_id, Edge.enrolled_at, Edge.id).limit(10_000)
    if site_id is not None:
        query = query.where(Edge.site_id == site_id)
    if lock_digest is not None:
        query = query.where(Edge.lock_digest == lock_digest)
    return session.scalars(query).all()


def key_rings(session: Session) -> dict[str, KeyRing]:
    """The keys of every edge, also of those that are gone: their windows stay."""
    query = select(Edge.id, Edge.public_key, Edge.retired_keys)
    return {edge_id: KeyRing.of(key, retired) for edge_id, key, retired in session.execute(query)}


def find_code(session: Session, code_hash: str) -> EnrolmentCode | None:
    """The enrolment code, locked: two keys cannot redeem it at once."""
    return session.get(EnrolmentCode, code_hash, with_for_update=True)


def cursors(session: Session, edge_id: str) -> Sequence[EdgeCursor]:
    """Every epoch's cursor, oldest first."""
    query = select(EdgeCursor).where(EdgeCursor.edge_id == edge_id).order_by(EdgeCursor.epoch)
    return session.scalars(query).all()


def use_nonce(session: Session, nonce: RequestNonce) -> bool:
    """Whether the nonce was new. It is used up from now on."""
    values = {"edge_id": nonce.edge_id, "nonce": nonce.nonce, "seen_at": nonce.seen_at}
    made = insert(RequestNonce).values(**values).on_conflict_do_nothing()
    return session.scalar(made.returning(RequestNonce.nonce)) is not None


def forget_nonces(session: Session, before: object) -> None:
    """Those whose requests would be refused by their time alone."""
    session.execute(delete(RequestNonce).where(RequestNonce.seen_at < before))


def highest_release(session: Session, device: str) -> int:
    """The highest release counter registered for a device."""
    query = select(func.max(DeviceVersion.release_counter)).where(DeviceVersion.device == device)
    return session.scalar(query) or 0
