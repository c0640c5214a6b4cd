"""Small, complete examples of every contract, built from fixed numbers."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

from app.contracts.characteristics import CharacteristicSchema
from app.contracts.exchange import OperatingPoint, Receipt, WindowReceipt
from app.contracts.manifest import (
    Allowed,
    Bounds,
    ClassHistogram,
    Component,
    FileEntry,
    InputLimits,
    KnownAnswers,
    Manifest,
    OperatingPointEntry,
    Preprocessing,
    Range,
    Stage,
    Threshold,
    ValidationCohort,
)
from app.contracts.signing import SigningKey
from app.contracts.window import BALANCE, Header, Table
from monitors.schema import Categorical, Joint, Margin, Numeric, Schema, Score
from monitors.summaries import Cases, summarise

KEY = SigningKey.from_seed(bytes(range(32)))
OTHER_KEY = SigningKey.from_seed(bytes(range(1, 33)))
START = datetime(2026, 3, 1, 23, tzinfo=UTC)
END = datetime(2026, 3, 2, 23, tzinfo=UTC)
DIGEST = "ab" * 32


def a_schema() -> Schema:
    """Two numeric characteristics, one category, one score stage, an embedding of two."""
    size = 3 + 2 * 1 + 2 + 3
    return Schema(
        numeric=(
            Numeric("noise", "1", np.array([0.0, 1.0, 2.0, 4.0])),
            Numeric("kvp", "kV", np.array([60.0, 80.0, 100.0, 130.0])),
        ),
        categorical=(Categorical("view", ("PA", "AP")),),
        scores=(Score("classifier", np.array([0.0, 0.125, 0.25, 0.5, 1.0])),),
        joint=Joint(
            acquisition=("noise",),
            embedding=2,
            omega=np.array([[1.0, 0.0], [0.0, 1.0], [0.5, -0.5]]),
            phase=np.array([0.0, 1.0, 2.0]),
            centre=np.zeros(size),
            scale=np.ones(size),
        ),
        label_bins=(0, 0, 1, 2),
        margins=(Margin("sex", ("F", "M")),),
        sentinels=3,
    )


def some_cases(n: int = 40, seed: int = 7) -> Cases:
    """Cases of `a_schema`, the last four of them not analysed."""
    rng = np.random.default_rng(seed)
    outcome = np.zeros(n, dtype=np.int64)
    score = rng.uniform(size=(n, 1))
    outcome[score[:, 0] >= 0.5] = 1
    outcome[-4:] = [2, 3, 4, 5]
    return Cases(
        numeric=np.column_stack([rng.gamma(4.0, 0.3, n), rng.normal(95, 15, n)]),
        categorical=rng.integers(-1, 3, size=(n, 1)),
        scores=score,
        embedding=rng.normal(size=(n, 2)),
        outcome=outcome,
    )


def a_header(**changes: object) -> Header:
    """The first window of an edge."""
    fields: dict[str, object] = {
        "edge_id": "edge-7",
        "epoch": 1,
        "sequence": 1,
        "previous": "0" * 64,
        "stream": "cases",
        "start": START,
        "end": END,
        "revision": 0,
        "lock_digest": DIGEST,
        "operating_point": "OP-1",
        "schema_digest": CharacteristicSchema.of(a_schema()).digest,
        "agent_version": "0.1.0",
        "lock_state": "holds",
        "known_answer_deviation": 0.0,
        "clock_state": "synchronised",
        "clock_offset_ms": -3,
        "closed_at": END,
    }
    return Header(**(fields | changes))  # type: ignore[arg-type]


def some_tables() -> dict[str, Table]:
    """A balance and one stratum."""
    schema, cases = a_schema(), some_cases()
    row = summarise(schema, cases, np.zeros(len(cases), dtype=np.int64), 1)
    key = ("2026-03-02", "2026-03-03", "scanner-1", "ACME", "BX-2", "4.1", "chest_pa")
    balance = np.arange(len(BALANCE), dtype=np.int64)[None, :]
    return {"strata": Table((key,), row), "balance": Table((("",),), balance)}


def a_manifest(**changes: object) -> Manifest:
    """A complete manifest with one file."""
    schema = a_schema()
    size = schema.joint.size
    fields: dict[str, object] = {
        "device": "ChestTriage",
        "udi_di": "00850000000017",
        "version": "1.0.0",
        "release_counter": 1,
        "pattern": "cadt_triage",
        "intended_use": "Prioritise adult chest radiographs with suspected consolidation.",
        "finding": "consolidation",
        "input_limits": InputLimits(
            ranges=(Range(attribute="KVP", lowest=50, highest=150),),
            allowed=(Allowed(attribute="Modality", values=("DX", "CR")),),
        ),
        "preprocessing": Preprocessing(spacing_mm=2.5, rows=128, columns=128, intensity="zscore"),
        "stages": (Stage(name="classifier", kind="classifier", program="classifier.pt2"),),
        "operating_points": (
            OperatingPointEntry(id="OP-1", thresholds=(Threshold(stage="classifier", value=0.25),)),
        ),
        "default_operating_point": "OP-1",
        "change_control": (
            Bounds(
                stage="classifier",
                lowest=0.125,
                highest=0.5,
                largest_step=0.125,
                fewest_days_between=90,
            ),
        ),
        "schema_": CharacteristicSchema.of(schema, models=("BX-2",)),
        "known_answers": KnownAnswers(file="known_answers.npz", cases=1, tolerance=1e-4),
        "validation": ValidationCohort(
            dataset_digests=(DIGEST,),
            training_commit="0" * 40,
            evaluation_commit="0" * 40,
            prevalence=0.25,
            cases=16,
            histograms=(
                ClassHistogram(stage="classifier", label=0, counts=(8, 2, 1, 1)),
                ClassHistogram(stage="classifier", label=1, counts=(0, 1, 1, 2)),
            ),
            joint_n=(12, 4),
            joint_mean=((0.0,) * size, (1.0,) * size),
            joint_covariance=((1.0,) * (size * (size + 1) // 2),) * 2,
            subgroups=(),
        ),
        "minimum_agent": "0.1.0",
        "environment": {"python": "3.11"},
        "components": (Component(name="numpy", version="2.4.6", purl="pkg:pypi/numpy@2.4.6"),),
        "files": (FileEntry(path="known_answers.npz", length=3, sha256=DIGEST),),
    }
    return Manifest(**(fields | changes))  # type: ignore[arg-type]


def a_receipt() -> Receipt:
    """One window stored, one gap."""
    return Receipt(
        edge_id="edge-7",
        epoch=1,
        acked_through=1,
        gaps=((2, 3),),
        windows=(WindowReceipt(sequence=1, digest=DIGEST, outcome="stored"),),
        release_counter=1,
        audit_head=DIGEST,
        at=END,
    )


def an_operating_point() -> OperatingPoint:
    """One step up, at one site."""
    return OperatingPoint(
        id="OP-2",
        lock_digest=DIGEST,
        sites=("H02",),
        thresholds=(Threshold(stage="classifier", value=0.25),),
        effective_from=END,
        counter=1,
        previous="OP-1",
        rollback_to="OP-1",
        reason="prevalence",
        proposal_digest=DIGEST,
    )
