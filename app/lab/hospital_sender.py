"""A scanner's side of the network: objects sent to the edge agent by C-STORE.

pynetdicom never sets TCP_NODELAY (30 objects a second instead of 150), and its association
reactor can eat a response; then the status comes back empty and the same object is sent again
on a new association, which the receiver must treat as a duplicate or as new, never as lost.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE, _config, evt
from pynetdicom.association import Association
from pynetdicom.events import Event
from pynetdicom.sop_class import (
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
)

from app.errors import AppError

_config.STORE_SEND_CHUNKED_DATASET = True  # a path is sent as the bytes it holds, not re-encoded
_config.LOG_REQUEST_IDENTIFIERS = False
_config.LOG_RESPONSE_IDENTIFIERS = False
RESPONSE_WITHIN_S = 10.0
PAUSES_S = (0.0, 0.2, 0.5, 1.0, 2.0)  # before each association
OUT_OF_RESOURCES = 0xA700


class NotStored(AppError):
    """The receiver did not take an object."""

    title = "Object not stored"
    status = 502


@dataclass(frozen=True, slots=True)
class Peer:
    """Where the edge agent listens."""

    host: str
    port: int
    ae_title: str


def send(peer: Peer, calling: str, files: Sequence[Path]) -> None:
    """Send `files` in order over one association; over further ones, if it breaks or the
    receiver asks for a pause. Raises `NotStored` when that does not help."""
    left = list(files)
    for pause_s in PAUSES_S:
        time.sleep(pause_s)
        for _ in _acknowledged(peer, calling, tuple(left)):
            left.pop(0)
        if not left:
            return
    raise NotStored(
        f"{len(left)} of {len(files)} objects not acknowledged by {peer.ae_title} on port "
        f"{peer.port} over {len(PAUSES_S)} associations"
    )


def _acknowledged(peer: Peer, calling: str, files: Sequence[Path]) -> Iterator[Path]:
    """Those of `files` that one association brought across, up to the first that it did not."""
    association = _associate(peer, calling)
    if not association.is_established:
        return
    try:
        for file in files:
            status = association.send_c_store(file)
            if not _is_stored(status):
                return
            yield file
    finally:
        if association.is_established:
            association.release()


def _is_stored(status: Dataset) -> bool:
    """Success or warning; False when unknown or out of resources (PS3.4 B.2.3); else refused."""
    code = status.Status if "Status" in status else OUT_OF_RESOURCES
    if code == 0x0000 or code & 0xF000 == 0xB000:
        return True
    if code & 0xFF00 == OUT_OF_RESOURCES:
        return False
    raise NotStored(f"C-STORE refused with status 0x{code:04X}, 0x0000 expected")


def _associate(peer: Peer, calling: str) -> Association:
    entity = AE(ae_title=calling)
    entity.acse_timeout = entity.dimse_timeout = RESPONSE_WITHIN_S
    for kind in (ComputedRadiographyImageStorage, DigitalXRayImageStorageForPresentation):
        entity.add_requested_context(kind, ExplicitVRLittleEndian)
    return entity.associate(
        peer.host,
        peer.port,
        ae_title=peer.ae_title,
        evt_handlers=[(evt.EVT_CONN_OPEN, _without_delay)],
    )


def _without_delay(event: Event) -> None:
    event.assoc.dul.socket.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
