"""Reads from reporting systems: HL7 ORU^R01 and DICOM SR, beside CSV."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from highdicom.sr import (
    Comprehensive3DSR,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    PersonObserverIdentifyingAttributes,
    QualitativeEvaluation,
    SourceImageForMeasurementGroup,
    TrackingIdentifier,
)
from highdicom.sr.coding import CodedConcept
from pydicom.sr.codedict import codes

from app.edge import sources
from app.edge.journal import Journal
from app.edge.labels import LabelInbox
from tests.edge.sender import as_bytes
from tests.edge.test_labels import SENTINELS, counted, inbox, kept
from tests.edge.test_results import a_header

__all__ = ["inbox"]
MSH = r"MSH|^~\&|RIS||LOCKWATCH||20260310||ORU^R01^ORU_R01|1|P|2.5.1"


def message(label: str = "1", status: str = "F", uid: str = "1.2.3", reader: str = "DR-7") -> str:
    empty = "|" * 27  # up to OBR-32
    return "\r".join(
        [
            MSH,
            "PID|1||MRN1||DOE^JANE",
            f"OBR|1|ACC1|||{empty}{reader}",
            f"OBX|1|ST|SOP^SOP Instance UID^99LOCKWATCH||{uid}||||||F",
            "OBX|2|ST|SOURCE^Source^99LOCKWATCH||random_audit||||||F",
            f"OBX|3|NM|LABEL^Reference read^99LOCKWATCH||{label}||||||{status}|||20260309",
            "OBX|4|TX|18782-3^Impression^LN||DOE JANE has pneumonia||||||F",
            "",
        ]
    )


def drop(inbox: LabelInbox, content: str | bytes, name: str) -> None:
    raw = content if isinstance(content, bytes) else content.encode()
    (inbox.folder / name).write_bytes(raw)
    inbox.take(SENTINELS)


def test_a_message_is_a_read(inbox: LabelInbox, journal: Journal) -> None:
    drop(inbox, message(), "1.hl7")

    assert kept(journal) == [(1, "random_audit", "thorax", "", -1)]
    assert (inbox.folder / "done" / "1.hl7").exists()


def test_a_corrected_message_replaces_and_a_deleted_one_withdraws(
    inbox: LabelInbox, journal: Journal
) -> None:
    drop(inbox, message(), "1.hl7")
    drop(inbox, message("0", "C"), "2.hl7")
    assert [row[0] for row in kept(journal)] == [0]

    drop(inbox, message("0", "D"), "3.hl7")

    assert kept(journal) == []
    assert counted(journal) == {"taken": 1, "corrected": 1, "withdrawn": 1}


def test_several_orders_in_one_file_are_several_reads(inbox: LabelInbox, journal: Journal) -> None:
    drop(inbox, message(uid="1.2.3") + message("0", uid="1.2.4"), "1.hl7")

    assert sorted(row[0] for row in kept(journal)) == [0, 1]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (message(status="P"), "status_not_final"),
        (message().replace("SOURCE", "OTHER"), "incomplete_read"),
        ("hello", "not_hl7"),
        (b"\xff\xfe\x00", "file_unreadable"),
        (message(label="2"), "label_0_or_1_expected"),
        (message(uid=""), "one_of_case_and_sentinel_expected"),
    ],
)
def test_a_message_that_is_no_read_is_counted(
    inbox: LabelInbox, journal: Journal, content: str | bytes, reason: str
) -> None:
    drop(inbox, content, "1.hl7")

    assert kept(journal) == []
    assert counted(journal) == {reason: 1}


def a_report(**changes: Any) -> Any:
    source = sources.usable(a_header())
    said = {"LABEL": "1", "SOURCE": "random_audit"} | changes
    group = MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(uid="2.25.9", identifier="1"),
        source_images=[SourceImageForMeasurementGroup(source.SOPClassUID, source.SOPInstanceUID)],
        qualitative_evaluations=[
            QualitativeEvaluation(
                CodedConcept(name, "99LOCKWATCH", name), CodedConcept(value, "99LOCKWATCH", value)
            )
            for name, value in said.items()
        ],
    )
    reader = ObserverContext(codes.DCM.Person, PersonObserverIdentifyingAttributes("Dr^Reader"))
    report = Comprehensive3DSR(
        evidence=[source],
        content=MeasurementReport(
            observation_context=ObservationContext(observer_person_context=reader),
            procedure_reported=CodedConcept("363679005", "SCT", "Imaging"),
            imaging_measurements=[group],
        ),
        series_instance_uid="2.25.10",
        series_number=1,
        sop_instance_uid="2.25.11",
        instance_number=1,
        manufacturer="RIS",
    )
    report.ContentDate = f"{datetime(2026, 3, 9):%Y%m%d}"  # noqa: DTZ001  a wall date
    return report


def test_a_structured_report_is_a_read(inbox: LabelInbox, journal: Journal) -> None:
    drop(inbox, as_bytes(a_report()), "1.dcm")

    [(label, source, group, _, sentinel)] = kept(journal)
    assert (label, source, sentinel) == (1, "random_audit", -1)
    assert str(group).startswith("reader-") and "Reader" not in str(group)
    key = inbox.pseudonyms.case(str(a_header().SOPInstanceUID))
    found = journal.do(lambda db: db.execute("SELECT key FROM labels").fetchall())
    assert [bytes(k) for (k,) in found] == [key]


def test_a_file_that_is_no_report_is_counted(inbox: LabelInbox, journal: Journal) -> None:
    drop(inbox, b"DICM" * 99, "1.dcm")
    report = a_report()
    del report.ContentSequence
    drop(inbox, as_bytes(report), "2.dcm")

    assert counted(journal) == {"not_a_report": 1, "incomplete_read": 1}
    assert len(list((inbox.folder / "refused").iterdir())) == 2


def test_nothing_but_csv_hl7_and_dicom_is_touched(inbox: LabelInbox, tmp_path: Path) -> None:
    (inbox.folder / "notes.txt").write_text("later")

    assert inbox.take(SENTINELS) == 0
    assert (inbox.folder / "notes.txt").exists()
