"""What every DICOM object that the edge makes has in common: its UID, and its bytes as a file."""

from __future__ import annotations

from io import BytesIO

from pydicom.dataset import Dataset
from pydicom.filewriter import dcmwrite


def uid_of(digest: bytes) -> str:
    """A UID under 2.25 (PS3.5 B.2) from the first 16 bytes of a digest."""
    return f"2.25.{int.from_bytes(digest[:16], 'big')}"


def as_file(made: Dataset) -> bytes:
    """The object as the bytes of a DICOM file."""
    buffer = BytesIO()
    dcmwrite(buffer, made, enforce_file_format=True)
    return buffer.getvalue()
