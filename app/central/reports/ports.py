"""What reports need from whoever writes the words and draws the charts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol

from app.central.fleet.service import DeviceVersionView
from app.central.intake.service import EdgeBalance
from app.central.references.service import ReferenceView
from app.central.surveillance.evidence import FleetStanding, SignalEvidence, WeeklySeries
from app.central.surveillance.service import SignalView


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedSignal:
    """A signal of the period; `evidence` is None for one raised without statistics."""

    signal: SignalView
    evidence: SignalEvidence | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftReport:
    """Everything a drift report is made from: stored evidence, frozen. `end` is exclusive."""

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
