"""The report that machines can read: TID 1500 in a Comprehensive 3D SR, as IHE AI Results asks.

It is preliminary and unverified: a triage result is never a final report. Everything in it is
derived from the source, the lock and the result, so a repeat is the same object.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydicom.dataset import Dataset

from app import clock
from app.contracts.manifest import Manifest
from app.device.result import CaseResult, Outcome
from app.edge.shown_findings import SCHEME, code, groups
from app.edge.sources import NOTICE, algorithm_equipment, date_as, device_uid, uid

SERIES_NUMBER = 9021
# SNOMED CT codes of the imaging procedure (CID 100), by modality: what was done, not what read it.
_PROCEDURES = {
    "CR": ("363680008", "Radiographic imaging procedure"),
    "DX": ("363680008", "Radiographic imaging procedure"),
    "CT": ("77477000", "Computed tomography"),
    "MR": ("113091000", "Magnetic resonance imaging"),
    "US": ("16310003", "Ultrasonography"),
    "MG": ("71651007", "Mammography"),
}
_ANY_PROCEDURE = ("363679005", "Imaging")


def report(
    source: Dataset, result: CaseResult, manifest: Manifest, thresholds: Mapping[str, float]
) -> Dataset:
    """The report on one case. `source` comes from `sources.usable`."""
    from highdicom.sr import Comprehensive3DSR

    made: Dataset = Comprehensive3DSR(
        evidence=[source],
        content=_content(source, result, manifest, thresholds),
        series_instance_uid=uid(source, manifest, "report series"),
        series_number=SERIES_NUMBER,
        sop_instance_uid=uid(source, manifest, "report"),
        instance_number=1,
        manufacturer="lockwatch",
        manufacturer_model_name=manifest.device,
        software_versions=[manifest.version, manifest.lock_digest],
        device_serial_number=manifest.lock_digest[:16],
        series_description=f"{manifest.device} report. {NOTICE}"[:64],
        is_complete=True,
        is_final=False,
        is_verified=False,
        contributing_equipment=[algorithm_equipment(manifest)],
    )
    date_as(made, clock.now())
    return made


def _content(
    source: Dataset, result: CaseResult, manifest: Manifest, thresholds: Mapping[str, float]
) -> Dataset:
    from highdicom.sr import MeasurementReport
    from highdicom.sr.coding import CodedConcept
    from pydicom.sr.codedict import codes

    procedure, meaning = _PROCEDURES.get(source.Modality, _ANY_PROCEDURE)
    algorithm = _algorithm(manifest, thresholds)
    made: Dataset = MeasurementReport(
        observation_context=_observer(manifest),
        procedure_reported=CodedConcept(procedure, "SCT", meaning),
        title=codes.DCM.ImagingMeasurementReport,
        imaging_measurements=[
            _finding(source, result, manifest, algorithm),
            *groups(source, result, manifest, algorithm),
        ],
    )
    return made


def _observer(manifest: Manifest) -> Dataset:
    from highdicom.sr import (
        DeviceObserverIdentifyingAttributes,
        ObservationContext,
        ObserverContext,
    )
    from pydicom.sr.codedict import codes

    device = DeviceObserverIdentifyingAttributes(
        uid=device_uid(manifest),
        name=manifest.device,
        manufacturer_name="lockwatch",
        model_name=manifest.device,
        serial_number=manifest.lock_digest[:16],
    )
    observer = ObserverContext(
        observer_type=codes.DCM.Device, observer_identifying_attributes=device
    )
    made: Dataset = ObservationContext(observer_device_context=observer)
    return made


def _algorithm(manifest: Manifest, thresholds: Mapping[str, float]) -> Any:
    from highdicom.sr import AlgorithmIdentification

    return AlgorithmIdentification(
        name=manifest.device,
        version=manifest.version,
        parameters=[
            f"lock_digest={manifest.lock_digest}",
            *(f"threshold.{stage}={value}" for stage, value in sorted(thresholds.items())),
        ],
    )


def _finding(source: Dataset, result: CaseResult, manifest: Manifest, algorithm: Any) -> Dataset:
    """One measurement group: the scores, and what they mean for the reader."""
    from highdicom.sr import (
        Measurement,
        MeasurementsAndQualitativeEvaluations,
        QualitativeEvaluation,
        SourceImageForMeasurementGroup,
        TrackingIdentifier,
    )
    from highdicom.sr.coding import CodedConcept
    from pydicom.sr.codedict import codes

    scores = [
        Measurement(
            name=CodedConcept(code(stage), SCHEME, f"Score of {stage}"[:64]),
            value=score,
            unit=codes.UCUM.NoUnits,
            algorithm_id=algorithm,
        )
        for stage, score in sorted(result.scores.items())
    ]
    answers = [
        QualitativeEvaluation(CodedConcept(*name), CodedConcept(*value))
        for name, value in _answers(result)
    ]
    made: Dataset = MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(
            uid=uid(source, manifest, "finding"), identifier="triage-1"
        ),
        algorithm_id=algorithm,
        source_images=[SourceImageForMeasurementGroup(source.SOPClassUID, source.SOPInstanceUID)],
        finding_type=CodedConcept(code(manifest.finding), SCHEME, manifest.finding[:64]),
        measurements=scores or None,
        qualitative_evaluations=answers,
    )
    return made


Coded = tuple[str, str, str]


def _answers(result: CaseResult) -> Iterator[tuple[Coded, Coded]]:
    """What the result says to a reader, as coded names and values. "I don't know" is an answer."""
    if result.outcome is Outcome.FLAGGED:
        yield (
            ("99TRI", SCHEME, "AI triage priority"),
            ("STAT", SCHEME, "Read this study first"),
        )
    else:
        yield ("99RES", SCHEME, "AI result"), _RESULTS[result.outcome]
    if result.reason:
        words = result.reason.replace("_", " ")
        yield ("99WHY", SCHEME, "Reason"), (code(result.reason), SCHEME, words[:64])
    if result.triage:
        yield ("99CLASS", SCHEME, "AI triage class"), (code(result.triage), SCHEME, result.triage)


_NO_RESULT = ("NO_RESULT", SCHEME, "No result: to be read without it")
_RESULTS: Mapping[Outcome, Coded] = {
    Outcome.NOT_FLAGGED: ("NOT_FLAGGED", SCHEME, "Below the operating point"),
    Outcome.ABSTAINED: _NO_RESULT,
    Outcome.QUALITY_REJECTED: _NO_RESULT,
}
