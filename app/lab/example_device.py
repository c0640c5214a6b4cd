"""The device and the fleet of the example data: simulated, small, and the same on every machine."""

from __future__ import annotations

from functools import partial

import numpy as np

from app.contracts.characteristics import CharacteristicSchema
from app.contracts.manifest import (
    Allowed,
    Bounds,
    ClassHistogram,
    FileEntry,
    InputLimits,
    KnownAnswers,
    Manifest,
    OperatingPointEntry,
    Preprocessing,
    SentinelSet,
    Stage,
    Threshold,
    ValidationCohort,
)
from app.contracts.signing import sha256
from app.lab.simulate import THRESHOLD, Drift, Fleet, simulate, simulate_cohort
from monitors.observations import Cohort, History
from monitors.schema import Schema

SEED = 120
STAGE = "score"
NAME = "Example chest triage"
FILE = "example.npz"
NOTHING = sha256(b"lockwatch example: no bundle stands behind this manifest")
PLACE = "EX"  # before the number of every site and scanner
FLEET = Fleet(
    sites=3,
    scanners=2,
    volume=56.0,  # 28 a scanner and day: nearly every day is large enough to leave by itself
    reference_days=60,
    monitored_days=35,
    drifts=(Drift(kind="scanner", day=14, site="H2", scanner="S1", size=1.0),),
)


def example_history() -> History:
    """Every window of the fleet, with the day on which it arrives."""
    return simulate(FLEET, SEED)


def example_manifest(schema: Schema) -> Manifest:
    """A manifest as the service registers it. No bundle exists: nobody can install this device."""
    counted = CharacteristicSchema.of(
        schema, manufacturers=("Maker",), models=("M1", "M2"), software_versions=(r"\d+\.\d+",)
    )
    point = OperatingPointEntry(id="OP-1", thresholds=(Threshold(stage=STAGE, value=THRESHOLD),))
    return Manifest(
        device=NAME,
        udi_di="EXAMPLE000001",
        version="1.0.0",
        release_counter=1,
        pattern="cadt_triage",
        intended_use="Example data: simulated cases of no patient, for looking at this service.",
        finding="example finding",
        input_limits=InputLimits(allowed=(Allowed(attribute="Modality", values=("DX",)),)),
        preprocessing=Preprocessing(spacing_mm=2.5, rows=128, columns=128, intensity="zscore"),
        stages=(Stage(name=STAGE, kind="classifier", program="example.pt2"),),
        operating_points=(point,),
        default_operating_point="OP-1",
        change_control=(_bounds(),),
        schema_=counted,
        known_answers=KnownAnswers(file=FILE, cases=1, tolerance=1e-4),
        sentinel=SentinelSet(file=FILE, cases=FLEET.sentinels, tolerance=1e-4),
        validation=_cohort(simulate_cohort(FLEET, schema, SEED)),
        minimum_agent="0.1.0",
        environment={},
        components=(),
        files=(FileEntry(path=FILE, length=0, sha256=NOTHING),),
    )


_bounds = partial(
    Bounds, stage=STAGE, lowest=0.05, highest=0.4, largest_step=0.05, fewest_days_between=90
)


def _cohort(found: Cohort) -> ValidationCohort:
    upper = np.triu_indices(found.joint_mean.shape[1])
    negative, positive = (
        ClassHistogram(stage=STAGE, label=y, counts=tuple(found.score_counts[y, 0].tolist()))
        for y in (0, 1)
    )
    n = int(found.score_counts.sum())
    return ValidationCohort(
        dataset_digests=(NOTHING,),
        training_commit="0" * 40,
        evaluation_commit="0" * 40,
        prevalence=found.prevalence,
        cases=n,
        histograms=(negative, positive),
        joint_n=tuple(found.joint_n.tolist()),
        joint_mean=tuple(tuple(m) for m in found.joint_mean.tolist()),
        joint_covariance=tuple(tuple(c[upper].tolist()) for c in found.joint_covariance),
        subgroups=(),
    )
