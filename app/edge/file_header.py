"""What a DICOM file says it is, from its file meta information alone (PS3.10, 7.1)."""

from __future__ import annotations

from io import BytesIO

from pydicom.filereader import read_dataset, read_preamble

from app.edge.receive import NOT_UNDERSTOOD, Refused

_META = 0x0002


def named(raw: bytes) -> tuple[str, str, str]:
    """SOP Instance UID, SOP Class UID and transfer syntax of a file; `Refused` without a header.

    The data set behind the header is not looked at: it is for a worker to parse.
    """
    try:
        file = BytesIO(raw)
        read_preamble(file, force=False)
        header = read_dataset(file, False, True, stop_when=lambda tag, *_: tag.group != _META)
        return (
            str(header.MediaStorageSOPInstanceUID),
            str(header.MediaStorageSOPClassUID),
            str(header.TransferSyntaxUID),
        )
    except Exception:  # noqa: BLE001  whatever a damaged header does to the parser
        raise Refused(NOT_UNDERSTOOD, "not_a_dicom_file") from None
