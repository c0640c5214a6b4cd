"""Everything that hospitals really store, through the running agent, sent by dcmtk."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from tests.edge.running_edge import START, RunningEdge, closes
from tests.edge.sender import a_chest, send
from tests.peers.dcmtk import store
from tests.support.leaks import leaks, said
from tests.support.shared_data import shared

pytestmark = [pytest.mark.shared, pytest.mark.peers]
DAY = START.replace(tzinfo=None)
REFUSALS = {
    "sop_class_not_taken",
    "no_data_set",
    "deflated_transfer_syntax",
    "same_uid_other_bytes",
}
UNFINISHED = ("failed", "outside_limits", "quality_rejected", "abstained")
EVERY = 12  # of the 580 radiographs; all of them take minutes
SHORTEST = 9  # shorter values are also ordinary words, numbers and dates


def test_every_real_and_broken_file_is_taken_or_refused_with_a_reason(edge: RunningEdge) -> None:
    home = shared("dicom")
    rows = _table(home / "index.csv")

    answers = Counter(store(home / r["path"], edge.port, r["transfer_syntax"]) for r in rows)
    taken = answers["Success"] + send(edge.port, a_chest(1, DAY)).count(0x0000)
    edge.until(lambda s: _arrived(s) == taken and s["balance"]["waiting"] == 0)
    edge.live(days=2)

    status = edge.status()
    balance = status["balance"]
    refused = status["reasons"].get("refused", {})
    assert closes(balance) and balance["waiting"] == 0
    assert balance["received"] > 70 and balance["analysed"] >= 1
    assert set(refused) <= REFUSALS
    assert sum(refused.values()) == balance["refused_objects"] > 0
    _every_end_has_a_reason(status)
    assert leaks(said(edge), _identifying(home)) == set()


def test_real_radiographs_are_analysed_or_refused_with_a_reason(edge: RunningEdge) -> None:
    home = shared("real", "cxr_nih")
    rows = _table(home / "labels.csv")[::EVERY]

    statuses = send(edge.port, *(_as_dicom(home, row) for row in rows))
    balance = edge.settled(len(rows))

    assert set(statuses) == {0x0000}
    assert closes(balance) and balance["waiting"] == 0
    assert balance["received"] == len(rows)
    assert balance["failed"] == 0
    _every_end_has_a_reason(edge.status())


def _arrived(status: dict[str, Any]) -> int:
    """What was answered with success: a case, known already, or kept aside for a person."""
    other = status["reasons"].get("refused", {}).get("same_uid_other_bytes", 0)
    return int(status["balance"]["received"] + status["balance"]["duplicates"] + other)


def _table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def _every_end_has_a_reason(status: dict[str, Any]) -> None:
    counted = {end: sum(status["reasons"].get(end, {}).values()) for end in UNFINISHED}
    assert counted == {end: status["balance"][end] for end in UNFINISHED}


def _identifying(home: Path) -> set[str]:
    lines = (home / "identifying_strings.jsonl").read_text().splitlines()
    found = {str(json.loads(line)["value"]) for line in lines}
    return {value for value in found if len(value) >= SHORTEST and not value.isdigit()}


def _as_dicom(home: Path, row: dict[str, str]) -> Dataset:
    """A published PNG under the header of a radiography system, at its detector's pixel size."""
    pixels = np.asarray(Image.open(home / row["file"]).convert("L"), dtype="<u2")
    dataset = a_chest(int(row["subject_id"].rpartition("_")[2]), DAY)
    spacing = float(row["orig_pixel_mm"] or 0.143) * float(row["orig_w"]) / pixels.shape[1]
    dataset.SOPInstanceUID = generate_uid(entropy_srcs=[row["file"]])
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.ViewPosition, dataset.PatientSex = row["view"], row["sex"]
    dataset.PatientAge = f"{int(row['age']):03d}Y"
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.BitsStored, dataset.HighBit = 8, 7
    dataset.ImagerPixelSpacing = dataset.PixelSpacing = [f"{spacing:.4f}"] * 2
    dataset.WindowCenter, dataset.WindowWidth = "128", "256"
    dataset.PixelData = pixels.tobytes()
    return dataset
