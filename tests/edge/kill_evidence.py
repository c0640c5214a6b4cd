"""What a kill left on the disk, and what must hold once all was sent again."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from pydicom import dcmread

from app.contracts.window import decode
from app.edge.cases import balance
from app.edge.journal import open_for_reading
from app.edge.pseudonyms import Pseudonyms
from app.edge.receive import Inbox
from tests.edge.peer_centre import PeerCentre
from tests.edge.running_edge import RunningEdge, closes
from tests.edge.test_deliver import Pacs


def found_after(edge: RunningEdge, centre: PeerCentre) -> Iterator[str]:
    """In what the agent was interrupted, read from what it left; several may be true."""
    data = edge.data
    if not edge.status():
        yield "before its first status"
    if any((data / "spool").glob(".half-*")):
        yield "an object half written"
    if any((data / "outbox").glob(".half-*")):
        yield "a result half written"
    hot = data / "journal.db-journal"
    if hot.exists() and hot.stat().st_size:
        yield "in a transaction"
    with closing(_settled_copy(edge)) as db:
        if not db.execute("PRAGMA user_version").fetchone()[0]:
            yield "before its journal"
            return
        yield from _in_the_journal(db, data, centre)


def _settled_copy(edge: RunningEdge) -> sqlite3.Connection:
    """The journal as the next life will find it: a copy, in which a half commit is undone."""
    copy = edge.folder / "copy"
    copy.mkdir(exist_ok=True)
    for name in ("journal.db", "journal.db-journal"):
        (copy / name).unlink(missing_ok=True)
        if (edge.data / name).exists():
            (copy / name).write_bytes((edge.data / name).read_bytes())
    db = sqlite3.connect(copy / "journal.db")
    db.execute("PRAGMA quick_check")
    return db


def _in_the_journal(db: sqlite3.Connection, data: Path, centre: PeerCentre) -> Iterator[str]:
    states = {bytes(key): state for key, state in db.execute("SELECT key, state FROM cases")}
    spooled = {bytes.fromhex(path.stem) for path in (data / "spool").glob("*.dcm")}
    if spooled - set(states):
        yield "an object kept, not in the journal"
    if "waiting" in states.values():
        yield "a case waiting or under way"
    if any(states.get(key, "waiting") != "waiting" for key in spooled):
        yield "a case ended, its object still there"
    results = {name for (name,) in db.execute("SELECT name FROM deliveries")}
    kept = {path.name for path in (data / "outbox").glob("[!.]*")}
    if kept - results:
        yield "a result built, its case without an end"
    waiting = {n for (n,) in db.execute("SELECT name FROM deliveries WHERE state = 'queued'")}
    if waiting:
        yield "a result not delivered"
    if kept & results - waiting:
        yield "a result delivered, its file still there"
    unsent = set(db.execute("SELECT epoch, sequence FROM windows WHERE state = 'unsent'"))
    if unsent:
        yield "a window closed, not acknowledged"
    if unsent & set(centre.windows):
        yield "a window at the centre, its receipt lost"


def assert_nothing_lost_or_twice(
    edge: RunningEdge, centre: PeerCentre, pacs: Pacs, taken: dict[str, object]
) -> None:
    """After the agent has settled and stopped: cases, windows, results and disk all agree."""
    with closing(open_for_reading(edge.data)) as db:
        _every_object_once(edge, db, taken)
        _every_window_once(db, centre)
        _every_case_in_one_window(db, centre)
        _every_result_under_one_uid(edge, db, pacs, taken)
    inbox = Inbox(edge.data / "spool", edge.data / "conflicts")
    left = [*inbox.spool.iterdir(), *inbox.conflicts.iterdir(), *(edge.data / "outbox").iterdir()]
    assert left == []


def _every_object_once(edge: RunningEdge, db: sqlite3.Connection, taken: dict[str, object]) -> None:
    pseudonyms = Pseudonyms.load_or_create(edge.data / "pseudonyms.key")
    keys = [bytes(key) for (key,) in db.execute("SELECT key FROM cases")]
    assert sorted(keys) == sorted(pseudonyms.case(uid) for uid in taken)
    found = balance(db)
    assert closes(found) and found["waiting"] == 0 and found["received"] == len(taken)


def _every_window_once(db: sqlite3.Connection, centre: PeerCentre) -> None:
    """The same bytes on both sides, under one number each, chained, and nothing beside them."""
    rows = db.execute(
        "SELECT epoch, sequence, digest, raw, state FROM windows ORDER BY epoch, sequence"
    ).fetchall()
    assert [(epoch, number) for epoch, number, *_ in rows] == [(1, n + 1) for n in range(len(rows))]
    assert {(e, n): bytes(raw) for e, n, _, raw, _ in rows} == {
        place: window.raw for place, window in centre.windows.items()
    }
    assert all(decode(bytes(r[3]), centre.public).digest == r[2] for r in rows)
    assert {state for *_, state in rows} == {"acknowledged"}
    before = ["0" * 64, *(digest for _, _, digest, _, _ in rows)]
    assert [centre.windows[e, n].header.previous for e, n, *_ in rows] == before[:-1]


def _every_case_in_one_window(db: sqlite3.Connection, centre: PeerCentre) -> None:
    """What a window counts is what the journal says it counted."""
    marked = dict(
        db.execute("SELECT cases_window, count(*) FROM cases WHERE cases_window > 0 GROUP BY 1")
    )
    said = {}
    for (_, number), window in centre.windows.items():
        if window.header.stream == "cases":
            said[number] = int(window.tables["balance"].values[0, 0])
    assert {number: n for number, n in said.items() if n} == marked


def _every_result_under_one_uid(
    edge: RunningEdge, db: sqlite3.Connection, pacs: Pacs, taken: dict[str, object]
) -> None:
    """Each flagged case has one report and one heat map, however often they were sent."""
    assert {state for (state,) in db.execute("SELECT DISTINCT state FROM deliveries")} == {
        "delivered"
    }
    (flagged,) = db.execute("SELECT count(*) FROM cases WHERE state = 'flagged'").fetchone()
    results = edge.folder / "results"
    made = {kind: [dcmread(p) for p in (results / kind).iterdir()] for kind in ("sr", "sc")}
    uids = Counter(str(one.SOPInstanceUID) for kind in made.values() for one in kind)
    assert len(made["sr"]) == len(made["sc"]) == flagged > 0
    assert set(uids.values()) == {1} and set(uids) == set(pacs.received)
    studies = [str(one.StudyInstanceUID) for one in made["sr"]]
    assert len(set(studies)) == flagged
    assert set(studies) <= {str(one.StudyInstanceUID) for one in taken.values()}  # type: ignore[attr-defined]
