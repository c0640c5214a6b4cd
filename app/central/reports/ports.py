"""What reports need from whoever writes the words and draws the charts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Protocol

from app.central.fleet.service import DeviceVersionView
from app.central.intake.service import EdgeBalance
from app.central.recalibration.releases import ReleaseView
from app.central.recalibration.watch import NewStage
from app.central.references.service import ReferenceView
from app.central.surveillance.evidence import (
    Comparison,
    FleetStanding,
    SignalEvidence,
    WeeklySeries,
)
from app.central.surveillance.performance import PerformanceView
from app.central.surveillance.service import SignalView


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedSignal:
    """A signal of the period; `evidence` is None for one raised without statistics."""

    signal: SignalView
    evidence: SignalEvidence | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PeriodTotals:
    """What a device version did in [start, end), over all sites."""

    start: date
    end: date
    sites: int
    analysed: int
    flagged: int
    signals: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """What a person wrote to a section."""

    section: str
    text: str
    printed_name: str
    written_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureView:
    """A signature as a report prints it. `reason` is of a withdrawal."""

    meaning: str
    printed_name: str
    signed_by: str
    signed_at: datetime
    content_digest: str
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftReport:
    """Everything a drift report is made from: stored evidence, frozen. `end` is exclusive.

    `issued_at` and `issued_by` are of the draft until it is issued. What has a default was
    added later: reports issued before lack it.
    """

    number: str
    device: DeviceVersionView
    start: date
    end: date
    issued_at: datetime
    issued_by: str
    reference: ReferenceView | None
    plan_digest: str
    evaluated_upto: date | None
    result_digest: str
    standing: FleetStanding
    signals: tuple[ReportedSignal, ...]
    series: dict[str, tuple[WeeklySeries, ...]]  # by site
    balances: tuple[EdgeBalance, ...]
    audit_head: str
    status: str = "issued"
    drafted_by: str = ""
    drafted_at: datetime | None = None
    totals: tuple[PeriodTotals, ...] = ()  # this period, the one before, the same a year before
    supersedes: str = ""
    supersedes_reason: str = ""
    remarks: tuple[Remark, ...] = ()
    signatures: tuple[SignatureView, ...] = ()
    releases: tuple[ReleaseView, ...] = ()  # operating points that took effect in the period
    stages: dict[str, tuple[NewStage, ...]] = field(default_factory=dict)  # by site
    performance: PerformanceView | None = None  # over the period
    audit_checkpoint: str = ""  # of an issued report: signed, JSON; see app/central/audit/verifier


@dataclass(frozen=True, slots=True)
class RenderedReport:
    """The same report twice, from one template."""

    html: bytes
    pdf: bytes


class ReportRenderer(Protocol):
    """Renders drift reports."""

    def drift_report(
        self, report: DriftReport, evidence: bytes, input_digest: str
    ) -> RenderedReport:
        """`evidence` is the report as canonical JSON, to be embedded; the digest names it."""
        ...

    def evidently_report(self, comparisons: Sequence[Comparison]) -> bytes:
        """Evidently's drift report on the same counts, as one HTML file."""
        ...
