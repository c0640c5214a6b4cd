"""Results against the field's validator: dicom3tools' dciodvfy says no error."""

from __future__ import annotations

import csv
import warnings
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import UID

from app.edge import headers, results
from tests.conftest import Clock
from tests.edge.sender import HEADERS, a_chest, as_bytes
from tests.edge.test_results import FLAGGED, MANIFEST
from tests.edge.test_shown_findings import SHOWN, built
from tests.peers.dcmtk import run
from tests.support.shared_data import shared

pytestmark = pytest.mark.peers
THRESHOLDS = {"classifier": 0.62}


@pytest.fixture(autouse=True)
def _now(simulated_clock: Clock) -> None:
    """Results carry the time at which they were made."""


def errors_in(header: Dataset, folder: Path) -> tuple[list[str], int]:
    """What the validator calls an error in the results on this source, and how many results."""
    built = results.build(header, FLAGGED, MANIFEST, folder, THRESHOLDS)
    files = [folder / name for name in built.names if not name.endswith(results.MESSAGE)]
    said = [line for file in files for line in run("dciodvfy", str(file)).splitlines()]
    return [line for line in said if line.startswith("Error")], len(files)


@pytest.mark.parametrize("vendor", sorted(HEADERS))
def test_results_on_radiographs_have_no_error(tmp_path: Path, vendor: str) -> None:
    path = tmp_path / "source"
    path.write_bytes(as_bytes(a_chest(1, vendor=vendor)))

    assert errors_in(headers.read(path), tmp_path) == ([], 2)


@pytest.mark.parametrize(
    ("pattern", "colour"), [*((pattern, False) for pattern in sorted(SHOWN)), ("cade", True)]
)
def test_what_other_devices_show_has_no_error(tmp_path: Path, pattern: str, colour: bool) -> None:
    made = built(pattern, tmp_path, colour)
    files = [path for kind, path in made.items() if kind != results.MESSAGE]

    said = [line for path in files for line in run("dciodvfy", str(path)).splitlines()]

    assert files and [line for line in said if line.startswith("Error")] == []


def test_the_validator_finds_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "source"
    path.write_bytes(as_bytes(a_chest(1)))
    built = results.build(headers.read(path), FLAGGED, MANIFEST, tmp_path, THRESHOLDS)
    [name] = [name for name in built.names if name.endswith(results.REPORT)]
    broken = dcmread(tmp_path / name)
    del broken.VerificationFlag
    broken.save_as(tmp_path / "broken.dcm")

    assert "Error" in run("dciodvfy", str(tmp_path / "broken.dcm"))


@pytest.mark.shared
def test_results_on_real_headers_have_no_error(tmp_path: Path) -> None:
    """Sources whose own UIDs are no UIDs stay as they are, and are left out here."""
    home = shared("dicom")
    rows = csv.DictReader((home / "index.csv").read_text().splitlines())
    found, made = {}, 0
    for row in rows:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            header = _header(home / row["path"])
            if header is None:
                continue
            found[row["path"]], n = errors_in(header, tmp_path)
            made += n

    assert made > 200
    assert {path: errors for path, errors in found.items() if errors} == {}


def _header(path: Path) -> Dataset | None:
    try:
        header = headers.read(path)
        uids = [UID(header[name].value) for name in headers.UIDS]
    except Exception:  # noqa: BLE001  what the agent counts as unreadable
        return None
    return header if all(uid.is_valid and uid[0] in "012" for uid in uids) else None
