"""The manifest of a locked bundle, version 1. Its canonical digest is the *lock digest*.

Verification order everywhere: signature, then lengths and hashes, then parse.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date
from functools import cached_property
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.contracts.characteristics import CharacteristicSchema
from app.contracts.signing import canonical, sha256
from app.errors import ContractError

PAYLOAD_TYPE = "application/vnd.lockwatch.manifest.v1+json"
Digest = Field(pattern=r"^[0-9a-f]{64}$")
StageKind = Literal[
    "quality_gate",
    "segmenter",
    "classifier",
    "detector",
    "ensemble",
    "landmarks",
    "measurement",
    "out_of_distribution",
    "threshold",
]
Pattern = Literal["cadt_triage", "cade", "cadx", "ophthalmology", "echo", "dermatology"]


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class FileEntry(_Closed):
    """A file of the bundle. Only files named here are ever opened."""

    path: str = Field(pattern=r"^[a-z0-9_]+(/[a-z0-9_]+)*\.[a-z0-9]+$", max_length=128)
    length: int = Field(ge=0, le=1 << 30)
    sha256: str = Digest


class Range(_Closed):
    """An inclusive numeric input limit."""

    attribute: str
    lowest: float
    highest: float


class Allowed(_Closed):
    """An input limit by listed values."""

    attribute: str
    values: tuple[str, ...]


class InputLimits(_Closed):
    """The intended use as machine-checkable limits on DICOM attributes (by keyword).

    A missing attribute is outside the limits unless it is named in `may_be_missing`.
    """

    ranges: tuple[Range, ...] = ()
    allowed: tuple[Allowed, ...] = ()
    may_be_missing: tuple[str, ...] = ()


class Stage(_Closed):
    """One stage, in order. `parameters` are plain numbers; a `program` is a `.pt2` file."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")
    kind: StageKind
    program: str | None = None
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    parameters: dict[str, float] = {}


class Preprocessing(_Closed):
    """Canonical spacing (mm) and size (pixels), and the intensity normalisation."""

    spacing_mm: float = Field(gt=0)
    rows: int = Field(gt=0)
    columns: int = Field(gt=0)
    intensity: str
    parameters: dict[str, float] = {}


class Bounds(_Closed):
    """The change-control envelope of one threshold for one scanner class ("" = every class)."""

    stage: str
    scanner_class: str = ""
    lowest: float = Field(ge=0, le=1)
    highest: float = Field(ge=0, le=1)
    largest_step: float = Field(ge=0, le=1)
    fewest_days_between: int = Field(ge=0)


class Threshold(_Closed):
    """`score >= value` flags. The value lies on a score-bin edge."""

    stage: str
    scanner_class: str = ""
    value: float = Field(ge=0, le=1)


class OperatingPointEntry(_Closed):
    """A cleared operating point, shipped inside the bundle."""

    id: str = Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")
    thresholds: tuple[Threshold, ...]


class Proportion(_Closed):
    """successes of n with its 95 % Wilson interval."""

    successes: int
    n: int
    low: float
    high: float


class SubgroupRow(_Closed):
    """Performance of the operating point in one sub-group of the validation cohort."""

    margin: str
    level: str
    cases: int
    positives: int
    sensitivity: Proportion | None
    specificity: Proportion | None
    auc: float | None = None
    auc_low: float | None = None
    auc_high: float | None = None


class ClassHistogram(_Closed):
    """Counts of one class of the validation cohort on a score stage's bins."""

    stage: str
    label: Literal[0, 1]
    counts: tuple[int, ...]


class ValidationCohort(_Closed):
    """Anchor A: what the device was cleared on. Aggregates only."""

    dataset_digests: tuple[str, ...]
    training_commit: str
    evaluation_commit: str
    prevalence: float = Field(ge=0, le=1)
    cases: int
    histograms: tuple[ClassHistogram, ...]
    # Mean and covariance of the joint vector per class: (p,), (p,) and the upper triangle.
    joint_n: tuple[int, int]
    joint_mean: tuple[tuple[float, ...], tuple[float, ...]]
    joint_covariance: tuple[tuple[float, ...], tuple[float, ...]]
    subgroups: tuple[SubgroupRow, ...]


class KnownAnswers(_Closed):
    """Stored cases whose scores the running chain must reproduce."""

    file: str  # .npz without pickles: "pixels" (k, rows, columns) and "scores" (k, stages)
    cases: int = Field(gt=0)
    tolerance: float = Field(ge=0)  # largest allowed deviation, in probability


class SentinelSet(_Closed):
    """Fixed images kept at the edge; re-scored weekly, re-read periodically."""

    file: str  # .npz: "pixels" (m, rows, columns), "scores" (m,), "labels" (m,)
    cases: int = Field(ge=0)
    tolerance: float = Field(ge=0)


class Component(_Closed):
    """One entry of the software bill of materials (CycloneDX component)."""

    name: str
    version: str
    purl: str


class Manifest(_Closed):
    """A locked device version."""

    contract: Literal["lockwatch/manifest/v1"] = "lockwatch/manifest/v1"
    device: str
    udi_di: str = Field(pattern=r"^[0-9A-Z]{6,25}$")
    version: str
    release_counter: int = Field(ge=1)
    pattern: Pattern
    intended_use: str
    finding: str
    input_limits: InputLimits
    preprocessing: Preprocessing
    stages: tuple[Stage, ...]
    operating_points: tuple[OperatingPointEntry, ...]
    default_operating_point: str
    change_control: tuple[Bounds, ...]
    schema_: CharacteristicSchema = Field(alias="schema")
    projection: str | None = None  # .npz: "mean" (e,), "components" (k, e)
    known_answers: KnownAnswers
    sentinel: SentinelSet | None = None
    validation: ValidationCohort
    minimum_agent: str
    environment: dict[str, str]
    components: tuple[Component, ...]
    files: tuple[FileEntry, ...]
    # The last day on which this release may be installed; one that is installed runs on.
    install_until: date | None = None

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, populate_by_name=True
    )

    # Made once: the edge names the device version for every case, and making it takes milliseconds.
    @cached_property
    def canonical(self) -> bytes:
        """RFC 8785 bytes."""
        # It came later: the bytes of a release without it stay what they were.
        left_out = {"install_until"} if self.install_until is None else None
        return canonical(self.model_dump(mode="json", by_alias=True, exclude=left_out))

    @cached_property
    def lock_digest(self) -> str:
        """SHA-256 of the canonical bytes: names the device version everywhere."""
        return sha256(self.canonical)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy, which names itself anew."""
        copied = super().model_copy(update=update, deep=deep)
        for made in ("canonical", "lock_digest"):
            copied.__dict__.pop(made, None)
        return copied


def parse_manifest(payload: bytes) -> Manifest:
    """A manifest from verified bytes; refuses anything not in the contract or not canonical."""
    try:
        manifest = Manifest.model_validate(json.loads(payload))
    except (ValidationError, ValueError, RecursionError) as error:
        detail = error.errors()[0] if isinstance(error, ValidationError) else type(error).__name__
        raise ContractError("manifest", f"not a manifest of contract v1: {detail}") from error
    if manifest.canonical != payload:
        raise ContractError("not_canonical", "manifest bytes are not canonical JSON")
    return manifest
