"""Windows as they arrived. `edge_id` leads every key, so that the tables can be distributed."""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum

from sqlalchemy import BigInteger, Index, LargeBinary, text
from sqlalchemy.orm import Mapped, mapped_column

from app.central.database import Base


class Outcome(StrEnum):
    """What became of a window."""

    STORED = "stored"
    QUARANTINED = "quarantined"


class Reason(StrEnum):
    """Why a window is in quarantine: closed and countable."""

    SUSPENDED = "suspended"  # the edge is suspended: data kept, not counted
    UNKNOWN_SCHEMA = "unknown_schema"
    WRONG_LOCK = "wrong_lock"  # schema of another device version than the window names
    SHAPE = "shape"  # columns do not fit the schema
    NEGATIVE_COUNT = "negative_count"
    BINS_SUM = "bins_sum"  # bins do not add up to the cases
    SMALL_CELL = "small_cell"  # below the disclosure limits
    DATES = "dates"
    FUTURE = "future"  # ends or was closed after now
    CHAIN = "chain"  # does not name the window before it
    NO_BALANCE = "no_balance"


class Arrival(Base):
    """One line per window that arrived: the ledger behind duplicates, receipts and balances."""

    __tablename__ = "arrival"
    __table_args__ = (
        Index(
            "ix_arrival_quarantined",
            "edge_id",
            "reason",
            postgresql_where=text("outcome = 'quarantined'"),
        ),
    )

    edge_id: Mapped[str] = mapped_column(primary_key=True, comment="The edge")
    epoch: Mapped[int] = mapped_column(BigInteger, primary_key=True, comment="Its epoch")
    sequence: Mapped[int] = mapped_column(BigInteger, primary_key=True, comment="In the epoch")
    digest: Mapped[str] = mapped_column(comment="Names the window: SHA-256 over its header")
    content_digest: Mapped[str] = mapped_column(comment="SHA-256 of the exact bytes")
    outcome: Mapped[Outcome] = mapped_column(comment="stored or quarantined")
    reason: Mapped[str] = mapped_column(comment="Why quarantined; empty if stored")
    stream: Mapped[str] = mapped_column(comment="cases, moments, labels, sentinel, …")
    start: Mapped[datetime] = mapped_column(comment="Start of the window")
    end: Mapped[datetime] = mapped_column(comment="End of the window, exclusive")
    received_at: Mapped[datetime] = mapped_column(comment="When it arrived")


class StoredWindow(Base):
    """One row a window: what was signed, byte for byte. Partitioned by month of its start."""

    __tablename__ = "stored_window"
    __table_args__ = (
        Index("ix_stored_window_lock_digest_received_at", "lock_digest", "received_at"),
        {"postgresql_partition_by": "RANGE (start)"},
    )

    edge_id: Mapped[str] = mapped_column(primary_key=True, comment="The edge")
    start: Mapped[datetime] = mapped_column(primary_key=True, comment="Start of the window")
    epoch: Mapped[int] = mapped_column(BigInteger, primary_key=True, comment="Edge's epoch")
    sequence: Mapped[int] = mapped_column(BigInteger, primary_key=True, comment="In the epoch")
    end: Mapped[datetime] = mapped_column(comment="End of the window, exclusive")
    stream: Mapped[str] = mapped_column(comment="cases, moments, labels, sentinel, …")
    revision: Mapped[int] = mapped_column(BigInteger, comment="0, then one more per late addition")
    site_id: Mapped[str] = mapped_column(comment="Site of the edge when it arrived")
    lock_digest: Mapped[str] = mapped_column(comment="Device version it reports on")
    digest: Mapped[str] = mapped_column(comment="Names the window: SHA-256 over its header")
    cases: Mapped[int] = mapped_column(BigInteger, comment="Cases it counts")
    closed_at: Mapped[datetime] = mapped_column(comment="When the edge closed it")
    received_at: Mapped[datetime] = mapped_column(comment="When it arrived")
    raw: Mapped[bytes] = mapped_column(LargeBinary, comment="Exact bytes, signature included")


class CaseCount(Base):
    """Cases of an edge by the days of acquisition and the day of arrival: what pages read
    instead of windows. Nothing here that `stored_window` does not say."""

    __tablename__ = "case_count"
    __table_args__ = (Index("ix_case_count_lock_digest_start", "lock_digest", "start"),)

    edge_id: Mapped[str] = mapped_column(primary_key=True, comment="The edge")
    start: Mapped[date] = mapped_column(primary_key=True, comment="First day of acquisition")
    end: Mapped[date] = mapped_column(primary_key=True, comment="The day after the last")
    lock_digest: Mapped[str] = mapped_column(primary_key=True, comment="Device version")
    arrival: Mapped[date] = mapped_column(
        primary_key=True, comment="Day of the first evaluation that sees the windows"
    )
    site_id: Mapped[str] = mapped_column(primary_key=True, comment="Site of the edge at that time")
    analysed: Mapped[int] = mapped_column(BigInteger, comment="Cases analysed")
    flagged: Mapped[int] = mapped_column(BigInteger, comment="Cases flagged among them")


class QuarantinedContent(Base):
    """Bytes that were not accepted, kept for a person to look at."""

    __tablename__ = "quarantined_content"

    edge_id: Mapped[str] = mapped_column(primary_key=True, comment="Who sent it, authenticated")
    content_digest: Mapped[str] = mapped_column(primary_key=True, comment="SHA-256 of the bytes")
    reason: Mapped[str] = mapped_column(comment="Closed word")
    detail: Mapped[str] = mapped_column(comment="What, expected, got")
    received_at: Mapped[datetime] = mapped_column(comment="When it first arrived")
    times: Mapped[int] = mapped_column(BigInteger, comment="How often it has been sent")
    raw: Mapped[bytes] = mapped_column(LargeBinary, comment="The bytes")
