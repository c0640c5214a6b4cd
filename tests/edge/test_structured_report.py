from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from app.edge import results, sources, structured_report
from tests.conftest import Clock
from tests.edge.builders import a_device
from tests.edge.test_results import FLAGGED, MANIFEST, a_header

THRESHOLDS = {"classifier": 0.62}


@pytest.fixture(autouse=True)
def _now(simulated_clock: Clock) -> None:
    """Results carry the time at which they were made."""


def a_report(**changes: Any) -> Dataset:
    source = sources.usable(a_header(**changes))
    return structured_report.report(source, FLAGGED, MANIFEST, THRESHOLDS)


def values(item: Dataset) -> dict[str, list[str]]:
    """Every content item below `item`: its values by the meaning of its name."""
    found: dict[str, list[str]] = {}
    for child in item.get("ContentSequence", ()):
        if "ConceptNameCodeSequence" in child:
            name = child.ConceptNameCodeSequence[0].CodeMeaning
            found.setdefault(name, []).append(_value(child))
        for inner, more in values(child).items():
            found.setdefault(inner, []).extend(more)
    return found


def _value(item: Dataset) -> str:
    if "MeasuredValueSequence" in item:
        return str(item.MeasuredValueSequence[0].NumericValue)
    if "ConceptCodeSequence" in item:
        return str(item.ConceptCodeSequence[0].CodeMeaning)
    return str(item.get("TextValue", item.get("UID", "")))


def test_it_says_what_was_found_by_which_lock_at_which_threshold() -> None:
    said = values(a_report())

    assert said["Score of classifier"] == ["0.873"]
    assert said["AI triage priority"] == ["Read this study first"]
    assert said["Algorithm Name"][0] == MANIFEST.device
    assert said["Algorithm Version"][0] == MANIFEST.version
    assert f"lock_digest={MANIFEST.lock_digest}" in said["Algorithm Parameters"]
    assert "threshold.classifier=0.62" in said["Algorithm Parameters"]
    assert said["Tracking Unique Identifier"][0].startswith("2.25.")
    assert said["Procedure reported"] == ["Radiographic imaging procedure"]


def test_it_is_never_final_and_stands_in_the_study() -> None:
    report, header = a_report(), a_header()

    assert (report.PreliminaryFlag, report.VerificationFlag) == ("PRELIMINARY", "UNVERIFIED")
    assert report.StudyInstanceUID == header.StudyInstanceUID
    evidence = report.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0]
    assert evidence.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == header.SOPInstanceUID


def test_the_algorithm_is_contributing_equipment_whose_uid_is_the_lock() -> None:
    equipment, _library = a_report().ContributingEquipmentSequence

    assert equipment.PurposeOfReferenceCodeSequence[0].CodeValue == "Newcode1"
    assert equipment.DeviceUID == sources.device_uid(MANIFEST)
    assert equipment.DeviceUID != sources.device_uid(a_device(version="2.0.0"))


def test_what_cannot_be_built_is_counted_and_spares_the_rest(tmp_path: Path) -> None:
    """highdicom does not know retired classes, such as the first ultrasound image."""
    header = a_header(SOPClassUID="1.2.840.10008.5.1.4.1.1.6")

    built = results.build(header, FLAGGED, MANIFEST, tmp_path, THRESHOLDS)

    assert built.notes == ["result_not_built"]
    assert sorted(Path(name).suffix for name in built.names) == [".dcm", ".hl7"]


def test_a_repeat_is_the_same_report(tmp_path: Path) -> None:
    def files() -> dict[str, bytes]:
        names = results.build(a_header(), FLAGGED, MANIFEST, tmp_path, THRESHOLDS).names
        return {name: (tmp_path / name).read_bytes() for name in names}

    first = files()

    assert files() == first
    [name] = [name for name in first if name.endswith(results.REPORT)]
    assert dcmread(tmp_path / name).SOPInstanceUID == a_report().SOPInstanceUID
