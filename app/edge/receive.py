"""C-STORE and C-ECHO: an object is acknowledged when it is on disk, and never before.

The handler decodes nothing (dicom.md 2.5: 36 of 314 real files break a handler that does); a
worker process parses later. pynetdicom 3.0.4 buffers whatever length a peer announces and
leaves Nagle's algorithm on, so the accepted socket is bounded and set here.
"""

from __future__ import annotations

import hashlib
import shutil
import ssl
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

from pydicom.uid import UID, DeflatedExplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.sop_class import StorageCommitmentPushModel, Verification

from app import clock
from app.edge import dimse, spool
from app.edge.cases import Arrival, arrive, is_waiting, remember_refusal, was_refused
from app.edge.commitment import Commitment
from app.edge.journal import Journal, count
from app.edge.logs import log
from app.edge.pseudonyms import Pseudonyms
from app.edge.settings import EdgeSettings

# PS3.4 B.2.3 and PS3.7 annex C
SUCCESS: Final = 0x0000
CLASS_NOT_TAKEN: Final = 0x0122
OUT_OF_RESOURCES: Final = 0xA700
NOT_UNDERSTOOD: Final = 0xC000
PDU_LIMIT: Final = 16 << 20
MEGABYTE: Final = 1 << 20
STRIPES: Final = 64  # locks that share out the objects

OnNew = Callable[[bytes, float], None]


class Refused(Exception):
    """An object that is not taken: a DICOM status and a closed word to count."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Inbox:
    """The folders that hold received objects. Names come from the keyed hash of a UID only."""

    spool: Path
    conflicts: Path

    @classmethod
    def of(cls, data_dir: Path) -> Inbox:
        """The inbox below `data_dir`, swept of half files."""
        inbox = cls(data_dir / "spool", data_dir / "conflicts")
        spool.sweep(inbox.spool)
        spool.sweep(inbox.conflicts)
        return inbox

    def path(self, key: bytes) -> Path:
        """Where the object of a case waits."""
        return self.spool / f"{key.hex()}.dcm"

    def conflict(self, key: bytes, content: bytes) -> Path:
        """Where other bytes under a known UID are kept for a person to look at."""
        return self.conflicts / f"{key.hex()}-{content.hex()[:16]}.dcm"


class Receiver:
    """The listening side. `on_new(key, elapsed)` is called for each new case, once durable."""

    def __init__(
        self,
        settings: EdgeSettings,
        inbox: Inbox,
        journal: Journal,
        pseudonyms: Pseudonyms,
        on_new: OnNew,
    ) -> None:
        self._settings = settings
        self._inbox = inbox
        self._journal = journal
        self._pseudonyms = pseudonyms
        self._on_new = on_new
        self._server: Any = None
        self._takes = True
        # From the name on disk to the place in the journal's queue, one object's copies take turns.
        self._one_at_a_time = [threading.Lock() for _ in range(STRIPES)]
        self.must_adopt = False  # something is on disk that the journal may not know

    def start(self) -> int:
        """Listen; the port, which is chosen by the system when the settings say 0."""
        dimse.quieten()
        s = self._settings
        entity = AE(ae_title=s.ae_title)
        entity.maximum_associations = s.maximum_associations
        entity.maximum_pdu_size = 1 << 17
        entity.require_called_aet = True
        entity.require_calling_aet = list(s.allowed_ae_titles)
        entity.network_timeout = 60
        entity.add_supported_context(Verification)
        entity.add_supported_context(StorageCommitmentPushModel)
        commitment = Commitment(s.ae_title, s.commitment_peers, self.is_here)
        handlers = [
            (evt.EVT_CONN_OPEN, self._opened),
            (evt.EVT_DIMSE_RECV, _forget_bytes),
            (evt.EVT_REJECTED, self._rejected),
            (evt.EVT_C_ECHO, _echo),
            (evt.EVT_C_STORE, self.store),
            (evt.EVT_N_ACTION, commitment.asked),
        ]
        self._server = entity.start_server(
            (s.host, s.port), block=False, evt_handlers=handlers, ssl_context=tls(s)
        )
        return int(self._server.socket.getsockname()[1])

    def stop(self) -> None:
        """Take nothing more, by any way in; what was acknowledged is on disk."""
        self._takes = False
        if self._server is not None:
            self._server.shutdown()
            self._server = None

    def adopt(self) -> None:
        """Bring journal and spool together after a crash or a full disk."""
        self.must_adopt = False
        for path in sorted(self._inbox.spool.glob("*.dcm"), key=lambda p: p.stat().st_mtime):
            key = bytes.fromhex(path.stem)
            state = self._journal.do(partial(is_waiting, key=key))
            if state is None:
                self._submit(key, hashlib.sha256(path.read_bytes()).digest())
            elif state is False:
                path.unlink(missing_ok=True)

    def _opened(self, event: Any) -> None:
        connection = event.assoc.dul.socket
        dimse.send_at_once(event)
        limit = self._settings.largest_object_mb * MEGABYTE
        connection.recv = partial(_bounded_receive, connection, limit, self._count)
        connection.since_message, connection.is_over_limit = 0, False
        if not self._is_allowed(str(event.address[0])):
            self._count("association", "address_not_allowed")
            connection.is_over_limit = True

    def _is_allowed(self, address: str) -> bool:
        networks = self._settings.allowed_addresses
        return not networks or any(ip_address(address) in network for network in networks)

    def _rejected(self, _event: Any) -> None:
        self._count("association", "rejected")

    def store(self, event: Any) -> int:
        """Answer a C-STORE. Whatever goes wrong is a status and a counted word, never a crash."""
        try:
            self._take(event)
        except Refused as refused:
            self.refuse(str(event.request.AffectedSOPInstanceUID or ""), refused)
            return refused.status
        except OSError as error:
            self._count("refused", "disk_write_error")
            log.error("object.not_written", error=type(error).__name__, status=error.errno)
            return OUT_OF_RESOURCES
        return SUCCESS

    def _take(self, event: Any) -> None:
        request = event.request
        has_data = request.DataSet is not None and request.DataSet.getbuffer().nbytes
        self.keep(
            event.encoded_dataset() if has_data else b"",
            str(request.AffectedSOPInstanceUID or ""),
            str(request.AffectedSOPClassUID or ""),
            str(event.context.transfer_syntax),
        )

    def keep(self, raw: bytes, uid: str, sop_class: str, syntax: str) -> None:
        """Put one object, a file with its header, durably into the spool and the journal.

        `Refused` or `OSError` when it is not kept. Bytes that are here already change nothing.
        """
        if not self._takes:
            raise Refused(OUT_OF_RESOURCES, "stopping")
        if "Image Storage" not in UID(sop_class).name:
            raise Refused(CLASS_NOT_TAKEN, "sop_class_not_taken")
        if syntax == DeflatedExplicitVRLittleEndian:
            raise Refused(NOT_UNDERSTOOD, "deflated_transfer_syntax")
        if not uid or not raw:
            raise Refused(NOT_UNDERSTOOD, "no_data_set")
        free = shutil.disk_usage(self._inbox.spool).free
        if free < self._settings.free_disk_mb * MEGABYTE + len(raw):
            raise Refused(OUT_OF_RESOURCES, "disk_full")
        key, content = self._pseudonyms.case(uid), hashlib.sha256(raw).digest()
        with self._one_at_a_time[key[0] % STRIPES]:
            if spool.write_new(self._inbox.path(key), (raw,)):
                self._submit(key, content)
            else:
                self._keep_again(key, content, raw)

    def _keep_again(self, key: bytes, content: bytes, raw: bytes) -> None:
        """An object under a name that is there: known, other bytes, or of a sync that failed."""
        arrival = self._journal.do(self._arrival(key, content))
        if arrival is Arrival.OTHER_BYTES:
            spool.replace(self._inbox.conflict(key, content), (raw,))
        elif arrival is Arrival.NEW:  # what is there was refused, and is not trusted
            spool.replace(self._inbox.path(key), (raw,))
            self._on_new(key, clock.elapsed())

    def is_here(self, uid: str) -> bool:
        """Whether an object was taken: in the journal, or on disk and about to be in it."""
        key = self._pseudonyms.case(uid)
        known = self._journal.do(partial(is_waiting, key=key)) is not None
        return known or self._inbox.path(key).exists()

    def is_settled(self, uid: str) -> bool:
        """Whether nothing more is to be fetched of an object: it is here, or refused for good."""
        key = self._pseudonyms.case(uid)
        return self.is_here(uid) or self._journal.do(partial(was_refused, key=key))

    def refuse(self, uid: str, refused: Refused) -> None:
        """Count a refusal, and remember it if it will not change by itself."""
        self._count("refused", refused.reason)
        if uid and refused.status != OUT_OF_RESOURCES:
            key = self._pseudonyms.case(uid)
            self._journal.submit(partial(remember_refusal, key=key))

    def _submit(self, key: bytes, content: bytes) -> None:
        stored = clock.elapsed()
        future = self._journal.submit(self._arrival(key, content))
        future.add_done_callback(partial(self._arrived, key, content, stored))

    def _arrival(self, key: bytes, content: bytes) -> Callable[[Any], Arrival]:
        day = clock.now().astimezone(self._settings.zone).date().toordinal()
        return lambda db: arrive(db, key, content, day)

    def _arrived(self, key: bytes, content: bytes, stored: float, future: Future[Arrival]) -> None:
        if future.exception() is not None:
            self.must_adopt = True  # on disk and acknowledged, but not in the journal yet
        elif future.result() is Arrival.NEW:
            self._on_new(key, stored)
        elif future.result() is Arrival.DUPLICATE:
            self._inbox.path(key).unlink(missing_ok=True)
        else:
            self._inbox.path(key).replace(self._inbox.conflict(key, content))

    def _count(self, kind: str, reason: str) -> None:
        self._journal.submit(lambda db: count(db, kind, reason))


def tls(settings: EdgeSettings) -> ssl.SSLContext | None:
    """TLS for the listening side, or None. With a CA, scanners must show a certificate of it."""
    if settings.tls_certificate is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(settings.tls_certificate, settings.tls_key)
    if settings.tls_ca is not None:
        context.load_verify_locations(settings.tls_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _bounded_receive(
    connection: Any, object_limit: int, tally: Callable[[str, str], None], size: int
) -> bytearray:
    """`AssociationSocket.recv` with a limit, and with reads larger than its 4 KiB."""
    if connection.is_over_limit:
        return bytearray()  # as if the peer had closed
    connection.since_message += size
    if size > PDU_LIMIT or connection.since_message > object_limit:
        connection.is_over_limit = True
        tally("association", "too_large")
        raise OSError("more bytes announced than are taken")
    data = bytearray(size)
    view, got = memoryview(data), 0
    while got < size:
        read = connection.socket.recv_into(view[got:])
        if not read:
            break
        got += read
    del view
    return data[:got]


def _echo(_event: Any) -> int:
    return SUCCESS


def _forget_bytes(event: Any) -> None:
    event.assoc.dul.socket.since_message = 0
