from __future__ import annotations

import sqlite3
from datetime import timedelta
from pathlib import Path

import pytest

from app.edge import cases
from app.edge.cases import Arrival, arrive, balance
from app.edge.journal import Journal, JournalRefused, count, meta, set_meta
from app.edge.uplink import oldest_unsent
from app.edge.windows import close_due
from tests.edge.builders import TODAY, a_device, put_cases
from tests.edge.test_windows import closing

DAY = TODAY.toordinal()


def test_what_was_done_is_there_after_a_restart(tmp_path: Path) -> None:
    first = Journal(tmp_path)
    first.do(lambda db: set_meta(db, "name", 7))
    first.close()

    second = Journal(tmp_path)

    assert second.do(lambda db: meta(db, "name")) == 7
    second.close()


def test_work_that_fails_leaves_nothing_and_spares_its_neighbours(journal: Journal) -> None:
    def fail(db: sqlite3.Connection) -> None:
        set_meta(db, "half", 1)
        raise ValueError("no")

    before = journal.submit(lambda db: set_meta(db, "before", 1))
    failing = journal.submit(fail)
    after = journal.submit(lambda db: set_meta(db, "after", 1))

    with pytest.raises(ValueError, match="no"):
        failing.result()
    assert before.result() is None and after.result() is None
    found = journal.do(lambda db: [meta(db, n) for n in ("before", "half", "after")])
    assert found == [1, None, 1]


def test_many_changes_share_one_commit(journal: Journal) -> None:
    commits: list[int] = []

    def watch(db: sqlite3.Connection) -> None:
        db.set_trace_callback(lambda text: commits.append(1) if text == "COMMIT" else None)

    journal.do(watch)
    futures = [journal.submit(lambda db: count(db, "object", "duplicate")) for _ in range(200)]
    for future in futures:
        future.result()

    assert 1 <= len(commits) <= 10
    assert journal.do(cases.counted)["object", "duplicate"] == 200


def test_a_second_agent_is_refused(journal: Journal, tmp_path: Path) -> None:
    with pytest.raises(JournalRefused, match="one agent expected, another one is running"):
        Journal(tmp_path / "data")


def test_an_unreadable_journal_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    Journal(tmp_path).close()
    path = tmp_path / "journal.db"
    damaged = b"\0" * 4096 + path.read_bytes()[4096:]
    path.write_bytes(damaged)

    with pytest.raises(JournalRefused, match="a readable journal expected"):
        Journal(tmp_path)

    assert path.read_bytes() == damaged


def test_a_backlog_survives_an_update_of_the_agent_and_the_way_back(tmp_path: Path) -> None:
    """A journal of the version before is opened by this one, and keeps the format of both."""
    made = Journal(tmp_path)
    put_cases(made, [TODAY] * 25)
    for day in range(4):
        now = closing(TODAY + timedelta(days=day))
        made.do(lambda db, now=now: close_due(db, now))
    waiting = made.do(oldest_unsent)
    before = made.do(cases.balance)
    made.close()
    db = sqlite3.connect(tmp_path / "journal.db")
    db.executescript("DROP TABLE operating_points; DROP TABLE refusals;")
    db.close()

    again = Journal(tmp_path)

    assert again.do(oldest_unsent) == waiting and len(waiting) == 3
    assert again.do(cases.balance) == before
    again.close()
    db = sqlite3.connect(tmp_path / "journal.db")
    assert db.execute("PRAGMA user_version").fetchone() == (1,)  # which the older one opens
    db.close()


def test_commits_are_on_disk_before_they_are_told(tmp_path: Path) -> None:
    journal = Journal(tmp_path)

    def setting(name: str) -> object:
        return journal.do(lambda db: db.execute(f"PRAGMA {name}").fetchone()[0])

    assert (setting("synchronous"), setting("journal_mode")) == (2, "truncate")  # 2: FULL
    journal.close()


def test_a_journal_of_another_format_is_refused(tmp_path: Path) -> None:
    Journal(tmp_path).close()
    db = sqlite3.connect(tmp_path / "journal.db")
    db.execute("PRAGMA user_version = 99")
    db.close()

    with pytest.raises(JournalRefused, match="format 1 expected, got 99"):
        Journal(tmp_path)


def test_an_object_is_a_case_once(journal: Journal) -> None:
    kinds = [
        journal.do(lambda db, c=content: arrive(db, b"key", c, DAY))
        for content in (b"same", b"same", b"other")
    ]

    assert kinds == [Arrival.NEW, Arrival.DUPLICATE, Arrival.OTHER_BYTES]
    found = journal.do(balance)
    assert (found["received"], found["duplicates"], found["refused_objects"]) == (1, 1, 1)


def test_a_case_ends_once(journal: Journal) -> None:
    [key] = put_cases(journal, [TODAY])
    version = journal.do(lambda db: cases.version_of(db, a_device()))
    again = cases.Finished(
        state="failed",
        reason="time_limit",
        version=version,
        stratum=("",) * 5,
        day=DAY,
        measures=b"",
        seconds=None,
    )

    assert journal.do(lambda db: cases.finish(db, key, again)) is False
    assert journal.do(balance)["failed"] == 0


def test_received_is_the_sum_of_all_ends(journal: Journal) -> None:
    put_cases(journal, [TODAY] * 30)
    journal.do(lambda db: arrive(db, b"new", b"content", DAY))

    found = journal.do(balance)

    ends = ("analysed", "quality_rejected", "abstained", "outside_limits", "failed", "waiting")
    assert found["received"] == sum(found[name] for name in ends) == 31
    assert found["waiting"] == 1
