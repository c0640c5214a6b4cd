"""Where results go: a folder, a DICOM node, an HL7 listener, a work-item manager.

Each takes its kinds of result.

A destination is opened once for a batch and gives a function that sends one file, or raises
`NotNow` (try the rest later), `Again` (this one later) or `Never` (this one is refused).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydicom import dcmread
from pynetdicom.sop_class import (
    ColorSoftcopyPresentationStateStorage,
    Comprehensive3DSRStorage,
    GrayscaleSoftcopyPresentationStateStorage,
    SecondaryCaptureImageStorage,
    UnifiedProcedureStepPush,
)

from app.edge import mllp, spool
from app.edge.dimse import NoAssociation, associated
from app.edge.results import IMAGE, MESSAGE, OVERLAY, REPORT, WORK_ITEM
from app.edge.settings import EdgeSettings

FOLDER, PEER, HL7, UPS = "folder", "peer", "hl7", "ups"
CLASSES: Final = (
    SecondaryCaptureImageStorage,
    Comprehensive3DSRStorage,
    GrayscaleSoftcopyPresentationStateStorage,
    ColorSoftcopyPresentationStateStorage,
)
_SUBFOLDER = {IMAGE: "sc", REPORT: "sr", OVERLAY: "pr", MESSAGE: "priority"}
# PS3.4 B.2.3: success, and the warnings under which an object was stored all the same.
_STORED = (0x0000, 0xB000, 0xB006, 0xB007)
# PS3.4 CC.2.5.4, PS3.7 annex C: created, created with modifications or without some optional or
# out-of-range values; or there already, since the UID of a case's item is always the same.
_CREATED = (0x0000, 0xB300, 0x0001, 0x0107, 0x0116, 0x0111)
_BUSY = (0x0110, 0x0213)


class NotNow(Exception):
    """The destination did not take it; it may later."""


class Again(Exception):
    """The destination cannot take this one at present; others it may."""


class Never(Exception):
    """The destination refused it in a way that will not change by itself."""


Send = Callable[[Path], None]


@dataclass(frozen=True, slots=True)
class Destination:
    """`setting` names it in the settings; `takes` the kinds of result that it gets."""

    setting: str
    takes: tuple[str, ...]
    opened: Callable[[EdgeSettings], AbstractContextManager[Send]]

    def wanted(self, settings: EdgeSettings) -> bool:
        """Whether the settings name such a destination."""
        return getattr(settings, self.setting) is not None


def destinations(settings: EdgeSettings) -> tuple[str, ...]:
    """Where results go, in words the journal keeps."""
    return tuple(name for name, one in DESTINATIONS.items() if one.wanted(settings))


def kinds(settings: EdgeSettings) -> tuple[str, ...]:
    """The kinds of result that some destination takes."""
    taken = {kind for name in destinations(settings) for kind in DESTINATIONS[name].takes}
    return tuple(sorted(taken))


def addressed(settings: EdgeSettings, names: Sequence[str]) -> list[tuple[str, str]]:
    """Which result goes where, as (name, destination)."""
    return [
        (name, where)
        for name in names
        for where in destinations(settings)
        if Path(name).suffix in DESTINATIONS[where].takes
    ]


@contextmanager
def _folder(settings: EdgeSettings) -> Iterator[Send]:
    assert settings.results_folder is not None
    home = settings.results_folder

    def send(path: Path) -> None:
        folder = home / _SUBFOLDER[path.suffix]
        name = path.name if path.suffix == MESSAGE else path.with_suffix(IMAGE).name
        try:
            folder.mkdir(parents=True, exist_ok=True)
            spool.replace(folder / name, (path.read_bytes(),))
        except OSError as error:
            raise NotNow(type(error).__name__) from error

    yield send


def sweep_folder(settings: EdgeSettings) -> None:
    """Remove half files from the folder for results, where it is there and can be written."""
    home = settings.results_folder
    for half in home.glob("*/.half-*") if home is not None else ():
        with suppress(OSError):
            half.unlink()


@contextmanager
def _peer(settings: EdgeSettings) -> Iterator[Send]:
    assert settings.results_peer is not None
    try:
        with associated(settings.ae_title, settings.results_peer, CLASSES) as association:
            yield lambda path: _store(association, path)
    except NoAssociation:
        raise NotNow("no_association") from None


def _store(association: Any, path: Path) -> None:
    # pynetdicom's requestor can lose the answer (dicom.md 0.3): an empty status means unknown,
    # and sending the same object again is harmless.
    try:
        status = association.send_c_store(path)
    except (RuntimeError, ValueError) as error:
        raise NotNow(type(error).__name__) from error
    if "Status" not in status:
        raise NotNow("no_answer")
    code = int(status.Status)
    if code >> 8 == 0xA7:
        raise NotNow("out_of_resources")
    if code not in _STORED:
        raise Never(f"status_{code:04x}")


@contextmanager
def _hl7(settings: EdgeSettings) -> Iterator[Send]:
    assert settings.results_hl7 is not None
    try:
        with mllp.connected(settings.results_hl7.host, settings.results_hl7.port) as connection:
            yield lambda path: _tell(connection, path)
    except mllp.NoAnswer as error:
        raise NotNow(str(error)) from None


def _tell(connection: mllp.Connection, path: Path) -> None:
    code = connection.ask(path.read_bytes())
    if code in mllp.LATER:
        raise Again(code)
    if code in mllp.REJECTED:
        raise Never(code)


@contextmanager
def _ups(settings: EdgeSettings) -> Iterator[Send]:
    assert settings.results_ups is not None
    wanted = [UnifiedProcedureStepPush]
    try:
        with associated(settings.ae_title, settings.results_ups, wanted) as association:
            yield lambda path: _create(association, path)
    except NoAssociation:
        raise NotNow("no_association") from None


def _create(association: Any, path: Path) -> None:
    """N-CREATE of a work item. An answer that got lost is asked for again: see `_CREATED`."""
    item = dcmread(path)
    uid = str(item.SOPInstanceUID)
    del item.SOPInstanceUID, item.SOPClassUID  # the command says them (PS3.7, 10.1.5)
    try:
        status, _ = association.send_n_create(item, UnifiedProcedureStepPush, uid)
    except (RuntimeError, ValueError) as error:
        raise NotNow(type(error).__name__) from error
    if "Status" not in status:
        raise NotNow("no_answer")
    code = int(status.Status)
    if code in _BUSY:
        raise Again(f"status_{code:04x}")
    if code not in _CREATED:
        raise Never(f"status_{code:04x}")


DESTINATIONS: Mapping[str, Destination] = {
    FOLDER: Destination("results_folder", (IMAGE, REPORT, OVERLAY, MESSAGE), _folder),
    PEER: Destination("results_peer", (IMAGE, REPORT, OVERLAY), _peer),
    HL7: Destination("results_hl7", (MESSAGE,), _hl7),
    UPS: Destination("results_ups", (WORK_ITEM,), _ups),
}
