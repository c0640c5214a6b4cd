"""What an edge needs before it runs, each tried for real."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

from pynetdicom.sop_class import Verification

from app.contracts.signing import SigningKey
from app.device.bundle import open_bundle
from app.device.measurable import check_measurable
from app.edge import spool
from app.edge.dimse import NoAssociation, associated
from app.edge.http import Centre, Unreachable
from app.edge.settings import EdgeSettings, Peer
from app.errors import AppError

Check = Callable[[EdgeSettings], None]


class Trouble(AppError):
    """Something the agent needs is not there."""

    title = "Check failed"


def checks(settings: EdgeSettings) -> Iterator[tuple[str, str]]:
    """Each check's name, and what is wrong, "" when nothing is."""
    for name, check in _CHECKS.items():
        try:
            check(settings)
            yield name, ""
        except (AppError, OSError, Unreachable) as error:
            yield name, str(error) or type(error).__name__


def _bundle(settings: EdgeSettings) -> None:
    keys = [bytes.fromhex(key) for key in settings.trusted_keys]
    threshold, minimum = settings.signature_threshold, settings.minimum_release
    check_measurable(open_bundle(settings.bundle, keys, threshold, minimum).manifest)


def _data_folder(settings: EdgeSettings) -> None:
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    _try_writing(settings.data_dir)


def _results_folder(settings: EdgeSettings) -> None:
    if settings.results_folder is not None:
        settings.results_folder.mkdir(parents=True, exist_ok=True)
        _try_writing(settings.results_folder)


def _label_inbox(settings: EdgeSettings) -> None:
    if settings.label_inbox is not None and not settings.label_inbox.is_dir():
        raise Trouble(f"label_inbox: a folder expected at {settings.label_inbox}")


def _port(settings: EdgeSettings) -> None:
    with socket.create_server((settings.host, settings.port)):
        pass


def _storescp(settings: EdgeSettings) -> None:
    if settings.storescp_port is None:
        return
    if not settings.storescp_program.is_file():
        raise Trouble(f"storescp_program: dcmtk's storescp expected at {settings.storescp_program}")
    with socket.create_server(("", settings.storescp_port)):
        pass


def _centre(settings: EdgeSettings) -> None:
    centre = Centre(settings.central_url, settings.addressed_to, SigningKey.generate())
    answer = centre.ask("GET", "/edge/v1/state")
    if answer.status != 401:  # it must not talk to a stranger
        raise Trouble(
            f"central_url: status 401 to an unsigned request expected, got {answer.status}"
        )


def _results_peer(settings: EdgeSettings) -> None:
    _echoes(settings, settings.results_peer)


def _results_ups(settings: EdgeSettings) -> None:
    _echoes(settings, settings.results_ups)


def _query_peer(settings: EdgeSettings) -> None:
    _echoes(settings, settings.query_peer)


def _query_url(settings: EdgeSettings) -> None:
    if settings.query_url is not None:
        parts = urlsplit(settings.query_url)
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
        socket.create_connection((parts.hostname or "", port), timeout=5).close()


def _results_hl7(settings: EdgeSettings) -> None:
    listener = settings.results_hl7
    if listener is not None:
        socket.create_connection((listener.host, listener.port), timeout=5).close()


def _echoes(settings: EdgeSettings, peer: Peer | None) -> None:
    """C-ECHO, which a node answers only if it knows our title."""
    if peer is None:
        return
    try:
        with associated(settings.ae_title, peer, [Verification]) as association:
            association.send_c_echo()
    except NoAssociation:
        raise Trouble(
            f"an association of {settings.ae_title} with {peer.ae} expected at "
            f"{peer.host}:{peer.port}, got none"
        ) from None


def _try_writing(folder: Path) -> None:
    path = folder / f".check-{secrets.token_hex(4)}"
    spool.replace(path, (b"lockwatch",))
    path.unlink()


_CHECKS: dict[str, Check] = {
    "bundle signed and whole": _bundle,
    "data folder writable": _data_folder,
    "results folder writable": _results_folder,
    "label inbox present": _label_inbox,
    "port free": _port,
    "storescp installed, its port free": _storescp,
    "centre answers": _centre,
    "archive answers": _query_peer,
    "DICOMweb archive answers": _query_url,
    "results destination answers": _results_peer,
    "HL7 listener answers": _results_hl7,
    "work-item manager answers": _results_ups,
}
