"""Storage commitment (PS3.4 annex J): whether what a modality sent is safely here.

Committed means what it means for C-STORE: on disk and in the journal. The report goes over an
association of its own to the address that the settings name for the modality that asked.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any, Final

from pydicom.dataset import Dataset
from pynetdicom import build_role
from pynetdicom.sop_class import StorageCommitmentPushModel, StorageCommitmentPushModelInstance

from app.edge.dimse import NoAssociation, associated
from app.edge.logs import log
from app.edge.settings import Peer

SUCCESS: Final = 0x0000
NO_SUCH_ACTION: Final = 0x0123
PROCESSING_FAILURE: Final = 0x0110
NO_SUCH_INSTANCE: Final = 0x0112  # failure reason of one object (PS3.3 C.14.1.1)
ALL_THERE, SOME_MISSING = 1, 2  # event types (PS3.4 J.3.3.1)

IsHere = Callable[[str], bool]


class Commitment:
    """Answers N-ACTION requests. `is_here` tells of one SOP Instance UID."""

    def __init__(self, ae_title: str, askers: Iterable[Peer], is_here: IsHere) -> None:
        self._ae_title = ae_title
        self._askers = {peer.ae: peer for peer in askers}
        self._is_here = is_here

    def asked(self, event: Any) -> tuple[int, None]:
        """Handler of `EVT_N_ACTION`: take the request; the report follows."""
        asker = self._askers.get(str(event.assoc.requestor.ae_title).strip())
        if event.action_type != 1 or asker is None:
            return NO_SUCH_ACTION, None
        try:
            wanted = event.action_information
            report = self._report(wanted)
        except Exception:  # noqa: BLE001  whatever a damaged request does to the parser
            return PROCESSING_FAILURE, None
        threading.Thread(target=self._tell, args=(asker, report), daemon=True).start()
        return SUCCESS, None

    def _report(self, wanted: Dataset) -> Dataset:
        report = Dataset()
        report.TransactionUID = wanted.TransactionUID
        here, missing = [], []
        for one in wanted.ReferencedSOPSequence:
            item = Dataset()
            item.ReferencedSOPClassUID = one.ReferencedSOPClassUID
            item.ReferencedSOPInstanceUID = one.ReferencedSOPInstanceUID
            if self._is_here(str(one.ReferencedSOPInstanceUID)):
                here.append(item)
            else:
                item.FailureReason = NO_SUCH_INSTANCE
                missing.append(item)
        report.ReferencedSOPSequence = here
        if missing:
            report.FailedSOPSequence = missing
        return report

    def _tell(self, asker: Peer, report: Dataset) -> None:
        kind = SOME_MISSING if "FailedSOPSequence" in report else ALL_THERE
        role = build_role(StorageCommitmentPushModel, scp_role=True)
        classes = [StorageCommitmentPushModel]
        try:
            with associated(self._ae_title, asker, classes, ext_neg=[role]) as association:
                association.send_n_event_report(
                    report, kind, StorageCommitmentPushModel, StorageCommitmentPushModelInstance
                )
        except (NoAssociation, RuntimeError, ValueError) as error:
            log.warning("commitment.not_reported", error=type(error).__name__)
