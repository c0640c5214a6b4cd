from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest

from app.edge import cases, labels
from app.edge.journal import Journal
from app.edge.label_files import LARGEST_FILE
from app.edge.labels import LabelInbox
from app.edge.pseudonyms import Pseudonyms
from tests.conftest import Clock
from tests.edge.builders import TODAY, an_edge, put_cases
from tests.edge.test_windows import close, produced

HEADER = "accession_number,sop_instance_uid,sentinel_id,label,source,reader,read_on,policy"
SENTINELS = 3
PSEUDONYMS = Pseudonyms(b"s" * 32)


@pytest.fixture
def inbox(tmp_path: Path, journal: Journal, simulated_clock: Clock) -> LabelInbox:
    folder = tmp_path / "labels"
    folder.mkdir()
    settings = an_edge(tmp_path, label_policies=("audit-1",), reader_groups={"DR-7": "thorax"})
    return LabelInbox(settings, PSEUDONYMS, journal, folder)


def drop(inbox: LabelInbox, *rows: str, header: str = HEADER, name: str = "reads.csv") -> None:
    (inbox.folder / name).write_text("\n".join((header, *rows, "")))
    inbox.take(SENTINELS)


def a_row(uid: str = "1.2.3", label: str = "1", **changes: str) -> str:
    fields = {
        "accession_number": "ACC1",
        "sop_instance_uid": uid,
        "sentinel_id": "",
        "label": label,
        "source": "random_audit",
        "reader": "DR-7",
        "read_on": "2026-03-09",
        "policy": "audit-1",
    } | changes
    return ",".join(fields.values())


def counted(journal: Journal) -> dict[str, int]:
    found = journal.do(cases.counted)
    return {reason: n for (kind, reason), n in found.items() if kind.startswith("label")}


def kept(journal: Journal) -> list[tuple[object, ...]]:
    query = "SELECT label, source, reader_group, policy, sentinel FROM labels ORDER BY id"
    return journal.do(lambda db: db.execute(query).fetchall())


def test_a_read_is_joined_by_a_keyed_hash_and_its_file_is_put_away(
    inbox: LabelInbox, journal: Journal
) -> None:
    key = PSEUDONYMS.case("1.2.3")
    journal.do(lambda db: cases.arrive(db, key, b"c", TODAY.toordinal()))

    drop(inbox, a_row("1.2.3"), a_row("9.9.9", "0"))

    assert kept(journal) == [
        (1, "random_audit", "thorax", "audit-1", -1),
        (0, "random_audit", "thorax", "audit-1", -1),
    ]
    assert journal.do(labels.joined) == (1, 1)
    assert (inbox.folder / "done" / "reads.csv").exists()
    assert not list(inbox.folder.glob("*.csv"))


def test_a_reader_without_a_group_and_an_unlisted_policy_leave_as_pseudonyms(
    inbox: LabelInbox, journal: Journal
) -> None:
    drop(inbox, a_row(reader="Dr. Jane Doe", policy="ask Jane"))

    [(_, _, group, policy, _)] = kept(journal)
    assert str(group).startswith("reader-") and str(policy).startswith("unlisted-")
    assert "Jane" not in f"{group}{policy}"


def test_the_same_file_twice_is_counted_once(inbox: LabelInbox, journal: Journal) -> None:
    drop(inbox, a_row())
    drop(inbox, a_row())

    assert len(kept(journal)) == 1
    assert counted(journal) == {"taken": 1, "repeated": 1}


def test_a_later_row_corrects_and_an_empty_label_withdraws(
    inbox: LabelInbox, journal: Journal
) -> None:
    drop(inbox, a_row("1.1", "1"), a_row("1.2", "1"))
    drop(inbox, a_row("1.1", "0"), a_row("1.2", ""), a_row("1.3", ""))

    assert [row[0] for row in kept(journal)] == [0]
    assert counted(journal) == {
        "taken": 2,
        "corrected": 1,
        "withdrawn": 1,
        "nothing_to_withdraw": 1,
    }


def test_a_read_that_was_counted_in_a_window_is_not_changed(
    inbox: LabelInbox, journal: Journal
) -> None:
    drop(inbox, a_row())
    journal.do(lambda db: db.execute("UPDATE labels SET window = 4"))

    drop(inbox, a_row(label="0"))

    assert [row[0] for row in kept(journal)] == [1]
    assert counted(journal)["already_counted"] == 1


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (a_row(""), "one_of_case_and_sentinel_expected"),
        (a_row(sentinel_id="1"), "one_of_case_and_sentinel_expected"),
        (a_row(label="yes"), "label_0_or_1_expected"),
        (a_row(source="hearsay"), "unknown_source"),
        (a_row("", sentinel_id="1"), "unknown_source"),
        (a_row(source="sentinel"), "unknown_source"),
        (a_row("", sentinel_id="3", source="sentinel"), "unknown_sentinel"),
        (a_row("", sentinel_id="-1", source="sentinel"), "unknown_sentinel"),
        (a_row("", sentinel_id="9" * 5000, source="sentinel"), "unknown_sentinel"),
        (a_row(reader=""), "no_reader"),
        (a_row(read_on="yesterday"), "unreadable_date"),
        (a_row(read_on="2026-03-11"), "read_in_the_future"),
    ],
)
def test_a_row_that_does_not_fit_is_counted_and_its_neighbours_are_taken(
    inbox: LabelInbox, journal: Journal, row: str, reason: str
) -> None:
    drop(inbox, a_row("1.1"), row, a_row("1.2"))

    assert counted(journal) == {"taken": 2, reason: 1}
    assert (inbox.folder / "done" / "reads.csv").exists()


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"label,source,reader\n1,random_audit,x\n", "unknown_columns"),
        (f"{HEADER},diagnosis\n".encode(), "unknown_columns"),
        (f"{HEADER}\n1,2\n".encode(), "uneven_rows"),
        (f'{HEADER}\n"a"b,1,,1,random_audit,x,2026-03-09,\n'.encode(), "not_csv"),
        (b"\xff\xfe\x00binary", "file_unreadable"),
        (b"", "unknown_columns"),
        (b"x" * (LARGEST_FILE + 1), "file_too_large"),
    ],
)
def test_a_file_that_is_no_label_file_is_set_aside_and_counted(
    inbox: LabelInbox, journal: Journal, raw: bytes, reason: str
) -> None:
    (inbox.folder / "odd.csv").write_bytes(raw)

    inbox.take(SENTINELS)

    assert counted(journal) == {reason: 1}
    assert kept(journal) == []
    assert (inbox.folder / "refused" / "odd.csv").exists()


def test_reads_leave_as_counts_by_merged_score_bin(inbox: LabelInbox, journal: Journal) -> None:
    close(journal, TODAY, 1)
    keys = put_cases(journal, [date(2026, 3, 2)] * 90)
    _label(journal, keys, date(2026, 3, 9))

    for i in range(10):
        close(journal, TODAY + timedelta(days=i))

    [window] = produced(journal, "labels")
    [key] = window.tables["labels"].keys
    assert key == ("2026-03-09", "random_audit", "thorax", "audit-1")
    labelled, positive = np.split(window.tables["labels"].values[0], 2)
    assert labelled.sum() == 90 and positive.sum() == 45
    assert np.count_nonzero(labelled) == 3


def test_too_few_reads_wait_and_are_not_lost(inbox: LabelInbox, journal: Journal) -> None:
    close(journal, TODAY, 1)
    keys = put_cases(journal, [date(2026, 3, 2)] * 58)
    _label(journal, keys[:29], date(2026, 3, 9))
    for i in range(10):
        close(journal, TODAY + timedelta(days=i))
    assert produced(journal, "labels") == []
    assert journal.do(cases.balance)["labels_held_back"] == 29

    _label(journal, keys[29:], date(2026, 3, 18))
    for i in range(10, 20):
        close(journal, TODAY + timedelta(days=i))

    [window] = produced(journal, "labels")
    labelled, _ = np.split(window.tables["labels"].values[0], 2)
    assert labelled.sum() == 58
    assert journal.do(cases.balance)["labels_held_back"] == 0


def test_reads_of_the_fixed_images_leave_by_reader_group_and_day(
    inbox: LabelInbox, journal: Journal
) -> None:
    close(journal, TODAY, 1)
    put_cases(journal, [TODAY] * 3)
    reads = [
        a_row("", label, sentinel_id=image, source="sentinel", reader=reader)
        for reader in ("DR-7", "DR-8")
        for image, label in (("0", "1"), ("1", "0"), ("2", "1"))
    ]
    drop(inbox, *reads)

    close(journal, TODAY + timedelta(days=1))

    [window] = produced(journal, "sentinel")
    table = window.tables["sentinel"]
    assert [key[0] for key in table.keys] == ["2026-03-09"] * 2
    assert "thorax" in {key[1] for key in table.keys}
    assert table.values.tolist() == [[0, 1, 1, 1, 1, 0, 1]] * 2


def _label(journal: Journal, keys: list[bytes], day: date) -> None:
    for i, key in enumerate(keys):
        read = labels.Read(
            key, -1, i % 2, "random_audit", b"r", "thorax", day.toordinal(), "audit-1"
        )
        journal.submit(lambda db, read=read: labels._keep(db, read))
    journal.do(lambda db: None)
