"""The sums that are kept of a device version, with what has come since."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

from sqlalchemy import ColumnElement, and_, or_, select
from sqlalchemy.orm import Session

from app.central.surveillance import sums_repository
from app.central.surveillance.sum_models import SumBlock
from app.central.surveillance.sums import (
    Kind,
    Source,
    Span,
    Sums,
    joined,
    merged,
    month_of,
    unpacked,
)
from app.contracts.window import Table


@dataclass(frozen=True, slots=True)
class Kept(Source):
    """What is kept of a device version, and `rest`: the windows that it does not hold."""

    session: Session
    lock_digest: str
    rest: Sums

    def lines(self, kind: Kind) -> Table:
        """Of every month."""
        found = self._contents(kind, SumBlock.span == "month")
        return merged(kind, [*found, self.rest.lines(kind)])

    def newest(self, kind: Kind, least: int) -> Table:
        """Of the newest months that hold at least so many."""
        found, lines = [self.rest.newest(kind, least)], 0
        for table in self._contents(kind, SumBlock.span == "month"):
            found.append(table)
            lines += len(table.keys)
            if lines >= least:
                break
        return merged(kind, found)

    def total(self, kind: Kind, start: date, end: date) -> Table:
        """Whole months as such, and the days before and after them."""
        day = SumBlock.start
        first, last = _whole_months(start, end)
        month = and_(day >= first, day < last)
        spans = or_(
            and_(SumBlock.span == "month", month),
            and_(SumBlock.span == "day", day >= start, day < end, ~month),
        )
        found = self._contents(kind, spans)
        return merged(kind, [*found, self.rest.total(kind, start, end)])

    def sites(self) -> set[str]:
        """Kept, or in the rest."""
        return sums_repository.sites(self.session, self.lock_digest) | self.rest.sites()

    def senders(self, margin: str) -> set[str]:
        """Kept, or in the rest."""
        kept = sums_repository.sites(self.session, self.lock_digest, margin=margin)
        return kept | self.rest.senders(margin)

    def received(self, start: date, end: date) -> dict[str, list[Span]]:
        """Both together."""
        found = sums_repository.received(self.session, self.lock_digest, start, end)
        for site, spans in self.rest.received(start, end).items():
            found[site] = joined([*found.get(site, ()), *spans])
        return found

    def _contents(self, kind: Kind, which: ColumnElement[bool]) -> Iterator[Table]:
        """Newest first, one in memory at a time."""
        b = SumBlock
        query = select(b.content).where(b.lock_digest == self.lock_digest, b.kind == kind, which)
        found = self.session.scalars(query.order_by(b.start.desc()))
        return map(unpacked, found)


def _whole_months(start: date, end: date) -> tuple[date, date]:
    """The first day of the first month that begins at `start` or later, and that of `end`."""
    next_month = month_of(month_of(start) + timedelta(days=31))
    first = start if start.day == 1 else next_month
    return first, max(first, month_of(end))
