"""A long list a page at a time; the page is in the address."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from dashboards import wording
from dashboards.pages.views import Pages

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Paged(Generic[Row]):
    """Rows of one page, and where they stand among all."""

    shown: Sequence[Row]
    number: int
    first: int
    of: int
    pages: int

    def links(self, one: str, address: str) -> Pages | None:
        """What is shown, and the pages beside it; None where there is only one page."""
        if self.pages < 2:
            return None
        joined = f"{address}{'&' if '?' in address else '?'}page="
        words = wording.rows_shown(self.first, self.first + len(self.shown) - 1, self.of, one)
        before, after = self.number - 1, self.number + 1
        return Pages(
            words,
            f"{joined}{before}" if before else "",
            f"{joined}{after}" if after <= self.pages else "",
        )


def page_of(rows: Sequence[Row], number: int, size: int) -> Paged[Row]:
    """Page `number`, from 1; one beyond the end is the last."""
    pages = max(-(-len(rows) // size), 1)
    number = min(number, pages)
    start = (number - 1) * size
    return Paged(rows[start : start + size], number, start + 1, len(rows), pages)
