"""The fleet: register device versions and sites, enrol edges, and say how each stands."""

from __future__ import annotations

import re
import secrets
import zoneinfo
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache

from sqlalchemy.orm import Session

from app.central.audit import service as audit
from app.central.database import unless_taken
from app.central.errors import NotAllowed, NotAuthenticated, NotFound, Unusable
from app.central.fleet import repository
from app.central.fleet.models import (
    EDGE_TRANSITIONS,
    OPEN_KEYS,
    DeviceVersion,
    Edge,
    EdgeAction,
    EdgeState,
    EnrolmentCode,
    KeyChange,
    Site,
)
from app.central.fleet.repository import EdgeRow
from app.contracts.exchange import (
    ENROLMENT_DOMAIN,
    EnrolmentAnswer,
    EnrolmentRequest,
    enrolment_message,
)
from app.contracts.manifest import PAYLOAD_TYPE, Manifest, parse_manifest
from app.contracts.signing import SigningKey, open_sealed, sha256, verify
from monitors.schema import Schema

CODE_LIFE = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class DeviceVersionView:
    """A device version as a page shows it."""

    lock_digest: str
    device: str
    version: str
    udi_di: str
    release_counter: int
    intended_use: str
    finding: str
    pattern: str
    operating_point: str
    threshold: float | None
    registered_at: datetime
    edges: int


@dataclass(frozen=True, slots=True)
class EdgeView:
    """An edge as a page shows it. `fingerprint` is what a person compares before approving."""

    id: str
    site_id: str
    site: str
    state: EdgeState
    fingerprint: str
    agent_version: str
    device: str
    version: str
    expected_lock: str
    reported_lock: str
    lock_state: str
    epoch: int
    enrolled_at: datetime
    approved_at: datetime | None
    approved_by: str | None
    last_seen_at: datetime | None
    new_key: str = ""  # fingerprint of a key that it asks for, until it has switched
    new_key_state: str = ""  # pending, approved

    @property
    def lock_holds(self) -> bool:
        """The edge runs what it should, and its own checks say so."""
        return self.expected_lock == self.reported_lock and self.lock_state != "broken"


@dataclass(frozen=True, slots=True)
class SiteView:
    """A site with its edges."""

    id: str
    name: str
    timezone: str
    edges: tuple[EdgeView, ...]


def register_device(
    session: Session,
    envelope: bytes,
    *,
    trusted: Sequence[bytes],
    threshold: int,
    by: str,
    now: datetime,
) -> DeviceVersion:
    """Register a signed manifest. The same one again changes nothing."""
    payload = open_sealed(PAYLOAD_TYPE, envelope, trusted, threshold)
    manifest = parse_manifest(payload)
    known = repository.find_device_version(session, manifest.lock_digest)
    if known is not None:
        return known
    version = DeviceVersion(
        lock_digest=manifest.lock_digest,
        device=manifest.device,
        udi_di=manifest.udi_di,
        version=manifest.version,
        release_counter=manifest.release_counter,
        schema_digest=manifest.schema_.digest,
        manifest=payload,
        envelope=envelope,
        registered_at=now,
        registered_by=by,
    )
    if manifest.release_counter <= repository.highest_release(session, manifest.device):
        raise NotAllowed(
            f"release counter {manifest.release_counter} of {manifest.device} is not above the "
            f"{repository.highest_release(session, manifest.device)} registered"
        )
    session.add(version)
    session.flush()
    audit.record(
        session,
        actor=by,
        action="fleet:device_version:register",
        subject=manifest.lock_digest,
        at=now,
        detail={"device": manifest.device, "version": manifest.version},
    )
    return version


@lru_cache(maxsize=32)
def _parsed(payload: bytes) -> Manifest:
    return parse_manifest(payload)


def manifest_of(version: DeviceVersion) -> Manifest:
    """The manifest of a registered version, parsed once."""
    return _parsed(version.manifest)


_LAYOUTS: dict[str, Schema] = {}  # a lock digest names one schema, for ever


def layout_of(session: Session, lock_digest: str) -> Schema:
    """The schema of a registered version; read once in the life of a process."""
    if lock_digest not in _LAYOUTS:
        version = get_device_version(session, lock_digest)
        _LAYOUTS[lock_digest] = manifest_of(version).schema_.layout()
    return _LAYOUTS[lock_digest]


def get_device_version(session: Session, lock_digest: str) -> DeviceVersion:
    """The registered version, or `NotFound`."""
    found = repository.find_device_version(session, lock_digest)
    if found is None:
        raise NotFound(f"no device version {lock_digest[:12]}… is registered")
    return found


def add_site(
    session: Session, site_id: str, name: str, timezone: str, *, by: str, now: datetime
) -> Site:
    """Add a hospital."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}", site_id):
        raise Unusable("site id: 1 to 32 letters, digits, _ or - expected")
    if not name.isprintable() or not 0 < len(name) <= 200:
        raise Unusable("site name: 1 to 200 printable characters expected")
    if timezone not in zoneinfo.available_timezones():
        raise Unusable(f"time zone: an IANA name expected, got {timezone[:40]!r}")
    if repository.find_site(session, site_id) is not None:
        raise NotAllowed(f"site {site_id} exists")
    site = Site(id=site_id, name=name, timezone=timezone, created_at=now)
    with unless_taken(session, f"site {site_id} exists"):
        session.add(site)
    audit.record(session, actor=by, action="fleet:site:add", subject=site_id, at=now)
    return site


def create_code(session: Session, site_id: str, lock_digest: str, *, by: str, now: datetime) -> str:
    """A one-time code for an edge at a site; shown once and stored as a hash."""
    if repository.find_site(session, site_id) is None:
        raise NotFound(f"no site {site_id}")
    get_device_version(session, lock_digest)
    code = secrets.token_hex(16)
    session.add(
        EnrolmentCode(
            code_hash=sha256(code.encode()),
            site_id=site_id,
            lock_digest=lock_digest,
            created_by=by,
            created_at=now,
            expires_at=now + CODE_LIFE,
        )
    )
    audit.record(
        session,
        actor=by,
        action="fleet:enrolment_code:create",
        subject=site_id,
        at=now,
        detail={"lock_digest": lock_digest},
    )
    return code


def enrol(session: Session, request: EnrolmentRequest, *, now: datetime) -> Edge:
    """Redeem a code. The same key gets the same answer until the code expires; another, none."""
    refused = NotAuthenticated("code", "enrolment code is unknown, expired or used by another key")
    code = repository.find_code(session, sha256(request.code.encode()))
    if code is None or now >= code.expires_at:
        raise refused
    message = enrolment_message(request.code, request.public_key, request.lock_digest)
    public = bytes.fromhex(request.public_key)
    verify(public, ENROLMENT_DOMAIN, message, _hex(request.signature))
    if code.edge_id is not None:
        edge = repository.find_edge(session, code.edge_id)
        if edge is None or edge.public_key != request.public_key:
            raise refused
        return edge
    if repository.is_key_known(session, request.public_key):
        raise NotAllowed("this key is enrolled already: one key, one edge")
    edge = _new_edge(session, code, request, now)
    code.edge_id = edge.id
    audit.record(
        session,
        actor=edge.id,
        action="fleet:edge:enrol",
        subject=edge.id,
        at=now,
        detail={"site": edge.site_id, "fingerprint": fingerprint(edge)},
    )
    return edge


def _new_edge(
    session: Session, code: EnrolmentCode, request: EnrolmentRequest, now: datetime
) -> Edge:
    version = get_device_version(session, code.lock_digest)
    edge = Edge(
        id=f"edge-{secrets.token_hex(6)}",
        site_id=code.site_id,
        lock_digest=code.lock_digest,
        state=EdgeState.PENDING,
        public_key=request.public_key,
        epoch=1,
        agent_version=printable(request.agent_version),
        reported_lock=request.lock_digest,
        lock_state="not_checked",
        enrolled_at=now,
        release_counter=version.release_counter,
    )
    session.add(edge)
    session.flush()
    return edge


def act(
    session: Session,
    edge_id: str,
    action: EdgeAction,
    *,
    by: str,
    now: datetime,
    seen_fingerprint: str = "",
    reason: str = "",
) -> Edge:
    """Approve, suspend, resume, revoke or retire an edge.

    Approval names the fingerprint that the person has compared with the hospital's; everything
    else gives its reason.
    """
    edge = get_edge(session, edge_id, lock=True)
    new_state = EDGE_TRANSITIONS.get((edge.state, action))
    if new_state is None:
        raise NotAllowed(f"{action.value}: edge {edge_id} is {edge.state.value}")
    if action is not EdgeAction.APPROVE and not reason.strip():
        raise Unusable(f"reason: needed to {action.value} an edge")
    if action is EdgeAction.APPROVE:
        if seen_fingerprint != fingerprint(edge):
            raise NotAllowed("the fingerprint given is not that of the key that was presented")
        edge.approved_at, edge.approved_by = now, by
    audit.record(
        session,
        actor=by,
        action=f"fleet:edge:{action.value}",
        subject=edge_id,
        at=now,
        reason=reason,
        detail={"from": edge.state.value, "to": new_state.value},
    )
    edge.state = new_state
    return edge


def declare_epoch(session: Session, edge: Edge, epoch: int, reason: str, *, now: datetime) -> None:
    """An edge that lost its journal begins anew; the epochs before keep what they hold."""
    if epoch == edge.epoch:
        return
    if epoch != edge.epoch + 1:
        raise NotAllowed(f"epoch {edge.epoch + 1} expected, got {epoch}")
    edge.epoch = epoch
    audit.record(
        session,
        actor=edge.id,
        action="fleet:edge:epoch",
        subject=edge.id,
        at=now,
        reason=reason,
        detail={"epoch": epoch},
    )


def get_edge(session: Session, edge_id: str, *, lock: bool = False) -> Edge:
    """The edge, or `NotFound`."""
    edge = repository.find_edge(session, edge_id, lock=lock)
    if edge is None:
        raise NotFound(f"no edge {edge_id[:32]}")
    return edge


def answer_to(edge: Edge, key: SigningKey) -> EnrolmentAnswer:
    """What an edge is told about itself."""
    return EnrolmentAnswer(
        edge_id=edge.id,
        epoch=edge.epoch,
        site=edge.site_id,
        state=edge.state.value,
        receipt_keys=(key.public.hex(),),
    )


def fingerprint(edge: Edge) -> str:
    """SHA-256 of the edge's public key."""
    return key_fingerprint(edge.public_key)


def key_fingerprint(public_key: str) -> str:
    """SHA-256 of a public key given in hex."""
    return sha256(bytes.fromhex(public_key))


def printable(text: str, longest: int = 64) -> str:
    """A short reported text that a database and a page can hold."""
    return "".join(c for c in text if c.isprintable())[:longest]


def device_versions(session: Session) -> tuple[DeviceVersionView, ...]:
    """Every registered version."""
    edges = repository.count_edges(session)
    found = repository.device_versions(session)
    return tuple(_version_view(v, edges.get(v.lock_digest, 0)) for v in found)


def device_version(session: Session, lock_digest: str) -> DeviceVersionView:
    """One registered version."""
    edges = repository.count_edges(session)
    return _version_view(get_device_version(session, lock_digest), edges.get(lock_digest, 0))


def sites(session: Session, *, scope: str | None = None) -> tuple[SiteView, ...]:
    """Sites with their edges; only `scope` where a person is bound to one site."""
    known = repository.sites(session, site_id=scope)
    views: dict[str, list[EdgeView]] = {s.id: [] for s in known}
    names = {s.id: s.name for s in known}
    versions = repository.version_names(session)
    wishes = {c.edge_id: c for c in repository.key_changes(session, None, OPEN_KEYS)}
    for e in repository.edge_rows(session, site_id=scope):
        if e.site_id in names:  # there is a limit to both lists
            version, wish = versions[e.lock_digest], wishes.get(e.id)
            views[e.site_id].append(_edge_view(e, names[e.site_id], version, wish))
    return tuple(SiteView(s.id, s.name, s.timezone, tuple(views[s.id])) for s in known)


def site_names(session: Session, *, scope: str | None = None) -> dict[str, str]:
    """Names of sites by their short names, in that order."""
    return repository.site_names(session, site_id=scope)


def site(session: Session, site_id: str, *, scope: str | None = None) -> SiteView:
    """One site with its edges; `NotFound` also where a person is bound to another."""
    if scope not in (None, site_id) or not (found := sites(session, scope=site_id)):
        raise NotFound(f"no site {site_id[:32]}")
    return found[0]


def edge_view(session: Session, edge_id: str) -> EdgeView:
    """One edge."""
    edge = get_edge(session, edge_id)
    version = get_device_version(session, edge.lock_digest)
    names = version.device, version.version
    wishes = repository.key_changes(session, edge_id, OPEN_KEYS)
    wish = wishes[0] if wishes else None
    return _edge_view(edge, session.get_one(Site, edge.site_id).name, names, wish)


def _version_view(version: DeviceVersion, edges: int) -> DeviceVersionView:
    manifest = manifest_of(version)
    point = manifest.default_operating_point
    thresholds = [o.thresholds for o in manifest.operating_points if o.id == point]
    return DeviceVersionView(
        version.lock_digest,
        version.device,
        version.version,
        version.udi_di,
        version.release_counter,
        manifest.intended_use,
        manifest.finding,
        manifest.pattern,
        point,
        thresholds[0][0].value if thresholds and thresholds[0] else None,
        version.registered_at,
        edges,
    )


def _edge_view(
    edge: Edge | EdgeRow, site: str, version: tuple[str, str], wish: KeyChange | None
) -> EdgeView:
    return EdgeView(
        edge.id,
        edge.site_id,
        site,
        edge.state,
        key_fingerprint(edge.public_key),
        edge.agent_version,
        *version,
        edge.lock_digest,
        edge.reported_lock,
        edge.lock_state,
        edge.epoch,
        edge.enrolled_at,
        edge.approved_at,
        edge.approved_by,
        edge.last_seen_at,
        key_fingerprint(wish.public_key) if wish else "",
        wish.state.value if wish else "",
    )


def _hex(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise NotAuthenticated("signature", "signature: hex expected") from None
