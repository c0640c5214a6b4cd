"""Reads arrive later, as files in an inbox; they are joined here and leave only as counts.

Each row names a case by its SOP Instance UID (kept only as a keyed hash) or an image of the
sentinel set by its place. A later row of the same reader and source corrects an earlier one
until the earlier one has been counted in a window; an empty label withdraws it.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

from app import clock
from app.edge.journal import Journal, count
from app.edge.label_files import Row, RowRefused, contents, rows
from app.edge.logs import log
from app.edge.pseudonyms import Pseudonyms
from app.edge.settings import EdgeSettings

SOURCES: Final = ("random_audit", "follow_up", "adjudicated")
KINDS: Final = (".csv", ".hl7", ".dcm")
NOT_A_CASE: Final = -1
LONGEST_PLACE: Final = 9  # digits


@dataclass(frozen=True, slots=True)
class Read:
    """One row. `label` is None when the read is withdrawn."""

    key: bytes
    sentinel: int
    label: int | None
    source: str
    reader: bytes
    reader_group: str
    read_on: int
    policy: str


@dataclass(frozen=True, slots=True)
class LabelInbox:
    """The folder, and what turns its rows into reads."""

    settings: EdgeSettings
    pseudonyms: Pseudonyms
    journal: Journal
    folder: Path

    def take(self, sentinels: int) -> int:
        """Take every file that is there; how many. `sentinels` is the size of the fixed set."""
        found = sorted(self.folder.iterdir()) if self.folder.is_dir() else []
        files = [path for path in found if path.suffix in KINDS]
        for path in files:
            self._take_file(path, sentinels)
        return len(files)

    def _take_file(self, path: Path, sentinels: int) -> None:
        try:
            raw = contents(path)
            content = hashlib.sha256(raw).digest()
            reads = list(self._reads(rows(path.suffix, raw), sentinels))
            self.journal.do(lambda db: _record(db, content, reads))
        except RowRefused as error:
            reason = str(error)
            log.warning("labels.file_refused", reason=reason)
            self.journal.do(lambda db: count(db, "label_file", reason))
            _move(path, "refused")
        else:
            _move(path, "done")

    def _reads(self, found: list[Row], sentinels: int) -> Iterator[Read | str]:
        for row in found:
            try:
                yield self._read(row, sentinels)
            except RowRefused as error:
                yield str(error)

    def _read(self, row: Row, sentinels: int) -> Read:
        uid, image = row.get("sop_instance_uid", ""), row.get("sentinel_id", "")
        if bool(uid) == bool(image):
            raise RowRefused("one_of_case_and_sentinel_expected")
        source = row["source"]
        if source != "sentinel" if image else source not in SOURCES:
            raise RowRefused("unknown_source")
        if not row["reader"]:
            raise RowRefused("no_reader")
        return Read(
            key=self.pseudonyms.case(uid) if uid else b"",
            sentinel=_place(image, sentinels) if image else NOT_A_CASE,
            label=_label(row["label"]),
            source=source,
            reader=self.pseudonyms.reader_key(row["reader"]),
            reader_group=self.pseudonyms.reader_group(row["reader"], self.settings.reader_groups),
            read_on=self._day(row["read_on"]),
            policy=self._policy(row.get("policy", "")),
        )

    def _day(self, text: str) -> int:
        try:
            day = date.fromisoformat(text).toordinal()
        except ValueError:
            raise RowRefused("unreadable_date") from None
        today = clock.now().astimezone(self.settings.zone).date().toordinal()
        if day > today:
            raise RowRefused("read_in_the_future")
        return day

    def _policy(self, text: str) -> str:
        if not text:
            return ""
        return self.pseudonyms.listed("policy", text, self.settings.label_policies)


def joined(db: sqlite3.Connection) -> tuple[int, int]:
    """How many reads of cases belong to a case that is known here, and how many to none."""
    (every,) = db.execute("SELECT count(*) FROM labels WHERE sentinel < 0").fetchone()
    (known,) = db.execute(
        "SELECT count(*) FROM labels JOIN cases USING (key) WHERE sentinel < 0"
    ).fetchone()
    return int(known), int(every - known)


def _place(text: str, sentinels: int) -> int:
    # Python refuses to read a number of thousands of digits.
    plain = text.isascii() and text.isdigit() and len(text) <= LONGEST_PLACE
    if not plain or int(text) >= sentinels:
        raise RowRefused("unknown_sentinel")
    return int(text)


def _label(text: str) -> int | None:
    if text not in ("", "0", "1"):
        raise RowRefused("label_0_or_1_expected")
    return int(text) if text else None


def _record(db: sqlite3.Connection, content: bytes, reads: list[Read | str]) -> None:
    """Take one file's rows, once: a file that was taken before a crash is only moved."""
    known = db.execute("SELECT 1 FROM label_files WHERE content = ?", (content,)).fetchone()
    if known:
        count(db, "label_file", "repeated")
        return
    db.execute("INSERT INTO label_files VALUES (?)", (content,))
    for read in reads:
        if isinstance(read, str):
            count(db, "label", read)
        else:
            count(db, "label", _keep(db, read))


def _keep(db: sqlite3.Connection, read: Read) -> str:
    """Insert, correct, withdraw or leave one read; what happened, in a closed word."""
    earlier = _earlier(db, read)
    if earlier is None:
        if read.label is None:
            return "nothing_to_withdraw"
        _insert(db, read)
        return "taken"
    number, label, window = earlier
    if window is not None:
        return "repeated" if label == read.label else "already_counted"
    db.execute("DELETE FROM labels WHERE id = ?", (number,))
    if read.label is None:
        return "withdrawn"
    _insert(db, read)
    return "repeated" if label == read.label else "corrected"


def _earlier(db: sqlite3.Connection, read: Read) -> tuple[int, int, int | None] | None:
    """The read that this one corrects: of the same case, or of the same round of sentinels."""
    row = db.execute(
        "SELECT id, label, window FROM labels WHERE key = ? AND sentinel = ? AND source = ?"
        " AND reader = ? AND (sentinel < 0 OR read_on = ?) ORDER BY id DESC LIMIT 1",
        (read.key, read.sentinel, read.source, read.reader, read.read_on),
    ).fetchone()
    return row if row is None else (int(row[0]), int(row[1]), row[2])


def _insert(db: sqlite3.Connection, read: Read) -> None:
    db.execute(
        "INSERT INTO labels (key, sentinel, label, source, reader_group, policy, reader, read_on)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            read.key,
            read.sentinel,
            read.label,
            read.source,
            read.reader_group,
            read.policy,
            read.reader,
            read.read_on,
        ),
    )


def _move(path: Path, into: str) -> None:
    folder = path.parent / into
    folder.mkdir(exist_ok=True)
    path.replace(folder / path.name)
