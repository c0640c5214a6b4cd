"""Device versions, sites, edges and how an edge becomes one of ours."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, UniqueConstraint
from sqlalchemy.dialects.postgresql import INT8MULTIRANGE, Range
from sqlalchemy.orm import Mapped, mapped_column

from app.central.database import Base
from app.contracts.keyring import KeyRing


class EdgeState(StrEnum):
    """Only an active edge's windows count; a suspended one's are quarantined, not refused."""

    PENDING = "pending"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    REVOKED = "revoked"
    RETIRED = "retired"


class EdgeAction(StrEnum):
    """What a person may do to an edge."""

    APPROVE = "approve"
    SUSPEND = "suspend"
    RESUME = "resume"
    REVOKE = "revoke"
    RETIRE = "retire"


EDGE_TRANSITIONS: dict[tuple[EdgeState, EdgeAction], EdgeState] = {
    (EdgeState.PENDING, EdgeAction.APPROVE): EdgeState.ACTIVE,
    (EdgeState.PENDING, EdgeAction.REVOKE): EdgeState.REVOKED,
    (EdgeState.ACTIVE, EdgeAction.SUSPEND): EdgeState.SUSPENDED,
    (EdgeState.ACTIVE, EdgeAction.REVOKE): EdgeState.REVOKED,
    (EdgeState.ACTIVE, EdgeAction.RETIRE): EdgeState.RETIRED,
    (EdgeState.SUSPENDED, EdgeAction.RESUME): EdgeState.ACTIVE,
    (EdgeState.SUSPENDED, EdgeAction.REVOKE): EdgeState.REVOKED,
    (EdgeState.SUSPENDED, EdgeAction.RETIRE): EdgeState.RETIRED,
}


class KeyState(StrEnum):
    """How far an edge's wish for another key is."""

    PENDING = "pending"
    APPROVED = "approved"
    REFUSED = "refused"
    IN_USE = "in_use"  # the edge has switched to it; a later key may have replaced it since


OPEN_KEYS = (KeyState.PENDING, KeyState.APPROVED)


class DeviceVersion(Base):
    """One locked release, known by its signed manifest."""

    __tablename__ = "device_version"
    __table_args__ = (UniqueConstraint("device", "release_counter"),)

    lock_digest: Mapped[str] = mapped_column(
        primary_key=True, comment="SHA-256 of the canonical manifest: names the device version"
    )
    device: Mapped[str] = mapped_column(comment="Device name from the manifest")
    udi_di: Mapped[str] = mapped_column(comment="UDI device identifier")
    version: Mapped[str] = mapped_column(comment="Version as the manufacturer writes it")
    release_counter: Mapped[int] = mapped_column(
        BigInteger, comment="Rises with every release of the device; guards against rollback"
    )
    schema_digest: Mapped[str] = mapped_column(
        index=True, comment="SHA-256 of the characteristic schema that its windows follow"
    )
    manifest: Mapped[bytes] = mapped_column(comment="Exact canonical manifest bytes")
    envelope: Mapped[bytes] = mapped_column(comment="Exact DSSE envelope as registered")
    registered_at: Mapped[datetime] = mapped_column(comment="When it was registered here")
    registered_by: Mapped[str] = mapped_column(comment="Account name of the person")


class Site(Base):
    """A hospital."""

    __tablename__ = "site"

    id: Mapped[str] = mapped_column(primary_key=True, comment="Short name, such as H02")
    name: Mapped[str] = mapped_column(comment="Name as printed")
    timezone: Mapped[str] = mapped_column(comment="IANA time zone of the hospital")
    created_at: Mapped[datetime] = mapped_column(comment="When it was added")


class Edge(Base):
    """An agent at a site, running one device version: an installation."""

    __tablename__ = "edge"

    id: Mapped[str] = mapped_column(primary_key=True, comment="Opaque name, issued here")
    site_id: Mapped[str] = mapped_column(ForeignKey("site.id"), index=True, comment="Where")
    lock_digest: Mapped[str] = mapped_column(
        ForeignKey("device_version.lock_digest"), index=True, comment="Expected device version"
    )
    state: Mapped[EdgeState] = mapped_column(comment="pending, active, suspended, revoked, retired")
    public_key: Mapped[str] = mapped_column(unique=True, comment="Ed25519 public key, hex")
    retired_keys: Mapped[list[Any]] = mapped_column(
        server_default="[]",
        comment="Keys before it, oldest first: public_key, and the last epoch and sequence of each",
    )
    epoch: Mapped[int] = mapped_column(BigInteger, comment="Current epoch of its sequence")
    agent_version: Mapped[str] = mapped_column(comment="As last reported")
    reported_lock: Mapped[str] = mapped_column(comment="Lock digest as last reported")
    lock_state: Mapped[str] = mapped_column(
        comment="holds, broken or not_checked, as last reported"
    )
    enrolled_at: Mapped[datetime] = mapped_column(comment="When its key was presented")
    approved_at: Mapped[datetime | None] = mapped_column(
        comment="When its fingerprint was approved"
    )
    approved_by: Mapped[str | None] = mapped_column(comment="Account name of that person")
    last_seen_at: Mapped[datetime | None] = mapped_column(comment="Last authenticated request")
    release_counter: Mapped[int] = mapped_column(
        BigInteger, comment="Highest release counter known to run there"
    )

    @property
    def ring(self) -> KeyRing:
        """Its keys, by the windows they signed."""
        return KeyRing.of(self.public_key, self.retired_keys)


class EnrolmentCode(Base):
    """A one-time code; redeeming it again with the same key gives the same answer."""

    __tablename__ = "enrolment_code"

    code_hash: Mapped[str] = mapped_column(primary_key=True, comment="SHA-256 of the code")
    site_id: Mapped[str] = mapped_column(ForeignKey("site.id"), comment="Site it enrols for")
    lock_digest: Mapped[str] = mapped_column(
        ForeignKey("device_version.lock_digest"), comment="Device version it enrols for"
    )
    created_by: Mapped[str] = mapped_column(comment="Account name of the person")
    created_at: Mapped[datetime] = mapped_column(comment="When it was shown, once")
    expires_at: Mapped[datetime] = mapped_column(comment="Not redeemable from then on")
    edge_id: Mapped[str | None] = mapped_column(
        ForeignKey("edge.id"), comment="The edge it became, once redeemed"
    )


class KeyChange(Base):
    """A key that an edge wants to use instead of its present one."""

    __tablename__ = "key_change"

    edge_id: Mapped[str] = mapped_column(primary_key=True, comment="The edge")
    public_key: Mapped[str] = mapped_column(primary_key=True, comment="The new key, hex")
    state: Mapped[KeyState] = mapped_column(comment="pending, approved, refused, in_use")
    requested_at: Mapped[datetime] = mapped_column(comment="When it was first asked for")
    decided_at: Mapped[datetime | None] = mapped_column(comment="When a person decided")
    decided_by: Mapped[str | None] = mapped_column(comment="Account name of that person")
    switched_at: Mapped[datetime | None] = mapped_column(comment="When the edge began to use it")
    epoch: Mapped[int | None] = mapped_column(BigInteger, comment="Epoch of the switch")
    last_sequence: Mapped[int | None] = mapped_column(
        BigInteger, comment="Last sequence of that epoch under the key before"
    )


class EdgeCursor(Base):
    """Which sequence numbers of one edge and epoch have arrived."""

    __tablename__ = "edge_cursor"

    edge_id: Mapped[str] = mapped_column(primary_key=True, comment="The edge")
    epoch: Mapped[int] = mapped_column(BigInteger, primary_key=True, comment="Its epoch")
    seen: Mapped[list[Range[int]]] = mapped_column(
        INT8MULTIRANGE, comment="Sequence numbers stored or quarantined"
    )
    produced: Mapped[int] = mapped_column(
        BigInteger, comment="Windows produced, by the edge's own newest word"
    )
    balance: Mapped[dict[str, Any]] = mapped_column(comment="Its newest case balance, by name")
    balance_sequence: Mapped[int] = mapped_column(
        BigInteger, comment="Sequence of the window that carried the balance"
    )
    cases_end: Mapped[datetime | None] = mapped_column(
        comment="End of the newest stored window of cases; null: none yet"
    )


class RequestNonce(Base):
    """Nonces of authenticated requests, until their time has passed."""

    __tablename__ = "request_nonce"

    edge_id: Mapped[str] = mapped_column(primary_key=True, comment="The edge")
    nonce: Mapped[str] = mapped_column(primary_key=True, comment="Random hex, used once")
    seen_at: Mapped[datetime] = mapped_column(index=True, comment="When")
