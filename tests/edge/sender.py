"""A scanner's side of the network, with pynetdicom, for whatever bytes a test wants to send."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from pynetdicom import AE, evt

from app.device.reference.chest.dicom import HEADERS, invent_identity, to_dicom
from app.device.reference.chest.phantom import make_case
from app.device.reference.chest.physics import VENDORS
from app.edge import dimse

DX = "1.2.840.10008.5.1.4.1.1.1.1"
NOON = datetime(2026, 3, 10, 12)  # noqa: DTZ001  a scanner's wall time


def a_chest(
    seed: int = 0, acquired: datetime = NOON, vendor: str = "philips", positive: bool = False
) -> Dataset:
    """A chest radiograph of an invented patient."""
    rng = np.random.default_rng(seed)
    phantom = make_case(rng, VENDORS[vendor], positive=positive)
    identity = invent_identity(rng, phantom, acquired, "St. Elsewhere")
    return to_dicom(phantom, identity, HEADERS[vendor], acquired)


def a_small_object(uid: str = "", sop_class: str = DX, filling: bytes = b"\x01\x02") -> Dataset:
    """An object of a few hundred bytes, which a chain cannot use."""
    dataset = Dataset()
    dataset.SOPClassUID = sop_class
    dataset.SOPInstanceUID = uid or generate_uid()
    dataset.StudyInstanceUID = generate_uid()
    dataset.SeriesInstanceUID = generate_uid()
    dataset.Modality = "DX"
    dataset.Rows, dataset.Columns = 1, 1
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation, dataset.SamplesPerPixel = 15, 0, 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.PixelData = filling
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return dataset


def as_bytes(dataset: Dataset) -> bytes:
    """The object as a file."""
    buffer = io.BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


@contextmanager
def association(
    port: int,
    *contexts: tuple[str, str],
    calling: str = "SCANNER",
    called: str = "EDGE",
) -> Iterator[Any]:
    """An association for (SOP class, transfer syntax) pairs; DX in plain encoding by default."""
    entity = AE(ae_title=calling)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 20
    for sop_class, syntax in contexts or ((DX, str(ExplicitVRLittleEndian)),):
        entity.add_requested_context(sop_class, syntax)
    entity.add_requested_context("1.2.840.10008.1.1")
    handlers = [(evt.EVT_CONN_OPEN, dimse.send_at_once)]
    made = entity.associate("127.0.0.1", port, ae_title=called, evt_handlers=handlers)
    try:
        yield made
    finally:
        if made.is_established:
            made.release()
        if made.is_alive():
            made.join(5)


def send(port: int, *datasets: Dataset) -> list[int]:
    """Send objects over one association; their statuses."""
    pairs = {(str(d.SOPClassUID), str(d.file_meta.TransferSyntaxUID)) for d in datasets}
    with association(port, *sorted(pairs)) as made:
        assert made.is_established
        return [int(made.send_c_store(dataset).Status) for dataset in datasets]
