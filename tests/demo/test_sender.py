"""The scanner's side of the network, against a real receiver that misbehaves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.events import Event
from pynetdicom.sop_class import DigitalXRayImageStorageForPresentation

from app.lab.hospital_sender import NotStored, Peer, send


def an_object(folder: Path, number: int) -> Path:
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPClassUID = DigitalXRayImageStorageForPresentation
    data.SOPInstanceUID = f"2.25.{number + 1}"
    path = folder / f"{number}.dcm"
    data.save_as(path, enforce_file_format=True)
    return path


@contextmanager
def a_receiver(*statuses: int) -> Iterator[tuple[Peer, list[str]]]:
    """A receiver that answers with these statuses, then with success; and what it stored."""
    stored: list[str] = []
    answers = list(statuses)

    def store(event: Event) -> int:
        status = answers.pop(0) if answers else 0x0000
        if status in (0x0000, 0xB007):
            stored.append(str(event.request.AffectedSOPInstanceUID))
        return status

    entity = AE(ae_title="EDGE")
    entity.add_supported_context(DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian)
    server = entity.start_server(
        ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, store)]
    )
    try:
        yield Peer("127.0.0.1", server.server_address[1], "EDGE"), stored
    finally:
        server.shutdown()


@pytest.mark.parametrize("statuses", [(), (0xB007,), (0xA700,), (0x0000, 0xA702)])
def test_every_object_arrives_once_and_in_order(tmp_path: Path, statuses: tuple[int, ...]) -> None:
    files = [an_object(tmp_path, n) for n in range(3)]

    with a_receiver(*statuses) as (peer, stored):
        send(peer, "SCANNER", files)

    assert stored == ["2.25.1", "2.25.2", "2.25.3"]


def test_a_refusal_is_an_error_that_names_the_status(tmp_path: Path) -> None:
    files = [an_object(tmp_path, 0)]

    with a_receiver(0xC211) as (peer, _), pytest.raises(NotStored, match="status 0xC211"):
        send(peer, "SCANNER", files)


def test_a_receiver_that_stays_full_is_an_error_that_counts_what_is_left(tmp_path: Path) -> None:
    files = [an_object(tmp_path, n) for n in range(2)]

    with (
        a_receiver(0x0000, *[0xA700] * 9) as (peer, _),
        pytest.raises(NotStored, match="1 of 2 objects not acknowledged"),
    ):
        send(peer, "SCANNER", files)
