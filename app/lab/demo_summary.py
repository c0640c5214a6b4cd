"""What a demonstration ends with: one JSON for machines, and the same as tables for people."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict
from rich.console import Console
from rich.table import Table

from app import clock
from app.contracts.signals import Signal
from app.lab.demo_recalibration import Recalibration
from app.lab.demo_verdict import EdgeBalance, Finding


class Summary(BaseModel):
    """`lockwatch demo --json`. `seconds` per phase; memory of all processes together."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    ok: bool
    seed: int
    days_reference: int
    days_monitored: int
    cases: int
    lock_digest: str
    planted: tuple[Finding, ...]
    signals: tuple[Signal, ...]
    unexpected: tuple[Signal, ...]
    faults: tuple[str, ...]
    recalibration: Recalibration | None = None  # None where nothing was planted
    balances: tuple[EdgeBalance, ...]
    mails: tuple[str, ...]  # subjects
    report: str  # path of the PDF
    seconds: dict[str, float]
    peak_rss_mb: float


def faults_of_output(signals: Sequence[Signal], mails: Sequence[str], pdf: bytes) -> Iterator[str]:
    """What is wrong with the mails and the report, in words."""
    statistical = [signal for signal in signals if signal.kind == "statistical"]
    if len(mails) < len(statistical):
        yield f"{len(mails)} mails for {len(statistical)} statistical signals"
    if not pdf.startswith(b"%PDF-"):
        yield "the report is not a PDF"


@dataclass(slots=True)
class Stopwatch:
    """Real seconds spent, by phase; phases may be entered again and again."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        """Count the time inside towards `phase`."""
        start = clock.elapsed()
        try:
            yield
        finally:
            self.seconds[phase] = self.seconds.get(phase, 0.0) + clock.elapsed() - start


def show(console: Console, summary: Summary) -> None:
    """The summary as tables."""
    console.print(_planted_table(summary.planted))
    for signal in summary.unexpected:
        console.print(
            f"unexpected: {signal.id}, {signal.kind}, {', '.join(signal.sites)}, {signal.date}, "
            f"{signal.event or ', '.join(signal.history[-1].causes)}",
            style="bold red",
        )
    if summary.recalibration is not None:
        console.print(_recalibration_table(summary.recalibration))
    console.print(_balance_table(summary.balances))
    for fault in summary.faults:
        console.print(fault, style="bold red")
    spent = ", ".join(f"{phase} {seconds:.0f} s" for phase, seconds in summary.seconds.items())
    console.print(
        f"{summary.cases} cases, {len(summary.mails)} mails, report {summary.report}\n"
        f"{spent}; {summary.peak_rss_mb:.0f} MB at most"
    )
    words = "Everything planted was found, nothing else." if summary.ok else "Not as planted."
    console.print(words, style="bold green" if summary.ok else "bold red")


def _planted_table(findings: Sequence[Finding]) -> Table:
    rows: Mapping[str, Callable[[Finding], Any]] = {
        "planted": lambda f: f.change.value,
        "site": lambda f: f.site,
        "scanner": lambda f: f.scanner_model,
        "on": lambda f: f.planted_on,
        "what": lambda f: f.meaning,
        "size": lambda f: f"{f.size:.2f}",
        "outcome": lambda f: f.outcome.replace("_", " "),
        "signalled": lambda f: f.signalled_on or "",
        "delay, days": lambda f: "" if f.delay_days is None else f.delay_days,
        "change dated": lambda f: f.change_date or "",
        "named": lambda f: ", ".join(f.causes),
        "probability": lambda f: "" if f.probability is None else f"{f.probability:.2f}",
    }
    return _table("Planted against found", rows, findings)


def _recalibration_table(found: Recalibration) -> Table:
    given = [name for name, value in found.model_dump().items() if value not in (None, "", ())]
    rows = {name.replace("_", " "): _field(name) for name in given if name != "faults"}
    return _table("Recalibration", rows, [found])


def _balance_table(balances: Sequence[EdgeBalance]) -> Table:
    names = [name for name in EdgeBalance.model_fields if name != "site"]
    rows: dict[str, Callable[[EdgeBalance], Any]] = {"site": lambda b: b.site}
    rows |= {name.replace("_", " "): _field(name) for name in names}
    return _table("Balances", rows, balances)


def _field(name: str) -> Callable[[Any], Any]:
    return lambda item: getattr(item, name)


def _table(
    title: str, columns: Mapping[str, Callable[[Any], Any]], items: Sequence[object]
) -> Table:
    """Items are columns and fields are rows: a terminal is higher than it is wide."""
    table = Table(title=title, show_header=False, show_lines=False)
    table.add_column(style="dim")
    for _ in items:
        table.add_column(overflow="fold")
    for name, value in columns.items():
        table.add_row(name, *(str(value(item)) for item in items))
    return table
