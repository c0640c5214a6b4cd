"""Ways in besides C-STORE, and who may come in at all."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import StorageCommitmentPushModel, StorageCommitmentPushModelInstance

from app.edge.journal import Journal
from app.edge.watched import Watched
from tests.edge.sender import DX, a_small_object, as_bytes, association, send
from tests.edge.test_receive import Door, a_door


@contextmanager
def open_door(folder: Path, journal: Journal, **changes: Any) -> Iterator[Door]:
    door = a_door(folder, journal, **changes)
    door.port = door.receiver.start()
    try:
        yield door
    finally:
        door.receiver.stop()


# The watched folder


@pytest.fixture
def drop(tmp_path: Path, journal: Journal) -> tuple[Door, Watched]:
    door = a_door(tmp_path, journal)
    (tmp_path / "drop").mkdir()
    return door, Watched(tmp_path / "drop", door.receiver, journal, largest_mb=1)


def test_a_dropped_file_is_taken_once_it_has_stopped_growing(drop: tuple[Door, Watched]) -> None:
    door, watched = drop
    whole = as_bytes(a_small_object())
    path = watched.folder / "camera-1.dcm"

    path.write_bytes(whole[:200])
    assert watched.look() == 0
    path.write_bytes(whole)
    assert watched.look() == 0
    assert watched.look() == 1

    assert door.stored[0].read_bytes() == whole
    assert list(watched.folder.iterdir()) == []
    assert door.balance["received"] == 1


def test_what_is_no_image_is_put_aside_and_spares_the_rest(drop: tuple[Door, Watched]) -> None:
    door, watched = drop
    (watched.folder / "a.txt").write_text("not an image")
    (watched.folder / "b.dcm").write_bytes(as_bytes(a_small_object(sop_class="1.2.840.10008.5.1")))
    (watched.folder / "c.dcm").write_bytes(as_bytes(a_small_object()))
    (watched.folder / "d.dcm").write_bytes(b"x" * (2 << 20))

    watched.look()
    assert watched.look() == 1

    aside = sorted(path.name for path in (watched.folder / "refused").iterdir())
    assert aside == ["a.txt", "b.dcm", "d.dcm"]
    refused = {reason: n for (kind, reason), n in door.counted.items() if kind == "refused"}
    assert refused == {"not_a_dicom_file": 1, "sop_class_not_taken": 1, "too_large": 1}


def test_a_full_disk_leaves_the_file_where_it_is(tmp_path: Path, journal: Journal) -> None:
    door = a_door(tmp_path, journal, free_disk_mb=1 << 40)
    (tmp_path / "drop").mkdir()
    watched = Watched(tmp_path / "drop", door.receiver, journal, largest_mb=1)
    (watched.folder / "c.dcm").write_bytes(as_bytes(a_small_object()))

    watched.look()
    assert watched.look() == 0

    assert [path.name for path in watched.folder.iterdir()] == ["c.dcm"]


# Who may come in


def test_an_address_that_is_not_listed_gets_no_answer(tmp_path: Path, journal: Journal) -> None:
    with open_door(tmp_path, journal, allowed_addresses=["10.1.0.0/16"]) as door:
        with association(door.port) as made:
            assert not made.is_established
        assert door.counted["association", "address_not_allowed"] == 1


def test_a_listed_address_is_let_in(tmp_path: Path, journal: Journal) -> None:
    with open_door(tmp_path, journal, allowed_addresses=["10.1.0.0/16", "127.0.0.1/32"]) as door:
        assert send(door.port, a_small_object()) == [0x0000]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "edge")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=9))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("edge")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(made.public_bytes(Encoding.PEM))
    plain = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "key.pem").write_bytes(plain)
    return folder / "cert.pem", folder / "key.pem"


@pytest.mark.parametrize("shows", [True, False])
def test_with_tls_only_who_shows_a_certificate_comes_in(
    tmp_path: Path, journal: Journal, certificate: tuple[Path, Path], shows: bool
) -> None:
    tls = dict(zip(("tls_certificate", "tls_key"), certificate, strict=True))
    context = ssl.create_default_context(cafile=str(certificate[0]))
    if shows:
        context.load_cert_chain(*certificate)
    with open_door(tmp_path, journal, **tls, tls_ca=certificate[0]) as door:
        entity = AE(ae_title="SCANNER")
        entity.acse_timeout = 5
        entity.add_requested_context(DX)
        made = entity.associate("127.0.0.1", door.port, ae_title="EDGE", tls_args=(context, "edge"))
        assert made.is_established == shows
        if shows:
            assert made.send_c_store(a_small_object()).Status == 0x0000
            made.release()
        with association(door.port) as plain:
            assert not plain.is_established


# Storage commitment


class Asker:
    """A modality that asks for commitment and waits for the report."""

    def __init__(self) -> None:
        self.kind, self.report = 0, Dataset()
        self.told = threading.Event()

    def tell(self, event: Any) -> tuple[int, None]:
        self.kind, self.report = event.event_type, event.event_information
        self.told.set()
        return 0x0000, None

    def ask(self, port: int, *uids: str) -> int:
        asked = Dataset()
        asked.TransactionUID = "2.25.77"
        asked.ReferencedSOPSequence = [_reference(uid) for uid in uids]
        with association(port, (StorageCommitmentPushModel, "1.2.840.10008.1.2")) as made:
            status, _ = made.send_n_action(
                asked, 1, StorageCommitmentPushModel, StorageCommitmentPushModelInstance
            )
            return int(status.Status)


def _reference(uid: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = DX, uid
    return item


@contextmanager
def asking() -> Iterator[tuple[Asker, int]]:
    asker = Asker()
    entity = AE(ae_title="SCANNER")
    entity.add_supported_context(StorageCommitmentPushModel, scu_role=True, scp_role=True)
    handlers = [(evt.EVT_N_EVENT_REPORT, asker.tell)]
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    try:
        yield asker, server.socket.getsockname()[1]
    finally:
        server.shutdown()


def test_commitment_names_what_is_here_and_what_is_not(tmp_path: Path, journal: Journal) -> None:
    here = a_small_object()
    with asking() as (asker, port):
        peers = [{"host": "127.0.0.1", "port": port, "ae": "SCANNER"}]
        with open_door(tmp_path, journal, commitment_peers=peers) as door:
            send(door.port, here)
            assert asker.ask(door.port, str(here.SOPInstanceUID), "2.25.404") == 0x0000
            assert asker.told.wait(20)

    assert asker.kind == 2
    assert asker.report.TransactionUID == "2.25.77"
    [committed] = asker.report.ReferencedSOPSequence
    assert committed.ReferencedSOPInstanceUID == here.SOPInstanceUID
    [missing] = asker.report.FailedSOPSequence
    assert (missing.ReferencedSOPInstanceUID, missing.FailureReason) == ("2.25.404", 0x0112)


def test_commitment_is_refused_where_nobody_can_be_told(tmp_path: Path, journal: Journal) -> None:
    with open_door(tmp_path, journal) as door:
        assert Asker().ask(door.port, "2.25.404") == 0x0123
