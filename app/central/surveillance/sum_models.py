"""Sums that pages read instead of windows: nothing in them that the stored windows do not say."""

from __future__ import annotations

from datetime import date

from sqlalchemy import BigInteger, LargeBinary, Text
from sqlalchemy.dialects.postgresql import ARRAY, DATEMULTIRANGE, INT8MULTIRANGE, Range
from sqlalchemy.orm import Mapped, mapped_column

from app.central.database import Base


class SumBlock(Base):
    """Sums of one kind over all windows of a device version that lie in a day or a month."""

    __tablename__ = "sum_block"

    lock_digest: Mapped[str] = mapped_column(primary_key=True, comment="Device version")
    kind: Mapped[str] = mapped_column(primary_key=True, comment="What is summed, by which keys")
    span: Mapped[str] = mapped_column(primary_key=True, comment="day or month")
    start: Mapped[date] = mapped_column(primary_key=True, comment="Its first day")
    content: Mapped[bytes] = mapped_column(LargeBinary, comment="Keys and sums, compressed")


class SitePresence(Base):
    """Of which days a site has sent cases, and which margins of sub-groups it sends."""

    __tablename__ = "site_presence"

    lock_digest: Mapped[str] = mapped_column(primary_key=True, comment="Device version")
    site_id: Mapped[str] = mapped_column(primary_key=True, comment="Site of the edge at that time")
    days: Mapped[list[Range[date]]] = mapped_column(
        DATEMULTIRANGE, comment="Days of acquisition that its windows cover"
    )
    margins: Mapped[list[str]] = mapped_column(ARRAY(Text), comment="Margins it has ever sent")


class SumCursor(Base):
    """Which windows of an edge and epoch the sums hold; the others are added when they are read."""

    __tablename__ = "sum_cursor"

    edge_id: Mapped[str] = mapped_column(primary_key=True, comment="The edge")
    epoch: Mapped[int] = mapped_column(BigInteger, primary_key=True, comment="Its epoch")
    summed: Mapped[list[Range[int]]] = mapped_column(
        INT8MULTIRANGE, comment="Sequence numbers that have been looked at"
    )
