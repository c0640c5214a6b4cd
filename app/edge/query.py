"""Ask an archive for studies on a schedule, and fetch what is not here yet.

What is new is decided object by object against the journal, so nothing is fetched twice. The
high-water mark is the last day that was asked for without a failure; each round starts some days
before it, because a study may reach an archive late. It only moves when a whole round went well,
so nothing is missed while the archive or the network was away.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from app.edge.dimse import NoAssociation
from app.edge.journal import Journal, count, meta, set_meta
from app.edge.logs import log
from app.edge.settings import EdgeSettings

MARK = "query_through"
IsSettled = Callable[[str], bool]


class Gone(Exception):
    """The archive does not answer."""


class RoundFailed(Exception):
    """A closed word for why a round did not go well; the mark stays where it is."""


class Archive(Protocol):
    """What can be asked: days are ordinals, everything else UIDs. Every failure is raised."""

    @property
    def mark(self) -> str:
        """What the journal calls its high-water mark."""

    def studies(self, since: int, until: int) -> Iterable[str]:
        """Studies of these days that have one of the modalities."""

    def series(self, study: str) -> Iterable[tuple[str, str]]:
        """Series of a study, each with its modality."""

    def instances(self, study: str, series: str) -> Iterable[str]:
        """Objects of a series."""

    def fetch(self, study: str, series: str, instances: list[str]) -> None:
        """Bring these objects here, as the listening side keeps them."""


@dataclass(frozen=True, slots=True)
class Query:
    """The rounds over one archive. `is_settled`: an object is here, or was refused for good."""

    settings: EdgeSettings
    journal: Journal
    archive: Archive
    is_settled: IsSettled

    def round(self, today: int) -> int:
        """Fetch what is new since the mark, then move the mark; how many objects were fetched.

        A study that cannot be had keeps the mark where it is, and no other study from coming.
        """
        name = self.archive.mark
        mark = self.journal.do(lambda db: _mark(db, name, today))
        since = mark - self.settings.query_lookback_days
        fetched, is_whole = 0, True
        try:
            for study in list(self.archive.studies(since, today)):
                new, has_all = self._fetch(study)
                fetched, is_whole = fetched + new, is_whole and has_all
        except _FAILURES as error:
            self._failed(error)
            is_whole = False
        if is_whole:
            self.journal.do(lambda db: set_meta(db, name, today))
        return fetched

    def _fetch(self, study: str) -> tuple[int, bool]:
        """Fetch what is not settled of one study: how many objects came, and whether all did."""
        fetched = 0
        try:
            for uid, modality in self.archive.series(study):
                if modality in self.settings.query_modalities:
                    fetched += self._fetch_series(study, uid)
        except (RoundFailed, RuntimeError, ValueError) as error:
            self._failed(error)
            return fetched, False
        return fetched, True

    def _fetch_series(self, study: str, series: str) -> int:
        found = self.archive.instances(study, series)
        new = [one for one in found if not self.is_settled(one)]
        if new:
            self.archive.fetch(study, series, new)
        if not all(map(self.is_settled, new)):
            raise RoundFailed("not_all_came")
        return len(new)

    def _failed(self, error: Exception) -> None:
        # Only these two speak in closed words: a library's error may quote what an archive said.
        told = str(error) if isinstance(error, Gone | RoundFailed) else ""
        log.warning("query.failed", reason=told or type(error).__name__)
        self.journal.do(lambda db: count(db, "query", "failed"))


def _mark(db: sqlite3.Connection, name: str, today: int) -> int:
    """The mark; that of the first round is its own day, even if the archive was away then."""
    if meta(db, name) is None:
        set_meta(db, name, today)
    return int(meta(db, name))


_FAILURES = (NoAssociation, Gone, RoundFailed, RuntimeError, ValueError)
