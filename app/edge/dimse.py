"""pynetdicom as we use it: silent, without Nagle's delay, and with sockets that are closed.

pynetdicom 3.0.4 leaves Nagle's algorithm on (dicom.md 0.1), prints what a peer sends, and
forgets to close a socket whose shutdown fails, which is every connection that was refused.
"""

from __future__ import annotations

import logging
import socket
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE, _config, evt
from pynetdicom.transport import AssociationSocket

from app.edge.settings import Peer

ANSWER_WITHIN_S: Final = 8.0
CONNECT_WITHIN_S: Final = 5.0


class NoAssociation(Exception):
    """The peer is down, or does not take us."""


@contextmanager
def associated(
    ae_title: str,
    peer: Peer,
    sop_classes: Iterable[str],
    syntaxes: Iterable[str] = (ExplicitVRLittleEndian,),
    **options: Any,
) -> Iterator[Any]:
    """An association for these SOP classes, released at the end; `NoAssociation` without one.

    options : further arguments of `AE.associate`, such as `ext_neg`, `contexts` and handlers.
    """
    quieten()
    _config.STORE_SEND_CHUNKED_DATASET = True
    entity = AE(ae_title=ae_title)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = ANSWER_WITHIN_S
    entity.connection_timeout = CONNECT_WITHIN_S
    for sop_class in sop_classes:
        entity.add_requested_context(sop_class, list(syntaxes))
    handlers = [(evt.EVT_CONN_OPEN, send_at_once), *options.pop("evt_handlers", ())]
    made = entity.associate(
        peer.host, peer.port, ae_title=peer.ae, evt_handlers=handlers, **options
    )
    if not made.is_established:
        raise NoAssociation
    try:
        yield made
    finally:
        made.release()


def send_at_once(event: Any) -> None:
    """Handler of `EVT_CONN_OPEN`: no waiting for more to send."""
    event.assoc.dul.socket.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def quieten() -> None:
    """Keep what a peer sends out of logs, warnings and exceptions that others print."""
    _config.UNRESTRICTED_STORAGE_SERVICE = True
    _config.LOG_REQUEST_IDENTIFIERS = False
    _config.LOG_RESPONSE_IDENTIFIERS = False
    _config.LOG_HANDLER_LEVEL = "none"
    for name in ("pynetdicom", "pydicom"):
        logger = logging.getLogger(name)
        logger.setLevel(logging.CRITICAL + 1)
        logger.propagate = False
    warnings.filterwarnings("ignore", module=r"(pydicom|pynetdicom)(\.|$)")


def _shut(self: AssociationSocket) -> None:
    """Shut down and close, the second even where the first fails."""
    if self.socket is not None:
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


AssociationSocket._shutdown_socket = _shut
