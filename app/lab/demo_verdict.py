"""Planted against found: a pure judgement over what was planted, signalled and counted."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict

from app.contracts.signals import Signal
from app.lab.demo_scenario import Change, Planted

EVENT_SLACK_DAYS = 7  # a deterministic event is seen as soon as its first window has arrived


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Finding(_Closed):
    """One planted change and the signal that answers it, if any."""

    change: Change
    site: str
    scanner_model: str
    planted_on: datetime.date
    size: float
    meaning: str
    outcome: Literal["found", "missed", "wrongly_named"]
    signal: str | None = None
    signalled_on: datetime.date | None = None
    delay_days: int | None = None
    causes: tuple[str, ...] = ()
    probability: float | None = None
    change_date: datetime.date | None = None


class EdgeBalance(_Closed):
    """The two equations of one edge, with what the hospital itself counted.

    sent = received + refused_objects, where an object sent twice (its answer was lost) counts
    once and shows among the duplicates;
    received = analysed + quality_rejected + abstained + outside_limits + failed + waiting;
    produced (the edge's word) = stored + quarantined (the centre's) + on_edge (the edge's), of
    which nothing may be left over at the end.
    """

    site: str
    sent: int
    received: int
    analysed: int
    quality_rejected: int
    abstained: int
    outside_limits: int
    failed: int
    waiting: int
    duplicates: int
    refused_objects: int
    produced: int
    stored: int
    quarantined: int
    on_edge: int

    @property
    def faults(self) -> tuple[str, ...]:
        """Every way in which this edge does not add up, in words."""
        answered = (
            self.analysed
            + self.quality_rejected
            + self.abstained
            + self.outside_limits
            + self.failed
            + self.waiting
        )
        arrived = self.received + self.refused_objects
        checks = (
            (self.sent == arrived, f"sent {self.sent}, arrived {arrived}"),
            (self.received == answered, f"received {self.received}, accounted for {answered}"),
            (
                self.produced == self.stored + self.quarantined + self.on_edge,
                f"produced {self.produced}, stored {self.stored}, quarantined {self.quarantined}, "
                f"on the edge {self.on_edge}",
            ),
            (self.failed == 0, f"{self.failed} cases failed"),
            (self.waiting == 0, f"{self.waiting} cases still waiting"),
            (self.quarantined == 0, f"{self.quarantined} windows quarantined"),
            (self.on_edge == 0, f"{self.on_edge} windows still on the edge"),
        )
        return tuple(f"{self.site}: {words}" for holds, words in checks if not holds)


class Verdict(_Closed):
    """The judgement. `ok` only if nothing is missed, misnamed, unexpected or unbalanced."""

    ok: bool
    findings: tuple[Finding, ...]
    unexpected: tuple[Signal, ...]
    faults: tuple[str, ...]


def judge(
    planted: Sequence[Planted], signals: Sequence[Signal], balances: Sequence[EdgeBalance]
) -> Verdict:
    """Match every planted change with one signal; whatever is left over is unexpected."""
    left = list(signals)
    findings = []
    for change in planted:
        answer = _answer(change, left)
        if answer is not None:
            left.remove(answer)
        findings.append(_finding(change, answer))
    faults = tuple(fault for balance in balances for fault in balance.faults)
    found = all(finding.outcome == "found" for finding in findings)
    return Verdict(
        ok=found and not left and not faults,
        findings=tuple(findings),
        unexpected=tuple(left),
        faults=faults,
    )


def _answer(planted: Planted, signals: Sequence[Signal]) -> Signal | None:
    """The signal that answers `planted`: a rightly named one before a misnamed one."""
    here = [signal for signal in signals if _concerns(planted, signal)]
    named = [signal for signal in here if _names(planted, signal)]
    return min(named or here, key=lambda signal: (signal.date, signal.id), default=None)


def _concerns(planted: Planted, signal: Signal) -> bool:
    if signal.sites != (planted.site,) or signal.date < planted.date:
        return False
    if planted.change is Change.SOFTWARE_VERSION:
        return (
            signal.kind == "deterministic"
            and signal.event == Change.SOFTWARE_VERSION
            and signal.scanner_models == (planted.scanner_model,)
            and (signal.date - planted.date).days <= EVENT_SLACK_DAYS
        )
    return signal.kind == "statistical"


def _names(planted: Planted, signal: Signal) -> bool:
    """Whether the last word on the signal is the planted cause, in the right place."""
    match planted.change:
        case Change.SOFTWARE_VERSION:
            return True
        case Change.SCANNER:
            return _causes(signal) == ("scanner",) and signal.scanner_models == (
                planted.scanner_model,
            )
    return _causes(signal) == (planted.change.value,)


def _causes(signal: Signal) -> tuple[str, ...]:
    return tuple(signal.history[-1].causes) if signal.history else ()


def _finding(planted: Planted, signal: Signal | None) -> Finding:
    finding = Finding(
        change=planted.change,
        site=planted.site,
        scanner_model=planted.scanner_model,
        planted_on=planted.date,
        size=planted.size,
        meaning=planted.meaning,
        outcome="missed",
    )
    if signal is None:
        return finding
    return finding.model_copy(
        update={
            "outcome": "found" if _names(planted, signal) else "wrongly_named",
            "signal": signal.id,
            "signalled_on": signal.date,
            "delay_days": (signal.date - planted.date).days,
            "causes": _causes(signal),
            "probability": signal.history[-1].probability if signal.history else None,
            "change_date": signal.change_date,
        }
    )
