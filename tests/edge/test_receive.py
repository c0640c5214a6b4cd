from __future__ import annotations

import os
import socket
import stat
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.uid import JPEG2000, UID, DeflatedExplicitVRLittleEndian
from pynetdicom.dimse_primitives import C_STORE

from app.edge import cases
from app.edge.journal import Journal
from app.edge.pseudonyms import Pseudonyms
from app.edge.receive import PDU_LIMIT, Inbox, Receiver
from tests.edge.builders import an_edge
from tests.edge.sender import DX, a_chest, a_small_object, as_bytes, association, send

SR = "1.2.840.10008.5.1.4.1.1.88.11"


@dataclass
class Door:
    """A listening receiver and what came through it."""

    receiver: Receiver
    inbox: Inbox
    journal: Journal
    port: int = 0
    new: list[bytes] = field(default_factory=list)

    @property
    def balance(self) -> dict[str, int]:
        return self.journal.do(cases.balance)

    @property
    def counted(self) -> dict[tuple[str, str], int]:
        return self.journal.do(cases.counted)

    @property
    def stored(self) -> list[Path]:
        return sorted(self.inbox.spool.glob("*.dcm"))


def a_door(folder: Path, journal: Journal, **changes: Any) -> Door:
    settings = an_edge(folder, **changes)
    inbox = Inbox.of(settings.data_dir)
    pseudonyms = Pseudonyms(b"s" * 32)
    new: list[bytes] = []
    receiver = Receiver(settings, inbox, journal, pseudonyms, lambda key, _: new.append(key))
    return Door(receiver, inbox, journal, new=new)


@pytest.fixture
def door(tmp_path: Path, journal: Journal) -> Iterator[Door]:
    made = a_door(tmp_path, journal, largest_object_mb=2)
    made.port = made.receiver.start()
    yield made
    made.receiver.stop()


def test_an_acknowledged_object_is_on_disk_as_it_was_sent(door: Door) -> None:
    chest = a_chest()

    assert send(door.port, chest) == [0x0000]

    [path] = door.stored
    stored = dcmread(path)
    assert stored.PixelData == chest.PixelData
    assert stored.PatientName == chest.PatientName
    assert door.balance["received"] == door.balance["waiting"] == 1
    assert door.new == [bytes.fromhex(path.stem)]


def test_no_identifier_is_in_a_file_name(door: Door) -> None:
    chest = a_chest()

    send(door.port, chest)

    names = [path.name for path in door.inbox.spool.parent.rglob("*")]
    assert not any(str(chest.SOPInstanceUID) in n or "MRN" in n for n in names)


def test_an_echo_is_answered(door: Door) -> None:
    with association(door.port) as made:
        assert made.send_c_echo().Status == 0x0000


def test_the_same_object_twice_is_one_case(door: Door) -> None:
    one = a_small_object()

    assert send(door.port, one, one, one) == [0x0000] * 3

    assert len(door.stored) == 1
    assert (door.balance["received"], door.balance["duplicates"]) == (1, 2)


def test_other_bytes_under_a_known_uid_are_kept_apart_and_counted(door: Door) -> None:
    first = a_small_object("1.2.3", filling=b"\x01\x02")
    second = a_small_object("1.2.3", filling=b"\x03\x04")

    assert send(door.port, first, second) == [0x0000, 0x0000]

    [path] = door.stored
    assert dcmread(path).PixelData == b"\x01\x02"
    [other] = door.inbox.conflicts.glob("*.dcm")
    assert dcmread(other).PixelData == b"\x03\x04"
    assert door.counted["refused", "same_uid_other_bytes"] == 1
    assert door.balance["received"] == 1


def test_other_bytes_after_the_case_has_ended_are_kept_apart_too(door: Door) -> None:
    send(door.port, a_small_object("1.2.3"))
    [path] = door.stored
    path.unlink()

    send(door.port, a_small_object("1.2.3", filling=b"\x03\x04"))
    door.journal.do(lambda db: None)

    assert door.stored == []
    assert len(list(door.inbox.conflicts.glob("*.dcm"))) == 1


def test_a_duplicate_after_the_case_has_ended_leaves_nothing_behind(door: Door) -> None:
    one = a_small_object()
    send(door.port, one)
    [path] = door.stored
    path.unlink()

    send(door.port, one)
    door.journal.do(lambda db: None)

    assert door.stored == []
    assert door.balance["duplicates"] == 1


@pytest.mark.parametrize("sop_class", ["1.2.3.4.5", SR, "1.2.840.113619.4.26"])
def test_a_class_that_is_no_image_is_refused_and_counted(door: Door, sop_class: str) -> None:
    assert send(door.port, a_small_object(sop_class=sop_class)) == [0x0122]

    assert door.counted["refused", "sop_class_not_taken"] == 1
    assert door.balance["refused_objects"] == 1
    assert door.balance["received"] == 0
    assert door.stored == []


def test_a_deflated_object_is_refused_and_counted(door: Door) -> None:
    one = a_small_object()
    one.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian

    assert send(door.port, one) == [0xC000]
    assert door.counted["refused", "deflated_transfer_syntax"] == 1


def test_any_other_transfer_syntax_is_stored_for_a_worker_to_judge(door: Door) -> None:
    one = a_small_object()
    one.PixelData = b"\xfe\xff\x00\xe0\x00\x00\x00\x00\xfe\xff\x00\xe0\x02\x00\x00\x00ab"
    one["PixelData"].is_undefined_length = True
    one.file_meta.TransferSyntaxUID = JPEG2000

    assert send(door.port, one) == [0x0000]
    assert dcmread(door.stored[0]).file_meta.TransferSyntaxUID == JPEG2000


def test_an_object_that_does_not_parse_is_stored_for_a_worker_to_judge(door: Door) -> None:
    with association(door.port) as made:
        status = _send_raw(made, "1.2.3", b"\x08\x00\x05\x00CS\xff\xff not a data set")

    assert status == 0x0000
    assert door.balance["received"] == 1


def test_a_path_in_a_uid_goes_nowhere(door: Door) -> None:
    with association(door.port) as made:
        status = _send_raw(made, "../../../../etc/evil", as_bytes(a_small_object())[200:])

    assert status in (0x0000, 0xC000)
    assert all(p.parent == door.inbox.spool for p in door.stored)
    assert len(door.stored) == door.balance["received"]


@pytest.mark.parametrize(("calling", "called"), [("STRANGER", "EDGE"), ("SCANNER", "OTHER")])
def test_a_stranger_gets_no_association(door: Door, calling: str, called: str) -> None:
    with association(door.port, calling=calling, called=called) as made:
        assert made.is_rejected

    assert door.counted["association", "rejected"] == 1


def test_an_announced_length_beyond_the_limit_is_not_waited_for(door: Door) -> None:
    with socket.create_connection(("127.0.0.1", door.port), timeout=10) as peer:
        peer.sendall(struct.pack(">BBL", 0x01, 0, PDU_LIMIT + 1))
        peer.sendall(b"\0" * 1000)

        assert peer.recv(16) == b""

    assert door.counted["association", "too_large"] == 1


def test_an_object_beyond_the_limit_is_cut_off_and_counted(door: Door) -> None:
    with association(door.port) as made:
        status = made.send_c_store(a_small_object(filling=b"\0" * (3 << 20)))

    assert "Status" not in status
    assert door.counted["association", "too_large"] == 1
    assert (door.stored, door.balance["received"]) == ([], 0)


def test_a_transfer_that_breaks_off_leaves_nothing(door: Door) -> None:
    with association(door.port) as made:
        made.dul.socket.socket.sendall(struct.pack(">BBL", 0x04, 0, 1000) + b"\0" * 10)
        made.dul.socket.socket.close()

    assert send(door.port, a_small_object()) == [0x0000]
    assert door.balance["received"] == 1


def test_a_disk_that_does_not_take_it_is_said_so_and_loses_nothing(door: Door) -> None:
    one = a_small_object()
    folder = door.inbox.spool
    folder.rename(folder.with_name("gone"))
    folder.write_bytes(b"")  # no folder any more: every write fails

    assert send(door.port, one) == [0xA700]
    folder.unlink()
    folder.with_name("gone").rename(folder)
    assert send(door.port, one) == [0x0000]

    assert door.counted["refused", "disk_write_error"] == 1
    assert door.balance["received"] == 1


def test_a_full_disk_is_said_so_before_it_is_full(tmp_path: Path, journal: Journal) -> None:
    door = a_door(tmp_path, journal, free_disk_mb=1 << 40)
    port = door.receiver.start()

    assert send(port, a_small_object()) == [0xA700]

    assert door.counted["refused", "disk_full"] == 1
    door.receiver.stop()


def test_four_associations_at_once_lose_nothing(door: Door) -> None:
    statuses: list[int] = []

    def push() -> None:
        statuses.extend(send(door.port, *(a_small_object() for _ in range(25))))

    threads = [threading.Thread(target=push) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert statuses == [0x0000] * 100
    assert len(door.stored) == door.balance["received"] == len(door.new) == 100


def test_the_same_object_at_once_on_two_associations_is_one_case_with_its_object(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second comes while the first has a name and is not in the journal yet."""
    one, named, real = a_small_object(), threading.Event(), os.fsync

    def slow(handle: int) -> None:
        real(handle)
        if stat.S_ISDIR(os.fstat(handle).st_mode) and not named.is_set():
            named.set()
            answered.wait(1)

    answered, statuses = threading.Event(), []
    monkeypatch.setattr(os, "fsync", slow)
    first = threading.Thread(target=lambda: statuses.extend(send(door.port, one)))
    first.start()
    assert named.wait(20)
    statuses += send(door.port, one)
    answered.set()
    first.join()

    assert (door.balance["received"], door.balance["duplicates"]) == (1, 1)
    assert statuses == [0x0000] * 2
    assert len(door.new) == 1
    assert [path.stem for path in door.stored] == [key.hex() for key in door.new]


def test_more_associations_than_are_taken_are_turned_away_and_lose_nothing(
    tmp_path: Path, journal: Journal
) -> None:
    door = a_door(tmp_path, journal, maximum_associations=3)
    port, turned_away = door.receiver.start(), []

    def push() -> None:
        one = a_small_object()
        for _ in range(200):
            with association(port) as made:
                if made.is_established and made.send_c_store(one).get("Status") == 0x0000:
                    return
            turned_away.append(1)
            time.sleep(0.05)
        raise AssertionError("never taken")

    senders = [threading.Thread(target=push) for _ in range(40)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    door.receiver.stop()

    assert turned_away
    assert len(door.stored) == len(door.new) == door.balance["received"] == 40


def test_what_was_acknowledged_before_a_crash_becomes_a_case_after_it(
    tmp_path: Path, journal: Journal
) -> None:
    door = a_door(tmp_path, journal)
    known, done = b"\1" * 32, b"\2" * 32
    door.inbox.path(b"\0" * 32).write_bytes(b"acknowledged, not journalled")
    door.inbox.path(known).write_bytes(b"journalled, not analysed")
    door.inbox.path(done).write_bytes(b"analysed, not removed")
    for key in (known, done):
        journal.do(lambda db, key=key: cases.arrive(db, key, b"c", 1))
    journal.do(lambda db: db.execute("UPDATE cases SET state='analysed' WHERE key=?", (done,)))

    door.receiver.adopt()
    journal.do(lambda db: None)

    assert door.new == [b"\0" * 32]
    assert [p.stem for p in door.stored] == ["00" * 32, "01" * 32]
    assert door.balance["received"] == 3


def _send_raw(made: Any, uid: str, raw: bytes) -> int:
    """A C-STORE with these bytes as the data set, whatever they are."""
    request = C_STORE()
    request.MessageID, request.Priority = 7, 2
    request.AffectedSOPClassUID = DX
    request._affected_sop_instance_uid = UID(uid, validation_mode=0)
    request.DataSet = BytesIO(raw)
    context = next(c for c in made.accepted_contexts if c.abstract_syntax == DX)
    made._reactor_checkpoint.clear()
    made.dimse.send_msg(request, context.context_id)
    _, answer = made.dimse.get_msg(block=True)
    made._reactor_checkpoint.set()
    return int(answer.Status)
