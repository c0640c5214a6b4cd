from __future__ import annotations

import warnings
from datetime import date
from io import BytesIO
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from app.device.result import CaseResult, Outcome
from app.edge import headers, hl7, results, sources
from tests.conftest import Clock
from tests.edge.builders import a_device
from tests.edge.sender import a_chest, as_bytes

BERLIN = ZoneInfo("Europe/Berlin")
HEAT = np.linspace(0, 1, 64 * 48).reshape(64, 48)
FLAGGED = CaseResult(Outcome.FLAGGED, scores={"classifier": 0.873}, heat_map=HEAT)
MANIFEST = a_device()


@pytest.fixture(autouse=True)
def _now(simulated_clock: Clock) -> None:
    """Results carry the time at which they were made."""


def a_header(**changes: str) -> Dataset:
    """What the worker reads of a stored chest radiograph."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # odd values are meant to be written as they are
        chest = a_chest()
        for name, value in changes.items():
            setattr(chest, name, value)
        return headers.read(BytesIO(as_bytes(chest)))  # type: ignore[arg-type]


def built(folder: Path, header: Dataset) -> tuple[Dataset, str]:
    made = results.build(header, FLAGGED, MANIFEST, folder)
    assert made.notes == []
    files = {Path(name).suffix: folder / name for name in made.names}
    return dcmread(files[results.IMAGE]), files[results.MESSAGE].read_bytes().decode()


def test_the_heat_map_stands_in_the_study_in_a_series_of_its_own(tmp_path: Path) -> None:
    header = a_header()

    image, _ = built(tmp_path, header)

    assert image.StudyInstanceUID == header.StudyInstanceUID
    assert image.SeriesInstanceUID != header.SeriesInstanceUID
    assert image.PatientID == header.PatientID
    assert (image.Rows, image.Columns, image.SamplesPerPixel) == (64, 48, 3)
    assert image.SourceImageSequence[0].ReferencedSOPInstanceUID == header.SOPInstanceUID
    assert MANIFEST.lock_digest in image.DerivationDescription
    assert image.pixel_array[-1, -1].tolist() == [255, 255, 0]


def test_a_repeat_is_the_same_object_under_the_same_name(tmp_path: Path) -> None:
    first, _ = built(tmp_path, a_header())
    again, _ = built(tmp_path, a_header())

    assert first == again
    assert len([p for p in tmp_path.iterdir() if p.name != "clock"]) == 3


def test_another_lock_gives_another_object(tmp_path: Path) -> None:
    header = a_header()
    other = sources.uid(header, a_device(version="2.0.0"), "image")

    assert other != sources.uid(header, MANIFEST, "image")


@pytest.mark.parametrize(
    "odd",
    [
        {"PatientSex": "0000"},
        {"StudyDate": "00000000"},
        {"StudyTime": "11:20:00"},
        {"PatientBirthDate": "unknown"},
        {"PatientName": "M\u00fcller^J\u00fcrgen"},
        {"AccessionNumber": ""},
    ],
)
def test_odd_headers_do_not_stop_a_result(tmp_path: Path, odd: dict[str, str]) -> None:
    image, message = built(tmp_path, a_header(**odd))

    assert image.SOPInstanceUID.startswith("2.25.")
    assert message.startswith("MSH|")


def test_a_source_without_uids_has_no_result() -> None:
    header = a_header()
    del header.StudyInstanceUID

    with pytest.raises(ValueError, match="source without StudyInstanceUID"):
        sources.usable(header)


def test_the_priority_message_says_read_this_first_and_is_never_final() -> None:
    header = sources.usable(a_header(AccessionNumber="ACC^1|2"))

    message = hl7.priority_message(header, FLAGGED, MANIFEST)

    segments = [line.split("|") for line in message.strip("\r").split("\r")]
    assert " ".join(s[0] for s in segments) == "MSH PID PV1 ORC OBR TQ1 OBX OBX OBX OBX NTE"
    assert segments[5][9] == "S^STAT^HL70485"
    assert segments[4][25] == "P"
    assert [s[1] for s in segments[6:10]] == ["1", "2", "3", "4"]
    assert all(s[11] == "P" for s in segments[6:10])
    assert segments[7][5] == "0.873"
    assert segments[3][2] == "ACC\\S\\1\\F\\2^RIS"


def test_names_change_order_between_dicom_and_hl7() -> None:
    header = sources.usable(a_header(PatientName="DOE^JANE^MARY^Dr^III"))

    message = hl7.priority_message(header, FLAGGED, MANIFEST)

    assert "|DOE^JANE^MARY^III^Dr\r" in message


@pytest.mark.parametrize(
    ("raw", "escaped"),
    [
        ("a|b", "a\\F\\b"),
        ("a\\b", "a\\E\\b"),
        ("a\rMSH|", "a\\X0D\\MSH\\F\\"),
        ("~&", "\\R\\\\T\\"),
    ],
)
def test_separators_in_a_value_are_escaped(raw: str, escaped: str) -> None:
    assert hl7.hl7(raw) == escaped


@pytest.mark.parametrize(
    ("changes", "day"),
    [
        ({}, date(2026, 3, 10)),
        ({"AcquisitionDateTime": "20260309233000+0000"}, date(2026, 3, 10)),
        ({"AcquisitionDateTime": "20260309223000+0000"}, date(2026, 3, 9)),
        ({"AcquisitionTime": "235900", "TimezoneOffsetFromUTC": "-0500"}, date(2026, 3, 11)),
        ({"AcquisitionDate": ""}, date(2026, 3, 10)),
        ({"AcquisitionDate": "99999999"}, date(2026, 3, 10)),
        ({"AcquisitionTime": "noon"}, date(2026, 3, 10)),
        (
            {f"{k}Date": "" for k in ("Acquisition", "Content", "Series", "Study")},
            None,
        ),
    ],
)
def test_the_day_of_acquisition_is_the_sites(changes: dict[str, str], day: date | None) -> None:
    assert headers.acquired_on(a_header(**changes), BERLIN) == day
