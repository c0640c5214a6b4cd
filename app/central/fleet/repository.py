"""Queries on the fleet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, Text, any_, bindparam, delete, func, select
from sqlalchemy.dialects.postgresql import ARRAY, Range, insert
from sqlalchemy.orm import Session

from app.central.fleet.models import (
    DeviceVersion,
    Edge,
    EdgeCursor,
    EdgeState,
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


def version_names(session: Session) -> dict[str, tuple[str, str]]:
    """Device and version of every lock digest, without the manifests."""
    query = select(DeviceVersion.lock_digest, DeviceVersion.device, DeviceVersion.version)
    return {row[0]: (row[1], row[2]) for row in session.execute(query)}


def find_site(session: Session, site_id: str) -> Site | None:
    """The site of that short name."""
    return session.get(Site, site_id)


def sites(session: Session, *, site_id: str | None = None, limit: int = 2000) -> Sequence[Site]:
    """Every site, or the one of that short name, by short name."""
    query = select(Site).order_by(Site.id).limit(limit)
    return session.scalars(query if site_id is None else query.where(Site.id == site_id)).all()


def site_names(session: Session, *, site_id: str | None = None) -> dict[str, str]:
    """Names by short name, in its order: of every site, or of one."""
    query = select(Site.id, Site.name).order_by(Site.id)
    found = session.execute(query if site_id is None else query.where(Site.id == site_id))
    return {row[0]: row[1] for row in found}


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


def edges_of(session: Session, edge_ids: Sequence[str]) -> Sequence[Edge]:
    """These edges, in any order."""
    return session.scalars(select(Edge).where(Edge.id == among(edge_ids))).all()


Instant = datetime | None
EdgeRow = Row[
    str, str, EdgeState, str, str, str, str, str, int, datetime, Instant, str | None, Instant
]
"""What a page shows of an edge, by the names of `Edge`: of a thousand, objects would cost more."""


def edge_rows(session: Session, *, site_id: str | None = None) -> Sequence[EdgeRow]:
    """The same edges as `edges`, as rows."""
    e = Edge
    query = select(
        *(e.id, e.site_id, e.state, e.public_key, e.agent_version, e.lock_digest),
        *(e.reported_lock, e.lock_state, e.epoch, e.enrolled_at, e.approved_at),
        *(e.approved_by, e.last_seen_at),
    ).order_by(e.site_id, e.enrolled_at, e.id)
    if site_id is not None:
        query = query.where(e.site_id == site_id)
    return session.execute(query.limit(10_000)).all()


def key_rings(session: Session) -> dict[str, KeyRing]:
    """The keys of every edge, also of those that are gone: their windows stay."""
    query = select(Edge.id, Edge.public_key, Edge.retired_keys)
    return {edge_id: KeyRing.of(key, retired) for edge_id, key, retired in session.execute(query)}


def edge_ids(session: Session, sites: Sequence[str]) -> Sequence[str]:
    """Every edge that these sites have, or had."""
    return session.scalars(select(Edge.id).where(Edge.site_id == among(sites))).all()


def count_edges(session: Session) -> dict[str, int]:
    """How many edges are to run each device version."""
    query = select(Edge.lock_digest, func.count()).group_by(Edge.lock_digest)
    return {row[0]: row[1] for row in session.execute(query)}


def find_code(session: Session, code_hash: str) -> EnrolmentCode | None:
    """The enrolment code, locked: two keys cannot redeem it at once."""
    return session.get(EnrolmentCode, code_hash, with_for_update=True)


def waiting_codes(session: Session, now: datetime) -> Sequence[EnrolmentCode]:
    """Codes that nobody has redeemed and that still hold, the next to expire first."""
    query = select(EnrolmentCode).where(
        EnrolmentCode.edge_id.is_(None), EnrolmentCode.expires_at > now
    )
    order = EnrolmentCode.expires_at, EnrolmentCode.code_hash
    return session.scalars(query.order_by(*order).limit(500)).all()


def among(names: Sequence[str]) -> ColumnElement[Any]:
    """For `column == among(names)`: one parameter, however many names."""
    return any_(bindparam(None, list(names), type_=ARRAY(Text)))


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where an epoch of an edge stands, as `EdgeCursor` describes it."""

    edge_id: str
    seen: list[Range[int]]
    produced: int
    balance: dict[str, int]
    cases_end: datetime | None


def cursors(session: Session, edge_ids: Sequence[str]) -> list[Cursor]:
    """The cursors of these edges, of each edge the oldest epoch first."""
    c = EdgeCursor
    query = select(c.edge_id, c.seen, c.produced, c.balance, c.cases_end)
    query = query.where(c.edge_id == among(edge_ids)).order_by(c.edge_id, c.epoch)
    return [Cursor(*row) for row in session.execute(query)]


def newest_arrived(session: Session, edge_id: str) -> tuple[int, int]:
    """The highest epoch and sequence that arrived from an edge; zeros before the first window."""
    c = EdgeCursor
    query = select(c.epoch, func.upper(c.seen) - 1).where(
        c.edge_id == edge_id, ~func.isempty(c.seen)
    )
    found = session.execute(query.order_by(c.epoch.desc()).limit(1)).first()
    return (found[0], found[1]) if found else (0, 0)


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
