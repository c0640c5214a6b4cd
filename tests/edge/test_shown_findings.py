"""Boxes, contours and measured values as the clinic gets them."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from app.contracts.manifest import Manifest
from app.device.findings import Box, Measurement, Outline
from app.device.reference.breast.assessment import DEVICE as CADX
from app.device.reference.breast.detection import DEVICE as CADE
from app.device.reference.common.declaration import ReferenceDevice
from app.device.reference.common.identity import invent_identity
from app.device.reference.common.objects import to_dicom
from app.device.reference.fundus.device import DEVICE as FUNDUS
from app.device.reference.heart.device import DEVICE as ECHO
from app.device.reference.skin.device import DEVICE as SKIN
from app.device.result import CaseResult, Outcome
from app.edge import headers
from app.edge.results import MESSAGE, OVERLAY, REPORT, build, is_told
from tests.conftest import Clock
from tests.edge.builders import a_device
from tests.edge.sender import NOON, as_bytes
from tests.edge.test_structured_report import values

ROUND = np.linspace(0, 6, 40)
CONTOUR = np.column_stack([60 + 20 * np.cos(ROUND), 50 + 25 * np.sin(ROUND)])
SHOWN = {
    "echo": (
        ECHO,
        CaseResult(
            Outcome.NOT_FLAGGED,
            scores={"measurement": 0.2},
            measurement=Measurement("ejection_fraction", 38.2, "%", 4.1),
            outlines=(
                Outline("end_diastole_contour", 3, CONTOUR),
                Outline("end_diastole_length", 3, CONTOUR[:2]),
            ),
        ),
    ),
    "cade": (
        CADE,
        CaseResult(
            Outcome.FLAGGED,
            scores={"detector": 0.9},
            boxes=(Box(10, 20, 40, 60, 0.9), Box(50, 20, 80, 60, 0.7)),
        ),
    ),
    "cadx": (CADX, CaseResult(Outcome.NOT_FLAGGED, scores={"ensemble": 0.1})),
    "ophthalmology": (FUNDUS, CaseResult(Outcome.ABSTAINED, reason="out_of_distribution")),
    "dermatology": (
        SKIN,
        CaseResult(Outcome.NOT_FLAGGED, scores={"classifier": 0.3}, triage="soon"),
    ),
}


@pytest.fixture(autouse=True)
def _now(simulated_clock: Clock) -> None:
    """Results carry the time at which they were made."""


def a_source(device: ReferenceDevice, colour: bool = False) -> Dataset:
    """What the worker reads of a phantom of this device."""
    rng = np.random.default_rng(1)
    vendor = next(iter(device.scanners))
    phantom = device.make(rng, vendor, True, 0.0)
    made = to_dicom(
        phantom, invent_identity(rng, phantom, NOON, "-"), device.scanners[vendor], NOON
    )
    if colour:
        made.PixelData = made.pixel_array.repeat(3).tobytes()
        made.SamplesPerPixel, made.PhotometricInterpretation = 3, "RGB"
        made.PlanarConfiguration = 0
    return headers.read(BytesIO(as_bytes(made)))  # type: ignore[arg-type]


def device(pattern: str) -> Manifest:
    return a_device(pattern=pattern)


def built(pattern: str, folder: Path, colour: bool = False) -> dict[str, Path]:
    """The results of the case above, by kind."""
    made_by, result = SHOWN[pattern]
    made = build(a_source(made_by, colour), result, device(pattern), folder, {"stage": 0.5})
    assert made.notes == []
    return {Path(name).suffix: folder / name for name in made.names}


def test_a_measured_value_is_reported_with_its_unit_for_a_case_that_is_not_flagged(
    tmp_path: Path,
) -> None:
    found = built("echo", tmp_path)
    said = values(dcmread(found[REPORT]))

    assert set(found) == {REPORT, OVERLAY}
    assert said["Left ventricular Ejection fraction"] == ["38.2"]
    assert said["Standard deviation of error on the reference"] == ["4.1"]
    assert said["AI result"] == ["Below the operating point"]
    assert "AI triage priority" not in said
    assert b"UCUM" in found[REPORT].read_bytes()


def test_boxes_are_the_same_findings_in_report_and_overlay(tmp_path: Path) -> None:
    found = built("cade", tmp_path)
    report, overlay = dcmread(found[REPORT]), dcmread(found[OVERLAY])

    assert set(found) == {MESSAGE, REPORT, OVERLAY}
    assert values(report)["Score of the region"] == ["0.9", "0.7"]
    drawn = [item.GraphicObjectSequence[0] for item in overlay.GraphicAnnotationSequence]
    # Corners of pixels from zero there, centres from one here.
    assert _regions(report)[0] == [10.5, 20.5, 40.5, 20.5, 40.5, 60.5, 10.5, 60.5, 10.5, 20.5]
    assert list(drawn[0].GraphicData) == [11, 21, 41, 21, 41, 61, 11, 61, 11, 21]
    in_report = set(values(report)["Tracking Unique Identifier"])
    assert {str(one.TrackingUID) for one in drawn} < in_report


def _regions(item: Dataset) -> list[list[float]]:
    found = [list(map(float, item.GraphicData))] if "GraphicData" in item else []
    for child in item.get("ContentSequence", ()):
        found += _regions(child)
    return found


def test_an_overlay_names_the_frame_and_leaves_the_image_alone(tmp_path: Path) -> None:
    made = dcmread(built("echo", tmp_path)[OVERLAY])

    assert "PixelData" not in made
    for item in made.GraphicAnnotationSequence:
        [image] = item.ReferencedImageSequence
        assert image.ReferencedFrameNumber == 4
    assert [
        o.GraphicObjectSequence[0].NumberOfGraphicPoints for o in made.GraphicAnnotationSequence
    ] == [41, 2]


def test_a_region_of_a_clip_names_its_frame_in_the_report(tmp_path: Path) -> None:
    report = dcmread(built("echo", tmp_path)[REPORT])

    [frame] = [item.ReferencedFrameNumber for item in _selected(report)]
    assert frame == 4


def _selected(item: Dataset) -> list[Dataset]:
    """The images that regions were selected from."""
    found = []
    for child in item.get("ContentSequence", ()):
        if child.RelationshipType == "SELECTED FROM":
            found += child.ReferencedSOPSequence
        found += _selected(child)
    return found


def test_what_a_chain_sees_beyond_the_image_is_drawn_at_its_edge(tmp_path: Path) -> None:
    source, result = a_source(ECHO), SHOWN["echo"][1]
    beyond = Outline("end_systole_contour", 0, CONTOUR * 100 - 5000)
    nothing = Outline("end_diastole_contour", 0, np.zeros((0, 2)))
    made = build(
        source,
        replace(result, outlines=(beyond, nothing)),
        device("echo"),
        tmp_path,
        {"stage": 0.5},
    )

    assert made.notes == []
    [name] = [name for name in made.names if name.endswith(OVERLAY)]
    [drawn] = dcmread(tmp_path / name).GraphicAnnotationSequence
    points = np.reshape(drawn.GraphicObjectSequence[0].GraphicData, (-1, 2))
    assert (points >= 1).all() and (points <= [source.Columns, source.Rows]).all()
    assert {1.0, float(source.Columns)} <= set(points[:, 0])


def test_an_image_in_colour_gets_an_overlay_for_colour(tmp_path: Path) -> None:
    made = dcmread(built("cade", tmp_path, colour=True)[OVERLAY])

    assert made.SOPClassUID.name == "Color Softcopy Presentation State Storage"
    assert (made.ICCProfile[12:16], made.ICCProfile[36:40]) == (b"scnr", b"acsp")


def test_i_do_not_know_is_told_with_its_reason(tmp_path: Path) -> None:
    found = built("ophthalmology", tmp_path)
    said = values(dcmread(found[REPORT]))

    assert set(found) == {REPORT}
    assert said["AI result"] == ["No result: to be read without it"]
    assert said["Reason"] == ["out of distribution"]


def test_a_triage_class_is_told(tmp_path: Path) -> None:
    said = values(dcmread(built("dermatology", tmp_path)[REPORT]))

    assert said["AI triage class"] == ["soon"]


def test_a_repeat_is_the_same_object(tmp_path: Path) -> None:
    first, second = (
        {kind: path.read_bytes() for kind, path in built("echo", tmp_path / name).items()}
        for name in _folders(tmp_path, "a", "b")
    )
    assert first == second


def _folders(home: Path, *names: str) -> tuple[str, ...]:
    for name in names:
        (home / name).mkdir()
    return names


@pytest.mark.parametrize("pattern", ["cadt_triage", *SHOWN])
def test_who_is_told_of_which_cases(pattern: str) -> None:
    told = {one for one in Outcome if is_told(device(pattern), one)}

    never = {Outcome.FAILED, Outcome.OUTSIDE_LIMITS}
    answers = pattern not in ("cadt_triage", "cade")
    assert told == (set(Outcome) - never if answers else {Outcome.FLAGGED})
